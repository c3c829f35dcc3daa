package websocket_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// Whatever sends the messages, and in whatever order, with windows that are given back
// in between: the peer's window is the one that was compressed for. A Prepared goes to
// two connections whose windows have different sizes.
func TestDeflateInterleaved(t *testing.T) {
	for _, handler := range []bool{false, true} {
		for _, keep := range []bool{false, true} {
			for _, bits := range []int{8, 11, 15} {
				t.Run(fmt.Sprintf("handler %v, kept %v, %d bits", handler, keep, bits), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { interleave(t, handler, keep, bits) })
				})
			}
		}
	}
}

func interleave(t *testing.T, handler, keep bool, bits int) {
	w := way{host: inMemory, kind: wstest.TCP, handler: handler}
	o := websocket.Options{PingInterval: -1}
	rng := rand.New(rand.NewPCG(uint64(bits), 9))
	const offer = "permessage-deflate; client_max_window_bits"
	e, z := w.zipped(t, websocket.Deflate{SendBits: bits, KeepCompressor: keep, Threshold: 200}, o, offer)
	e2, z2 := w.zipped(t, websocket.Deflate{SendBits: 9}, o, offer)
	given := 0
	for i := range 90 {
		text := prose(rng, rng.IntN(1+rng.IntN(3000)))
		switch kind := rng.IntN(8); kind {
		case 6:
			m := websocket.Prepare(websocket.Text, []byte(text))
			if n := websocket.Broadcast(slices.Values([]*websocket.Conn{e.Conn, e2.Conn}), m); n != 2 {
				t.Fatalf("message %d: %d have taken it", i, n)
			}
			if got := z2.receive(); got != text {
				t.Fatalf("message %d: the other got %.60q", i, got)
			}
		default:
			if err := sendSomehow(e, kind, text); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		if got := z.receive(); got != text {
			t.Fatalf("message %d: got %d bytes, want %d: %.60q", i, len(got), len(text), got)
		}
		if rng.IntN(20) == 0 {
			time.Sleep(3 * time.Minute) // fake
			if e.WindowIdle() {
				given++
			}
		}
	}
	if given == 0 {
		t.Error("the window was never given back")
	}
}

// A connection that is cut while a long message is being compressed, and another
// decompressed, ends: every call returns, and what was borrowed does not come to harm
// for the next connection.
func TestDeflateCutShort(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	long := prose(rng, 600<<10)
	rounds := 6
	if raceEnabled { // each takes ten times as long
		rounds = 2
	}
	for _, w := range deflateWays[1:] {
		t.Run(w.name, func(t *testing.T) {
			for i := range rounds {
				e, z := w.zipped(t, websocket.Deflate{KeepCompressor: i%2 == 0}, websocket.Options{}, "permessage-deflate; client_max_window_bits")
				writers := []func() error{
					async(func() error { return e.Write(bg, websocket.Text, []byte(long)) }),
					async(func() error { return sendSomehow(e, 3, long) }),
					async(func() error { return e.Send(websocket.Prepare(websocket.Text, []byte(long))) }),
				}
				frames := z.packed(wire.OpText, long)
				sent := async(func() error {
					_, err := z.Write(frames[:len(frames)-1-i*1000])
					return err
				})
				time.AfterFunc(time.Duration(rng.IntN(5))*time.Millisecond, func() { e.CloseNow() })
				drained := async(func() error { _, err := io.Copy(io.Discard, z.Peer); return err })
				if _, err := e.next(); err == nil {
					t.Fatal("half a message was delivered")
				}
				for _, end := range writers {
					if err := end(); err != nil && !errors.Is(err, net.ErrClosed) {
						t.Errorf("a write: %v", err)
					}
				}
				drained()
				sent()
			}
		})
	}
	// The pools serve others as before.
	w := deflateWays[1]
	e, z := w.zipped(t, websocket.Deflate{}, websocket.Options{}, "permessage-deflate; client_max_window_bits")
	for i := range 6 {
		text := prose(rng, 5000)
		z.send(z.packed(wire.OpText, text))
		e.read(text)
		if err := sendSomehow(e, i, text); err != nil {
			t.Fatal(err)
		}
		if got := z.receive(); got != text {
			t.Fatalf("got %.60q", got)
		}
	}
}

// A bomb that comes in pieces is stopped at the limit as well: by its second frame,
// by a byte at a time, and behind a message that was just within the limit.
func TestDeflateBombInPieces(t *testing.T) {
	overDeflateWays(t, func(t *testing.T, w way) {
		const limit = 50_000
		for _, cuts := range [][]int{{1}, {30, 0, 5}, {10, 10, 10, 10}} {
			e, z := w.zipped(t, websocket.Deflate{}, websocket.Options{MaxMessage: limit}, "permessage-deflate; client_max_window_bits")
			z.sendTakeover, z.sendBits = false, 30
			whole := strings.Repeat("b", limit)
			z.send(z.marked(wire.OpText, z.pack(whole), cuts...))
			e.read(whole)
			z.send(z.marked(wire.OpText, z.pack(whole+"b"), cuts...))
			_, err := e.next()
			wantError(t, err, websocket.CloseMessageTooBig)
		}
	})
}
