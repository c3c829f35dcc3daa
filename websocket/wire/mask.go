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
	if len(b) < 8 {
		for i := range b {
			b[i] ^= byte(key)
			key = bits.RotateLeft32(key, -8)
		}
		return next
	}
	wide := uint64(key)<<32 | uint64(key)
	// The last eight bytes are read before they are changed and written after
	// all others. They may share some with the word before them, which writes
	// the same there: so no byte is left for a loop over single bytes.
	end := b[len(b)-8:]
	last := binary.LittleEndian.Uint64(end) ^ (uint64(next)<<32 | uint64(next))
	for len(b) > 64 {
		// One bounds check for eight words.
		w := (*[64]byte)(b)
		binary.LittleEndian.PutUint64(w[0:], binary.LittleEndian.Uint64(w[0:])^wide)
		binary.LittleEndian.PutUint64(w[8:], binary.LittleEndian.Uint64(w[8:])^wide)
		binary.LittleEndian.PutUint64(w[16:], binary.LittleEndian.Uint64(w[16:])^wide)
		binary.LittleEndian.PutUint64(w[24:], binary.LittleEndian.Uint64(w[24:])^wide)
		binary.LittleEndian.PutUint64(w[32:], binary.LittleEndian.Uint64(w[32:])^wide)
		binary.LittleEndian.PutUint64(w[40:], binary.LittleEndian.Uint64(w[40:])^wide)
		binary.LittleEndian.PutUint64(w[48:], binary.LittleEndian.Uint64(w[48:])^wide)
		binary.LittleEndian.PutUint64(w[56:], binary.LittleEndian.Uint64(w[56:])^wide)
		b = b[64:]
	}
	for len(b) > 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
		b = b[8:]
	}
	binary.LittleEndian.PutUint64(end, last)
	return next
}
