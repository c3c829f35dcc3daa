package wire

import "unicode/utf8"

// UTF8 checks a text that comes in pieces and fails at its first wrong byte,
// wherever the pieces are cut. The zero value is ready for a new text.
type UTF8 struct {
	part [utf8.UTFMax]byte // the start of a character whose end has not come yet
	n    int               // how much of part is used, at most 3
}

// Valid reports whether p can follow what was given before. After a false the
// state is not defined until Reset.
func (u *UTF8) Valid(p []byte) bool {
	for u.n > 0 && len(p) > 0 {
		u.part[u.n] = p[0]
		u.n++
		p = p[1:]
		// FullRune is true of a wrong encoding too, at its first wrong byte.
		if c := u.part[:u.n]; utf8.FullRune(c) {
			if r, _ := utf8.DecodeRune(c); r == utf8.RuneError && !isReplacement(c) {
				return false
			}
			u.n = 0
		}
	}
	tail := unfinished(p)
	u.n += copy(u.part[u.n:], p[len(p)-tail:])
	return utf8.Valid(p[:len(p)-tail])
}

// Complete reports whether the text may end here: no character is unfinished.
func (u *UTF8) Complete() bool { return u.n == 0 }

// Reset makes u ready for a new text.
func (u *UTF8) Reset() { u.n = 0 }

// unfinished returns the length of the valid start of a character at the end of
// p whose end is not in p, 0 to 3.
func unfinished(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if c := p[len(p)-n:]; utf8.RuneStart(c[0]) {
			if utf8.FullRune(c) {
				return 0
			}
			return n
		}
	}
	return 0
}

// isReplacement reports whether c is U+FFFD itself, properly encoded:
// utf8.DecodeRune gives the same rune for it and for a wrong encoding.
func isReplacement(c []byte) bool {
	return len(c) == 3 && c[0] == 0xEF && c[1] == 0xBF && c[2] == 0xBD
}
