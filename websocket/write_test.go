package websocket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// A lone message is one write, header and payload together, up to the size from
// which copying costs more.
func TestOneWriteAMessage(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		for _, server := range []bool{true, false} {
			for _, n := range []int{0, 1, 4000, 5000, 32000} {
				c, peer := against(t, kind, server, nil)
				before := peer.s.Peer().Stats().Writes
				if err := c.Write(bg, websocket.Binary, []byte(message(n))); err != nil {
					t.Fatal(err)
				}
				if got := peer.s.Peer().Stats().Writes - before; got != 1 {
					t.Errorf("server %v, %d bytes: %d writes, want 1", server, n, got)
				}
			}
		}
	})
}

// While one write is under way the frames of others gather, and leave with the
// next.
func TestWritesAreJoined(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, nil)
		line := peer.s.Peer()
		line.SetBuffer(0)
		var writers sync.WaitGroup
		for i := range 101 {
			writers.Go(func() {
				if err := c.Write(bg, websocket.Text, fmt.Appendf(nil, "%d", i)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait() // the first is stuck, the rest gather
		}
		line.SetBuffer(1 << 16)
		writers.Wait()
		if got := line.Stats().Writes; got != 2 {
			t.Errorf("101 messages took %d writes, want 2", got)
		}
		for i := range 101 {
			peer.want(fmt.Sprintf("text %d", i))
		}
	})
}

// A context ends the wait for a turn and nothing else.
func TestWriteContext(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, &websocket.Options{WriteTimeout: -1})
		line := peer.s.Peer()
		line.SetBuffer(0)
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		write := func(p string) func() error {
			w := async(func() error { return c.Write(ctx, websocket.Text, []byte(p)) })
			synctest.Wait()
			return w
		}
		first := write("first")            // in the stream's Write
		gathered := write(message(60_000)) // in the batch
		noRoom := write(message(10_000))   // waits for a turn
		large := write(message(200_000))   // waits for a turn
		writer := async(func() error { return writeAll(c, ctx, message(10_000)) })
		time.Sleep(2 * time.Second) // ctx has ended for all
		for name, w := range map[string]func() error{"no room": noRoom, "large": large, "writer": writer} {
			if err := w(); err != context.DeadlineExceeded {
				t.Errorf("%s: got %v, want %v", name, err, context.DeadlineExceeded)
			}
		}
		line.SetBuffer(1 << 20)
		for _, w := range []func() error{first, gathered} {
			if err := w(); err != nil {
				t.Error(err)
			}
		}
		if err := c.Write(ctx, websocket.Text, []byte("too late")); err != context.DeadlineExceeded {
			t.Errorf("with a context that has ended: %v", err)
		}
		if err := c.Write(bg, websocket.Text, []byte("alive")); err != nil {
			t.Error(err)
		}
		peer.want("text first", "text 60000 bytes", "text alive")
	})
}

func writeAll(c *websocket.Conn, ctx context.Context, p string) error {
	w, err := c.Writer(ctx, websocket.Text)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, p); err != nil {
		return err
	}
	return w.Close()
}

// A peer that takes nothing loses the connection, and everybody hears of it.
func TestWriteTimeout(t *testing.T) {
	for _, n := range []int{10, 20_000, 300_000} {
		overKinds(t, func(t *testing.T, kind wstest.Kind) {
			c, peer := against(t, kind, true, nil)
			peer.s.Peer().SetBuffer(0)
			waiting := reading(c)
			begin := time.Now()
			err := c.Write(bg, websocket.Binary, []byte(message(n)))
			if got := time.Since(begin); got != 10*time.Second {
				t.Errorf("%d bytes: Write took %v, want 10s", n, got)
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "10s") {
				t.Errorf("Write: %v", err)
			}
			if got := waiting(); got != err {
				t.Errorf("Read: %v, Write: %v", got, err)
			}
			if got := c.Write(bg, websocket.Text, nil); got != err {
				t.Errorf("then Write: %v", got)
			}
		})
	}
	overWays(t, func(t *testing.T, w way) {
		timeout := w.short(10 * time.Second)
		e, peer := w.against(t, &websocket.Options{WriteTimeout: timeout, PingInterval: -1})
		begin := time.Now()
		wrote := e.stick(peer)
		err := e.reading()()
		if got := time.Since(begin); got < timeout || w.memory && got > timeout+timeout/64 {
			t.Errorf("it took %v, want %v", got, timeout)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), timeout.String()) {
			t.Errorf("the end: %v", err)
		}
		if got := wrote(); got != err && !w.parked() {
			t.Errorf("Write: %v, the end: %v", got, err)
		}
		if got := e.Write(bg, websocket.Text, nil); got != err {
			t.Errorf("then Write: %v, the end: %v", got, err)
		}
	})
}

