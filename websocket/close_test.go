package websocket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// RFC 6455, 7.1.1: the server ends the stream first, the client waits for that.
func TestCloseOrder(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, nil)
		result := e.closing(4000, "bye")
		peer.want("close 4000 bye")
		peer.send(peer.close(4000, ""))
		peer.want("end") // before this end has closed anything
		peer.Close()
		if err := result(); err != nil {
			t.Errorf("Close: %v", err)
		}
		wantClose(t, e.reading()(), websocket.CloseError{Code: 4000, Reason: "bye", Local: true})
		wantClose(t, e.Write(bg, websocket.Text, nil), websocket.CloseError{Code: 4000, Reason: "bye", Local: true})
	})
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, false, nil)
		ended := false
		result := async(func() error { defer func() { ended = true }(); return c.Close(1000, "") })
		peer.want("close 1000")
		peer.send(peer.close(1000, ""))
		synctest.Wait()
		if ended {
			t.Error("the client ended the stream before the server")
		}
		peer.s.Close()
		if err := result(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// The peer closes: its code is answered, whatever it is, and Read tells it.
func TestPeerCloses(t *testing.T) {
	codes := []websocket.CloseCode{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999}
	overWays(t, func(t *testing.T, w way) {
		for _, code := range codes {
			e, peer := w.against(t, nil)
			peer.send(peer.close(code, "so long"))
			end := e.reading()
			peer.want(fmt.Sprintf("close %d", code), "end")
			peer.Close()
			want := websocket.CloseError{Code: code, Reason: "so long"}
			wantClose(t, end(), want)
			wantClose(t, e.closing(1000, "")(), want)
		}
		e, peer := w.against(t, nil)
		peer.send(peer.frame(true, wire.OpClose, ""))
		end := e.reading()
		if h, p, err := peer.ReadFrame(); err != nil || h.Opcode != wire.OpClose || len(p) > 0 {
			t.Errorf("got %v %x, %v, want an empty close frame", h.Opcode, p, err)
		}
		peer.Close()
		wantClose(t, end(), websocket.CloseError{Code: websocket.CloseNoStatus})
	})
}

func TestCloseWithoutCode(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, nil)
		result := e.closing(websocket.CloseNoStatus, "not sent")
		peer.want("close 1005") // that is: empty
		peer.send(peer.frame(true, wire.OpClose, ""))
		peer.Close()
		if err := result(); err != nil {
			t.Error(err)
		}
	})
}

// Attack 12, sending: codes that must not be sent are refused, and nothing happens.
func TestCloseRefusesReservedCodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t, wstest.TCP, nil)
		end := echoing(server)
		for _, code := range []websocket.CloseCode{0, 1, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65535} {
			if err := client.Close(code, ""); err == nil || !strings.Contains(err.Error(), "must not be sent") {
				t.Errorf("Close(%d): %v", code, err)
			}
		}
		if err := client.Write(bg, websocket.Text, []byte("alive")); err != nil {
			t.Fatal(err)
		}
		read(t, client, "alive")
		client.Close(1000, "")
		end()
	})
}

func TestCloseReason(t *testing.T) {
	cases := []struct{ reason, sent string }{
		{strings.Repeat("x", 200), strings.Repeat("x", 123)},
		{strings.Repeat("é", 100), strings.Repeat("é", 61)}, // whole characters
		{"not\xffUTF-8", "not\uFFFDUTF-8"},
	}
	for _, tc := range cases {
		synctest.Test(t, func(t *testing.T) {
			client, server := pair(t, wstest.TCP, nil)
			end := reading(server)
			client.Close(4001, tc.reason)
			wantClose(t, end(), websocket.CloseError{Code: 4001, Reason: tc.sent})
		})
	}
}

