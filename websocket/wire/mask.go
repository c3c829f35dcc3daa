package wire

import (
	"encoding/binary"
	"math/bits"
)

// Mask masks or unmasks b in place, which are the same thing (RFC 6455, 5.3),
// and returns the key turned for the byte that follows b: a payload that comes
// in pieces is unmasked by handing each call's result to the next one.
func Mask(b []byte, key uint32) uint32 {
	// Turning by whole keys changes nothing, so only the last len(b)%4 count.
	next := bits.RotateLeft32(key, -8*(len(b)&3))
	wide := uint64(key)<<32 | uint64(key)
	for len(b) >= 32 {
		// One bounds check for four words.
		w := (*[32]byte)(b)
		binary.LittleEndian.PutUint64(w[0:], binary.LittleEndian.Uint64(w[0:])^wide)
		binary.LittleEndian.PutUint64(w[8:], binary.LittleEndian.Uint64(w[8:])^wide)
		binary.LittleEndian.PutUint64(w[16:], binary.LittleEndian.Uint64(w[16:])^wide)
		binary.LittleEndian.PutUint64(w[24:], binary.LittleEndian.Uint64(w[24:])^wide)
		b = b[32:]
	}
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(key)
		key = bits.RotateLeft32(key, -8)
	}
	return next
}
