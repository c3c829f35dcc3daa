package websocket_test

import (
	"bytes"
	"testing"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
)

func TestLongBuffers(t *testing.T) {
	for _, size := range []int{0, 1, 8 << 10, 8<<10 + 1, 16 << 10, 16<<10 + 1, 1 << 20, 4 << 20, 4<<20 + 1, 5 << 20} {
		for range 3 { // new, and one that was given back
			b := websocket.NewLong(size)
			if len(b) != 0 || cap(b) < size || cap(b) > max(16<<10, 2*size) {
				t.Errorf("for %d bytes: %d of %d", size, len(b), cap(b))
			}
			b = append(b, "abc"...)
			grown := websocket.GrowLong(b, size)
			if string(grown) != "abc" || cap(grown) < size+3 {
				t.Errorf("grown by %d bytes: %q of %d", size, grown, cap(grown))
			}
			websocket.FreeLong(grown)
		}
	}
}

// A message in fragments of a byte is not copied for each of them, be it short or longer
// than all long buffers.
func TestLongBuffersGrowForManyFragments(t *testing.T) {
	const size, most = 8 << 20, 64
	b, times := []byte(nil), 0
	for ; len(b) < size && times <= most; times++ {
		b = websocket.GrowLong(b, 1)
		b = b[:cap(b)]
	}
	if times > most {
		t.Errorf("%d bytes have been copied %d times", len(b), times)
	}
}

// The bytes of a long message are its callback's until it returns, and nobody else's.
func TestLongMessageIsItsCallbacks(t *testing.T) {
	const size = 1 << 20
	for _, h := range withSockets {
		t.Run(h.name, func(t *testing.T) {
			want := bytes.Repeat([]byte("x"), size)
			intact := make(chan bool, 1)
			s := h.run(t, &websocket.Handler{Message: func(_ *websocket.Conn, _ websocket.MessageType, p []byte) {
				var taken [][]byte
				for range 8 { // whatever has been given back
					b := websocket.NewLong(size)
					clear(b[:cap(b)])
					taken = append(taken, b)
				}
				intact <- bytes.Equal(p, want)
				for _, b := range taken {
					websocket.FreeLong(b)
				}
			}})
			peer := s.peer(t)
			for range 3 {
				go peer.trySend(peer.frame(true, wire.OpBinary, string(want)))
				if !within(t, h, "the message", intact) {
					t.Fatal("the bytes of the message belong to somebody else, too")
				}
			}
		})
	}
}
