package websocket_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// serve runs an echo server in both ways of writing one, on all hosts.
func serve(t *testing.T, test func(t *testing.T, s *site, g *websocket.Registry)) {
	for name, h := range map[string]func(o websocket.AcceptOptions) http.Handler{
		"Handler": func(o websocket.AcceptOptions) http.Handler {
			return &websocket.Handler{AcceptOptions: o, Message: func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
				c.Write(bg, typ, p)
			}}
		},
		"Conn": func(o websocket.AcceptOptions) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c, err := websocket.Accept(w, r, &o); err == nil {
					defer c.CloseNow()
					echoing(c)()
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			overHosts(t, func(t *testing.T, host host) {
				g := new(websocket.Registry)
				test(t, host.run(t, h(websocket.AcceptOptions{Registry: g})), g)
			})
		})
	}
}

// echoed fails unless the server sends a message back: then it knows the client.
func echoed(t *testing.T, c *websocket.Conn, p string) {
	t.Helper()
	if err := c.Write(bg, websocket.Text, []byte(p)); err != nil {
		t.Fatal(err)
	}
	read(t, c, p)
}

func TestShutdown(t *testing.T) {
	serve(t, func(t *testing.T, s *site, g *websocket.Registry) {
		var ends []func() error
		for range 50 {
			c := dial(t, s, nil)
			echoed(t, c, "hello")
			ends = append(ends, reading(c))
		}
		if got := g.Len(); got != 50 {
			t.Errorf("Len is %d, want 50", got)
		}
		if err := g.Shutdown(bg); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		for _, end := range ends {
			wantClose(t, end(), websocket.CloseError{Code: websocket.CloseGoingAway})
		}
		if got := g.Len(); got != 0 {
			t.Errorf("Len is %d after Shutdown", got)
		}
		_, resp, err := s.Dial(bg, "/", nil)
		var refused *websocket.HandshakeError
		if !errors.As(err, &refused) || refused.Status != 503 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("after Shutdown: %v, %v", err, resp)
		}
		if err := g.Shutdown(bg); err != nil {
			t.Errorf("a second Shutdown: %v", err)
		}
	})
}

// Peers that do not answer are cut when the context ends.
func TestShutdownCuts(t *testing.T) {
	serve(t, func(t *testing.T, s *site, g *websocket.Registry) {
		for range 5 {
			echoed(t, dial(t, s, nil), "hello") // and then nobody reads
		}
		timeout := s.short(2 * time.Second)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(bg, timeout)
		defer cancel()
		if err := g.Shutdown(ctx); err != context.DeadlineExceeded {
			t.Errorf("Shutdown: %v", err)
		}
		s.lasted(t, begin, timeout)
		if err := g.Shutdown(bg); err != nil || g.Len() != 0 {
			t.Errorf("%d connections are left, %v", g.Len(), err)
		}
	})
}

// A connection whose handshake is under way when Shutdown begins is closed like
// the others, not forgotten: its peer may have the 101 already.
func TestShutdownDuringHandshake(t *testing.T) {
	serve(t, func(t *testing.T, s *site, g *websocket.Registry) {
		if !s.memory {
			return // a 101 cannot be held up
		}
		stream := s.stream()
		line := stream.(*wstest.Stream)
		line.Peer().SetBuffer(0) // the 101 does not leave
		peer := handshaking(t, stream)
		synctest.Wait()
		shutdown := async(func() error { return g.Shutdown(bg) })
		synctest.Wait()
		line.Peer().SetBuffer(1 << 16)
		peer.open(t)
		peer.want("close 1001")
		peer.send(peer.close(1001, ""))
		peer.want("end")
		stream.Close()
		if err := shutdown(); err != nil {
			t.Error(err)
		}
	})
}

// Attack 23: a burst of pings while the server shuts down.
func TestShutdownDuringPings(t *testing.T) {
	serve(t, func(t *testing.T, s *site, g *websocket.Registry) {
		var floods []func() bool
		for range 3 {
			peer := s.peer(t)
			peer.send(peer.frame(true, wire.OpPing, "burst"))
			peer.want("pong burst") // the server knows it
			floods = append(floods, async(func() bool {
				defer peer.Close()
				closing, done := make(chan bool), make(chan bool)
				go func() {
					defer close(done)
					burst := bytes.Repeat(peer.frame(true, wire.OpPing, "burst"), 100)
					for {
						peer.Write(burst)
						select {
						case <-closing:
							peer.Write(peer.close(1001, ""))
							return
						case <-time.After(50 * time.Microsecond):
						}
					}
				}()
				for {
					switch got := peer.next(); got {
					case "pong burst":
						continue
					case "close 1001":
						close(closing)
						<-done
						return peer.next() == "end"
					default:
						t.Errorf("a peer got %q", got)
						close(closing)
						<-done
						return false
					}
				}
			}))
		}
		time.Sleep(5 * time.Millisecond)
		if err := g.Shutdown(bg); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		for _, flood := range floods {
			if !flood() {
				t.Error("a peer did not get the close frame")
			}
		}
	})
}
