package websocket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// A diary writes down what a Handler calls back, and finds callbacks that run at
// once.
type diary struct {
	t       *testing.T
	mu      sync.Mutex
	running bool
	entries []string
	closed  chan error
}

func newDiary(t *testing.T) *diary { return &diary{t: t, closed: make(chan error, 1)} }

func (d *diary) enter(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running {
		d.t.Errorf("%s while another callback runs", fmt.Sprintf(format, args...))
	}
	d.running = true
	d.entries = append(d.entries, fmt.Sprintf(format, args...))
}

func (d *diary) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running = false
}

func (d *diary) want(entries ...string) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if got, want := strings.Join(d.entries, ", "), strings.Join(entries, ", "); got != want {
		d.t.Errorf("callbacks were %q, want %q", got, want)
	}
}

// handler returns a Handler that writes the diary; message is done in Message.
func (d *diary) handler(message func(*websocket.Conn, []byte)) *websocket.Handler {
	return &websocket.Handler{
		Open: func(c *websocket.Conn, r *http.Request) {
			d.enter("open %s", r.URL.Path)
			defer d.leave()
			time.Sleep(time.Second) // messages that come meanwhile wait
			if r.Context().Err() != nil {
				d.t.Error("the request's context had ended within Open")
			}
		},
		Message: func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
			d.enter("%v %s", typ, p)
			defer d.leave()
			if message != nil {
				message(c, p)
			}
		},
		Close: func(c *websocket.Conn, err error) {
			d.enter("close")
			defer d.leave()
			d.closed <- err
		},
		Logger: slog.New(slog.DiscardHandler),
	}
}

// handled runs a test against a Handler, with a client's raw end.
func handled(t *testing.T, h *websocket.Handler, test func(t *testing.T, s *wstest.Server)) {
	t.Helper()
	s := wstest.NewServer(h)
	defer s.Close()
	test(t, s)
}

func TestHandlerOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary(t)
		h := d.handler(func(c *websocket.Conn, p []byte) {
			time.Sleep(time.Second) // blocking is allowed
			if err := c.Write(bg, websocket.Text, p); err != nil {
				t.Error(err)
			}
		})
		handled(t, h, func(t *testing.T, s *wstest.Server) {
			c, _, err := s.Dial(bg, "/way", nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				if err := c.Write(bg, websocket.Text, fmt.Append(nil, i)); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 3 {
				read(t, c, fmt.Sprint(i))
			}
			if err := c.Close(4001, "enough"); err != nil {
				t.Error(err)
			}
			wantClose(t, <-d.closed, websocket.CloseError{Code: 4001, Reason: "enough"})
			d.want("open /way", "text 0", "text 1", "text 2", "close")
		})
	})
}

// The blocking calls have no place in a Handler's Conn, and none of them blocks.
func TestHandlerConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary(t)
		h := d.handler(func(c *websocket.Conn, p []byte) {
			begin := time.Now()
			if _, _, err := c.Read(bg); err == nil || !strings.Contains(err.Error(), "Handler") {
				t.Errorf("Read: %v", err)
			}
			if _, _, err := c.Reader(bg); err == nil {
				t.Error("Reader returned nil")
			}
			if err := c.Ping(bg); err != nil {
				t.Errorf("Ping: %v", err)
			}
			if err := c.Close(4002, "done"); err != nil {
				t.Errorf("Close: %v", err)
			}
			if err := c.Write(bg, websocket.Text, nil); err == nil {
				t.Error("Write after Close returned nil")
			}
			if got := time.Since(begin); got != 0 {
				t.Errorf("the calls took %v", got)
			}
		})
		handled(t, h, func(t *testing.T, s *wstest.Server) {
			c := dial(t, s, nil)
			if err := c.Write(bg, websocket.Text, []byte("x")); err != nil {
				t.Fatal(err)
			}
			if err := c.Write(bg, websocket.Text, []byte("not delivered after Close")); err != nil {
				t.Fatal(err)
			}
			wantClose(t, reading(c)(), websocket.CloseError{Code: 4002, Reason: "done"})
			wantClose(t, <-d.closed, websocket.CloseError{Code: 4002, Reason: "done", Local: true})
			d.want("open /", "text x", "close")
		})
	})
}

// A peer that does not answer Close is cut, and the callback tells.
func TestHandlerCloseTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary(t)
		h := d.handler(func(c *websocket.Conn, p []byte) { c.Close(1000, "") })
		handled(t, h, func(t *testing.T, s *wstest.Server) {
			c := dial(t, s, nil)
			c.Write(bg, websocket.Text, []byte("x")) // and nobody reads
			begin := time.Now()
			err := <-d.closed
			if got := time.Since(begin); got != 6*time.Second { // 1 of them in Open
				t.Errorf("took %v", got)
			}
			if !strings.Contains(err.Error(), "closing handshake") {
				t.Errorf("got %v", err)
			}
		})
	})
}

