package protocol

import (
	"encoding/json"
	"unicode/utf8"
)

// Append appends the reply as one line of JSON, without a line feed.
func (r Reply) Append(dst []byte) []byte { return appendJSON(dst, r) }

// Append appends {"reset": the reset}, without a line feed.
func (r Reset) Append(dst []byte) []byte {
	return append(r.AppendBare(append(dst, `{"reset":`...)), '}')
}

// AppendBare appends the reset as it stands in the answers of the HTTP API.
func (r Reset) AppendBare(dst []byte) []byte { return appendJSON(dst, r) }

// Append appends {"presence": it}, without a line feed.
func (p Presence) Append(dst []byte) []byte { return wrap(dst, "presence", p) }

// Join returns {"join": ...} for a user who joins a channel.
func Join(channel, user string) []byte { return wrap(nil, "join", Change{channel, user}) }

// Leave returns {"leave": ...} for a user who leaves a channel.
func Leave(channel, user string) []byte { return wrap(nil, "leave", Change{channel, user}) }

// Append appends {"unsubscribed": it}, without a line feed.
func (u Unsubscribed) Append(dst []byte) []byte { return wrap(dst, "unsubscribed", u) }

func wrap(dst []byte, name string, v any) []byte {
	return append(appendJSON(append(append(append(dst, `{"`...), name...), `":`...), v), '}')
}

// appendJSON is for the values of this package, all of which can be encoded.
func appendJSON(dst []byte, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("push/protocol: " + err.Error())
	}
	return append(dst, b...)
}

// Append appends the message as one line of JSON, without a line feed. Its Data
// must be compact JSON; the time is written in UTC.
func (m Message) Append(dst []byte) []byte {
	dst = AppendString(append(dst, `{"channel":`...), m.Channel)
	dst = AppendString(append(dst, `,"position":`...), m.Position)
	dst = append(append(dst, `,"data":`...), m.Data...)
	dst = append(dst, `,"time":"`...)
	dst = m.Time.UTC().AppendFormat(dst, timeFormat)
	return append(dst, `"}`...)
}

// timeFormat is RFC 3339 to the millisecond, for a time in UTC.
const timeFormat = "2006-01-02T15:04:05.000Z"

// AppendString appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD. Unlike encoding/json it leaves <, > and & as they are.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[from:i]...)
		switch {
		case c == '"', c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c >= utf8.RuneSelf:
			dst = append(dst, "\uFFFD"...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xF])
		}
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}
