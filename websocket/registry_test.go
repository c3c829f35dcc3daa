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

// serve runs an echo server in both ways of writing one.
func serve(t *testing.T, g *websocket.Registry, test func(t *testing.T, s *wstest.Server)) {
	o := websocket.AcceptOptions{Registry: g}
	servers := map[string]http.Handler{
		"Handler": &websocket.Handler{AcceptOptions: o, Message: func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
			c.Write(bg, typ, p)
		}},
		"Conn": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c, err := websocket.Accept(w, r, &o); err == nil {
				defer c.CloseNow()
				echoing(c)()
			}
		}),
	}
	for name, h := range servers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				*g = websocket.Registry{}
				s := wstest.NewServer(h)
				defer s.Close()
				test(t, s)
			})
		})
	}
}

func dial(t *testing.T, s *wstest.Server, o *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	c, _, err := s.Dial(bg, "/", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return c
}

func TestShutdown(t *testing.T) {
	var g websocket.Registry
	serve(t, &g, func(t *testing.T, s *wstest.Server) {
		var ends []func() error
		for range 50 {
			c := dial(t, s, nil)
			ends = append(ends, echoing(c))
		}
		synctest.Wait()
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
	var g websocket.Registry
	serve(t, &g, func(t *testing.T, s *wstest.Server) {
		for range 5 {
			dial(t, s, nil) // and nobody reads
		}
		ctx, cancel := context.WithTimeout(bg, 2*time.Second)
		defer cancel()
		begin := time.Now()
		if err := g.Shutdown(ctx); err != context.DeadlineExceeded {
			t.Errorf("Shutdown: %v", err)
		}
		if got := time.Since(begin); got != 2*time.Second {
			t.Errorf("Shutdown took %v, want 2s", got)
		}
		synctest.Wait()
		if got := g.Len(); got != 0 {
			t.Errorf("%d connections are left", got)
		}
	})
}

// A connection whose handshake is under way when Shutdown begins is closed like
// the others, not forgotten: its peer may have the 101 already.
func TestShutdownDuringHandshake(t *testing.T) {
	var g websocket.Registry
	serve(t, &g, func(t *testing.T, s *wstest.Server) {
		stream, err := s.Listener.DialContext(bg, "tcp", "server.test:80")
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		line := stream.(*wstest.Stream)
		line.Peer().SetBuffer(0) // the 101 does not leave
		peer := handshaking(t, line)
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
	var g websocket.Registry
	serve(t, &g, func(t *testing.T, s *wstest.Server) {
		var floods []func() bool
		for range 5 {
			peer := handshaken(t, s)
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
