package flate

import (
	"encoding/binary"
	"errors"
	"sync"
)

// ErrCorrupt is input that is not DEFLATE, or that refers to bytes before the
// window.
var ErrCorrupt = errors.New("compressed data is corrupt")

// outSize is how many bytes the largest window and the output behind it have.
const outSize = 2 * maxWindow

// maxMatch is the longest match. RFC 1951, 3.2.5.
const maxMatch = 258

// An Inflater decompresses a stream of blocks. It holds everything between two
// calls, down to the bit, so it never waits: what it lacks comes with the next
// call. Begin makes it ready.
//
//	        window              output to be taken
//	out  0 ─────────────── r ───────────────────── w
type Inflater struct {
	state
	r, w   int
	lit    *table
	dist   *table
	ownLit table
	ownDst table
	out    [outSize]byte
}

// A state is what there is of an Inflater beside its output and its tables.
type state struct {
	bits   uint64 // read and not used, the next one lowest
	n      uint   // how many
	step   step
	final  bool // the block in hand has BFINAL
	ended  bool // a block with BFINAL has ended, and nothing has come since
	begun  bool // there has been input
	stored int  // bytes still to come of a stored block

	nLit, nDist, nCode int       // of a dynamic block's tables
	have               int       // how many lengths there are
	code               [19]uint8 // lengths of the code that the lengths are written in
	lens               [320]uint8
}

type step uint8

const (
	header    step = iota // a block's three bits
	storedLen             // length of a stored block
	storedRun             // its bytes
	counts                // how many codes a dynamic block has
	codeCodes             // the code in which the lengths of its codes are written
	codeLens              // these lengths
	fixed                 // a block with the fixed codes
	dynamic               // a block with codes of its own
)

var inflaters = sync.Pool{New: func() any { return new(Inflater) }}

// NewInflater borrows an Inflater that begins behind a window.
func NewInflater(window []byte) *Inflater {
	f := inflaters.Get().(*Inflater)
	f.Begin(window)
	return f
}

// Release gives the Inflater back.
func (f *Inflater) Release() { inflaters.Put(f) }

// Begin makes f ready for a stream behind a window, which is copied.
func (f *Inflater) Begin(window []byte) {
	f.state = state{}
	f.w = copy(f.out[:maxWindow], window)
	f.r = f.w
}

// A Suspended is an Inflater that somebody else has the memory of for now.
type Suspended struct {
	state
	r   int
	out []byte // the window, and output that has not been taken
}

// Suspend gives the Inflater back, and returns what Resume makes another of that
// goes on at the same bit: half a kilobyte, and the window as far as there is one.
func (f *Inflater) Suspend() *Suspended {
	from := max(0, f.r-maxWindow)
	s := &Suspended{state: f.state, r: f.r - from, out: append([]byte(nil), f.out[from:f.w]...)}
	f.Release()
	return s
}

// Resume borrows an Inflater.
func (s *Suspended) Resume() *Inflater {
	f := inflaters.Get().(*Inflater)
	f.state, f.r = s.state, s.r
	f.w = copy(f.out[:], s.out)
	switch f.step {
	case codeLens:
		f.ownDst.build(f.code[:], codeBits, codeEntry)
	case fixed:
		f.lit, f.dist = fixedTables()
	case dynamic:
		f.buildOwn()
	}
	return f
}

// Inflate takes bytes of src and puts what they stand for into dst. It has used
// all of src and given all that this stands for when it returns less than len(dst)
// bytes. After an error f is of no use any more.
func (f *Inflater) Inflate(dst, src []byte) (nDst, nSrc int, err error) {
	f.begun = f.begun || len(src) > 0
	for {
		n := copy(dst[nDst:], f.out[f.r:f.w])
		f.r += n
		nDst += n
		if nDst == len(dst) {
			return nDst, nSrc, nil
		}
		if f.w > outSize-maxMatch {
			f.w = copy(f.out[:], f.out[f.w-maxWindow:f.w])
			f.r = f.w
		}
		n, err := f.run(src[nSrc:])
		nSrc += n
		if err != nil {
			return nDst, nSrc, err
		}
		if f.r == f.w {
			return nDst, nSrc, nil
		}
	}
}

