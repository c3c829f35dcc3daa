// Package slowflate decompresses for tests: bit by bit, with codes searched in lists,
// and with a window whose size is checked for every match.
package slowflate

import (
	"bytes"
	"fmt"
)

// Inflate decompresses blocks behind the bytes before, of which it looks at size. It
// fails on a distance over size. RFC 1951, 3.2.
func Inflate(packed, before []byte, size int) ([]byte, error) {
	s := &slow{in: packed, out: bytes.Clone(before[max(0, len(before)-size):]), window: size}
	known := len(s.out)
	for s.pos < 8*len(packed) {
		if err := s.block(); err != nil {
			return nil, err
		}
	}
	return s.out[known:], nil
}

// A slow decompressor reads bit by bit and searches codes in lists.
type slow struct {
	in     []byte
	pos    int // in bits
	out    []byte
	window int
}

func (s *slow) bits(n int) (v int) {
	for i := range n {
		if s.pos < 8*len(s.in) {
			v |= int(s.in[s.pos/8]>>(s.pos%8)&1) << i
		}
		s.pos++
	}
	return v
}

func (s *slow) block() error {
	s.bits(1)
	switch s.bits(2) {
	case 0:
		s.pos = (s.pos + 7) / 8 * 8
		n := s.bits(16)
		if s.bits(16) != n^0xFFFF {
			return fmt.Errorf("stored length at bit %d", s.pos)
		}
		for range n {
			s.out = append(s.out, byte(s.bits(8)))
		}
		return nil
	case 1:
		var lens [320]uint8
		for i := range 288 {
			lens[i] = []uint8{8, 9, 7, 8}[btoi(i >= 144)+btoi(i >= 256)+btoi(i >= 280)]
		}
		for i := range 32 {
			lens[288+i] = 5
		}
		return s.symbols(lens[:288], lens[288:])
	case 2:
		nLit, nDist, nCode := s.bits(5)+257, s.bits(5)+1, s.bits(4)+4
		var code [19]uint8
		for i := range nCode {
			code[order[i]] = uint8(s.bits(3))
		}
		var lens []uint8
		for len(lens) < nLit+nDist {
			symbol := s.symbol(code[:])
			n, v := 1, uint8(symbol)
			switch symbol {
			case 16:
				n, v = 3+s.bits(2), lens[len(lens)-1]
			case 17:
				n, v = 3+s.bits(3), 0
			case 18:
				n, v = 11+s.bits(7), 0
			}
			lens = append(lens, bytes.Repeat([]byte{v}, n)...)
		}
		return s.symbols(lens[:nLit], lens[nLit:])
	}
	return fmt.Errorf("block type at bit %d", s.pos)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s *slow) symbols(lit, dist []uint8) error {
	for {
		symbol := s.symbol(lit)
		switch {
		case symbol < 0 || s.pos > 8*len(s.in):
			return fmt.Errorf("no code at bit %d", s.pos)
		case symbol < 256:
			s.out = append(s.out, byte(symbol))
			continue
		case symbol == 256:
			return nil
		}
		length := lengths[symbol-257].base + s.bits(lengths[symbol-257].extra)
		d := s.symbol(dist)
		distance := distances[d] + s.bits(max(0, d/2-1))
		if distance > s.window || distance > len(s.out) {
			return fmt.Errorf("a distance of %d, the window has %d", distance, s.window)
		}
		for range length {
			s.out = append(s.out, s.out[len(s.out)-distance])
		}
	}
}

// symbol reads a code bit by bit. RFC 1951, 3.2.2.
func (s *slow) symbol(lens []uint8) int {
	code, first := 0, 0
	for n := uint8(1); n < 16; n++ {
		code |= s.bits(1)
		for symbol, l := range lens {
			if l == n {
				if code == first {
					return symbol
				}
				first++
			}
		}
		code <<= 1
		first <<= 1
	}
	return -1
}

var order = [19]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// lengths and distances are counted up from their numbers of extra bits. RFC 1951,
// 3.2.5.
var (
	lengths   = countLengths()
	distances = countDistances()
)

type length struct{ base, extra int }

func countLengths() (list [29]length) {
	for i, next := 0, 3; i < 28; i++ {
		list[i] = length{next, max(0, i/4-1)}
		next += 1 << list[i].extra
	}
	list[28] = length{258, 0}
	return list
}

func countDistances() (list [30]int) {
	for i, next := 0, 1; i < 30; i++ {
		list[i] = next
		next += 1 << max(0, i/2-1)
	}
	return list
}
