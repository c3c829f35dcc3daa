package token

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json"
)

// defaultClaim is the claim that holds the rights. They have a claim of their own
// because names such as "subscribe" may mean something else to other readers of the
// same token.
const defaultClaim = "duplex"

// maxUser is the longest sub, in bytes.
const maxUser = 255

// maxTime is the last second of the year 9999: beyond it, formats of times fail, and
// at some point conversions of floating point do as they please.
const maxTime = 253402300799

// rights are what a token says about channels.
type rights struct {
	Subscribe []string `json:"subscribe,omitempty"`
	Publish   []string `json:"publish,omitempty"`
	Presence  []string `json:"presence,omitempty"`
}

// registered are the claims of RFC 7519, 4.1, that count here. NumericDate may have
// a fraction.
type registered struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	Expires   *float64 `json:"exp"`
	NotBefore *float64 `json:"nbf"`
}

// An audience is one text or several. RFC 7519, 4.1.3.
type audience []string

func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil && string(data) != "null" {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// parseClaims reads the payload of a token. The parser takes no member twice and
// knows "sub" from "SUB", as RFC 7519, 4 and 7.2 want it; that of package encoding/json
// lets the last one of any case win, which another reader of the token sees
// differently.
func parseClaims(payload []byte, claim string) (registered, rights, error) {
	var reg registered
	var all map[string]json.RawMessage
	var may rights
	if !utf8.Valid(payload) || json.Unmarshal(payload, &all) != nil || all == nil {
		return reg, may, invalid("its claims are not a JSON object")
	}
	if json.Unmarshal(payload, &reg) != nil {
		return reg, may, invalid("one of its claims sub, exp, nbf, aud and iss is not what RFC 7519 says")
	}
	for _, t := range []*float64{reg.Expires, reg.NotBefore} {
		if t != nil && !(*t >= 0 && *t <= maxTime) {
			return reg, may, invalid("exp and nbf are seconds since 1970")
		}
	}
	if err := checkUser(reg.Subject); err != nil {
		return reg, may, invalid("its sub %v", err)
	}
	if text, ok := all[claim]; ok && json.Unmarshal(text, &may) != nil {
		return reg, may, invalid("its claim about channels is not an object with lists of patterns")
	}
	return reg, may, nil
}

// checkUser checks the name of a user, which becomes part of channels' names and
// is shown to others. U+FFFD is what parsers make of anything that is not UTF-8: two
// users who have it may be one by mistake.
func checkUser(name string) error {
	bad := func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }
	switch {
	case len(name) > maxUser:
		return fmt.Errorf("is longer than %d bytes", maxUser)
	case strings.ContainsFunc(name, bad):
		return errors.New("has control characters, or is not UTF-8")
	}
	return nil
}

// numericDate makes a time of a NumericDate within range.
func numericDate(seconds float64) time.Time {
	whole := int64(seconds)
	return time.Unix(whole, int64((seconds-float64(whole))*1e9))
}