// Attack 12: no answer to a close frame.
func TestCloseTimeout(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		timeout := w.short(5 * time.Second)
		e, peer := w.against(t, &websocket.Options{CloseTimeout: timeout})
		sent := async(func() int { // everything but an answer
			for n := 0; ; n++ {
				if peer.trySend(peer.text("more")) != nil {
					return n
				}
				time.Sleep(timeout / 50) // else fake time would stand still
			}
		})
		begin := time.Now()
		result := e.closing(1000, "")
		peer.want("close 1000")
		err := result()
		for err == nil { // a Handler's callbacks have got what came before
			err = e.reading()()
		}
		w.lasted(t, begin, timeout)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		sent()
	})
	// A server that answers and does not end the stream holds a client up no longer.
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, false, &websocket.Options{CloseTimeout: 2 * time.Second})
		begin := time.Now()
		result := async(func() error { return c.Close(1000, "") })
		peer.want("close 1000")
		peer.send(peer.close(1000, ""))
		if err := result(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if got := time.Since(begin); got != 2*time.Second {
			t.Errorf("Close took %v, want 2s", got)
		}
	})
}

// While a Read is in progress it gets what comes until the peer's close frame.
func TestCloseLetsAReadGoOn(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, nil)
		var got []string
		end := async(func() error {
			for {
				_, p, err := c.Read(bg)
				if err != nil {
					return err
				}
				got = append(got, string(p))
			}
		})
		synctest.Wait()
		result := async(func() error { return c.Close(1000, "") })
		peer.want("close 1000")
		synctest.Wait()
		peer.send(peer.text("late"))
		synctest.Wait()
		peer.send(peer.text("later"), peer.text("last"))
		peer.send(peer.close(1000, ""))
		peer.want("end")
		peer.s.Close()
		if err := result(); err != nil {
			t.Errorf("Close: %v", err)
		}
		wantClose(t, end(), websocket.CloseError{Code: 1000, Local: true})
		if !slices.Equal(got, []string{"late", "later", "last"}) {
			t.Errorf("got %q, want the messages that came before the peer's close", got)
		}
	})
}

// CloseWrite leaves all reading to the caller, who gets every message, however
// slow.
func TestCloseWrite(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, false, nil)
		if err := c.CloseWrite(1005+1, ""); err == nil {
			t.Error("CloseWrite took code 1006")
		}
		if err := c.CloseWrite(1000, "all said"); err != nil {
			t.Error(err)
		}
		if err := c.Write(bg, websocket.Text, nil); err == nil {
			t.Error("Write after CloseWrite returned nil")
		}
		peer.want("close 1000 all said")
		peer.send(peer.text("1"), peer.text("2"), peer.close(1000, ""))
		peer.s.CloseWrite()
		for _, want := range []string{"1", "2"} {
			time.Sleep(time.Second)
			read(t, c, want)
		}
		wantClose(t, reading(c)(), websocket.CloseError{Code: 1000, Reason: "all said", Local: true})
		if err := c.Close(1000, ""); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, _ := against(t, kind, false, nil)
		c.CloseWrite(1000, "")
		begin := time.Now()
		if err := reading(c)(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("without an answer: %v", err)
		}
		if got := time.Since(begin); got != 5*time.Second {
			t.Errorf("took %v, want 5s", got)
		}
	})
}

// After Close, Write returns the same error, whatever becomes of the handshake.
func TestWriteErrorAfterCloseStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := against(t, wstest.TCP, true, nil)
		result := async(func() error { return c.Close(4000, "") })
		peer.want("close 4000")
		want := websocket.CloseError{Code: 4000, Local: true}
		wantClose(t, c.Write(bg, websocket.Text, nil), want)
		if err := result(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		wantClose(t, c.Write(bg, websocket.Text, nil), want)
	})
}

// A message that a context has stopped is not lost to a Close in between.
func TestCloseKeepsAStoppedMessage(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, nil)
		peer.send(peer.frame(false, wire.OpText, "one, "))
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		_, r, err := c.Reader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		if n, err := r.Read(b); string(b[:n]) != "one, " || err != nil {
			t.Fatalf("%q, %v", b[:n], err)
		}
		if _, err := r.Read(b); err != context.DeadlineExceeded {
			t.Fatal(err)
		}
		go c.Close(1000, "")
		peer.want("close 1000")
		synctest.Wait()
		peer.send(peer.frame(true, wire.OpContinuation, "two"))
		_, r, err = c.Reader(bg)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := io.ReadAll(r); string(p) != "two" || err != nil {
			t.Errorf("got %q, %v, want the rest", p, err)
		}
		c.CloseNow()
	})
}