// Clean reports whether all that has come are whole blocks, and nothing else.
func (f *Inflater) Clean() bool { return f.step == header && f.n == 0 && f.r == f.w }

// Over reports whether the last thing that has come is the end of a block with
// BFINAL, or nothing has come at all.
func (f *Inflater) Over() bool { return f.Clean() && (f.ended || !f.begun) }

// Window returns the last n bytes of output, or as many as there are. They are
// f's own.
func (f *Inflater) Window(n int) []byte { return f.out[max(0, f.w-n):f.w] }

// run decompresses until src has been used or out is full.
func (f *Inflater) run(src []byte) (used int, err error) {
	for {
		n, more, err := f.advance(src[used:])
		used += n
		if err != nil || !more {
			return used, err
		}
	}
}

// advance takes one step. more is false when the next one lacks input or room.
func (f *Inflater) advance(src []byte) (used int, more bool, err error) {
	switch f.step {
	case fixed, dynamic:
		return f.codes(src)
	case storedRun:
		return f.copyStored(src)
	}
	used = f.refill(src)
	switch f.step {
	case header:
		more, err = f.begin()
	case storedLen:
		more, err = f.storedLength()
	case counts:
		more, err = f.counted()
	case codeCodes:
		more, err = f.codedCode()
	case codeLens:
		more, err = f.codedLength()
	}
	return used, more || used < len(src), err
}

// refill takes whole bytes into bits, as many as fit.
func (f *Inflater) refill(src []byte) (used int) {
	for f.n <= 56 && used < len(src) {
		f.bits |= uint64(src[used]) << f.n
		f.n += 8
		used++
	}
	return used
}

// take takes n bits that are there.
func (f *Inflater) take(n uint) int {
	v := int(f.bits & (1<<n - 1))
	f.bits >>= n
	f.n -= n
	return v
}

// begin takes the header of a block. RFC 1951, 3.2.3.
func (f *Inflater) begin() (more bool, err error) {
	if f.n < 3 {
		return false, nil
	}
	f.ended = false
	f.final = f.take(1) == 1
	switch f.take(2) {
	case 0:
		f.take(f.n % 8)
		f.step = storedLen
	case 1:
		f.lit, f.dist = fixedTables()
		f.step = fixed
	case 2:
		f.step = counts
	default:
		return false, ErrCorrupt
	}
	return true, nil
}

// end is the end of a block. What follows one with BFINAL begins with a byte of
// its own: RFC 7692, 7.2.3.4.
func (f *Inflater) end() {
	f.step = header
	if f.final {
		f.take(f.n % 8)
		f.ended = true
	}
}

func (f *Inflater) storedLength() (more bool, err error) {
	if f.n < 32 {
		return false, nil
	}
	n, complement := f.take(16), f.take(16)
	if n != complement^0xFFFF {
		return false, ErrCorrupt
	}
	if f.stored, f.step = n, storedRun; n == 0 {
		f.end()
	}
	return true, nil
}

// copyStored copies bytes of a stored block, first those that lie in bits.
func (f *Inflater) copyStored(src []byte) (used int, more bool, err error) {
	for f.stored > 0 && f.n > 0 && f.w < outSize {
		f.out[f.w] = byte(f.take(8))
		f.w++
		f.stored--
	}
	if f.n == 0 {
		used = copy(f.out[f.w:], src[:min(f.stored, len(src))])
		f.w += used
		f.stored -= used
	}
	if f.stored > 0 {
		return used, false, nil
	}
	f.end()
	return used, true, nil
}

// counted takes the counts of a dynamic block. RFC 1951, 3.2.7.
func (f *Inflater) counted() (more bool, err error) {
	if f.n < 14 {
		return false, nil
	}
	f.nLit, f.nDist, f.nCode = f.take(5)+257, f.take(5)+1, f.take(4)+4
	if f.nLit > 286 || f.nDist > 30 {
		return false, ErrCorrupt
	}
	f.have = 0
	clear(f.code[:])
	f.step = codeCodes
	return true, nil
}

// codeOrder is the order in which the code's lengths come. RFC 1951, 3.2.7.
var codeOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

