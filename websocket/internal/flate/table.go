package flate

import (
	"math/bits"
	"sync"
)

// An entry says what a code stands for:
//
//	bits 0 to 3   the code's size
//	bits 4 to 6   its kind
//	bits 8 to 11  how many extra bits follow
//	bits 16 to 31 the value: a literal, the base of a length or a distance, the
//	              place of a second table
type entry uint32

const (
	invalid    = iota // no code
	literal           // a literal byte, or the length of a code
	match             // a length or a distance
	endOfBlock        // RFC 1951, 3.2.3
	second            // a code that is longer than the table's index
)

func newEntry(kind, extra, value int) entry {
	return entry(kind<<4 | extra<<8 | value<<16)
}

func (e entry) size() uint    { return uint(e & 15) }
func (e entry) kind() uint    { return uint(e >> 4 & 7) }
func (e entry) extra() uint   { return uint(e >> 8 & 15) }
func (e entry) value() uint32 { return uint32(e >> 16) }

// Bits of a code by which a table is indexed. What is longer is found in a second
// table.
const (
	litBits  = 10
	distBits = 8
	codeBits = 7
)

// A table finds codes. It is large enough for any set of them: at most 143 second
// tables of 32 entries for literals and lengths, 15 of 128 for distances.
type table [1<<litBits + 143*32]entry

// find returns the entry of the code that stands lowest in b. Where that lacks
// bits, the entry's size is more than b has.
func (t *table) find(b uint64, root uint) entry {
	e := t[b&(1<<root-1)]
	if e.kind() == second {
		e = t[e.value()+uint32(b>>root&(1<<e.extra()-1))]
	}
	return e
}

// build makes the table of a code that is given by its lengths, by symbol. It
// reports whether they are those of a code: one that is complete, or empty, or has
// a single symbol of one bit. RFC 1951, 3.2.2.
func (t *table) build(lens []uint8, root uint, symbol func(int) entry) bool {
	var count [16]int
	for _, n := range lens {
		count[n]++
	}
	count[0] = 0
	longest, left := uint(0), 1<<15
	for n := uint(1); n < 16; n++ {
		if left -= count[n] << (15 - n); left < 0 {
			return false
		}
		if count[n] > 0 {
			longest = n
		}
	}
	empty := entry(1) // of size 1: to be sure that it is wrong takes one bit
	for i := range t[:1<<root] {
		t[i] = empty
	}
	switch {
	case longest == 0, left == 0:
	case longest == 1 && count[1] == 1:
	default:
		return false
	}
	var next [16]int // the next code of each length
	for n, code := 1, 0; n < 16; n++ {
		code = (code + count[n-1]) << 1
		next[n] = code
	}
	free := 1 << root
	for s, n := range lens {
		if n == 0 {
			continue
		}
		code := int(bits.Reverse16(uint16(next[n])) >> (16 - n))
		next[n]++
		e := symbol(s) | entry(n)
		if uint(n) <= root {
			for i := code; i < 1<<root; i += 1 << n {
				t[i] = e
			}
			continue
		}
		first := code & (1<<root - 1)
		if t[first].kind() != second {
			t[first] = newEntry(second, int(longest-root), free)
			free += 1 << (longest - root)
		}
		base := int(t[first].value())
		for i := code >> root; i < 1<<(longest-root); i += 1 << (uint(n) - root) {
			t[base+i] = e
		}
	}
	return true
}

// Bases and extra bits of lengths and distances. RFC 1951, 3.2.5.
var (
	lengthBase   = [29]int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra  = [29]int{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceBase = [30]int{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
)

func litEntry(s int) entry {
	switch {
	case s < 256:
		return newEntry(literal, 0, s)
	case s == 256:
		return newEntry(endOfBlock, 0, 0)
	case s-257 < len(lengthBase):
		return newEntry(match, lengthExtra[s-257], lengthBase[s-257])
	}
	return newEntry(invalid, 0, 0) // 286 and 287 have codes and never occur
}

func distEntry(s int) entry {
	if s >= len(distanceBase) {
		return newEntry(invalid, 0, 0)
	}
	return newEntry(match, max(0, s/2-1), distanceBase[s])
}

func codeEntry(s int) entry { return newEntry(literal, 0, s) }

// fixedTables returns the tables of the fixed codes. RFC 1951, 3.2.6.
var fixedTables = sync.OnceValues(func() (lit, dist *table) {
	var lens [288]uint8
	for s := range lens {
		switch {
		case s < 144, s >= 280:
			lens[s] = 8
		case s < 256:
			lens[s] = 9
		default:
			lens[s] = 7
		}
	}
	lit, dist = new(table), new(table)
	lit.build(lens[:], litBits, litEntry)
	for s := range 32 {
		lens[s] = 5
	}
	dist.build(lens[:32], distBits, distEntry)
	return lit, dist
})
