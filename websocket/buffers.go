package websocket

import "sync"

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

// A batch is frames that leave together. It begins in a small buffer, goes on in
// a large one, and what does not fit there has memory of its own. Behind them are
// messages that are shared with other batches, and copied when they are written:
// until then a thousand batches with the same messages have no buffers.
type batch struct {
	b      []byte // what is still to be written, at first
	small  *[smallBuffer]byte
	large  *[largeBuffer]byte
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
		b.b = append(make([]byte, 0, size), b.b...)
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