func (f *Inflater) codedCode() (more bool, err error) {
	for ; f.have < f.nCode; f.have++ {
		if f.n < 3 {
			return false, nil
		}
		f.code[codeOrder[f.have]] = uint8(f.take(3))
	}
	if !f.ownDst.build(f.code[:], codeBits, codeEntry) {
		return false, ErrCorrupt
	}
	f.have = 0
	f.step = codeLens
	return true, nil
}

// codedLength takes lengths of the block's codes, and begins with its data when it
// has them all. The code that they are written in is in ownDst until then; its own
// lengths are overwritten.
func (f *Inflater) codedLength() (more bool, err error) {
	for f.have < f.nLit+f.nDist {
		e := f.ownDst.find(f.bits, codeBits)
		size := e.size()
		symbol := int(e.value())
		repeat, extra := 1, uint(0)
		switch symbol {
		case 16:
			repeat, extra = 3, 2
		case 17:
			repeat, extra = 3, 3
		case 18:
			repeat, extra = 11, 7
		}
		if f.n < size+extra {
			return false, nil
		}
		if e.kind() == invalid {
			return false, ErrCorrupt
		}
		f.take(size)
		repeat += f.take(extra)
		value := uint8(symbol)
		if symbol >= 16 {
			value = 0
		}
		if symbol == 16 {
			if f.have == 0 {
				return false, ErrCorrupt
			}
			value = f.lens[f.have-1]
		}
		if f.have+repeat > f.nLit+f.nDist {
			return false, ErrCorrupt
		}
		for range repeat {
			f.lens[f.have] = value
			f.have++
		}
	}
	if !f.buildOwn() {
		return false, ErrCorrupt
	}
	f.step = dynamic
	return true, nil
}

// buildOwn makes the tables of a dynamic block.
func (f *Inflater) buildOwn() bool {
	f.lit, f.dist = &f.ownLit, &f.ownDst
	return f.ownLit.build(f.lens[:f.nLit], litBits, litEntry) &&
		f.ownDst.build(f.lens[f.nLit:f.nLit+f.nDist], distBits, distEntry)
}

// codes decompresses a block's symbols until its end, or until src has been used
// or out is full.
func (f *Inflater) codes(src []byte) (used int, more bool, err error) {
	lit, dist := f.lit, f.dist
	out := &f.out
	bits, n, w := f.bits, f.n, f.w
	for w <= outSize-maxMatch {
		// A symbol with all that belongs to it has at most 15+5+15+13 bits. Unless so
		// many are there, src has been used up.
		if n < 48 {
			if len(src)-used >= 8 {
				bits |= binary.LittleEndian.Uint64(src[used:]) << n
				used += int(63-n) >> 3
				n |= 56
			} else {
				for n <= 56 && used < len(src) {
					bits = bits&(1<<n-1) | uint64(src[used])<<n
					n += 8
					used++
				}
			}
		}
		before, had := bits, n
		e := lit.find(bits, litBits)
		if e.size() > n {
			break
		}
		bits >>= e.size()
		n -= e.size()
		if e.kind() == literal {
			out[w] = byte(e.value())
			w++
			continue
		}
		if e.kind() == endOfBlock {
			f.bits, f.n, f.w = bits&(1<<n-1), n, w
			f.end()
			return used, true, nil
		}
		if e.kind() == invalid {
			return used, false, ErrCorrupt
		}
		extra := e.extra()
		length := int(e.value()) + int(bits&(1<<extra-1))
		bits >>= extra
		d := dist.find(bits, distBits)
		if extra+d.size()+d.extra() > n {
			bits, n = before, had
			break
		}
		if d.kind() == invalid {
			return used, false, ErrCorrupt
		}
		bits >>= d.size()
		distance := int(d.value()) + int(bits&(1<<d.extra()-1))
		bits >>= d.extra()
		n -= extra + d.size() + d.extra()
		if distance > w {
			return used, false, ErrCorrupt
		}
		if distance >= length {
			copy(out[w:w+length], out[w-distance:])
			w += length
			continue
		}
		for end := w + length; w < end; { // the match goes on in its own copy
			w += copy(out[w:end], out[w-distance:w])
		}
	}
	f.bits, f.n, f.w = bits&(1<<n-1), n, w
	return used, false, nil
}
