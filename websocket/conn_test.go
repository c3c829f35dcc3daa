package websocket_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

func TestEchoSizes(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		server, client := w.pair(t, nil)
		end := server.echoing()
		for _, n := range []int{0, 1, 125, 126, 4081, 4096, 4097, 65535, 65536, 100_000, 1 << 20} {
			sent := async(func() error { return client.Write(bg, websocket.Binary, []byte(message(n))) })
			typ, p, err := client.Read(bg)
			if err != nil || typ != websocket.Binary || string(p) != message(n) {
				t.Fatalf("%d bytes: got %v, %d bytes, %v", n, typ, len(p), err)
			}
			if err := sent(); err != nil {
				t.Fatal(err)
			}
		}
		if err := client.Close(websocket.CloseNormal, "done"); err != nil {
			t.Errorf("Close: %v", err)
		}
		wantClose(t, end(), websocket.CloseError{Code: websocket.CloseNormal, Reason: "done"})
	})
}

// However the stream cuts the bytes, and however often a context stops the calls,
// the messages are the same.
func TestEveryCutAndCancel(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		for seed := range uint64(10) {
			rng := rand.New(rand.NewPCG(seed, 7))
			c, peer := against(t, kind, true, nil)
			peer.s.Peer().SplitReads(1 + rng.IntN(9))
			messages := []string{"", "a", "héllo, wörld", message(300), message(5000), message(70_000)}
			go func() {
				rng := rand.New(rand.NewPCG(seed, 8))
				for _, m := range messages {
					op := wire.OpText
					for len(m) > 10 && rng.IntN(3) > 0 {
						n := rng.IntN(len(m))
						peer.s.Write(peer.frame(false, op, m[:n]))
						peer.s.Write(peer.frame(true, wire.OpPing, "p"))
						op, m = wire.OpContinuation, m[n:]
					}
					for _, b := range peer.frame(true, op, m) {
						if len(m) < 100 {
							time.Sleep(time.Millisecond) // fake: lets contexts end within frames
						}
						peer.s.Write([]byte{b})
					}
				}
			}()
			go io.Copy(io.Discard, peer.s)
			for _, want := range messages {
				got, stops := readStopped(t, c, rng)
				if got != want {
					t.Fatalf("seed %d: got %d bytes %.40q, want %d bytes %.40q (%d stops)", seed, len(got), got, len(want), want, stops)
				}
			}
			c.CloseNow()
		}
	})
}

// readStopped reads one message by a mixture of calls that contexts stop.
func readStopped(t *testing.T, c *websocket.Conn, rng *rand.Rand) (string, int) {
	for stops := 0; ; stops++ {
		ctx, cancel := context.WithTimeout(bg, time.Duration(rng.IntN(5000))*time.Microsecond)
		dst := []byte("kept")
		_, p, err := c.AppendRead(ctx, dst)
		cancel()
		if err == nil {
			return string(p[len("kept"):]), stops
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("AppendRead: %v", err)
		}
		if string(p) != "kept" {
			t.Fatalf("AppendRead returned %q with an error", p)
		}
		copy(dst[:cap(dst)], "overwritten") // the slice is the caller's again
	}
}

