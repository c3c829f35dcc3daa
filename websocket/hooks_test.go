package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

func contextWithTimeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(bg, d)
}

// A logbook is hooks that note what they are told.
type logbook struct {
	mu    sync.Mutex
	lines []string
}

func (d *logbook) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *logbook) hooks() *websocket.Hooks {
	return &websocket.Hooks{
		Handshake: func(h websocket.HandshakeInfo) {
			var refused *websocket.HandshakeError
			errors.As(h.Err, &refused)
			status := 101
			if refused != nil {
				status = refused.Status
			}
			d.note("handshake %s %d %v", h.Request.URL.Path, status, h.Conn != nil && h.Err == nil)
		},
		Control: func(c *websocket.Conn, op wire.Opcode, payload []byte) { d.note("%v of %d bytes", op, len(payload)) },
		Message: func(c *websocket.Conn, m websocket.MessageInfo) { d.note("sent %v %v %d", m.Sent, m.Type, m.Size) },
		Close: func(c *websocket.Conn, code websocket.CloseCode, err error) {
			d.note("close %d %v", int(code), err != nil)
		},
	}
}

func TestHooks(t *testing.T) {
	for _, kind := range []string{"Conn", "Handler"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var server, client logbook
				o := websocket.AcceptOptions{Options: websocket.Options{Hooks: server.hooks()}}
				var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if c, err := websocket.Accept(w, r, &o); err == nil {
						defer c.CloseNow()
						echoing(c)()
					}
				})
				if kind == "Handler" {
					h = &websocket.Handler{AcceptOptions: o, Message: func(c *websocket.Conn, typ websocket.MessageType, p []byte) { c.Write(bg, typ, p) }}
				}
				s := wstest.NewServer(h)
				defer s.Close()
				dial := &websocket.DialOptions{Options: websocket.Options{Hooks: client.hooks()}}
				c, _, err := s.Dial(bg, "/a", dial)
				if err != nil {
					t.Fatal(err)
				}
				echoed(t, c, "hello")
				w, err := c.Writer(bg, websocket.Binary)
				if err != nil {
					t.Fatal(err)
				}
				w.Write(make([]byte, 3000))
				w.Write(make([]byte, 5000))
				w.Close()
				_, r, err := c.Reader(bg)
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, r)
				m := websocket.Prepare(websocket.Text, []byte("xy"))
				c.Send(m)
				read(t, c, "xy")
				c.WritePrepared(bg, m)
				read(t, c, "xy")
				c.Close(4321, "")
				c.Write(bg, websocket.Text, nil) // is not sent
				c.CloseNow()
				synctest.Wait()
				dial.Header = http.Header{"Origin": {"https://evil.test"}}
				s.Dial(bg, "/b", dial)
				synctest.Wait()
				sizes := []string{"text 5", "binary 8000", "text 2", "text 2"}
				want := func(first string) (lines []string) {
					lines = append(lines, "handshake /a 101 true")
					for _, m := range sizes {
						lines = append(lines, fmt.Sprintf("sent %v %s", first == "client", m), fmt.Sprintf("sent %v %s", first != "client", m))
					}
					return append(lines, "close of 2 bytes", "close 4321 true", "handshake /b 403 false")
				}
				if !slices.Equal(client.lines, want("client")) {
					t.Errorf("the client noted %q", client.lines)
				}
				if !slices.Equal(server.lines, want("server")) {
					t.Errorf("the server noted %q", server.lines)
				}
			})
		})
	}
}

// How a connection ends, each way tells its code.
func TestHookClose(t *testing.T) {
	tests := []struct {
		name string
		end  func(c *websocket.Conn, peer *raw)
		code websocket.CloseCode
	}{
		{"the peer", func(_ *websocket.Conn, peer *raw) { peer.send(peer.close(1001, "")) }, 1001},
		{"without a code", func(_ *websocket.Conn, peer *raw) { peer.send(peer.frame(true, 8, "")) }, 1005},
		{"a broken rule", func(_ *websocket.Conn, peer *raw) { peer.send(peer.text("\xff")) }, 1007},
		{"too big", func(_ *websocket.Conn, peer *raw) { peer.send(peer.text(message(2000))) }, 1009},
		{"the end of the stream", func(_ *websocket.Conn, peer *raw) { peer.Close() }, 1006},
		{"CloseNow", func(c *websocket.Conn, _ *raw) { c.CloseNow() }, 1006},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			overKinds(t, func(t *testing.T, kind wstest.Kind) {
				got := make(chan websocket.CloseCode, 2)
				c, peer := against(t, kind, true, &websocket.Options{MaxMessage: 1000, Hooks: &websocket.Hooks{
					Close: func(_ *websocket.Conn, code websocket.CloseCode, err error) { got <- code },
				}})
				end := reading(c)
				test.end(c, peer)
				peer.Close()
				end()
				c.CloseNow()
				if code := <-got; code != test.code || len(got) != 0 {
					t.Errorf("told of %d, and %d times more; want %d once", code, len(got), test.code)
				}
			})
		})
	}
}

// Hooks that are not there cost nothing.
func TestNoHooksNoAllocation(t *testing.T) {
	c, s := wstest.Pipe(nil, nil)
	defer c.CloseNow()
	defer s.CloseNow()
	var dst []byte
	p := []byte("hello")
	ctx := context.Background()
	n := testing.AllocsPerRun(100, func() {
		c.Write(ctx, websocket.Text, p)
		_, dst, _ = s.AppendRead(ctx, dst[:0])
	})
	if n > 0 && !raceEnabled {
		t.Errorf("%v allocations a message", n)
	}
}

// A handshake that ends by a panic is told as one that has failed.
func TestHookOfPanic(t *testing.T) {
	told := make(chan websocket.HandshakeInfo, 1)
	o := &websocket.AcceptOptions{Options: websocket.Options{
		Extensions: []websocket.Extension{panicking{}},
		Hooks:      &websocket.Hooks{Handshake: func(h websocket.HandshakeInfo) { told <- h }},
	}}
	r := httptest.NewRequest("GET", "/", nil)
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Extensions": "panicking"} {
		r.Header.Set(name, value)
	}
	func() {
		defer func() { recover() }()
		websocket.Accept(httptest.NewRecorder(), r, o)
	}()
	if h := <-told; h.Conn != nil || h.Err == nil {
		t.Errorf("the hook was told of %v, %v", h.Conn, h.Err)
	}
}
