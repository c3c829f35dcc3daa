package flate

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// A sentence is text in which matches lie at any distance.
func sentence(rng *rand.Rand, n int) []byte {
	b := make([]byte, 0, n+40)
	for len(b) < n {
		b = fmt.Appendf(b, `{"id":%d,"user":"user%d","at":%d},`, rng.IntN(1000), rng.IntN(50), rng.IntN(1<<30))
	}
	return b[:n]
}

// No match may lie outside of the window, be it in the message or before it: an
// Inflater that knows no more than the window must find everything.
func TestDeflateKeepsToItsWindow(t *testing.T) {
	for bits := MinBits; bits <= MaxBits; bits++ {
		for _, kept := range []bool{false, true} {
			rng := rand.New(rand.NewPCG(uint64(bits), 1))
			var sent Window
			d := NewDeflater(bits)
			d.Reset(nil)
			var received []byte
			for range 200 {
				text := sentence(rng, rng.IntN(1+rng.IntN(20_000)))
				if !kept {
					d.Release()
					d = NewDeflater(bits)
					d.Reset(sent.Bytes())
				}
				packed := d.Deflate(nil, text)
				if !bytes.HasSuffix(packed, Tail) {
					t.Fatalf("%d bits: the message ends in %x", bits, packed[max(0, len(packed)-4):])
				}
				sent.Append(text, bits)
				if got, err := inflateWithin(packed, received, 1<<bits); err != nil || !bytes.Equal(got, text) {
					t.Fatalf("%d bits, kept %v: %d bytes of %d, %v", bits, kept, len(got), len(text), err)
				}
				received = append(received, text...)
			}
			d.Release()
		}
	}
}

// inflateWithin is a slow decompressor that fails on a distance over size. RFC 1951.
func inflateWithin(packed, before []byte, size int) ([]byte, error) {
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
			code[codeOrder[i]] = uint8(s.bits(3))
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
		length := lengthBase[symbol-257] + s.bits(lengthExtra[symbol-257])
		d := s.symbol(dist)
		distance := distanceBase[d] + s.bits(max(0, d/2-1))
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

func TestWindow(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 200 {
		var w Window
		var all []byte
		for range 20 {
			p := sentence(rng, rng.IntN(1+rng.IntN(1500)))
			all = append(all, p...)
			w.Append(p, MinBits+1)
			if want := all[max(0, len(all)-512):]; !bytes.Equal(w.Bytes(), want) {
				t.Fatalf("the window has %d bytes %.60q, want %d bytes %.60q", len(w.Bytes()), w.Bytes(), len(want), want)
			}
			if cap(w.b) > 512 {
				t.Fatalf("the window takes %d bytes", cap(w.b))
			}
		}
	}
	var w Window
	if w.Append(make([]byte, 100), 15); cap(w.b) != 100 {
		t.Errorf("a window with 100 bytes takes %d", cap(w.b))
	}
}

func TestNoAllocations(t *testing.T) {
	window, text, dst := sentence(rand.New(rand.NewPCG(1, 1)), 4096), sentence(rand.New(rand.NewPCG(1, 2)), 1024), make([]byte, 0, 8192)
	plain := make([]byte, 8192)
	// A garbage collection that falls into the run empties the pools once.
	if n := testing.AllocsPerRun(1000, func() {
		d := NewDeflater(12)
		d.Reset(window)
		packed := d.Deflate(dst, text)
		d.Release()
		f := NewInflater(window)
		f.Inflate(plain, packed)
		f.Release()
	}); n > 0 && !raceEnabled {
		t.Errorf("%v allocations a message", n)
	}
}

func BenchmarkDeflate(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{300, 1024} {
		var messages [64][]byte
		for i := range messages {
			messages[i] = sentence(rng, size)
		}
		for _, test := range []struct {
			name       string
			bits       int
			kept, none bool
		}{
			{"12 bits, window", 12, false, false},
			{"12 bits, kept", 12, true, false},
			{"12 bits, no takeover", 12, false, true},
			{"15 bits, window", 15, false, false},
			{"15 bits, kept", 15, true, false},
		} {
			b.Run(fmt.Sprintf("%d B, %s", size, test.name), func(b *testing.B) {
				var dst []byte
				var w Window
				kept := NewDeflater(test.bits)
				kept.Reset(nil)
				in, out := 0, 0
				b.ReportAllocs()
				for b.Loop() {
					text := messages[in%len(messages)]
					if test.kept {
						dst = kept.Deflate(dst[:0], text)
					} else {
						d := NewDeflater(test.bits)
						d.Reset(w.Bytes())
						dst = d.Deflate(dst[:0], text)
						d.Release()
						if !test.none {
							w.Append(text, test.bits)
						}
					}
					in++
					out += len(dst) - len(Tail)
				}
				b.ReportMetric(float64(out)/float64(in*size), "ratio")
			})
		}
	}
}