// However the system cuts the bytes, the messages and the answers are the same,
// in every way in which a server's end can run.
func TestEveryCut(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		for _, size := range []int{1, 2, 3, 13, 100, 4096} {
			e, peer := w.against(t, nil)
			rng := rand.New(rand.NewPCG(uint64(size), 9))
			e.split(peer, size)
			messages := []string{"", "a", "héllo, wörld", message(130), message(min(300*size, 50_000)), "end"}
			var sent []byte
			pings := 0
			for _, m := range messages {
				op := wire.OpText
				for len(m) > 10 && rng.IntN(4) > 0 {
					n := rng.IntN(len(m) / 2)
					sent = append(sent, peer.frame(false, op, m[:n])...)
					sent = append(sent, peer.frame(true, wire.OpPing, fmt.Sprint(pings))...)
					op, m = wire.OpContinuation, m[n:]
					pings++
				}
				sent = append(sent, peer.frame(true, op, m)...)
			}
			sent = append(sent, peer.close(1000, "")...)
			failed := async(func() error { return peer.trySend(sent) })
			answers := async(func() (all []string) {
				for {
					all = append(all, peer.next())
					if last := all[len(all)-1]; last == "end" || strings.HasPrefix(last, "error") {
						peer.Close()
						return all
					}
				}
			})
			for _, m := range messages {
				e.read(m)
			}
			wantClose(t, e.reading()(), websocket.CloseError{Code: 1000})
			if err := failed(); err != nil {
				t.Errorf("pieces of %d: %v", size, err)
			}
			got := answers()
			for i := range pings {
				if want := fmt.Sprintf("pong %d", i); got[i] != want {
					t.Fatalf("pieces of %d: answer %d is %q, want %q", size, i, got[i], want)
				}
			}
			if last := got[pings:]; len(last) != 2 || last[0] != "close 1000" || last[1] != "end" {
				t.Errorf("pieces of %d: after the pongs %q", size, last)
			}
		}
	})
}

func TestReaderGoesOnAfterContext(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, nil)
		whole := peer.text("hello, world")
		peer.send(whole[:len(whole)-7]) // "hello"

		ctx, cancel := context.WithCancel(bg)
		typ, r, err := c.Reader(ctx)
		if err != nil || typ != websocket.Text {
			t.Fatal(typ, err)
		}
		b := make([]byte, 100)
		n, err := r.Read(b)
		if string(b[:n]) != "hello" || err != nil {
			t.Fatalf("%q, %v", b[:n], err)
		}
		cancel()
		if _, err := r.Read(b); err != context.Canceled {
			t.Fatalf("got %v, want %v", err, context.Canceled)
		}
		peer.send(whole[len(whole)-7:], peer.text("next"), peer.text("last"))
		_, r2, err := c.Reader(bg)
		if err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(r2)
		if string(rest) != ", world" || err != nil {
			t.Fatalf("%q, %v", rest, err)
		}
		if _, err := r.Read(b); err == nil || err == io.EOF {
			t.Errorf("a reader that another has followed returned %v", err)
		}
		// Without a context in the way the rest of a message is thrown away.
		if _, _, err := c.Reader(bg); err != nil {
			t.Fatal(err)
		}
		read(t, c, "last")
	})
}

// A call whose context had ended before has stopped no message: the next Reader
// does not take the rest of the last one for a new one.
func TestExpiredContextStopsNoMessage(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, nil)
		peer.send(peer.text("old message"), peer.text("new"))
		_, r, err := c.Reader(bg)
		if err != nil {
			t.Fatal(err)
		}
		io.ReadFull(r, make([]byte, 3))
		ctx, cancel := context.WithCancel(bg)
		cancel()
		if _, _, err := c.Reader(ctx); err != context.Canceled {
			t.Fatal(err)
		}
		_, r, err = c.Reader(bg)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := io.ReadAll(r); string(p) != "new" || err != nil {
			t.Errorf("got %q, %v", p, err)
		}
	})
}

// Streams that have methods for deadlines and no deadlines, as files and SSH
// channels do, are treated like those without.
func TestStreamWithoutWorkingDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := wstest.Streams()
		defer theirs.Close()
		theirs.Peer().SetBuffer(0)
		c := websocket.Server(noDeadlines{ours}, nil)
		defer c.CloseNow()
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		if _, _, err := c.Read(ctx); err != context.DeadlineExceeded {
			t.Errorf("Read: %v", err)
		}
		begin := time.Now()
		if err := c.Write(bg, websocket.Text, nil); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != 10*time.Second {
			t.Errorf("Write: %v after %v", err, time.Since(begin))
		}
	})
}

type noDeadlines struct{ net.Conn }

