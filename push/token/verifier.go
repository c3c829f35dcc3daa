package token

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A Grant is what a token grants, to whom and until when.
type Grant struct {
	// User is the token's sub, "" if it has none.
	User string

	// Expires is when the grant ends, the leeway included. Zero: never.
	Expires time.Time

	// Subscribe, Publish and Presence are the channels that the user may subscribe
	// to, publish to, and ask who is on.
	Subscribe, Publish, Presence Patterns
}

// A Verifier verifies tokens. It needs Keys; all other fields have defaults. It must
// not be changed once it is in use, and can be used by many goroutines.
type Verifier struct {
	// Keys has the keys that tokens are signed with. nil: no token is good.
	Keys Source

	// Audience is what the server is called in the tokens' aud: one of these names
	// must be among those of a token. Empty: a token must have no aud, since one
	// that has is meant for somebody who knows that name. RFC 7519, 4.1.3.
	Audience []string

	// Issuer is what iss must be. Empty: any, or none.
	Issuer string

	// Claim is the claim that has the rights. Default "duplex". Some identity
	// providers only put claims into tokens that are called by a URL.
	Claim string

	// Leeway is how much the clock of whoever signs may differ from this one: a
	// token counts from that much earlier until that much later. Default 30 s;
	// negative: none.
	Leeway time.Duration

	// MaxToken is the longest token in bytes. Default 8 KiB; negative: no limit.
	MaxToken int

	// Eternal lets tokens without exp count, for ever. Somebody who has once got
	// hold of one keeps it until the key is changed.
	Eternal bool
}

const (
	defaultLeeway   = 30 * time.Second
	defaultMaxToken = 8 << 10
)

// Verify returns what a token grants: a JWS in compact serialization, without
// "Bearer". ctx bounds the wait for keys. The error is ErrInvalid, ErrExpired or
// ErrUnavailable, with more words.
func (v *Verifier) Verify(ctx context.Context, token string) (*Grant, error) {
	signed, err := v.parse(token)
	if err != nil {
		return nil, err
	}
	payload, err := v.check(ctx, signed)
	if err != nil {
		return nil, err
	}
	claim := v.Claim
	if claim == "" {
		claim = defaultClaim
	}
	reg, may, err := parseClaims(payload, claim)
	if err != nil {
		return nil, err
	}
	if err := v.meant(reg); err != nil {
		return nil, err
	}
	expires, err := v.current(reg, time.Now())
	if err != nil {
		return nil, err
	}
	g, err := newGrant(reg.Subject, expires, may)
	if err != nil {
		return nil, invalid("%v", err)
	}
	return g, nil
}

// parse takes a token apart.
func (v *Verifier) parse(token string) (*jose.JSONWebSignature, error) {
	longest := v.MaxToken
	if longest == 0 {
		longest = defaultMaxToken
	}
	switch {
	case token == "":
		return nil, invalid("it is empty")
	case longest > 0 && len(token) > longest:
		return nil, invalid("it is longer than %d bytes", longest)
	case strings.Count(token, ".") != 2 || strings.ContainsFunc(token, notCompact):
		return nil, invalid("it is not three parts of base64url with dots between (RFC 7515, 7.1)")
	}
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if unexpected := (*jose.ErrUnexpectedSignatureAlgorithm)(nil); errors.As(err, &unexpected) {
		return nil, invalid("its algorithm is not one of HS256, RS256, ES256 and EdDSA")
	}
	if err != nil {
		return nil, invalid("its parts are not a header, claims and a signature (RFC 7515, 7.1)")
	}
	for part := range strings.SplitSeq(token, ".") {
		if _, err := strict.DecodeString(part); err != nil {
			return nil, invalid("the bits that base64url leaves over are not zero (RFC 4648, 3.5)")
		}
	}
	if _, ok := signed.Signatures[0].Protected.ExtraHeaders["crit"]; ok {
		return nil, invalid("it needs extensions that are unknown here (RFC 7515, 4.1.11)")
	}
	return signed, nil
}

// strict refuses what other decoders of base64 pass over: that a last character has bits
// which do not count. What is signed is what the parts mean, so that one token could be
// written in many ways.
var strict = base64.RawURLEncoding.Strict()

// notCompact reports whether a character cannot be part of a token. Decoders of
// base64 skip line breaks, so that one token could be written in many ways.
func notCompact(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
}

// check returns the payload if one of the keys has signed it.
func (v *Verifier) check(ctx context.Context, signed *jose.JSONWebSignature) ([]byte, error) {
	if v.Keys == nil {
		return nil, ErrUnavailable
	}
	header := signed.Signatures[0].Protected
	keys, err := v.Keys.Keys(ctx, header.KeyID)
	if err != nil {
		return nil, ErrUnavailable
	}
	candidates := keys.forToken(header.KeyID, jose.SignatureAlgorithm(header.Algorithm))
	if len(candidates) == 0 {
		return nil, invalid("no key of its kid and algorithm is known")
	}
	for _, k := range candidates {
		if payload, err := signed.Verify(k.material); err == nil {
			return payload, nil
		}
	}
	return nil, invalid("its signature is wrong")
}

// meant checks that a token is from the right issuer and for this server.
func (v *Verifier) meant(reg registered) error {
	switch {
	case v.Issuer != "" && reg.Issuer != v.Issuer:
		return invalid("its issuer (iss) is not the one that is trusted")
	case len(v.Audience) == 0 && len(reg.Audience) > 0:
		return invalid("it is for an audience (aud), and this server has no name set")
	case len(v.Audience) > 0 && !slices.ContainsFunc(v.Audience, func(name string) bool { return slices.Contains(reg.Audience, name) }):
		return invalid("it is for another audience (aud)")
	}
	return nil
}

// current checks that a token counts now, and returns until when.
func (v *Verifier) current(reg registered, now time.Time) (expires time.Time, err error) {
	leeway := v.Leeway
	switch {
	case leeway == 0:
		leeway = defaultLeeway
	case leeway < 0:
		leeway = 0
	}
	if reg.Expires != nil {
		expires = numericDate(*reg.Expires).Add(leeway)
	}
	switch {
	case reg.Expires == nil && !v.Eternal:
		return expires, invalid("it has no end (exp)")
	case reg.Expires != nil && !now.Before(expires):
		return expires, ErrExpired
	case reg.NotBefore != nil && now.Add(leeway).Before(numericDate(*reg.NotBefore)):
		return expires, invalid("it is not valid yet (nbf)")
	}
	return expires, nil
}

// newGrant reads the patterns of a token.
func newGrant(user string, expires time.Time, may rights) (*Grant, error) {
	g := &Grant{User: user, Expires: expires}
	for _, list := range []struct {
		of    string
		texts []string
		into  *Patterns
	}{
		{"subscribe", may.Subscribe, &g.Subscribe},
		{"publish", may.Publish, &g.Publish},
		{"presence", may.Presence, &g.Presence},
	} {
		var err error
		if *list.into, err = ParsePatterns(list.texts, user); err != nil {
			return nil, fmt.Errorf("%s: %w", list.of, err)
		}
	}
	return g, nil
}
