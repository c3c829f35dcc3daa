package push

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/duplexgo/duplex/push/protocol"
)

// compact returns the data as one line of JSON, which nests at most max deep; no
// limit for 0.
func compact(data json.RawMessage, max int) (json.RawMessage, error) {
	if len(data) == 0 {
		return nil, &protocol.Error{Code: protocol.BadData, Message: "data is missing"}
	}
	// json.Compact lets bytes pass that are not UTF-8.
	if !utf8.Valid(data) {
		return nil, &protocol.Error{Code: protocol.BadData, Message: "data is not UTF-8"}
	}
	var line bytes.Buffer
	line.Grow(len(data))
	if err := json.Compact(&line, data); err != nil {
		return nil, &protocol.Error{Code: protocol.BadData, Message: "data is not JSON: " + err.Error()}
	}
	if escape := loneSurrogate(line.Bytes()); escape != "" {
		return nil, &protocol.Error{Code: protocol.BadData, Message: "data has " + escape + ", half of a character"}
	}
	if n := depth(line.Bytes()); max > 0 && n > max {
		return nil, &protocol.Error{Code: protocol.BadData, Message: fmt.Sprintf("data nests %d deep, at most %d are allowed", n, max)}
	}
	return line.Bytes(), nil
}

// depth returns how deep the arrays and objects of a JSON value nest.
func depth(value []byte) (deepest int) {
	now, inString := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case inString && c == '\\':
			i++ // what it escapes may be a quotation mark
		case c == '"':
			inString = !inString
		case inString:
		case c == '[', c == '{':
			now++
			deepest = max(deepest, now)
		case c == ']', c == '}':
			now--
		}
	}
	return deepest
}

// loneSurrogate returns the first escape of a JSON value that is one half of a
// surrogate pair without the other, or "". RFC 8259, 8.2 leaves open what becomes
// of it: some parsers refuse the whole text, and all messages in it.
func loneSurrogate(value []byte) string {
	for i := 0; ; {
		n := bytes.IndexByte(value[i:], '\\') // only strings have them
		if n < 0 {
			return ""
		}
		i += n
		switch r, ok := unescape(value[i:]); {
		case !ok:
			i += 2
		case !utf16.IsSurrogate(r):
			i += escapeSize
		default:
			low, _ := unescape(value[i+escapeSize:])
			if utf16.DecodeRune(r, low) == unicode.ReplacementChar {
				return string(value[i : i+escapeSize])
			}
			i += 2 * escapeSize
		}
	}
}

// escapeSize is the length of \u and four digits.
const escapeSize = 6

// unescape returns the character that valid JSON in a string begins with, if it
// is escaped by its number.
func unescape(b []byte) (r rune, ok bool) {
	if len(b) < escapeSize || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:escapeSize]), 16, 16)
	return rune(n), err == nil
}
