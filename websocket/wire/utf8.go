package wire

import "encoding/binary"

// UTF8 checks a text that comes in pieces and fails at its first wrong byte,
// wherever the pieces are cut. The zero value is ready for a new text.
type UTF8 struct {
	expects uint8 // one of the constants below
}

// What may come next. Each is the place of six bits in a uint64, see turns.
const (
	character = 6 * iota // any character, or the end of the text
	last1                // the last byte of a character
	last2                // its last two
	last3                // its last three
	afterE0              // the last two, after E0: not overlong
	afterED              // the last two, after ED: not a surrogate
	afterF0              // the last three, after F0: not overlong
	afterF4              // the last three, after F4: at most U+10FFFF
	nothing              // a wrong byte has come

	sixBits = 1<<6 - 1
)

// turns says for each byte what is expected after it: turns[c]>>e has it in its
// low six bits, where e was expected before it. The bits above mean nothing.
// One shift a byte, without a branch that depends on the text, is what makes
// this fast where characters of different lengths alternate.
var turns = grammar()

// grammar is RFC 3629, 4.
func grammar() (turns [256]uint64) {
	set := func(expected uint64, from, to byte, next uint64) {
		for c := int(from); c <= int(to); c++ {
			turns[c] = turns[c]&^(sixBits<<expected) | next<<expected
		}
	}
	for expected := uint64(character); expected <= nothing; expected += 6 {
		set(expected, 0x00, 0xFF, nothing)
	}
	set(character, 0x00, 0x7F, character)
	set(character, 0xC2, 0xDF, last1)
	set(character, 0xE0, 0xE0, afterE0)
	set(character, 0xE1, 0xEC, last2)
	set(character, 0xED, 0xED, afterED)
	set(character, 0xEE, 0xEF, last2)
	set(character, 0xF0, 0xF0, afterF0)
	set(character, 0xF1, 0xF3, last3)
	set(character, 0xF4, 0xF4, afterF4)
	set(last1, 0x80, 0xBF, character)
	set(last2, 0x80, 0xBF, last1)
	set(last3, 0x80, 0xBF, last2)
	set(afterE0, 0xA0, 0xBF, last1)
	set(afterED, 0x80, 0x9F, last1)
	set(afterF0, 0x90, 0xBF, last2)
	set(afterF4, 0x80, 0x8F, last2)
	return turns
}

// Valid reports whether p can follow what was given before. After a false it
// stays false until Reset.
func (u *UTF8) Valid(p []byte) bool {
	e := uint64(u.expects)
	for len(p) >= 8 {
		c := (*[8]byte)(p)
		if binary.LittleEndian.Uint64(c[:])&notASCII == 0 && e&sixBits == character {
			p = skipASCII(p[8:])
			continue
		}
		e = turns[c[0]] >> (e & sixBits)
		e = turns[c[1]] >> (e & sixBits)
		e = turns[c[2]] >> (e & sixBits)
		e = turns[c[3]] >> (e & sixBits)
		e = turns[c[4]] >> (e & sixBits)
		e = turns[c[5]] >> (e & sixBits)
		e = turns[c[6]] >> (e & sixBits)
		e = turns[c[7]] >> (e & sixBits)
		p = p[8:]
	}
	for _, c := range p {
		e = turns[c] >> (e & sixBits)
	}
	u.expects = uint8(e & sixBits)
	return u.expects != nothing
}

const notASCII = 0x8080808080808080 // the bit that no byte of ASCII has, in eight bytes

// skipASCII returns p without the ASCII at its start, in steps of 32 bytes.
func skipASCII(p []byte) []byte {
	for len(p) > 32 {
		c := (*[32]byte)(p)
		if (binary.LittleEndian.Uint64(c[0:])|binary.LittleEndian.Uint64(c[8:])|
			binary.LittleEndian.Uint64(c[16:])|binary.LittleEndian.Uint64(c[24:]))&notASCII != 0 {
			break
		}
		p = p[32:]
	}
	return p
}

// Complete reports whether the text may end here: no character is unfinished.
func (u *UTF8) Complete() bool { return u.expects == character }

// Reset makes u ready for a new text.
func (u *UTF8) Reset() { u.expects = character }
