package flate

import (
	"sync"

	"github.com/klauspost/compress/flate"
)

// flushed is how the output of every call of Deflate ends: an empty stored block,
// without its header. RFC 7692, 7.2.1.
const flushed = "\x00\x00\xff\xff"

// Tail is flushed, as bytes to be read only.
var Tail = []byte(flushed)

// A Deflater compresses into windows of one size. It is about a megabyte: borrow it
// for a message, or keep it where time is worth more than memory.
type Deflater struct {
	w    *flate.Writer
	bits int
	out  []byte
}

// wholeLevel is what a compressor for the largest window has, which needs nobody who
// keeps to it: it makes just the bytes that one with a limit makes, and reads its window
// in little more than half the time.
const wholeLevel = 5

var deflaters [MaxBits + 1]sync.Pool

// NewDeflater borrows a Deflater for windows of 1<<bits bytes. Reset makes it
// ready.
func NewDeflater(bits int) *Deflater {
	if d, ok := deflaters[bits].Get().(*Deflater); ok {
		return d
	}
	d := &Deflater{bits: bits}
	var w *flate.Writer
	var err error
	if bits == MaxBits {
		w, err = flate.NewWriter(d, wholeLevel)
	} else {
		w, err = flate.NewWriterWindow(d, 1<<bits)
	}
	if err != nil {
		panic(err) // bits are 8 to 15
	}
	d.w = w
	return d
}

// Release gives the Deflater back.
func (d *Deflater) Release() {
	d.w.ResetDict(d, nil) // else it would keep the window
	deflaters[d.bits].Put(d)
}

// Reset has the next bytes follow a window, of which Deflate reads at the most what
// its size allows. It is not kept beyond Release.
func (d *Deflater) Reset(window []byte) {
	d.w.ResetDict(d, window)
}

// Deflate appends to dst what p is compressed to, up to the last bit. It ends as
// Tail does.
func (d *Deflater) Deflate(dst, p []byte) []byte {
	d.out = dst
	// Its output goes to a slice, so it cannot fail.
	d.w.Write(p)
	d.w.Flush()
	dst, d.out = d.out, nil
	return dst
}

// Write is for the compressor alone.
func (d *Deflater) Write(p []byte) (int, error) {
	d.out = append(d.out, p...)
	return len(p), nil
}

// A Window is the last bytes of a stream. The zero value is empty and needs no
// memory.
type Window struct{ b []byte }

// Bytes returns what is in the window, to be read only, until the next Append.
func (w *Window) Bytes() []byte { return w.b }

// Append puts bytes at the end of a window of 1<<bits bytes. Memory follows what
// is in it.
func (w *Window) Append(p []byte, bits int) {
	size := 1 << bits
	if len(p) >= size {
		w.reserve(size, size)
		w.b = w.b[:copy(w.b[:size], p[len(p)-size:])]
		return
	}
	w.reserve(min(len(w.b)+len(p), size), size)
	if over := len(w.b) + len(p) - size; over > 0 {
		w.b = w.b[:copy(w.b, w.b[over:])]
	}
	w.b = append(w.b, p...)
}

// Set has the window hold these bytes, which are at most 1<<bits, and no others.
func (w *Window) Set(p []byte, bits int) {
	w.reserve(len(p), 1<<bits)
	w.b = w.b[:copy(w.b[:len(p)], p)]
}

// reserve makes room for need bytes in all, twice what there was or most at the
// most.
func (w *Window) reserve(need, most int) {
	if cap(w.b) >= need {
		return
	}
	w.b = append(make([]byte, 0, min(most, max(need, 2*cap(w.b)))), w.b...)
}

// Drop forgets the window and its memory.
func (w *Window) Drop() { w.b = nil }