func (noDeadlines) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (noDeadlines) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (noDeadlines) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// A stream that returns neither bytes nor an error is given up.
func TestStreamWithoutProgress(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		ours, theirs := wstest.Streams()
		defer theirs.Close()
		var stream websocket.Stream = idleReads{ours}
		if kind == wstest.Bare {
			stream = struct{ io.ReadWriteCloser }{stream}
		}
		c := websocket.Server(stream, nil)
		defer c.CloseNow()
		if err := reading(c)(); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("got %v, want %v", err, io.ErrNoProgress)
		}
	})
}

type idleReads struct{ net.Conn }

func (idleReads) Read([]byte) (int, error) { return 0, nil }

// A nil context panics, as everywhere, and leaves nothing locked.
func TestNilContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := against(t, wstest.TCP, true, nil)
		peer.send(peer.text("x"))
		func() {
			defer func() { recover() }()
			var none context.Context
			c.Read(none)
		}()
		read(t, c, "x")
	})
}

func TestReadThenReaderOfOneMessage(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, nil)
		peer.send(peer.frame(false, wire.OpText, "one, "))
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		if _, _, err := c.Read(ctx); err != context.DeadlineExceeded {
			t.Fatal(err)
		}
		peer.send(peer.frame(true, wire.OpContinuation, "two"))
		_, r, err := c.Reader(bg)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := io.ReadAll(r); string(p) != "one, two" || err != nil {
			t.Fatalf("%q, %v", p, err)
		}
	})
}

// A context that stopped one call must not stop the next, whenever it ends.
func TestContextsDoNotLeak(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, false, nil)
		old, cancel := context.WithCancel(bg)
		peer.send(peer.text("1"))
		if _, _, err := c.Read(old); err != nil {
			t.Fatal(err)
		}
		fresh, cancelFresh := context.WithCancel(bg)
		defer cancelFresh()
		got := async(func() error { _, _, err := c.Read(fresh); return err })
		synctest.Wait()
		cancel()
		synctest.Wait()
		peer.send(peer.text("2"))
		if err := got(); err != nil {
			t.Fatalf("Read under another context: %v", err)
		}
		if _, _, err := c.Read(old); err != context.Canceled {
			t.Fatalf("got %v, want %v", err, context.Canceled)
		}
		peer.send(peer.text("3"))
		read(t, c, "3")
	})
}

func TestContextOfAnEndedConnIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := &countingContext{Context: bg, done: make(chan struct{})}
		c, peer := against(t, wstest.TCP, true, nil)
		peer.send(peer.text("x"))
		if _, _, err := c.Read(ctx); err != nil {
			t.Fatal(err)
		}
		if n := ctx.watchers(); n != 1 {
			t.Fatalf("%d watchers after a Read, want 1", n)
		}
		c.CloseNow()
		if n := ctx.watchers(); n != 0 {
			t.Errorf("%d watchers after CloseNow, want 0: the context keeps the Conn alive", n)
		}
	})
}

// countingContext counts what waits for it, as context.AfterFunc asks it to.
type countingContext struct {
	context.Context
	done chan struct{}
	mu   sync.Mutex
	n    int
}

func (c *countingContext) Done() <-chan struct{} { return c.done }
func (c *countingContext) Err() error            { return nil }
func (c *countingContext) watchers() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}
func (c *countingContext) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
}
func (c *countingContext) AfterFunc(func()) func() bool {
	c.add(1)
	return func() bool { c.add(-1); return true }
}

func TestConcurrentReadersShareMessages(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		client, server := pair(t, kind, nil)
		var mu sync.Mutex
		seen := map[string]int{}
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for {
					_, p, err := server.Read(bg)
					if err != nil {
						return
					}
					mu.Lock()
					seen[string(p)]++
					mu.Unlock()
				}
			})
		}
		for i := range 200 {
			if err := client.Write(bg, websocket.Text, fmt.Appendf(nil, "m%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		client.Close(websocket.CloseNormal, "")
		readers.Wait()
		if len(seen) != 200 {
			t.Errorf("%d different messages, want 200", len(seen))
		}
	})
}

