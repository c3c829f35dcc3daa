package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/duplexgo/duplex/websocket"
)

// startEcho runs an echo server and returns its URL.
func startEcho(t *testing.T, args ...string) (*running, string) {
	t.Helper()
	r := start(t, append([]string{"echo", "--listen", "127.0.0.1:0"}, args...)...)
	return r, r.find("ws://")
}

// dial opens a connection that ends with the test.
func dial(t *testing.T, url string, o *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return c
}

func TestEcho(t *testing.T) {
	_, url := startEcho(t)
	for _, path := range []string{"", "a/b/../c//d", "?q=1", "%2e%2e/x"} {
		c := dial(t, url+path, &websocket.DialOptions{Header: http.Header{"Origin": {"https://elsewhere.example"}}})
		for _, message := range []struct {
			kind websocket.MessageType
			data string
		}{
			{websocket.Text, "hello"}, {websocket.Text, ""}, {websocket.Binary, "\xff\x00"}, {websocket.Binary, ""}, {websocket.Text, "grüße"},
		} {
			if err := c.Write(t.Context(), message.kind, []byte(message.data)); err != nil {
				t.Fatal(err)
			}
			kind, data, err := c.Read(t.Context())
			if err != nil || kind != message.kind || string(data) != message.data {
				t.Errorf("%s: %v %q and %v came back for %v %q", path, kind, data, err, message.kind, message.data)
			}
		}
		if err := c.Close(websocket.CloseNormal, ""); err != nil {
			t.Errorf("%s: closing: %v", path, err)
		}
	}
}

// A message that came in fragments goes back as one frame: what a test client
// counts on.
func TestEchoOneFrame(t *testing.T) {
	_, url := startEcho(t)
	conn, br := upgrade(t, url)
	frames := "\x01\x83\x00\x00\x00\x00abc" + "\x00\x80\x00\x00\x00\x00" + "\x89\x81\x00\x00\x00\x00p" + "\x80\x83\x00\x00\x00\x00def"
	if _, err := io.WriteString(conn, frames); err != nil {
		t.Fatal(err)
	}
	want := "\x8a\x01p" + "\x81\x06abcdef"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(br, got); err != nil || string(got) != want {
		t.Errorf("%q and %v came back, want %q", got, err, want)
	}
}

// upgrade does an opening handshake by hand and leaves the frames to the caller.
func upgrade(t *testing.T, url string) (net.Conn, *bufio.Reader) {
	t.Helper()
	host := strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/")
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n\r\n", host)
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answer %v, error %v", resp, err)
	}
	return conn, br
}

func TestEchoLimit(t *testing.T) {
	for _, test := range []struct {
		args  []string
		limit int
	}{
		{nil, 16 << 20},
		{[]string{"--max-message", "64KiB"}, 64 << 10},
	} {
		_, url := startEcho(t, test.args...)
		c := dial(t, url, &websocket.DialOptions{Options: websocket.Options{MaxMessage: -1}})
		data := bytes.Repeat([]byte("0123456789abcdef"), test.limit/16)
		go c.Write(context.Background(), websocket.Binary, data)
		if _, back, err := c.Read(t.Context()); err != nil || !bytes.Equal(back, data) {
			t.Fatalf("limit %d: %d bytes and %v came back", test.limit, len(back), err)
		}
		go c.Write(context.Background(), websocket.Binary, append(data, 'x'))
		_, _, err := c.Read(t.Context())
		if closed, ok := errors.AsType[*websocket.CloseError](err); !ok || closed.Code != websocket.CloseMessageTooBig {
			t.Errorf("limit %d: a byte over it ends with %v, want 1009", test.limit, err)
		}
	}
}

// The first signal closes the connections in order, and the command succeeds.
func TestEchoShutdown(t *testing.T) {
	r, url := startEcho(t)
	c := dial(t, url, nil)
	r.cancel()
	_, _, err := c.Read(t.Context())
	if closed, ok := errors.AsType[*websocket.CloseError](err); !ok || closed.Code != websocket.CloseGoingAway || closed.Local {
		t.Errorf("the connection ended with %v, want 1001 from the server", err)
	}
	if code := r.wait(); code != exitOK {
		t.Errorf("exit code %d, stderr %q", code, r.stderr)
	}
}

// A request that is no handshake is answered for a person with a browser.
func TestEchoPlainRequest(t *testing.T) {
	_, url := startEcho(t)
	resp, err := http.Get("http" + strings.TrimPrefix(url, "ws"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("the answer is %s", resp.Status)
	}
}

// Attack: a header without end, or one that takes for ever, or a body or a next
// request that does.
func TestServerLimitsOnTheRequest(t *testing.T) {
	srv := newHTTPServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if srv.ReadHeaderTimeout != readHeaderTimeout || readHeaderTimeout > 10e9 {
		t.Errorf("a client has %v for its request", srv.ReadHeaderTimeout)
	}
	if srv.ReadTimeout != readTimeout || readTimeout > time.Minute || srv.IdleTimeout != idleTimeout || idleTimeout > 5*time.Minute {
		t.Errorf("a client has %v for a body, and %v between two requests", srv.ReadTimeout, srv.IdleTimeout)
	}
	_, url := startEcho(t)
	// net/http allows itself 4 KiB more.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http"+strings.TrimPrefix(url, "ws"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X", strings.Repeat("x", maxHeaderBytes+4<<10))
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of %d bytes is answered with %s", maxHeaderBytes+4<<10, resp.Status)
	}
}
