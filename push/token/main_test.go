package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret is a secret of the least length.
const secret = "0123456789abcdef0123456789abcdef"

// material makes the keys of the tests once; making RSA keys takes long.
var material = sync.OnceValue(func() map[string]crypto.Signer {
	keys := make(map[string]crypto.Signer)
	for name, bits := range map[string]int{"RSA": 2048, "other RSA": 2048, "short RSA": 1024} {
		keys[name] = must(rsa.GenerateKey(rand.Reader, bits))
	}
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()} {
		keys[name] = must(ecdsa.GenerateKey(curve, rand.Reader))
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	keys["Ed25519"] = must(ed, err)
	return keys
})

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// public returns the public half of a key in PEM.
func public(name string) []byte {
	der := must(x509.MarshalPKIXPublicKey(material()[name].Public()))
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// jwk returns the public half of a key as a JWK.
func jwk(name, kid string) string {
	return string(must(jose.JSONWebKey{Key: material()[name].Public(), KeyID: kid}.MarshalJSON()))
}

// jwks returns a JWK Set.
func jwks(members ...string) string { return `{"keys":[` + strings.Join(members, ",") + `]}` }

// octets returns a secret as a JWK.
func octets(secret, kid string) string {
	return fmt.Sprintf(`{"kty":"oct","k":%q,"kid":%q}`, base64.RawURLEncoding.EncodeToString([]byte(secret)), kid)
}

// sign makes a token with whatever key and algorithm go together.
func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, kid, claims string) string {
	t.Helper()
	options := new(jose.SignerOptions)
	if kid != "" {
		options.WithHeader("kid", kid)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	return must(signed.CompactSerialize())
}

// hs256 makes a token with the secret of the tests.
func hs256(t testing.TB, claims string) string {
	t.Helper()
	return sign(t, jose.HS256, []byte(secret), "", claims)
}

// parts makes a token of a header, claims and a signature as they are.
func parts(header, claims, signature string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	return b64([]byte(header)) + "." + b64([]byte(claims)) + "." + b64([]byte(signature))
}

// good are claims that count for ever long, with some changed: nil takes one away.
func good(changes map[string]any) string {
	claims := map[string]any{
		"sub":    "42",
		"exp":    int64(maxTime),
		"duplex": map[string]any{"subscribe": []string{"news", "user:{user}"}},
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return string(must(json.Marshal(claims)))
}

// parse reads keys that must be right.
func parse(t testing.TB, text string) Keys {
	t.Helper()
	keys, err := ParseKeys([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}