// Attack 6: control frames between fragments.
func TestControlFramesBetweenFragments(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, nil)
		peer.send(
			peer.frame(false, wire.OpText, "frag"),
			peer.frame(true, wire.OpPing, "1"),
			peer.frame(false, wire.OpContinuation, "men"),
			peer.frame(true, wire.OpPong, "nobody asked"),
			peer.frame(true, wire.OpPing, "2"),
			peer.frame(true, wire.OpContinuation, "ted"))
		e.read("fragmented")
		peer.want("pong 1", "pong 2")
	})
}

// Attack 3, on the wire: a limit holds for a frame and across fragments, and what
// is exactly at it passes.
func TestMessageLimit(t *testing.T) {
	const limit = 1000
	cases := []struct {
		name  string
		parts []int
		ok    bool
	}{
		{"at the limit", []int{limit}, true},
		{"over it", []int{limit + 1}, false},
		{"fragments at the limit", []int{limit / 2, limit / 2}, true},
		{"fragments over it", []int{limit / 2, limit / 2, 1}, false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			overWays(t, func(t *testing.T, w way) {
				e, peer := w.against(t, &websocket.Options{MaxMessage: limit})
				op := wire.OpBinary
				for i, n := range tc.parts {
					// Only the header of the last: a frame over the limit is refused by it.
					f := peer.frame(i == len(tc.parts)-1, op, message(n))
					if i == len(tc.parts)-1 && !tc.ok {
						f = f[:len(f)-n]
					}
					peer.send(f)
					op = wire.OpContinuation
				}
				if tc.ok {
					e.read(strings.Repeat(message(limit/len(tc.parts)), len(tc.parts)))
					return
				}
				err := e.reading()
				peer.want("close 1009 *")
				peer.Close()
				if err := err(); !errors.Is(err, websocket.ErrMessageTooBig) {
					t.Errorf("got %v, want ErrMessageTooBig", err)
				}
			})
		})
	}
}

func TestFrameLimit(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, &websocket.Options{MaxFrame: 10})
		peer.send(peer.frame(false, wire.OpText, message(10)), peer.frame(true, wire.OpContinuation, message(10)))
		e.read(message(10) + message(10))
		peer.send(peer.text(message(11)))
		err := e.reading()
		peer.want("close 1009 *")
		peer.Close()
		wantError(t, err(), websocket.CloseMessageTooBig)
	})
}

func TestDefaultLimits(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, nil)
		peer.send(wire.Header{Fin: true, Opcode: wire.OpBinary, Masked: true, Length: 1<<20 + 1}.Append(nil))
		err := e.reading()
		peer.want("close 1009 *")
		peer.Close()
		wantError(t, err(), websocket.CloseMessageTooBig)

		e, peer = w.against(t, &websocket.Options{MaxMessage: -1})
		peer.send(wire.Header{Fin: true, Opcode: wire.OpBinary, Masked: true, Length: 1 << 40}.Append(nil))
		peer.Close()
		if err := e.reading()(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("without a limit: %v", err)
		}
	})
}

// Attack 5: empty and tiny fragments without an end.
func TestFragmentLimit(t *testing.T) {
	for _, payload := range []string{"", "x"} {
		overWays(t, func(t *testing.T, w way) {
			e, peer := w.against(t, nil)
			go func() {
				peer.trySend(peer.frame(false, wire.OpText, payload))
				many := bytes.Repeat(peer.frame(false, wire.OpContinuation, payload), 1000)
				for range 1000 {
					if peer.trySend(many) != nil {
						return
					}
				}
			}()
			err := e.reading()
			peer.want("close 1008 *")
			peer.Close()
			wantError(t, err(), websocket.ClosePolicyViolation)
		})
	}
	// 131,072 are allowed.
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, nil)
		go func() {
			peer.trySend(peer.frame(false, wire.OpText, "x"))
			peer.trySend(bytes.Repeat(peer.frame(false, wire.OpContinuation, ""), 131070))
			peer.trySend(peer.frame(true, wire.OpContinuation, "y"))
		}()
		e.read("xy")
	})
}