// A peer that is slow and takes something is not cut off.
func TestSlowPeerIsNotCutOff(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, false, nil)
		peer.s.Peer().SetBuffer(32 << 10)
		wrote := async(func() error { return c.Write(bg, websocket.Binary, []byte(message(300_000))) })
		for left := int64(14 + 300_000); left > 0; left -= 32 << 10 { // a client's header has 14
			time.Sleep(8 * time.Second)
			if _, err := io.CopyN(io.Discard, peer.s, min(left, 32<<10)); err != nil {
				t.Fatal(err)
			}
		}
		if err := wrote(); err != nil {
			t.Error(err)
		}
	})
}

func TestWriteError(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		broken := errors.New("the cable is cut")
		c, peer := against(t, kind, true, nil)
		peer.s.Peer().FailWrite(0, broken)
		err := c.Write(bg, websocket.Text, []byte("x"))
		if !errors.Is(err, broken) {
			t.Errorf("got %v, want %v", err, broken)
		}
		if again := c.Write(bg, websocket.Text, []byte("x")); again != err {
			t.Errorf("then %v", again)
		}
		// What the peer had sent before is still to be had.
		peer.send(peer.text("y"))
		read(t, c, "y")
	})
}

func TestWriteRefusesOtherTypes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := against(t, wstest.TCP, true, nil)
		for _, typ := range []websocket.MessageType{0, 3, 8, 9, 10} {
			if err := c.Write(bg, typ, nil); err == nil {
				t.Errorf("Write took type %d", typ)
			}
			if _, err := c.Writer(bg, typ); err == nil {
				t.Errorf("Writer took type %d", typ)
			}
		}
	})
}

// RFC 6455, 5.3: a client masks every frame, each with another key, and not in the
// caller's slice.
func TestClientMasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := against(t, wstest.TCP, false, nil)
		keys := map[uint32]bool{}
		for _, n := range []int{1, 5000, 100_000} {
			p := []byte(message(n))
			wrote := async(func() error { return c.Write(bg, websocket.Binary, p) })
			h, got, err := peer.ReadFrame()
			if err != nil || !h.Masked || string(got) != message(n) {
				t.Fatalf("masked %v, %d bytes, %v", h.Masked, len(got), err)
			}
			if err := wrote(); err != nil {
				t.Fatal(err)
			}
			if string(p) != message(n) {
				t.Errorf("%d bytes: Write changed the caller's slice", n)
			}
			keys[h.Key] = true
		}
		if len(keys) != 3 {
			t.Errorf("3 frames had %d different keys", len(keys))
		}
	})
}

