package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// A mute is a stream that takes nothing and brings nothing.
type mute struct{ closed chan struct{} }

func (s mute) Read([]byte) (int, error)  { <-s.closed; return 0, net.ErrClosed }
func (s mute) Write([]byte) (int, error) { return 0, errors.New("the pipe is broken") }
func (s mute) Close() error              { close(s.closed); return nil }

// A peer that no ping can be sent to is as gone as one that answers none.
func TestPongTimeoutOfABrokenStream(t *testing.T) {
	for _, written := range []bool{false, true} {
		t.Run(fmt.Sprint("after a Write ", written), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := websocket.Server(mute{make(chan struct{})}, nil)
				defer time.AfterFunc(time.Hour, func() { c.CloseNow() }).Stop()
				if written && c.Write(bg, websocket.Text, nil) == nil {
					t.Error("the Write has gone well")
				}
				begin := time.Now()
				if _, _, err := c.Read(bg); !errors.Is(err, websocket.ErrPongTimeout) {
					t.Errorf("Read returned %v, want ErrPongTimeout", err)
				}
				if got := time.Since(begin); got != 40*time.Second {
					t.Errorf("that took %v, want 40s", got)
				}
			})
		})
	}
}

// pong answers the next ping, and says after how long it came.
func (r *raw) pong(t *testing.T) time.Duration {
	t.Helper()
	begin := time.Now()
	h, p, err := r.ReadFrame()
	if err != nil || h.Opcode != wire.OpPing {
		t.Fatalf("got %v, %v, want a ping", h.Opcode, err)
	}
	waited := time.Since(begin)
	if r.s != nil {
		time.Sleep(70 * time.Millisecond) // the way there and back, in fake time
	}
	r.send(r.frame(true, wire.OpPong, string(p)))
	return waited
}

func TestAutomaticPing(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, nil)
		end := reading(c)
		var at []time.Duration
		begin := time.Now()
		for range 3 {
			peer.pong(t)
			at = append(at, time.Since(begin).Round(time.Second))
		}
		if at[0] != 30*time.Second || at[1] != 60*time.Second || at[2] != 90*time.Second {
			t.Errorf("pings came at %v, want every 30s", at)
		}
		synctest.Wait()
		if got := c.RTT(); got != 70*time.Millisecond {
			t.Errorf("RTT is %v, want 70ms", got)
		}
		c.CloseNow()
		end()
	})
}

func TestAutomaticPingInRealTime(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		interval := w.short(30 * time.Second)
		e, peer := w.against(t, &websocket.Options{PingInterval: interval})
		e.reading()
		for range 3 {
			if waited := peer.pong(t); w.memory && (waited > interval+interval/64 || waited < interval-time.Second) {
				t.Errorf("a ping came after %v, want %v", waited, interval)
			}
			eventually(t, w.host, "RTT", func() bool { return e.RTT() > 0 })
		}
		e.CloseNow()
	})
}

func TestPongTimeoutOfAServer(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		interval, timeout := w.short(time.Minute), w.short(3*time.Second)
		begin := time.Now()
		e, peer := w.against(t, &websocket.Options{PingInterval: interval, PongTimeout: timeout})
		err := e.reading()()
		if !errors.Is(err, websocket.ErrPongTimeout) {
			t.Errorf("got %v, want ErrPongTimeout", err)
		}
		if got, want := time.Since(begin), interval+timeout; got < want || w.memory && got > want+want/64 {
			t.Errorf("ended after %v, want %v", got, want)
		}
		peer.want("ping *")
		for got := peer.next(); got != "close 1011 no pong in time"; got = peer.next() {
			if !strings.HasPrefix(got, "ping ") {
				t.Fatalf("got %q", got)
			}
		}
		if err := e.Write(bg, websocket.Text, nil); !errors.Is(err, websocket.ErrPongTimeout) {
			t.Errorf("Write: %v", err)
		}
	})
}

func TestPongTimeout(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, false, &websocket.Options{PingInterval: time.Minute, PongTimeout: 3 * time.Second})
		begin := time.Now()
		err := reading(c)()
		if !errors.Is(err, websocket.ErrPongTimeout) {
			t.Errorf("got %v, want ErrPongTimeout", err)
		}
		if got := time.Since(begin); got != 63*time.Second {
			t.Errorf("ended after %v, want 1m3s", got)
		}
		peer.want("ping *", "close 1011 no pong in time", "end")
		if err := c.Write(bg, websocket.Text, nil); !errors.Is(err, websocket.ErrPongTimeout) {
			t.Errorf("Write: %v", err)
		}
	})
}