// Attacks 1, 8, 10, 11, 12, 13 and the RSV bits: each rule of the wire ends the
// connection with its code over a whole Conn, and what came before is not lost.
func TestViolations(t *testing.T) {
	masked := wire.Header{Fin: true, Opcode: wire.OpText, Masked: true, Key: 0x01020304}
	with := func(change func(*wire.Header)) wire.Header { h := masked; change(&h); return h }
	cases := []struct {
		name string
		send []byte
		code websocket.CloseCode
	}{
		{"16-bit length not minimal", []byte{0x81, 0xFE, 0, 125, 1, 2, 3, 4}, 1002},
		{"64-bit length not minimal", []byte{0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 1, 2, 3, 4}, 1002},
		{"length with top bit", []byte{0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, 1002},
		{"length 2^63-1", []byte{0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4}, 1009},
		{"unmasked", wire.Header{Fin: true, Opcode: wire.OpText, Length: 1}.Append(nil), 1002},
		{"RSV1", with(func(h *wire.Header) { h.Rsv = wire.Rsv1 }).Append(nil), 1002},
		{"RSV2", with(func(h *wire.Header) { h.Rsv = wire.Rsv2 }).Append(nil), 1002},
		{"RSV3 on a ping", with(func(h *wire.Header) { h.Rsv, h.Opcode = wire.Rsv3, wire.OpPing }).Append(nil), 1002},
		{"reserved opcode 3, 2^62 bytes", with(func(h *wire.Header) { h.Opcode, h.Length = 3, 1<<62 }).Append(nil), 1002},
		{"reserved opcode 0xB", with(func(h *wire.Header) { h.Opcode = 0xB }).Append(nil), 1002},
		{"fragmented ping", with(func(h *wire.Header) { h.Fin, h.Opcode = false, wire.OpPing }).Append(nil), 1002},
		{"ping of 126 bytes", with(func(h *wire.Header) { h.Opcode, h.Length = wire.OpPing, 126 }).Append(nil), 1002},
		{"close of 126 bytes", with(func(h *wire.Header) { h.Opcode, h.Length = wire.OpClose, 126 }).Append(nil), 1002},
		{"continuation of nothing", with(func(h *wire.Header) { h.Opcode = wire.OpContinuation }).Append(nil), 1002},
		{"wrong UTF-8 at once", []byte{0x81, 0x8A, 0, 0, 0, 0, 0xC0}, 1007}, // 9 more bytes never come
		{"UTF-8 surrogate", []byte{0x81, 0x8A, 0, 0, 0, 0, 0xED, 0xA0}, 1007},
		{"text that ends in a character", []byte{0x81, 0x81, 0, 0, 0, 0, 0xC3}, 1007},
		{"wrong UTF-8 across frames", []byte{0x01, 0x81, 0, 0, 0, 0, 0xC3, 0x80, 0x8A, 0, 0, 0, 0, 0x28}, 1007},
		{"close of one byte", []byte{0x88, 0x81, 0, 0, 0, 0, 3}, 1002},
		{"close 999", []byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE7}, 1002},
		{"close 1005", []byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xED}, 1002},
		{"close 1016", []byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xF8}, 1002},
		{"close 5000", []byte{0x88, 0x82, 0, 0, 0, 0, 0x13, 0x88}, 1002},
		{"close, reason not UTF-8", []byte{0x88, 0x83, 0, 0, 0, 0, 0x03, 0xE8, 0xFF}, 1007},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			overWays(t, func(t *testing.T, w way) {
				if w.deflate && tc.name == "RSV1" {
					return // it has a meaning there
				}
				e, peer := w.against(t, nil)
				peer.send(peer.frame(true, wire.OpPing, "before"), peer.text("before"), tc.send)
				e.read("before")
				err := e.reading()
				peer.want("pong before", fmt.Sprintf("close %d *", tc.code), "end")
				peer.Close()
				first := err()
				wantError(t, first, tc.code)
				if _, again := e.next(); again != first {
					t.Errorf("the second Read returned %v, the first %v", again, first)
				}
				if again := e.Write(bg, websocket.Text, nil); again != first {
					t.Errorf("Write returned %v, Read %v", again, first)
				}
			})
		})
	}
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, false, nil)
		peer.send(peer.encode(masked, ""))
		err := reading(c)
		peer.want("close 1002 *", "end")
		peer.s.Close()
		wantError(t, err(), websocket.CloseProtocolError)
	})
}

