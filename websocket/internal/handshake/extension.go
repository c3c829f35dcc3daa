package handshake

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// An Extension is an element of Sec-WebSocket-Extensions: an offer or an answer.
type Extension struct {
	Name   string // as it came; compare it in any letter case
	Params []Param
}

// A Param is a parameter of an extension. Without a value, Value is "": an empty
// one cannot be written.
type Param struct{ Name, Value string }

// Extensions returns the elements of Sec-WebSocket-Extensions, over all its lines
// and in order. Without that field there are none. RFC 6455, 9.1.
func Extensions(h http.Header) (list []Extension, err error) {
	for _, line := range h.Values("Sec-WebSocket-Extensions") {
		p := params{rest: line}
		for p.skip(); p.rest != ""; p.skip() {
			if p.accept(',') {
				continue // RFC 9110, 5.6.1: a list may have empty elements
			}
			e, err := p.extension()
			if err != nil {
				return nil, fmt.Errorf("Sec-WebSocket-Extensions: %w", err)
			}
			list = append(list, e)
		}
	}
	return list, nil
}

// params parses a line.
type params struct{ rest string }

// skip skips white space.
func (p *params) skip() { p.rest = strings.TrimLeft(p.rest, " \t") }

func (p *params) accept(c byte) bool {
	p.skip()
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *params) token() string {
	p.skip()
	n := 0
	for n < len(p.rest) && isTokenByte(p.rest[n]) {
		n++
	}
	t := p.rest[:n]
	p.rest = p.rest[n:]
	return t
}

var (
	errExtensionName  = errors.New("an extension without a name")
	errExtensionParam = errors.New("a semicolon without a parameter")
	errExtensionValue = errors.New("a parameter's value is not a token, in quotes or without")
)

func (p *params) extension() (e Extension, err error) {
	if e.Name = p.token(); e.Name == "" {
		return e, errExtensionName
	}
	for p.accept(';') {
		param := Param{Name: p.token()}
		if param.Name == "" {
			return e, errExtensionParam
		}
		if p.accept('=') {
			if param.Value = p.value(); param.Value == "" {
				return e, errExtensionValue
			}
		}
		e.Params = append(e.Params, param)
	}
	if p.skip(); p.rest != "" && p.rest[0] != ',' {
		return e, fmt.Errorf("something stands after %s that is neither a semicolon nor a comma", quote(e.Name))
	}
	return e, nil
}

// value returns a token, or what is in a quoted string, which must be a token too.
// RFC 6455, 9.1. It returns "" for anything else.
func (p *params) value() string {
	if !p.accept('"') {
		return p.token()
	}
	var b strings.Builder
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return b.String()
		case c == '\\' && i+1 < len(p.rest):
			i++
			c = p.rest[i]
			fallthrough
		default:
			if !isTokenByte(c) {
				return ""
			}
			b.WriteByte(c)
		}
	}
	return ""
}

// AppendExtension appends an element of the list.
func AppendExtension(b []byte, e Extension) []byte {
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	b = append(b, e.Name...)
	for _, p := range e.Params {
		b = append(append(b, "; "...), p.Name...)
		if p.Value != "" {
			b = append(append(b, '='), p.Value...)
		}
	}
	return b
}

// EqualFold compares names without regard to ASCII letter case.
func EqualFold(a, b string) bool { return equalFold(a, b) }