// Attack 26: a callback that panics ends its own connection with 1011, is
// reported, and nothing else happens.
func TestHandlerPanics(t *testing.T) {
	boom := errors.New("boom")
	for _, where := range []string{"Open", "Message", "Close"} {
		for _, value := range []any{boom, "boom", http.ErrAbortHandler} {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				ended := make(chan error, 1)
				do := func(callback string) {
					if callback == where {
						panic(value)
					}
				}
				h := &websocket.Handler{
					Open:    func(*websocket.Conn, *http.Request) { do("Open") },
					Message: func(*websocket.Conn, websocket.MessageType, []byte) { do("Message") },
					Close:   func(_ *websocket.Conn, err error) { ended <- err; do("Close") },
					Logger:  slog.New(slog.NewTextHandler(&log, nil)),
				}
				var g websocket.Registry
				h.Registry = &g
				handled(t, h, func(t *testing.T, s *wstest.Server) {
					c := dial(t, s, nil)
					if where != "Open" {
						c.Write(bg, websocket.Text, []byte("x"))
					}
					if where == "Close" {
						c.Close(1000, "")
					} else {
						wantClose(t, reading(c)(), websocket.CloseError{Code: websocket.CloseInternalError})
					}
					err := <-ended
					var p *websocket.PanicError
					if where != "Close" && (!errors.As(err, &p) || p.Value != value || !bytes.Contains(p.Stack, []byte("handler_test.go"))) {
						t.Errorf("Close got %v", err)
					}
					if want := where != "Close" && value == boom; errors.Is(err, boom) != want {
						t.Errorf("errors.Is(%v, boom) is %v", err, !want)
					}
				})
				synctest.Wait()
				if logged, want := log.Len() > 0, value != http.ErrAbortHandler; logged != want {
					t.Errorf("%s, %v: log is %q", where, value, log.String())
				}
				if g.Len() != 0 {
					t.Error("the connection is still registered")
				}
			})
		}
	}
}

// A callback that ends its goroutine, as a test's FailNow does, ends the connection
// like a panic, and Close is called all the same.
func TestHandlerGoexit(t *testing.T) {
	for _, where := range []string{"Open", "Message"} {
		synctest.Test(t, func(t *testing.T) {
			exit := func(callback string) {
				if callback == where {
					runtime.Goexit()
				}
			}
			var g websocket.Registry
			ended := make(chan error, 1)
			h := &websocket.Handler{
				AcceptOptions: websocket.AcceptOptions{Registry: &g},
				Open:          func(*websocket.Conn, *http.Request) { exit("Open") },
				Message:       func(*websocket.Conn, websocket.MessageType, []byte) { exit("Message") },
				Close:         func(_ *websocket.Conn, err error) { ended <- err },
			}
			handled(t, h, func(t *testing.T, s *wstest.Server) {
				c := dial(t, s, nil)
				c.Write(bg, websocket.Text, nil)
				wantClose(t, reading(c)(), websocket.CloseError{Code: websocket.CloseInternalError})
				if err := <-ended; !strings.Contains(err.Error(), "Goexit") {
					t.Errorf("Close got %v", err)
				}
				if err := g.Shutdown(bg); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A Handler needs no callbacks.
func TestHandlerWithoutCallbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handled(t, &websocket.Handler{}, func(t *testing.T, s *wstest.Server) {
			c := dial(t, s, nil)
			c.Write(bg, websocket.Text, []byte("to nobody"))
			end := reading(c)
			if err := c.Ping(bg); err != nil {
				t.Error(err)
			}
			c.CloseNow()
			end()
		})
	})
}

// The whole table of violations holds for a Handler, too.
func TestHandlerViolation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDiary(t)
		handled(t, d.handler(func(c *websocket.Conn, p []byte) { c.Write(bg, websocket.Text, p) }), func(t *testing.T, s *wstest.Server) {
			peer := handshaken(t, s)
			peer.send(peer.text("before"), peer.frame(true, wire.OpPing, "p"), []byte{0x83, 0x80, 0, 0, 0, 0})
			peer.want("text before", "pong p", "close 1002 *", "end")
			peer.Close()
			wantError(t, <-d.closed, websocket.CloseProtocolError)
		})
	})
}

// Attack 22: in a broadcast, a peer that has stopped reading delays nobody beyond
// its own write timeout, and then it is gone.
func TestBroadcastWithAStuckPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g websocket.Registry
		h := &websocket.Handler{AcceptOptions: websocket.AcceptOptions{Registry: &g}}
		handled(t, h, func(t *testing.T, s *wstest.Server) {
			stuck := handshaken(t, s)
			stuck.s.Peer().SetBuffer(0)
			var ends []func() string
			for range 10 {
				c := dial(t, s, nil)
				ends = append(ends, async(func() string {
					_, p, _ := c.Read(bg)
					return string(p)
				}))
			}
			synctest.Wait()
			begin := time.Now()
			var all sync.WaitGroup
			for c := range g.All() {
				all.Go(func() { c.Write(bg, websocket.Text, []byte("news")) })
			}
			for _, end := range ends {
				if got := end(); got != "news" {
					t.Errorf("got %q", got)
				}
			}
			if got := time.Since(begin); got != 0 {
				t.Errorf("the others waited %v", got)
			}
			all.Wait()
			if got := time.Since(begin); got != 10*time.Second {
				t.Errorf("the stuck peer's Write took %v", got)
			}
			synctest.Wait()
			if got := g.Len(); got != 10 {
				t.Errorf("%d connections are left, want 10", got)
			}
		})
	})
}

// handshaken returns a raw client of a server, its opening handshake done.
func handshaken(t *testing.T, s *wstest.Server) *raw {
	t.Helper()
	stream, err := s.Listener.DialContext(context.Background(), "tcp", "server.test:80")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stream.Close() })
	peer := handshaking(t, stream.(*wstest.Stream))
	peer.open(t)
	return peer
}

// handshaking returns a raw client that has sent its handshake.
func handshaking(t *testing.T, stream *wstest.Stream) *raw {
	io.WriteString(stream, "GET / HTTP/1.1\r\nHost: server.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	return &raw{Peer: wstest.NewPeer(stream, true), t: t, s: stream}
}

// open waits for the server's answer, which must be a 101.
func (r *raw) open(t *testing.T) {
	t.Helper()
	var head []byte
	for b := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, b[0]) {
		if _, err := r.s.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		t.Fatalf("the server answered %q", head)
	}
}