func TestAnyText(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, &websocket.Options{AnyText: true})
		peer.send(peer.text("\xff"))
		e.read("\xff")
	})
}

// Attack 13: text fails at its first wrong byte, while the frame goes on.
func TestUTF8FailsAtTheFirstByte(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, nil)
		f := peer.text(message(1000) + "\xf4\x90" + message(1000))
		bad := len(f) - 1000 // just after the wrong byte
		err := e.reading()
		for _, b := range f[:bad] {
			peer.send([]byte{b})
		}
		peer.want("close 1007 *")
		peer.Close()
		wantError(t, err(), websocket.CloseInvalidPayload)
	})
}

// Attack 8: pongs that were not asked for, late ones and repeated ones.
func TestPongsThatAnswerNothing(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, nil)
		for _, p := range []string{"", "x", "\x00\x00\x00\x00\x00\x00\x00\x01", "\xff\xff\xff\xff\xff\xff\xff\xff", message(125)} {
			peer.send(peer.frame(true, wire.OpPong, p), peer.frame(true, wire.OpPong, p))
		}
		peer.send(peer.text("still here"))
		e.read("still here")
		if rtt := e.RTT(); rtt != 0 {
			t.Errorf("RTT is %v without a ping", rtt)
		}
	})
}

// Attack 2: memory grows with what has come, not with what was declared.
func TestMemoryFollowsBytesReceived(t *testing.T) {
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			ours, theirs := wstest.Streams()
			c := websocket.Server(ours, &websocket.Options{MaxMessage: -1})
			theirs.Write(wire.Header{Fin: true, Opcode: wire.OpBinary, Masked: true, Length: 1 << 40}.Append(nil))
			theirs.Write(make([]byte, 100))
			theirs.Close()
			c.Read(bg)
			c.CloseNow()
		}
	})
	if got := result.AllocedBytesPerOp(); got > 64<<10 {
		t.Errorf("a frame that declares a terabyte and brings 100 bytes costs %d bytes", got)
	}
}

// Reads that are stopped again and again in a long message do not copy all that has
// come each time.
func TestManyStoppedReads(t *testing.T) {
	const size, piece, most = 1 << 20, 1 << 10, 30 << 20
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, nil)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for b := peer.frame(true, wire.OpBinary, message(size)); len(b) > 0; b = b[min(piece, len(b)):] {
			ctx, cancel := context.WithTimeout(bg, time.Millisecond)
			if _, p, err := c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("Read returned %d bytes, %v", len(p), err)
			}
			cancel()
			peer.send(b[:min(piece, len(b))])
		}
		if _, p, err := c.Read(bg); err != nil || string(p) != message(size) {
			t.Errorf("Read returned %d bytes, %v", len(p), err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > most {
			t.Errorf("%d bytes were allocated for %d reads of a message of %d", n, size/piece, size)
		}
	})
}

// Attack 7: a peer that pings and reads nothing costs a bounded amount, and loses
// the connection when the write timeout strikes.
func TestPingFlood(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		timeout := w.short(3 * time.Second)
		e, peer := w.against(t, &websocket.Options{PingInterval: -1, WriteTimeout: timeout})
		flood := bytes.Repeat(peer.frame(true, wire.OpPing, message(125)), 100)
		flooded := async(func() (sent int) {
			for {
				if peer.trySend(flood) != nil {
					return sent
				}
				sent += 100
				if w.memory {
					time.Sleep(5 * time.Millisecond) // fake: else it would stand still
				}
			}
		})
		begin := time.Now()
		err := e.reading()()
		if got := time.Since(begin); got < timeout || w.memory && got > timeout+2*time.Second {
			t.Errorf("lasted %v, want the write timeout of %v", got, timeout)
		}
		if !strings.Contains(err.Error(), "write timeout") {
			t.Errorf("got %v", err)
		}
		if sent := flooded(); w.memory && sent < 15_000 {
			t.Errorf("only %d pings were taken: reading waited for the pongs", sent)
		}
	})
}