func TestWriter(t *testing.T) {
	cases := []struct {
		name   string
		writes []int
		frames []string
	}{
		{"nothing", nil, []string{"text"}},
		{"little", []int{1, 2, 3}, []string{"text 012010"[:5] + "001012"}},
		{"just what gathers", []int{4000, 96}, []string{"text 4096 bytes"}},
		{"more", []int{4000, 97}, []string{"text… 4000 bytes", "continuation 97 bytes"}},
		{"a large write", []int{10, 50_000, 70}, []string{"text… 0123456789", "continuation… 50000 bytes", "continuation 70 bytes"}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			overWays(t, func(t *testing.T, w way) {
				e, peer := w.against(t, nil)
				writer, err := e.Writer(bg, websocket.Text|websocket.Uncompressed)
				if err != nil {
					t.Fatal(err)
				}
				done := async(func() error {
					for _, n := range tc.writes {
						if m, err := writer.Write([]byte(message(n))); m != n || err != nil {
							return fmt.Errorf("Write(%d): %d, %v", n, m, err)
						}
					}
					return writer.Close()
				})
				peer.want(tc.frames...)
				if err := done(); err != nil {
					t.Error(err)
				}
				if _, err := writer.Write(nil); err == nil {
					t.Error("Write after Close returned nil")
				}
				if err := writer.Close(); err == nil {
					t.Error("a second Close returned nil")
				}
			})
		})
	}
}

// The line belongs to a message in fragments until its end: other messages wait,
// control frames do not. RFC 6455, 5.4.
func TestWriterHoldsTheLine(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, nil)
		writer, err := e.Writer(bg, websocket.Text|websocket.Uncompressed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := writer.Write([]byte("gathers, and holds nothing up")); err != nil {
			t.Fatal(err)
		}
		if err := e.Write(bg, websocket.Text, []byte("before")); err != nil {
			t.Fatal(err)
		}
		if _, err := writer.Write([]byte(message(5000))); err != nil {
			t.Fatal(err)
		}
		other := async(func() error { return e.Write(bg, websocket.Text, []byte("after")) })
		ctx, cancel := context.WithTimeout(bg, w.short(time.Second))
		defer cancel()
		if err := e.Write(ctx, websocket.Text, nil); err != context.DeadlineExceeded {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
		e.reading()
		peer.send(peer.frame(true, wire.OpPing, "now"))
		peer.want("text before", "text… gathers, and holds nothing up", "continuation… 5000 bytes", "pong now")
		if err := writer.Close(); err != nil {
			t.Error(err)
		}
		if err := other(); err != nil {
			t.Error(err)
		}
		peer.want("continuation", "text after")
	})
}

// A context that ends in the middle of a message does not spoil it.
func TestWriterContextOnceBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := against(t, wstest.TCP, true, nil)
		ctx, cancel := context.WithCancel(bg)
		w, err := c.Writer(ctx, websocket.Text)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(message(5000)))
		cancel()
		if _, err := w.Write([]byte("rest")); err != nil {
			t.Error(err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		peer.want("text… 5000 bytes", "continuation rest")
	})
}

// Many goroutines write messages of all sizes in all ways; each arrives whole, and
// those of one goroutine in order.
func TestManyWriters(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		client, server := pair(t, kind, nil)
		manyWriters(t, client, server)
	})
	overWays(t, func(t *testing.T, w way) {
		server, client := w.pair(t, nil)
		manyWriters(t, server.Conn, client)
	})
}

