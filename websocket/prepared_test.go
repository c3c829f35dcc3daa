package websocket_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// One Prepared goes out of servers and clients, again and again, alone and behind
// others, and is the same each time: what a client masks is its own copy, and what
// the caller does with its slice has no effect.
func TestPrepared(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 4000, 9000, 70_000, 200_000} {
		p := []byte(message(n))
		m := websocket.Prepare(websocket.Text, p)
		clear(p)
		overKinds(t, func(t *testing.T, kind wstest.Kind) {
			client, server := pair(t, kind, patiently(-1, websocket.SlowRefuse))
			for range 2 {
				for from, to := range map[*websocket.Conn]*websocket.Conn{server: client, client: server} {
					sent := async(func() error {
						for range 3 {
							if err := from.Send(m); err != nil {
								return err
							}
							if err := from.WritePrepared(bg, m); err != nil {
								return err
							}
						}
						return nil
					})
					for range 6 {
						read(t, to, message(n))
					}
					if err := sent(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
}

// WritePrepared is one write, as Write is, joins others, and its context ends its
// wait for a turn.
func TestWritePrepared(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, patiently(-1, websocket.SlowRefuse))
		line := peer.s.Peer()
		for i, n := range []int{0, 100, 5000, 32_000} {
			if err := c.WritePrepared(bg, prepared("%s", message(n))); err != nil {
				t.Fatal(err)
			}
			if got := line.Stats().Writes; got != i+1 {
				t.Errorf("%d bytes: %d writes, want 1", n, got-i)
			}
		}
		peer.want("text", "text 100 bytes", "text 5000 bytes", "text 32000 bytes")
		line.SetBuffer(0)
		var writes []func() error
		write := func(ctx context.Context, m string) {
			writes = append(writes, async(func() error { return c.WritePrepared(ctx, prepared("%s", m)) }))
			synctest.Wait()
		}
		write(bg, "first")
		write(bg, message(60_000)) // gathers
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		write(ctx, message(70_000))
		if err := writes[2](); err != context.DeadlineExceeded {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
		line.SetBuffer(1 << 20)
		for _, w := range writes[:2] {
			if err := w(); err != nil {
				t.Error(err)
			}
		}
		peer.want("text first", "text 60000 bytes")
	})
}

func TestPreparedOfOtherTypes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t, wstest.TCP, nil)
		for _, c := range []*websocket.Conn{client, server} {
			for _, typ := range []websocket.MessageType{0, 3, 8, 9, 10, 255} {
				m := websocket.Prepare(typ, nil)
				if c.Send(m) == nil || c.WritePrepared(bg, m) == nil || websocket.Broadcast(slices.Values([]*websocket.Conn{c}), m) != 0 {
					t.Errorf("type %d was sent", typ)
				}
			}
			send(t, c, "and nothing has happened")
		}
		read(t, client, "and nothing has happened")
		read(t, server, "and nothing has happened")
	})
}

// Attack 22: in a broadcast, a peer that has stopped reading delays nobody, and is
// counted once it is over its limit.
func TestBroadcast(t *testing.T) {
	var g websocket.Registry
	o := websocket.AcceptOptions{Registry: &g, Options: *patiently(100, websocket.SlowRefuse)}
	servers := map[string]http.Handler{
		"Handler": &websocket.Handler{AcceptOptions: o},
		"Conn": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c, err := websocket.Accept(w, r, &o); err == nil {
				defer c.CloseNow()
				c.Read(bg)
			}
		}),
	}
	for name, h := range servers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := wstest.NewServer(h)
				defer s.Close()
				var conns []*websocket.Conn
				for i := range 11 {
					c, _, err := s.Dial(bg, "/", &websocket.DialOptions{
						Options: *patiently(0, websocket.SlowRefuse),
						DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
							stream, err := s.Listener.DialContext(ctx, network, addr)
							if err == nil && i == 0 {
								stream.(*wstest.Stream).Peer().SetBuffer(200) // the 101 and little more
							}
							return stream, err
						},
					})
					if err != nil {
						t.Fatal(err)
					}
					conns = append(conns, c)
				}
				synctest.Wait()
				begin := time.Now()
				for i := range 20 {
					sent := websocket.Broadcast(g.All(), prepared("%d %s", i, message(90)))
					if i == 0 && sent != 11 || i >= 4 && sent != 10 {
						t.Errorf("message %d: %d took it", i, sent)
					}
					for _, c := range conns[1:] {
						read(t, c, fmt.Sprintf("%d %s", i, message(90)))
					}
					synctest.Wait() // what the stuck one takes, it has taken
				}
				if took := time.Since(begin); took != 0 {
					t.Errorf("the others waited %v", took)
				}
				read(t, conns[0], "0 "+message(90)) // it may go on
				for _, c := range conns {
					c.CloseNow()
				}
				synctest.Wait()
				if sent := websocket.Broadcast(g.All(), prepared("x")); sent != 0 || g.Len() != 0 {
					t.Errorf("%d of %d connections that have ended took it", sent, g.Len())
				}
			})
		})
	}
}

// What encoding a message once is worth to the one who writes it, without a system
// call in it.
func BenchmarkWritePrepared(b *testing.B) {
	for _, n := range []int{32, 1024, 4000, 32_000} {
		p := []byte(message(n))
		m := websocket.Prepare(websocket.Text, p)
		for name, write := range map[string]func(*websocket.Conn) error{
			"Write":         func(c *websocket.Conn) error { return c.Write(bg, websocket.Text, p) },
			"WritePrepared": func(c *websocket.Conn) error { return c.WritePrepared(bg, m) },
		} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				stream := &yieldless{closed: make(chan struct{})}
				c := websocket.Server(stream, patiently(0, websocket.SlowRefuse))
				defer c.CloseNow()
				b.ReportAllocs()
				for b.Loop() {
					if err := write(c); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// A yieldless takes everything at once.
type yieldless struct{ closed chan struct{} }

func (s *yieldless) Read([]byte) (int, error)    { <-s.closed; return 0, net.ErrClosed }
func (s *yieldless) Write(p []byte) (int, error) { return len(p), nil }
func (s *yieldless) Close() error                { close(s.closed); return nil }
