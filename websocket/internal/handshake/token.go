package handshake

import (
	"iter"
	"net/http"
	"strings"
)

// IsToken reports whether s is a token: one or more letters, digits and some of
// the signs. RFC 9110, 5.6.2.
func IsToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isTokenByte(c byte) bool {
	switch {
	case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		return true
	}
	return c != 0 && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// elements yields the elements of a field that is a list, over all its lines.
// Empty ones are left out. RFC 9110, 5.6.1.
func elements(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range lines {
			for e := range strings.SplitSeq(line, ",") {
				if e = strings.Trim(e, " \t"); e != "" && !yield(e) {
					return
				}
			}
		}
	}
}

// HasToken reports whether token is an element of the list in the field name, in
// any letter case and on any of its lines.
func HasToken(h http.Header, name, token string) bool {
	for e := range elements(h.Values(name)) {
		if equalFold(e, token) {
			return true
		}
	}
	return false
}

// isOnlyToken reports whether the list in the field name has token, in any
// letter case, and nothing else.
func isOnlyToken(h http.Header, name, token string) bool {
	n := 0
	for e := range elements(h.Values(name)) {
		if !equalFold(e, token) {
			return false
		}
		n++
	}
	return n > 0
}

// equalFold compares without regard to ASCII letter case. strings.EqualFold
// would find a Kelvin sign equal to a k.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// toLower is strings.ToLower for ASCII alone, for the same reason.
func toLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = lower(c)
	}
	return string(b)
}