func manyWriters(t *testing.T, from, to *websocket.Conn) {
	const writers, messages = 6, 30
	for i := range writers {
		go func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for j := range messages {
				size := []int{10, 100, 5000, 40_000, 100_000}[rng.IntN(5)]
				p := fmt.Appendf(nil, "%d %d %s", i, j, bytes.Repeat([]byte{byte('a' + i)}, size))
				var err error
				if rng.IntN(3) == 0 {
					err = writeAll(from, bg, string(p))
				} else {
					err = from.Write(bg, websocket.Text, p)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	ctx, cancel := context.WithTimeout(bg, 20*time.Second) // else pings would wake up who has been forgotten
	defer cancel()
	next := make([]int, writers)
	for range writers * messages {
		_, p, err := to.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var i, j int
		head := p[:min(len(p), 20)]
		if _, err := fmt.Sscanf(string(head), "%d %d", &i, &j); err != nil {
			t.Fatal(err)
		}
		if j != next[i] {
			t.Fatalf("writer %d: message %d came, want %d", i, j, next[i])
		}
		if body := bytes.TrimLeft(p, "0123456789 "); len(bytes.Trim(body, string(rune('a'+i)))) > 0 {
			t.Fatalf("writer %d: another's bytes in message %d", i, j)
		}
		next[i]++
	}
}

// A large message is not passed for ever by small ones that gather.
func TestLargeWriteGetsItsTurn(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, &websocket.Options{PingInterval: -1})
		line := peer.s.Peer()
		line.SetBuffer(10_000)
		drained := async(func() error {
			b := make([]byte, 10_000)
			for {
				time.Sleep(time.Millisecond)
				if _, err := peer.s.Read(b); err != nil {
					return err
				}
			}
		})
		var small sync.WaitGroup
		for range 3 {
			small.Go(func() {
				for c.Write(bg, websocket.Binary, make([]byte, 8000)) == nil {
				}
			})
		}
		time.Sleep(10 * time.Millisecond)
		begin := time.Now()
		if err := c.Write(bg, websocket.Binary, make([]byte, 100_000)); err != nil {
			t.Error(err)
		}
		if got := time.Since(begin); got > 100*time.Millisecond {
			t.Errorf("it took %v, want what its own bytes and a batch before them take", got)
		}
		c.CloseNow()
		peer.s.Close()
		small.Wait()
		drained()
	})
}

// A stream that panics ends the connection and not the process: nothing stays
// locked behind it.
func TestStreamThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := wstest.Streams()
		defer theirs.Close()
		c := websocket.Server(panicsOnWrite{ours.As(wstest.Bare)}, nil)
		defer c.CloseNow()
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic did not reach the caller")
				}
			}()
			c.Write(bg, websocket.Text, nil)
		}()
		if err := c.Write(bg, websocket.Text, nil); err == nil {
			t.Error("then Write returned nil")
		}
	})
}

type panicsOnWrite struct{ websocket.Stream }

func (panicsOnWrite) Write([]byte) (int, error) { panic("boom") }

// A layer over a socket also writes by itself: TLS answers a key update. A deadline
// that an earlier write has left behind would make that fail, and break the layer.
func TestNoWriteDeadlineIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := wstest.Streams()
		layer := &deadlineKeeper{Conn: ours}
		c := websocket.Server(layer, nil)
		for range 2 {
			if err := c.Write(bg, websocket.Text, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		ours.SetBuffer(0)
		begin := time.Now()
		if err := c.Write(bg, websocket.Text, []byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a stuck write: %v", err)
		}
		if got := time.Since(begin); got != 10*time.Second {
			t.Errorf("the stuck write took %v", got)
		}
		if layer.limited {
			t.Error("a write deadline was set")
		}
		theirs.Close()
	})
}

type deadlineKeeper struct {
	net.Conn
	limited bool
}

func (k *deadlineKeeper) SetWriteDeadline(at time.Time) error {
	k.limited = k.limited || !at.IsZero()
	return k.Conn.SetWriteDeadline(at)
}

// Over the system's sockets a large message goes out with its header in one system
// call, and a peer that is merely slow is not cut off.
func TestLargeWritesOverTCP(t *testing.T) {
	client, server := overTCP(t, &websocket.Options{MaxMessage: 1 << 26, WriteTimeout: 200 * time.Millisecond})
	p := []byte(message(16 << 20))
	wrote := async(func() error { return server.Write(bg, websocket.Binary, p) })
	_, r, err := client.Reader(bg)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 0, len(p))
	for pause := true; ; {
		b := make([]byte, 1<<20)
		n, err := io.ReadFull(r, b)
		got = append(got, b[:n]...)
		if err != nil {
			break
		}
		if pause = !pause; pause {
			// Real time: the write has the system's timer behind it.
			time.Sleep(30 * time.Millisecond)
		}
	}
	if err := wrote(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, p) {
		t.Errorf("got %d bytes, and not those that were sent", len(got))
	}
}
