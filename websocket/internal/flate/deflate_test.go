package flate

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/duplexgo/duplex/websocket/internal/slowflate"
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
	messages := 200
	if raceEnabled { // it has nothing to find here, and takes ten times as long
		messages = 40
	}
	for bits := MinBits; bits <= MaxBits; bits++ {
		for _, kept := range []bool{false, true} {
			rng := rand.New(rand.NewPCG(uint64(bits), 1))
			var sent Window
			d := NewDeflater(bits)
			d.Reset(nil)
			var received []byte
			for range messages {
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
				if got, err := slowflate.Inflate(packed, received, 1<<bits); err != nil || !bytes.Equal(got, text) {
					t.Fatalf("%d bits, kept %v: %d bytes of %d, %v", bits, kept, len(got), len(text), err)
				}
				received = append(received, text...)
			}
			d.Release()
		}
	}
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
			{"9 bits, window", 9, false, false},
			{"9 bits, kept", 9, true, false},
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
