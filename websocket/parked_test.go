package websocket_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/internal/netpoll"
	"github.com/duplexgo/duplex/websocket/wire"
)

// parks skips a test where nothing is parked.
func parks(t testing.TB) {
	t.Helper()
	if !netpoll.Supported {
		t.Skip("connections are not parked on this system")
	}
}

// Before all else: the tests of this package that say so do run in parked mode.
func TestHostsPark(t *testing.T) {
	parks(t)
	overHosts(t, func(t *testing.T, h host) {
		w := way{host: h, handler: true}
		e, peer := w.against(t, nil)
		peer.send(peer.text("x"))
		e.read("x")
		if got, want := e.LeavesPoller(), w.parked(); got != want {
			t.Errorf("the connection has left package net: %v, want %v", got, want)
		}
		if !h.memory {
			eventually(t, h, "parking", e.IsParked)
			peer.send(peer.text("y"))
			e.read("y")
		}
	})
}

// A peer that does not read is not read from either, and goes on where it was when
// it does; nothing is lost, and nobody else waits.
func TestPeerThatDoesNotRead(t *testing.T) {
	overHosts(t, func(t *testing.T, h host) {
		h.narrow = true
		s := h.run(t, echoHandler(&websocket.Options{WriteTimeout: -1, PingInterval: -1}))
		peer, other := s.peer(t), dial(t, s, nil)
		const messages, size = 150, 64 << 10 // more than all buffers of a line that nobody reads from
		var sent atomic.Int64
		done := async(func() error {
			for i := range messages {
				if err := peer.trySend(peer.frame(true, wire.OpBinary, fmt.Sprintf("%08d", i)+message(size))); err != nil {
					return err
				}
				sent.Add(1)
			}
			return nil
		})
		for last, same := int64(-1), 0; same < 100; { // until nothing moves any more
			echoed(t, other, "unaffected")
			if now := sent.Load(); now == last {
				same++
			} else {
				last, same = now, 0
			}
			if h.memory {
				time.Sleep(time.Millisecond)
			}
		}
		if got := sent.Load(); got == messages {
			t.Errorf("all %d messages were taken of a peer that reads nothing", got)
		}
		for i := range messages {
			_, p, err := peer.ReadFrame()
			if err != nil || len(p) != 8+size || string(p[:8]) != fmt.Sprintf("%08d", i) || string(p[8:]) != message(size) {
				t.Fatalf("message %d: %d bytes, %v", i, len(p), err)
			}
		}
		if err := done(); err != nil {
			t.Error(err)
		}
	})
}

// echoHandler sends back what comes, from within the callback.
func echoHandler(o *websocket.Options) *websocket.Handler {
	h := &websocket.Handler{Message: func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
		c.Write(bg, typ, p)
	}}
	if o != nil {
		h.Options = *o
	}
	return h
}

// What a callback writes belongs to the application again when Write returns, and
// arrives whole however slowly the peer reads.
func TestLargeWritesInCallbacks(t *testing.T) {
	for _, h := range withSockets {
		h.narrow = true
		t.Run(h.name, func(t *testing.T) {
			const messages, size = 3, 1 << 20
			s := h.run(t, &websocket.Handler{Message: func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
				b := make([]byte, size)
				for i := range messages {
					for j := range b {
						b[j] = byte(i + j/1000)
					}
					if err := c.Write(bg, websocket.Binary, b); err != nil {
						t.Error(err)
					}
					clear(b)
				}
				c.Close(1000, "")
			}})
			peer := s.peer(t)
			peer.send(peer.text("go"))
			for i := range messages {
				h, p, err := peer.ReadFrame()
				if err != nil || h.Length != size {
					t.Fatalf("message %d: %d bytes, %v", i, h.Length, err)
				}
				for j := range p {
					if p[j] != byte(i+j/1000) {
						t.Fatalf("message %d differs at byte %d", i, j)
					}
				}
			}
			peer.want("close 1000")
		})
	}
}