// While the socket takes them, every ping is answered, in order.
func TestEveryPingIsAnswered(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, nil)
		end := e.reading()
		go func() {
			for i := range 5000 {
				peer.trySend(peer.frame(true, wire.OpPing, fmt.Sprint(i)))
			}
			peer.trySend(peer.close(1000, ""))
		}()
		for i := range 5000 {
			peer.want(fmt.Sprintf("pong %d", i))
		}
		peer.want("close 1000", "end")
		peer.Close()
		end()
	})
}

// Behind a stuck write pongs gather up to a bound; then the newest has the slot,
// and a close frame is not lost.
func TestPongSlotBehindAStuckWrite(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, &websocket.Options{WriteTimeout: -1, CloseTimeout: -1})
		peer.s.Peer().SetBuffer(0)
		wrote := async(func() error { return c.Write(bg, websocket.Text, []byte("stuck")) })
		synctest.Wait()
		end := reading(c)
		for i := range 10_000 {
			peer.send(peer.frame(true, wire.OpPing, fmt.Sprintf("%05d", i)))
		}
		peer.send(peer.close(4000, "enough"))
		synctest.Wait()
		peer.s.Peer().SetBuffer(1 << 20)
		if err := wrote(); err != nil {
			t.Fatal(err)
		}
		peer.want("text stuck")
		last, pongs := "", 0
		for got := peer.next(); ; got = peer.next() {
			if !strings.HasPrefix(got, "pong") {
				if got != "close 4000" {
					t.Errorf("after the pongs: %q", got)
				}
				break
			}
			if got <= last {
				t.Fatalf("%q after %q", got, last)
			}
			last = got
			pongs++
		}
		if last != "pong 09999" {
			t.Errorf("the last pong is %q, want the newest", last)
		}
		if pongs < 5000 || pongs > 9999 {
			t.Errorf("%d pongs: want what 64 KiB hold, and one", pongs)
		}
		peer.s.Close()
		wantClose(t, end(), websocket.CloseError{Code: 4000, Reason: "enough"})
	})
}

func TestStreamEndsWithoutClose(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, nil)
		peer.send(peer.text("x"), peer.text("half")[:7])
		peer.Close()
		e.read("x")
		_, err := e.next()
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v, want io.ErrUnexpectedEOF", err)
		}
		if _, again := e.next(); again != err {
			t.Errorf("then %v", again)
		}
	})
}

// A peer whose machine goes down, or whose program is killed.
func TestReset(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, nil)
		peer.send(peer.text("x"), peer.text("half")[:7])
		e.read("x")
		err := e.reading()
		reset(t, peer.Stream)
		if err := err(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v, want a reset", err)
		}
	})
}

func reset(t *testing.T, s websocket.Stream) {
	t.Helper()
	if layer, ok := s.(*tls.Conn); ok {
		s = layer.NetConn()
	}
	switch s := s.(type) {
	case *wstest.Stream:
		s.Reset()
	case *net.TCPConn:
		s.SetLinger(0)
		s.Close()
	default:
		t.Fatalf("a %T has no reset", s)
	}
}

// Frames may come together with the handshake's last bytes, and the rest later.
func TestBytesWithTheHandshake(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		if w.memory && !w.handler {
			return // there was no handshake
		}
		for _, half := range []int{0, 1, 3, 8} {
			opening, s := w.serve(t, nil)
			sender := &raw{Peer: wstest.NewPeer(nil, true)}
			last := sender.text("last")
			peer := s.peer(t, sender.text("first"), sender.frame(true, wire.OpPing, "p"), sender.text("second"), last[:half])
			e := opening.await()
			e.read("first")
			e.read("second")
			peer.want("pong p")
			peer.send(last[half:], peer.close(1000, ""))
			e.read("last")
			end := e.reading()
			peer.want("close 1000", "end")
			peer.Close()
			wantClose(t, end(), websocket.CloseError{Code: 1000})
		}
	})
}

