package wire

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// slowMask is RFC 6455, 5.3 as it is written: byte i of the payload is combined
// with byte i modulo 4 of the key.
func slowMask(b []byte, key [4]byte) {
	for i := range b {
		b[i] ^= key[i%4]
	}
}

const testKey = 0x3d21fa37

var testKeyBytes = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// noise returns n bytes that are the same in every run.
func noise(n int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestMaskExample(t *testing.T) {
	b := []byte("Hello")
	Mask(b, testKey)
	if want := []byte{0x7f, 0x9f, 0x4d, 0x51, 0x58}; !bytes.Equal(b, want) {
		t.Errorf("masked Hello = %x, want %x (RFC 6455, 5.7)", b, want)
	}
}

// Every length at every place of memory, and not a byte beside it.
func TestMaskAgainstSlow(t *testing.T) {
	const guard = 40
	original := noise(300 + 2*guard)
	for n := 0; n <= 300; n++ {
		for offset := range 9 {
			from, to := guard+offset, min(guard+offset+n, len(original))
			want := bytes.Clone(original)
			slowMask(want[from:to], testKeyBytes)
			got := bytes.Clone(original)
			Mask(got[from:to], testKey)
			if !bytes.Equal(got, want) {
				t.Fatalf("%d bytes at offset %d differ", n, offset)
			}
		}
	}
}

// A payload that comes in pieces: the turned key goes on where the last piece
// ended.
func TestMaskInPieces(t *testing.T) {
	original := noise(300)
	for n := 0; n <= len(original); n++ {
		want := bytes.Clone(original[:n])
		slowMask(want, testKeyBytes)
		for cut := 0; cut <= n; cut++ {
			got := bytes.Clone(original[:n])
			Mask(got[cut:], Mask(got[:cut], testKey))
			if !bytes.Equal(got, want) {
				t.Fatalf("%d bytes cut at %d differ", n, cut)
			}
		}
	}
	for step := 1; step <= 37; step++ {
		want := bytes.Clone(original)
		slowMask(want, testKeyBytes)
		got, key := bytes.Clone(original), uint32(testKey)
		for rest := got; len(rest) > 0; {
			n := min(step, len(rest))
			key = Mask(rest[:n], key)
			rest = rest[n:]
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("pieces of %d bytes differ", step)
		}
	}
}