// Where nobody reads, Close does, and throws away, however much there is.
func TestCloseReadsAndDiscards(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, nil)
		sent := async(func() error {
			for range 50 {
				if _, err := peer.s.Write(peer.text(message(100_000))); err != nil {
					return err
				}
			}
			_, err := peer.s.Write(peer.close(1000, ""))
			return err
		})
		if err := c.Close(1000, ""); err != nil && kind == wstest.TCP {
			t.Errorf("Close: %v", err)
		}
		if err := sent(); err != nil {
			t.Error(err)
		}
		peer.want("close 1000", "end")
	})
}

// Attack 12: data after a close frame is not data any more.
func TestDataAfterClose(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, nil)
		if peer.s != nil {
			peer.s.Peer().ResetUnread(true) // as the system's sockets do
		}
		peer.send(peer.close(1000, ""), peer.frame(true, wire.OpPing, "late"), peer.text("late"), []byte{0xFF, 0xFF, 0xFF})
		end := e.reading()
		peer.want("close 1000", "end")
		peer.Close()
		wantClose(t, end(), websocket.CloseError{Code: 1000})
	})
}

// After a violation the peer gets the close frame though it goes on sending: a
// reset must not overtake it. It is listened to for a second, no longer.
func TestViolationLingers(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		if w.kind == wstest.Bare {
			return // without a half-close the end is at once
		}
		e, peer := w.against(t, nil)
		if peer.s != nil {
			peer.s.Peer().ResetUnread(true)
		}
		begin := time.Now()
		end := e.reading()
		flood := async(func() time.Duration {
			if err := peer.trySend([]byte{0x83, 0x80, 0, 0, 0, 0}); err != nil {
				t.Error(err)
			}
			for {
				if peer.trySend(bytes.Repeat(peer.text("more"), 100)) != nil {
					return time.Since(begin)
				}
				time.Sleep(10 * time.Millisecond) // else fake time would stand still
			}
		})
		peer.want("close 1002 *", "end")
		wantError(t, end(), websocket.CloseProtocolError)
		if got := flood(); got < time.Second || w.memory && got > 1100*time.Millisecond {
			t.Errorf("listened to for %v, want 1s", got)
		}
	})
}

// A context that ends cuts the lingering short, for the caller that wants to go.
func TestContextEndsLingering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := against(t, wstest.TCP, true, nil)
		peer.send([]byte{0x83, 0x80, 0, 0, 0, 0})
		ctx, cancel := context.WithTimeout(bg, 100*time.Millisecond)
		defer cancel()
		begin := time.Now()
		_, _, err := c.Read(ctx)
		wantError(t, err, websocket.CloseProtocolError)
		if got := time.Since(begin); got != 100*time.Millisecond {
			t.Errorf("Read took %v", got)
		}
	})
}

// Both close at once: both see their own close and no error.
func TestBothClose(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		client, server := pair(t, kind, nil)
		a := async(func() error { return client.Close(4000, "client") })
		b := async(func() error { return server.Close(4001, "server") })
		errA, errB := a(), b()
		for _, err := range []error{errA, errB} {
			var ce *websocket.CloseError
			if err != nil && !errors.As(err, &ce) {
				t.Errorf("Close: %v", err)
			}
		}
	})
}

// Attack 22: a peer that has stopped reading does not hold Close up beyond its
// timeout.
func TestCloseBehindAStuckWrite(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		timeout := w.short(5 * time.Second)
		e, peer := w.against(t, &websocket.Options{CloseTimeout: timeout})
		wrote := e.stick(peer)
		begin := time.Now()
		err := e.closing(1000, "")()
		w.lasted(t, begin, timeout)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if err := wrote(); err == nil && !w.parked() {
			t.Error("the stuck Write returned nil")
		}
	})
}

