package websocket_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
)

// A diary writes down what a Handler calls back, and finds callbacks that run at
// once.
type diary struct {
	host
	t       *testing.T
	mu      sync.Mutex
	running bool
	entries []string
	sent    chan bool  // closed when messages are on their way, and Open may return; nil: it does at once
	closed  chan error // what Close got
}

func newDiary(t *testing.T, h host) *diary {
	return &diary{host: h, t: t, closed: make(chan error, 1)}
}

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

// has reports whether there is such an entry.
func (d *diary) has(entry string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.entries, entry)
}

// handler returns a Handler that writes the diary; message is done in Message.
func (d *diary) handler(message func(*websocket.Conn, []byte)) *websocket.Handler {
	return &websocket.Handler{
		Open: func(c *websocket.Conn, r *http.Request) {
			d.enter("open %s", r.URL.Path)
			defer d.leave()
			if d.sent != nil {
				within(d.t, d.host, "sending", d.sent) // messages that come meanwhile wait
			}
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

// end waits for Close and returns what it got.
func (d *diary) end() error { return within(d.t, d.host, "Close", d.closed) }

func TestHandlerOrder(t *testing.T) {
	overHosts(t, func(t *testing.T, h host) {
		d := newDiary(t, h)
		d.sent = make(chan bool)
		s := h.run(t, d.handler(func(c *websocket.Conn, p []byte) {
			if h.memory {
				time.Sleep(time.Second) // blocking is allowed
			}
			if err := c.Write(bg, websocket.Text, p); err != nil {
				t.Error(err)
			}
		}))
		c, _, err := s.Dial(bg, "/way", nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if err := c.Write(bg, websocket.Text, fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
		close(d.sent)
		for i := range 3 {
			read(t, c, fmt.Sprint(i))
		}
		if err := c.Close(4001, "enough"); err != nil {
			t.Error(err)
		}
		wantClose(t, d.end(), websocket.CloseError{Code: 4001, Reason: "enough"})
		d.want("open /way", "text 0", "text 1", "text 2", "close")
	})
}

// The blocking calls have no place in a Handler's Conn, and none of them blocks.
func TestHandlerConn(t *testing.T) {
	overHosts(t, func(t *testing.T, h host) {
		d := newDiary(t, h)
		d.sent = make(chan bool)
		s := h.run(t, d.handler(func(c *websocket.Conn, p []byte) {
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
			if got := time.Since(begin); h.memory && got != 0 {
				t.Errorf("the calls took %v", got)
			}
		}))
		c := dial(t, s, nil)
		for _, p := range []string{"x", "not delivered after Close"} {
			if err := c.Write(bg, websocket.Text, []byte(p)); err != nil {
				t.Fatal(err)
			}
		}
		close(d.sent)
		wantClose(t, reading(c)(), websocket.CloseError{Code: 4002, Reason: "done"})
		wantClose(t, d.end(), websocket.CloseError{Code: 4002, Reason: "done", Local: true})
		d.want("open /", "text x", "close")
	})
}

// A peer that does not answer Close is cut, and the callback tells.
func TestHandlerCloseTimeout(t *testing.T) {
	overHosts(t, func(t *testing.T, h host) {
		d := newDiary(t, h)
		begin := make(chan time.Time, 1)
		handler := d.handler(func(c *websocket.Conn, p []byte) {
			begin <- time.Now()
			c.Close(1000, "")
		})
		handler.CloseTimeout = h.short(5 * time.Second)
		c := dial(t, h.run(t, handler), nil)
		c.Write(bg, websocket.Text, []byte("x")) // and nobody reads
		err := d.end()
		h.lasted(t, <-begin, handler.CloseTimeout)
		if !strings.Contains(err.Error(), "closing handshake") {
			t.Errorf("got %v", err)
		}
	})
}

// Attack 26: a callback that panics ends its own connection with 1011, is
// reported, and nothing else happens.
func TestHandlerPanics(t *testing.T) {
	boom := errors.New("boom")
	for _, where := range []string{"Open", "Message", "Close"} {
		for _, value := range []any{boom, "boom", http.ErrAbortHandler} {
			overHosts(t, func(t *testing.T, h host) {
				var log bytes.Buffer
				ended := make(chan error, 1)
				do := func(callback string) {
					if callback == where {
						panic(value)
					}
				}
				var g websocket.Registry
				s := h.run(t, &websocket.Handler{
					AcceptOptions: websocket.AcceptOptions{Registry: &g},
					Open:          func(*websocket.Conn, *http.Request) { do("Open") },
					Message:       func(*websocket.Conn, websocket.MessageType, []byte) { do("Message") },
					Close:         func(_ *websocket.Conn, err error) { ended <- err; do("Close") },
					Logger:        slog.New(slog.NewTextHandler(&log, nil)),
				})
				c := dial(t, s, nil)
				if where != "Open" {
					c.Write(bg, websocket.Text, []byte("x"))
				}
				if where == "Close" {
					c.Close(1000, "")
				} else {
					wantClose(t, reading(c)(), websocket.CloseError{Code: websocket.CloseInternalError})
				}
				err := within(t, h, "Close", ended)
				var p *websocket.PanicError
				if where != "Close" && (!errors.As(err, &p) || p.Value != value || !bytes.Contains(p.Stack, []byte("handler_test.go"))) {
					t.Errorf("Close got %v", err)
				}
				if want := where != "Close" && value == boom; errors.Is(err, boom) != want {
					t.Errorf("errors.Is(%v, boom) is %v", err, !want)
				}
				// It waits until all callbacks have returned and nothing is registered.
				if err := g.Shutdown(bg); err != nil {
					t.Error(err)
				}
				if logged, want := log.Len() > 0, value != http.ErrAbortHandler; logged != want {
					t.Errorf("%s, %v: log is %q", where, value, log.String())
				}
			})
		}
	}
}

// A callback that ends its goroutine, as a test's FailNow does, ends the connection
// like a panic, and Close is called all the same.
func TestHandlerGoexit(t *testing.T) {
	for _, where := range []string{"Open", "Message"} {
		overHosts(t, func(t *testing.T, h host) {
			exit := func(callback string) {
				if callback == where {
					runtime.Goexit()
				}
			}
			var g websocket.Registry
			ended := make(chan error, 1)
			s := h.run(t, &websocket.Handler{
				AcceptOptions: websocket.AcceptOptions{Registry: &g},
				Open:          func(*websocket.Conn, *http.Request) { exit("Open") },
				Message:       func(*websocket.Conn, websocket.MessageType, []byte) { exit("Message") },
				Close:         func(_ *websocket.Conn, err error) { ended <- err },
			})
			for range 2 { // the second finds everything as it was
				c := dial(t, s, nil)
				c.Write(bg, websocket.Text, nil)
				wantClose(t, reading(c)(), websocket.CloseError{Code: websocket.CloseInternalError})
				if err := within(t, h, "Close", ended); !strings.Contains(err.Error(), "Goexit") {
					t.Errorf("Close got %v", err)
				}
			}
			if err := g.Shutdown(bg); err != nil {
				t.Error(err)
			}
		})
	}
}

// A Handler needs no callbacks.
func TestHandlerWithoutCallbacks(t *testing.T) {
	overHosts(t, func(t *testing.T, h host) {
		c := dial(t, h.run(t, &websocket.Handler{}), nil)
		c.Write(bg, websocket.Text, []byte("to nobody"))
		end := reading(c)
		if err := c.Ping(bg); err != nil {
			t.Error(err)
		}
		c.CloseNow()
		end()
	})
}

// Attack 22: in a broadcast, a peer that has stopped reading delays nobody beyond
// its own write timeout, and then it is gone.
func TestBroadcastWithAStuckPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g websocket.Registry
		s := inMemory.run(t, &websocket.Handler{AcceptOptions: websocket.AcceptOptions{Registry: &g}})
		stuck := s.peer(t)
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
}
