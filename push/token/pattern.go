package token

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A pattern is cut into pieces at its stars: "a*b*" is "a", "b", "". One without a
// star is a single piece.
type pattern []string

// match reports whether the pattern stands for a channel. The pieces between the
// first and the last are each taken where they occur first, since an earlier place
// never leaves less for the others; so nothing is tried twice, and the time grows
// with the length of the channel and not with its powers.
func (p pattern) match(channel string) bool {
	if len(p) == 1 {
		return channel == p[0]
	}
	rest, ok := strings.CutPrefix(channel, p[0])
	if !ok {
		return false
	}
	if rest, ok = strings.CutSuffix(rest, p[len(p)-1]); !ok {
		return false
	}
	for _, piece := range p[1 : len(p)-1] {
		if _, rest, ok = strings.Cut(rest, piece); !ok {
			return false
		}
	}
	return true
}

// placeholder stands for the user's name in a pattern.
const placeholder = "{user}"

var (
	errBrace  = errors.New(`{ begins {user} or is written \{`)
	errEscape = errors.New(`the \ at its end has nothing to escape`)
	errNobody = errors.New("{user} stands for nobody: there is no sub")
)

// parsePattern reads a pattern for a user.
func parsePattern(text, user string) (pattern, error) {
	var p pattern
	var piece strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '*':
			p = append(p, piece.String())
			piece.Reset()
		case '{':
			switch {
			case !strings.HasPrefix(text[i:], placeholder):
				return nil, errBrace
			case user == "":
				return nil, errNobody
			}
			piece.WriteString(user)
			i += len(placeholder) - 1
		case '\\':
			i++
			if i == len(text) {
				return nil, errEscape
			}
			piece.WriteByte(text[i])
		default:
			piece.WriteByte(c)
		}
	}
	return append(p, piece.String()), nil
}

// Patterns are the channels that somebody may do something with. The zero value is
// none.
type Patterns struct{ list []pattern }

// The limits of a list of patterns. They bound what a single question costs.
const (
	maxPatterns = 100
	maxPattern  = 512 // bytes
)

// ParsePatterns reads patterns as a token has them, for a user who may have no name
// (""): at most 100, each of 1 to 512 bytes.
func ParsePatterns(texts []string, user string) (Patterns, error) {
	if len(texts) > maxPatterns {
		return Patterns{}, fmt.Errorf("there are %d patterns, more than %d", len(texts), maxPatterns)
	}
	var p Patterns
	for i, text := range texts {
		if text == "" || len(text) > maxPattern || !utf8.ValidString(text) {
			return Patterns{}, fmt.Errorf("pattern %d is not 1 to %d bytes of UTF-8", i+1, maxPattern)
		}
		parsed, err := parsePattern(text, user)
		if err != nil {
			return Patterns{}, fmt.Errorf("pattern %d: %w", i+1, err)
		}
		p.list = append(p.list, parsed)
	}
	return p, nil
}

// Match reports whether a channel is among them.
func (p Patterns) Match(channel string) bool {
	for _, pattern := range p.list {
		if pattern.match(channel) {
			return true
		}
	}
	return false
}
