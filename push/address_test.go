package push

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/duplexgo/duplex/websocket"
)

// All transports count together by address, as the trusted proxy tells it.
func TestLimitsByAddress(t *testing.T) {
	s := &Server{
		KeepAlive: -1,
		Limits: &websocket.Limits{
			MaxConnsPerAddr: 2,
			TrustedProxies:  []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
			Deny:            []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
			Logger:          slog.New(slog.DiscardHandler),
		},
	}
	srv := httptest.NewServer(s)
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer func() { cancel(); s.Shutdown(ctx) }() // at once
	get := func(ctx context.Context, path, from string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, "GET", srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Forwarded-For", from)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	line := func(from string) (*websocket.Conn, *http.Response) {
		t.Helper()
		c, resp, _ := websocket.Dial(ctx, "ws"+strings.TrimPrefix(srv.URL, "http")+"/connect", &websocket.DialOptions{Header: http.Header{"X-Forwarded-For": {from}}})
		if c != nil {
			t.Cleanup(func() { c.CloseNow() })
		}
		return c, resp
	}
	streaming, end := context.WithCancel(ctx)
	if resp := get(streaming, "/events?channel=a", "1.0.0.1"); resp.StatusCode != 200 {
		t.Fatalf("the first line: %s", resp.Status)
	}
	c, _ := line("1.0.0.1")
	if c == nil {
		t.Fatal("the second line was refused")
	}
	for _, path := range []string{"/events?channel=a", "/poll?channel=a"} {
		resp := get(ctx, path, "1.0.0.1")
		if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "10" {
			t.Errorf("%s, the third line: %s with Retry-After %q", path, resp.Status, resp.Header.Get("Retry-After"))
		}
	}
	if c, resp := line("1.0.0.1"); c != nil || resp.StatusCode != 429 {
		t.Errorf("a third WebSocket: %v", resp)
	}
	if resp := get(ctx, "/channels/a", "1.0.0.1"); resp.StatusCode != 200 {
		t.Errorf("what is no line: %s", resp.Status)
	}
	if c, _ := line("1.0.0.2"); c == nil {
		t.Error("another address was refused")
	}
	if resp := get(ctx, "/channels/a", "192.0.2.7"); resp.StatusCode != 403 {
		t.Errorf("an address that is denied: %s", resp.Status)
	}
	if c, resp := line("192.0.2.7"); c != nil || resp.StatusCode != 403 {
		t.Errorf("a WebSocket of an address that is denied: %v", resp)
	}
	end() // the stream of events: its place is free when its handler has seen that
	for {
		if c, _ := line("1.0.0.1"); c != nil {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("the place of a stream that has ended is not free")
		}
	}
}
