package handshake

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// reserved are the fields, in lower case, that a caller must not set: the
// handshake sets them itself, or they would end the message elsewhere than the
// peer believes. All that begin with sec-websocket- are reserved too.
var reserved = map[string]string{
	"host":              "set DialOptions.Host",
	"upgrade":           "the handshake sets it",
	"connection":        "the handshake sets it",
	"content-length":    "the handshake has no body",
	"transfer-encoding": "the handshake has no body",
	"trailer":           "the handshake has no body",
	"te":                "the handshake has no body",
	"expect":            "the handshake has no body",
	"keep-alive":        "the connection is no longer HTTP's",
	"proxy-connection":  "the connection is no longer HTTP's",
}

const secPrefix = "sec-websocket-"

// CheckHeader returns an error if h, which a caller wants sent with the
// handshake, has a name that is not a token, a name that is reserved for the
// handshake, or a value that would break out of its line. Values are not
// repeated in the error: they can be secrets.
func CheckHeader(h http.Header) error {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if !IsToken(name) {
			return fmt.Errorf("header name %s is not a token: letters, digits and hyphens", quote(name))
		}
		if why := whyReserved(name); why != "" {
			return fmt.Errorf("header %s cannot be set here: %s", quote(name), why)
		}
		if !slices.ContainsFunc(h[name], isBadValue) {
			continue
		}
		return fmt.Errorf("header %s: its value has a line break or another control character", quote(name))
	}
	return nil
}

func whyReserved(name string) string {
	name = toLower(name)
	switch {
	case name == "sec-websocket-protocol":
		return "set Subprotocols"
	case strings.HasPrefix(name, secPrefix):
		return "the handshake sets it"
	}
	return reserved[name]
}

// isBadValue reports whether v has a control character other than a tab. RFC
// 9110, 5.5.
func isBadValue(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < ' ' && c != '\t' || c == 0x7F {
			return true
		}
	}
	return false
}

// AnswerHeader returns those fields of h, set by middleware before the server
// answers, that go out with a 101: cookies, the server's name, tracing and the
// like. What describes a body or the handshake itself is left out, and so is
// what would break out of its line.
func AnswerHeader(h http.Header) http.Header {
	out := make(http.Header)
	for name, values := range h {
		if !IsToken(name) || whyReserved(name) != "" || strings.HasPrefix(toLower(name), "content-") {
			continue
		}
		if values = slices.DeleteFunc(slices.Clone(values), isBadValue); len(values) > 0 {
			out[name] = values
		}
	}
	return out
}