// The application may close wherever it is called back, and from elsewhere in the
// middle of a message.
func TestCloseAnywhere(t *testing.T) {
	abnormal := websocket.CloseError{Code: websocket.CloseAbnormal, Local: true}
	normal := websocket.CloseError{Code: 4000, Reason: "enough", Local: true}
	for _, where := range []string{"Open", "Message", "within a message"} {
		for _, now := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %v", where, now), func(t *testing.T) {
				overHosts(t, func(t *testing.T, h host) {
					d := newDiary(t, h)
					handler := d.handler(nil)
					opened, message := make(chan *websocket.Conn, 1), handler.Message
					finish := func(c *websocket.Conn, at string) {
						if at != where {
							return
						}
						if now {
							c.CloseNow()
						} else if err := c.Close(4000, "enough"); err != nil {
							t.Error(err)
						}
					}
					handler.Open = func(c *websocket.Conn, r *http.Request) {
						d.enter("open")
						defer d.leave()
						finish(c, "Open")
						opened <- c
					}
					handler.Message = func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
						message(c, typ, p)
						finish(c, "Message")
					}
					s := h.run(t, handler)
					peer := s.peer(t)
					c := within(t, h, "Open", opened)
					if where != "Open" {
						peer.send(peer.text("1"), peer.text("2"), peer.text("half")[:8])
					}
					if where == "within a message" {
						eventually(t, h, "Message", func() bool { return d.has("text 2") })
						finish(c, where)
					}
					if now {
						if got := peer.next(); got != "end" && !strings.HasPrefix(got, "error") {
							t.Errorf("the peer got %q, want the end", got)
						}
						wantClose(t, d.end(), abnormal)
					} else {
						peer.want("close 4000 enough")
						if where != "Open" {
							peer.send(peer.text("half")[8:])
						}
						peer.send(peer.text("not delivered"), peer.close(4000, ""))
						peer.want("end")
						peer.Close()
						wantClose(t, d.end(), normal)
					}
					switch where {
					case "Open":
						d.want("open", "close")
					case "Message":
						d.want("open", "text 1", "close")
					default:
						d.want("open", "text 1", "text 2", "close")
					}
				})
			})
		}
	}
}

// A context ends the wait for a turn behind a peer that takes nothing, and nothing
// else.
func TestWriteContextBehindAStuckPeer(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, &websocket.Options{WriteTimeout: -1, PingInterval: -1, MaxMessage: -1})
		first := e.stick(peer)
		ctx, cancel := context.WithTimeout(bg, w.short(time.Second))
		defer cancel()
		if err := e.Write(ctx, websocket.Binary, make([]byte, 100_000)); err != context.DeadlineExceeded {
			t.Errorf("behind a stuck message: %v, want %v", err, context.DeadlineExceeded)
		}
		if w.memory {
			peer.s.Peer().SetBuffer(1 << 20)
		}
		last := async(func() error { return e.Write(bg, websocket.Text, []byte("alive")) })
		peer.want("binary*", "text alive")
		if err := errors.Join(first(), last()); err != nil {
			t.Error(err)
		}
	})
}

// While a callback runs nobody reads, and a pong cannot be seen: its peer is not
// given up for that.
func TestSlowCallbackKeepsItsPeer(t *testing.T) {
	overHosts(t, func(t *testing.T, h host) {
		timeout := h.short(10*time.Second) / 2
		handler := &websocket.Handler{Message: func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
			time.Sleep(10 * timeout) // it is what is tested: a callback that takes its time
			if err := c.Write(bg, typ, p); err != nil {
				t.Error(err)
			}
		}}
		handler.PingInterval, handler.PongTimeout = timeout, timeout
		peer := h.run(t, handler).peer(t)
		peer.send(peer.text("alive"))
		for got := ""; got != "text alive"; got = peer.next() {
			if got != "" && !strings.HasPrefix(got, "ping") {
				t.Fatalf("the peer got %q", got)
			}
		}
	})
}

