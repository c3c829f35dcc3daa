package peers

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/duplexgo/duplex/websocket"
)

// A nodeResult is what testdata/client.js says.
type nodeResult struct {
	OK       bool
	Back     int
	Pong     bool
	Protocol string
	Code     int
	Reason   string
	Status   int
	Retry    string
	Error    string
}

// nodeClient runs the script against a server.
func nodeClient(t *testing.T, url string) (r nodeResult) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := nodeJS(ctx, t, "ws", "client.js", url).Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		t.Fatalf("the script said %q: %v", out, err)
	}
	return r
}

func TestNodeClient(t *testing.T) {
	ends := make(chan error, 1)
	h := &websocket.Handler{
		AcceptOptions: websocket.AcceptOptions{Subprotocols: []string{"v1"}},
		Message: func(c *websocket.Conn, kind websocket.MessageType, p []byte) {
			c.Write(context.Background(), kind, p)
		},
		Close: func(_ *websocket.Conn, err error) { ends <- err },
	}
	for name, srv := range map[string]*httptest.Server{"ws": httptest.NewServer(h), "wss": httptest.NewTLSServer(h)} {
		t.Run(name, func(t *testing.T) {
			defer srv.Close()
			got := nodeClient(t, name+srv.URL[strings.Index(srv.URL, ":"):])
			if want := (nodeResult{OK: true, Back: 5, Pong: true, Protocol: "v1", Code: 4001}); got != want {
				t.Errorf("the script said %+v, want %+v", got, want)
			}
			wantClose(t, <-ends, websocket.CloseError{Code: 4001, Reason: "done"})
		})
	}
}

// Who is refused is told so, and when to come back.
func TestNodeClientRefused(t *testing.T) {
	h := &websocket.Handler{AcceptOptions: websocket.AcceptOptions{Limits: &websocket.Limits{MaxConns: 1, Logger: slog.New(slog.DiscardHandler)}}}
	srv := httptest.NewServer(h)
	defer srv.Close()
	url := "ws" + strings.TrimPrefix(srv.URL, "http")
	c, _, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if got := nodeClient(t, url); got != (nodeResult{Status: 503, Retry: "10"}) {
		t.Errorf("the script said %+v", got)
	}
}