// A peer that is stuck does not hold the end up.
func TestPongTimeoutBehindAStuckWrite(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, false, &websocket.Options{WriteTimeout: -1})
		peer.s.Peer().SetBuffer(0)
		begin := time.Now()
		if err := reading(c)(); !errors.Is(err, websocket.ErrPongTimeout) {
			t.Errorf("got %v, want ErrPongTimeout", err)
		}
		if got := time.Since(begin); got != 41*time.Second { // 30 + 10 + 1 for the close frame
			t.Errorf("ended after %v, want 41s", got)
		}
	})
}

// An application that does not read does not lose its peer, and the pong's time
// begins when it reads again.
func TestSlowApplicationKeepsItsPeer(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, nil)
		go io.Copy(io.Discard, peer.s)
		peer.send(peer.text("1"), peer.text("2"))
		read(t, c, "1")
		time.Sleep(5 * time.Minute)
		read(t, c, "2")
		end := reading(c)
		begin := time.Now()
		if err := end(); !errors.Is(err, websocket.ErrPongTimeout) {
			t.Errorf("got %v", err)
		}
		if got := time.Since(begin); got < 10*time.Second {
			t.Errorf("ended %v after reading began again, want at least 10s", got)
		}
		peer.s.Close()
	})
}

// Nor does a loop of reads with short contexts keep a dead one.
func TestDeadPeerAmongShortReads(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, nil)
		go io.Copy(io.Discard, peer.s)
		begin := time.Now()
		for {
			ctx, cancel := context.WithTimeout(bg, 4*time.Second)
			_, _, err := c.Read(ctx)
			cancel()
			if errors.Is(err, websocket.ErrPongTimeout) {
				break
			}
			if time.Since(begin) > time.Hour {
				t.Fatal("a dead peer was not noticed within an hour")
			}
		}
		peer.s.Close()
	})
}

// A ping that has to wait behind a long message is not due before it has left: a
// peer on a slow line is not a dead one.
func TestPingBehindALongWrite(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, nil)
		end := reading(c)
		drained := async(func() error {
			b := make([]byte, 10_000)
			for { // 100 KB/s
				time.Sleep(100 * time.Millisecond)
				if _, err := io.ReadFull(peer.s, b); err != nil {
					return err
				}
			}
		})
		if err := c.Write(bg, websocket.Binary, make([]byte, 8<<20)); err != nil {
			t.Error(err)
		}
		c.CloseNow()
		peer.s.Close()
		end()
		drained()
	})
}

// Bytes that come show that the peer is alive, pong or not.
func TestTrafficIsLife(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, &websocket.Options{MaxMessage: -1})
		end := reading(c)
		sent := async(func() error {
			peer.s.Write(wire.Header{Fin: true, Opcode: wire.OpBinary, Masked: true, Length: 100}.Append(nil))
			for range 100 { // a message that takes 500 s
				time.Sleep(5 * time.Second)
				if _, err := peer.s.Write([]byte{0}); err != nil {
					return err
				}
			}
			return nil
		})
		if err := sent(); err != nil {
			t.Error(err)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestNoAutomaticPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := against(t, wstest.TCP, true, &websocket.Options{PingInterval: -1})
		end := reading(c)
		time.Sleep(time.Hour)
		peer.send(peer.close(1000, ""))
		peer.want("close 1000") // and no ping before it
		peer.s.Close()
		end()
	})
	synctest.Test(t, func(t *testing.T) {
		c, peer := against(t, wstest.TCP, true, &websocket.Options{PongTimeout: -1})
		end := reading(c)
		time.Sleep(100 * time.Second)
		peer.want("ping *", "ping *", "ping *")
		c.CloseNow()
		end()
	})
}

func TestPing(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		client, server := pair(t, kind, nil)
		ends := []func() error{reading(client), reading(server)}
		for range 3 {
			if err := client.Ping(bg); err != nil {
				t.Fatal(err)
			}
		}
		client.CloseNow()
		for _, end := range ends {
			end()
		}
		if err := client.Ping(bg); err == nil {
			t.Error("Ping of a connection that has ended returned nil")
		}
	})
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, nil)
		end := reading(c)
		// The pong for a later ping answers the earlier ones. RFC 6455, 5.5.3.
		first := async(func() error { return c.Ping(bg) })
		peer.want("ping *")
		second := async(func() error { return c.Ping(bg) })
		peer.pong(t)
		if err := errors.Join(first(), second()); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		if err := c.Ping(ctx); err != context.DeadlineExceeded {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
		if err := c.Ping(ctx); err != context.DeadlineExceeded {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
		c.CloseNow()
		end()
	})
}