func TestCloseNowStopsEverything(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, nil)
		peer.s.Peer().SetBuffer(0)
		calls := map[string]func() error{
			"Read":  reading(c),
			"Write": async(func() error { return c.Write(bg, websocket.Text, []byte("x")) }),
			"large": async(func() error { return c.Write(bg, websocket.Text, []byte(message(1<<20))) }),
			"Ping":  async(func() error { return c.Ping(bg) }),
			"Reader": async(func() error {
				_, r, err := c.Reader(bg)
				if err == nil {
					_, err = io.ReadAll(r)
				}
				return err
			}),
		}
		synctest.Wait()
		if err := c.CloseNow(); err != nil {
			t.Errorf("CloseNow: %v", err)
		}
		want := websocket.CloseError{Code: websocket.CloseAbnormal, Local: true}
		for name, call := range calls {
			t.Log(name)
			wantClose(t, call(), want)
		}
		if err := c.CloseNow(); err != nil {
			t.Errorf("a second CloseNow: %v", err)
		}
		wantClose(t, c.Close(1000, ""), want)
		wantClose(t, c.Ping(bg), want)
		wantClose(t, reading(c)(), want)
		_, err := c.Writer(bg, websocket.Text)
		wantClose(t, err, want)
	})
}

// Writes that wait for their turn behind a peer that takes nothing end with the
// connection, whoever ends it.
func TestCloseNowStopsWrites(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, nil)
		first := e.stick(peer)
		var waiting []func() error
		for range 3 {
			waiting = append(waiting, async(func() error {
				for {
					if err := e.Write(bg, websocket.Binary, make([]byte, 100_000)); err != nil {
						return err
					}
				}
			}))
		}
		end := e.reading()
		if err := e.CloseNow(); err != nil && !w.tls { // TLS has its own opinion of a close behind a write
			t.Errorf("CloseNow: %v", err)
		}
		want := websocket.CloseError{Code: websocket.CloseAbnormal, Local: true}
		for _, wait := range append(waiting, end) {
			wantClose(t, wait(), want)
		}
		if err := first(); !w.parked() {
			wantClose(t, err, want)
		}
		wantClose(t, e.Ping(bg), want)
		wantClose(t, e.Write(bg, websocket.Text, nil), want)
		if err := e.CloseNow(); err != nil {
			t.Errorf("a second CloseNow: %v", err)
		}
	})
}

func TestCloseNowDropsWhatWasBuffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := against(t, wstest.TCP, true, nil)
		peer.send(peer.text("1"), peer.text("2"))
		read(t, c, "1")
		c.CloseNow()
		wantClose(t, reading(c)(), websocket.CloseError{Code: websocket.CloseAbnormal, Local: true})
	})
}

// Attack 25: write, close, ping and read at once, from every side.
func TestEverythingAtOnce(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		rounds := 20
		if !w.memory {
			rounds = 4 // in real time
		} else if raceEnabled {
			rounds = 6 // there are many ways, and each is slow then
		}
		for i := range rounds {
			server, client := w.pair(t, &websocket.Options{PingInterval: time.Millisecond})
			var all sync.WaitGroup
			for range 3 {
				busily(&all, client)
				busily(&all, server.Conn)
				all.Go(func() { readBriefly(client) })
				if !w.handler {
					all.Go(func() { readBriefly(server.Conn) })
				}
			}
			all.Go(func() {
				for w.handler && server.reading()() == nil {
				}
			})
			for range 2 {
				all.Go(func() {
					time.Sleep(20 * time.Millisecond)
					if i%3 == 0 {
						client.CloseNow()
					} else {
						client.Close(1000, "")
					}
				})
				all.Go(func() {
					time.Sleep(20 * time.Millisecond)
					server.Close(1000, "")
				})
			}
			all.Wait()
		}
	})
}

// busily writes and pings until the connection ends.
func busily(all *sync.WaitGroup, c *websocket.Conn) {
	all.Go(func() {
		for c.Write(bg, websocket.Text, []byte(message(100))) == nil {
			time.Sleep(200 * time.Microsecond)
		}
	})
	all.Go(func() {
		for c.Ping(bg) == nil {
			time.Sleep(time.Millisecond) // fake time passes only while all wait
		}
	})
	all.Go(func() {
		if w, err := c.Writer(bg, websocket.Binary); err == nil {
			io.Copy(w, strings.NewReader(message(20_000)))
			w.Close()
		}
	})
}

// readBriefly reads under contexts that end soon.
func readBriefly(c *websocket.Conn) {
	for {
		ctx, cancel := context.WithTimeout(bg, time.Millisecond)
		_, _, err := c.Read(ctx)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return
		}
	}
}
