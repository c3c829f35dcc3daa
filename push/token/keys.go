package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// algorithms are those that a token may name. RFC 7518, 3.1; RFC 8037, 3.1.
var algorithms = []jose.SignatureAlgorithm{jose.HS256, jose.RS256, jose.ES256, jose.EdDSA}

// A Source has the keys that tokens are signed with.
type Source interface {
	// Keys returns the keys there are now. kid is the id of the key that is
	// looked for, "" if it has none: a Source that does not have it may look
	// whether it has come meanwhile, until ctx is done. An error means that there
	// are no keys to go by.
	Keys(ctx context.Context, kid string) (Keys, error)
}

// Keys are keys to verify tokens with. They are a Source themselves, one that never
// changes. The zero value is none.
type Keys struct{ list []key }

// Keys returns k.
func (k Keys) Keys(context.Context, string) (Keys, error) { return k, nil }

// Len returns how many there are.
func (k Keys) Len() int { return len(k.list) }

// A key is good for one algorithm. That is decided by what it is: a token that names
// another one is not verified with it.
type key struct {
	id        string // kid; "": it has none, and is tried for any
	algorithm jose.SignatureAlgorithm
	material  any // []byte, *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey
}

// has reports whether a kid is that of a key. Where no key has one, it says nothing.
func (k Keys) has(kid string) bool {
	named := false
	for _, k := range k.list {
		if k.id == kid {
			return true
		}
		named = named || k.id != ""
	}
	return !named
}

// forToken returns the keys to try for a token. A token with a kid is verified with
// the keys of that id, or if there are none, with those that have no id: a key in PEM
// cannot have one, and whoever signs may well give one. A token without is tried with
// all. RFC 7515, 4.1.4.
func (k Keys) forToken(kid string, algorithm jose.SignatureAlgorithm) []key {
	var named, nameless, all []key
	for _, k := range k.list {
		if k.algorithm != algorithm {
			continue
		}
		all = append(all, k)
		switch k.id {
		case "":
			nameless = append(nameless, k)
		case kid:
			named = append(named, k)
		}
	}
	switch {
	case kid == "":
		return all
	case len(named) > 0:
		return named
	}
	return nameless
}

// The limits of keys.
const (
	// maxKeys bounds how many signatures a token without a kid can cost.
	maxKeys = 64

	// minSecret is the length of HS256's hash, and the least that RFC 7518, 3.2
	// allows. From any token a shorter secret can be guessed without asking the
	// server once.
	minSecret = 32

	// RFC 7518, 3.3. Above the maximum, verifying takes long.
	minRSA, maxRSA = 2048, 8192
)

var errPrivate = errors.New("it is a private key, which the server must not have: give it the public one")

// newKey binds a key to its algorithm.
func newKey(id string, material any) (key, error) {
	k := key{id: id, material: material}
	switch m := material.(type) {
	case []byte:
		if len(m) < minSecret {
			return k, fmt.Errorf("a secret for HS256 has at least %d bytes, this one has %d: make one with 'openssl rand -hex 32'", minSecret, len(m))
		}
		k.algorithm = jose.HS256
	case *rsa.PublicKey:
		if n := m.N.BitLen(); n < minRSA || n > maxRSA {
			return k, fmt.Errorf("an RSA key has %d to %d bits, this one has %d", minRSA, maxRSA, n)
		}
		k.algorithm = jose.RS256
	case *ecdsa.PublicKey:
		if m.Curve != elliptic.P256() {
			return k, fmt.Errorf("the curve of ES256 is P-256, this key's is %s", m.Curve.Params().Name)
		}
		k.algorithm = jose.ES256
	case ed25519.PublicKey:
		k.algorithm = jose.EdDSA
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
		return k, errPrivate
	default:
		return k, errors.New("keys are secrets, RSA, P-256 or Ed25519, this one is none of them")
	}
	return k, nil
}
