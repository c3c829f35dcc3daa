package main

import (
	"fmt"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// visible returns text with every character escaped that could do more than
// appear: control characters, which move a terminal's cursor, change its title
// or make it type; characters that turn the direction of writing, which make
// text read as other text; separators that would begin a new line; and bytes that
// are not UTF-8, which old terminals take for control characters. So the
// result is always one line. Backslashes stay as they are: JSON stays JSON.
func visible(text string) string {
	clean := strings.IndexFunc(text, hidden) < 0 && utf8.ValidString(text)
	if clean {
		return text
	}
	var b strings.Builder
	b.Grow(len(text) + len(text)/8)
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case !hidden(r):
			b.WriteString(text[i : i+n])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += n
	}
	return b.String()
}

// visibleJSON is visible for a JSON value that holds no line ends outside of
// strings: the escapes are JSON's own, so the value stays the same. JSON keeps
// the first 32 control characters out of strings by itself.
func visibleJSON(text string) string {
	if strings.IndexFunc(text, hidden) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if hidden(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// hidden reports whether r must not reach a terminal as it is. Every such
// character has a code of four hexadecimal digits at most.
func hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// isTerminal reports whether f, a reader or a writer, is a terminal. The null
// device counts as one, where it makes no difference.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// A style is how a piece of text looks on a terminal.
type style string

const (
	dim  style = "\x1b[2m"
	bold style = "\x1b[1m"
)

// paint returns text in a style if it is written to a terminal whose user has
// not asked for plain text by the variable NO_COLOR.
func paint(out any, s style, text string) string {
	if !isTerminal(out) || os.Getenv("NO_COLOR") != "" {
		return text
	}
	return string(s) + text + "\x1b[0m"
}