// A Handler pings at the interval that was set, as a Conn does, also where that is
// shorter than the pong timeout.
func TestPingsKeepTheirInterval(t *testing.T) {
	for _, w := range ways {
		if !w.memory {
			continue
		}
		for _, timeout := range []time.Duration{time.Second, 10 * time.Second, time.Minute, -1} {
			t.Run(fmt.Sprintf("%s %v", w.name, timeout), func(t *testing.T) {
				inTime(t, true, func(t *testing.T) {
					e, peer := w.against(t, &websocket.Options{PingInterval: 10 * time.Second, PongTimeout: timeout})
					e.reading()
					for i := range 5 {
						begin := time.Now()
						peer.pong(t)
						got := time.Since(begin) // the pong's way is the only thing that it is shorter by
						if got < 9*time.Second || got > 11*time.Second {
							t.Errorf("ping %d came after %v", i, got)
						}
					}
					e.CloseNow()
				})
			})
		}
	}
}

// A tap tells of the connections that are taken out of its ResponseWriter.
type tap struct {
	http.ResponseWriter
	taken chan net.Conn
}

func (t tap) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(t.ResponseWriter).Hijack()
	t.taken <- c
	return c, rw, err
}

// The system does not tell of a descriptor that was closed. If somebody else closes
// the stream of a parked connection, the pings find it out.
func TestParkedStreamClosedByAnother(t *testing.T) {
	h := overTLS
	d := newDiary(t, h)
	opened, taken := make(chan *websocket.Conn, 1), make(chan net.Conn, 1)
	handler := d.handler(nil)
	handler.Open = func(c *websocket.Conn, _ *http.Request) { opened <- c }
	handler.PingInterval, handler.PongTimeout = 100*time.Millisecond, 100*time.Millisecond
	s := h.run(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(tap{w, taken}, r)
	}))
	client := dial(t, s, nil)
	async(func() error { _, _, err := client.Read(bg); return err }) // and answers pings
	eventually(t, h, "parking", within(t, h, "Open", opened).IsParked)
	within(t, h, "Hijack", taken).Close()
	// A pong may come just then, and have somebody read.
	if err := d.end(); !errors.Is(err, websocket.ErrPongTimeout) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, net.ErrClosed) {
		t.Errorf("Close got %v, want ErrPongTimeout or the end of the stream", err)
	}
}

// The bytes of a message are copied a few times at most, however small the pieces
// are in which they come.
func TestMessageInManyPieces(t *testing.T) {
	const size, piece, most = 1 << 20, 1 << 10, 30 << 20
	for _, h := range hosts {
		t.Run(h.name, func(t *testing.T) {
			got := make(chan int, 1)
			s := h.run(t, &websocket.Handler{Message: func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
				if typ == websocket.Text {
					c.Write(bg, typ, p)
				} else {
					got <- len(p)
				}
			}})
			peer, other := s.peer(t), s.peer(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for b := peer.frame(true, wire.OpBinary, message(size)); len(b) > 0; b = b[min(piece, len(b)):] {
				peer.send(b[:min(piece, len(b))])
				other.send(other.text("x"))
				other.want("text x") // the loop has read the piece
			}
			if n := within(t, h, "the message", got); n != size {
				t.Errorf("the message has %d bytes, want %d", n, size)
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > most {
				t.Errorf("%d bytes were allocated for %d pieces of a message of %d", n, size/piece, size)
			}
		})
	}
}

// The same is true of fragments, of which a message may have very many.
func TestMessageInManyFragments(t *testing.T) {
	const size, fragment, most = 8 << 20, 128, 64 << 20
	for _, h := range hosts {
		t.Run(h.name, func(t *testing.T) {
			got := make(chan int, 1)
			handler := &websocket.Handler{Message: func(_ *websocket.Conn, _ websocket.MessageType, p []byte) { got <- len(p) }}
			handler.MaxMessage = size
			peer := h.run(t, handler).peer(t)
			var b []byte
			for i := range size / fragment {
				op := wire.OpContinuation
				if i == 0 {
					op = wire.OpBinary
				}
				b = append(b, peer.frame(i == size/fragment-1, op, message(fragment))...)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			peer.send(b)
			if n := within(t, h, "the message", got); n != size {
				t.Errorf("the message has %d bytes, want %d", n, size)
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > most {
				t.Errorf("%d bytes were allocated for a message of %d in fragments of %d", n, size, fragment)
			}
		})
	}
}
