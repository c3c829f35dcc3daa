package websocket

import (
	"math/bits"
	"sync"
	"unsafe"
)

// Sizes of the buffers that are borrowed for reading and writing.
const (
	smallBuffer = 4 << 10        // a frame that is copied to be sent
	pieceBuffer = 32 << 10       // what is read at once; a piece of a large frame that must be copied
	largeBuffer = maxBatch + 512 // a batch, with the control frames that end it
)

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	pieceBuffers = sync.Pool{New: func() any { return new([pieceBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

// Long buffers are for long messages that come in pieces, and for what a socket does
// not take of one. Messages of 1 MiB would keep the collector busy otherwise. They are
// of sizes that are powers of two; what is shorter or longer has memory of its own.
const (
	shortestLong = 14 // its logarithm
	longestLong  = 22
)

var longBuffers [longestLong - shortestLong + 1]sync.Pool

// longFor returns the logarithm of the size of a long buffer for size bytes, 0 where
// there is none.
func longFor(size int) int {
	if size <= 1<<(shortestLong-1) || size > 1<<longestLong {
		return 0
	}
	return max(bits.Len(uint(size-1)), shortestLong)
}

// newLong returns an empty buffer for size bytes at least.
func newLong(size int) []byte {
	if b := leftLong(size); b != nil {
		return b
	}
	if log := longFor(size); log > 0 {
		size = 1 << log
	}
	return make([]byte, 0, size)
}

// leftLong is newLong where somebody has left such a buffer, else nil.
func leftLong(size int) []byte {
	if log := longFor(size); log > 0 {
		if p, ok := longBuffers[log-shortestLong].Get().(*byte); ok {
			return unsafe.Slice(p, 1<<log)[:0]
		}
	}
	return nil
}

// freeLong takes a buffer that newLong has returned, from its beginning.
func freeLong(b []byte) {
	log := bits.Len(uint(cap(b))) - 1
	if log >= shortestLong && log <= longestLong && cap(b) == 1<<log {
		longBuffers[log-shortestLong].Put(unsafe.SliceData(b)) // a slice would have to be allocated
	}
}

// growLong returns a long buffer with what is in b, and room for n more bytes, or more:
// else a message in fragments of a byte would be copied for each of them.
func growLong(b []byte, n int) []byte {
	return moveLong(newLong(len(b)+max(n, len(b)/4)), b)
}

// moveLong returns to with what is in b, and gives back b.
func moveLong(to, b []byte) []byte {
	to = append(to, b...)
	freeLong(b)
	return to
}

// A batch is frames that leave together. It begins in a small buffer, goes on in
// a large one, and what does not fit there in a long one. Behind them are messages
// that are shared with other batches, and copied when they are written: until then a
// thousand batches with the same messages have no buffers.
type batch struct {
	b      []byte // what is still to be written, at first
	small  *[smallBuffer]byte
	large  *[largeBuffer]byte
	long   []byte
	shared []*Prepared
	bytes  int // of shared
	room   [8]*Prepared
}

// conds are lent to those who wait for a connection's line.
var conds = sync.Pool{New: func() any { return sync.NewCond(nil) }}

var batches = sync.Pool{New: func() any { return new(batch) }}

func newBatch() *batch { return batches.Get().(*batch) }

// size returns how many bytes there are.
func (b *batch) size() int { return len(b.b) + b.bytes }

// share puts a message behind all there is.
func (b *batch) share(m *Prepared) {
	if b.shared == nil {
		b.shared = b.room[:0]
	}
	b.shared = append(b.shared, m)
	b.bytes += len(m.frame)
}

// flat returns all bytes in one slice. A message that is alone is not copied.
func (b *batch) flat() []byte {
	switch {
	case len(b.shared) == 1 && len(b.b) == 0:
		m := b.shared[0]
		b.b = m.frame[:len(m.frame):len(m.frame)]
	case len(b.shared) > 0:
		b.grow(b.bytes)
		for _, m := range b.shared {
			b.b = append(b.b, m.frame...)
		}
	}
	clear(b.shared)
	b.shared, b.bytes = b.shared[:0], 0
	return b.b
}

// grow makes room for n more bytes.
func (b *batch) grow(n int) {
	size := len(b.b) + n
	switch {
	case size <= cap(b.b):
	case size <= smallBuffer && b.small == nil && b.large == nil:
		b.small = smallBuffers.Get().(*[smallBuffer]byte)
		b.b = append(b.small[:0], b.b...)
	case size <= largeBuffer && b.large == nil:
		b.large = largeBuffers.Get().(*[largeBuffer]byte)
		b.b = append(b.large[:0], b.b...)
	default:
		long := append(newLong(size), b.b...)
		freeLong(b.long)
		b.b, b.long = long, long
	}
}

// release returns the buffers. The batch must not be used any more.
func (b *batch) release() {
	if b.small != nil {
		smallBuffers.Put(b.small)
	}
	if b.large != nil {
		largeBuffers.Put(b.large)
	}
	freeLong(b.long)
	clear(b.shared)
	*b = batch{}
	batches.Put(b)
}

// A loan is a buffer for reading.
type loan struct {
	small *[smallBuffer]byte
	piece *[pieceBuffer]byte
}

func (l *loan) lent() bool { return l.small != nil || l.piece != nil }

// borrow returns a small buffer where it may be held for long.
func (l *loan) borrow(large bool) []byte {
	if large {
		l.piece = pieceBuffers.Get().(*[pieceBuffer]byte)
		return l.piece[:]
	}
	l.small = smallBuffers.Get().(*[smallBuffer]byte)
	return l.small[:]
}

// end gives the buffer back.
func (l *loan) end() {
	if l.small != nil {
		smallBuffers.Put(l.small)
	}
	if l.piece != nil {
		pieceBuffers.Put(l.piece)
	}
	*l = loan{}
}