func TestReadError(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		broken := errors.New("the cable is cut")
		c, peer := against(t, kind, true, nil)
		peer.send(peer.text("x"))
		peer.s.Peer().FailRead(int64(len(peer.text("x"))), broken)
		read(t, c, "x")
		if _, _, err := c.Read(bg); !errors.Is(err, broken) {
			t.Errorf("got %v, want %v", err, broken)
		}
	})
}

func TestAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := against(t, wstest.TCP, true, nil)
		if c.LocalAddr() == nil || c.RemoteAddr() == nil || c.LocalAddr().String() == c.RemoteAddr().String() {
			t.Errorf("%v and %v", c.LocalAddr(), c.RemoteAddr())
		}
		c, _ = against(t, wstest.Bare, true, nil)
		if c.LocalAddr() != net.Addr(nil) || c.RemoteAddr() != net.Addr(nil) {
			t.Errorf("%v and %v, want none", c.LocalAddr(), c.RemoteAddr())
		}
	})
}

// Over the system's sockets nothing is allocated for a message once buffers have
// grown, with a context that can end.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	client, server := overTCP(t, nil)
	end := echoing(server)
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	for _, n := range []int{32, 1024, 16 << 10} {
		p := []byte(message(n))
		var buf []byte
		allocs := testing.AllocsPerRun(500, func() {
			if err := client.Write(ctx, websocket.Binary, p); err != nil {
				t.Fatal(err)
			}
			_, q, err := client.AppendRead(ctx, buf[:0])
			if err != nil {
				t.Fatal(err)
			}
			buf = q
		})
		if allocs > 0 {
			t.Errorf("%d bytes: %v allocations a message", n, allocs)
		}
	}
	client.CloseNow()
	end()
}

// Nor for messages of several goroutines that leave together.
func TestNoAllocationsWhenJoined(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	stream := &yieldingStream{closed: make(chan struct{})}
	c := websocket.Server(stream, nil)
	p := []byte(message(32))
	const writers = 8
	begin, done := make(chan int), make(chan error)
	for range writers {
		go func() {
			for n := range begin {
				var err error
				for range n {
					err = cmp.Or(err, c.Write(bg, websocket.Binary, p))
				}
				done <- err
			}
		}()
	}
	const messages = 200
	allocs := testing.AllocsPerRun(20, func() {
		for range writers {
			begin <- messages
		}
		for range writers {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	})
	close(begin)
	if got := allocs / (writers * messages); got > 0.02 { // pools are emptied now and then
		t.Errorf("%.3f allocations a message", got)
	}
	c.CloseNow()
	if n := stream.writes.Load(); n > 21*writers*messages/2 {
		t.Errorf("%d writes for %d messages: they were not joined", n, 21*writers*messages)
	}
}

// A yieldingStream lets other goroutines run while it writes, to nowhere.
type yieldingStream struct {
	writes atomic.Int64
	closed chan struct{}
}

func (s *yieldingStream) Read([]byte) (int, error) { <-s.closed; return 0, io.EOF }
func (s *yieldingStream) Close() error             { close(s.closed); return nil }
func (s *yieldingStream) Write(p []byte) (int, error) {
	s.writes.Add(1)
	runtime.Gosched()
	return len(p), nil
}

// overTCP returns the ends of a connection over the system's sockets.
func overTCP(t testing.TB, o *websocket.Options) (client, server *websocket.Conn) {
	a, b := tcpPair(t)
	client, server = websocket.Client(a, o), websocket.Server(b, o)
	t.Cleanup(func() { client.CloseNow(); server.CloseNow() })
	return client, server
}

// tcpPair returns the ends of a TCP connection.
func tcpPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if a, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}
