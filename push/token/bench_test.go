package token

import (
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// What a token costs the server: once a line, and once a request over HTTP.
func BenchmarkVerify(b *testing.B) {
	for _, bench := range []struct {
		alg  jose.SignatureAlgorithm
		key  any
		keys string
	}{
		{jose.HS256, []byte(secret), secret},
		{jose.RS256, material()["RSA"], jwk("RSA", "")},
		{jose.ES256, material()["P-256"], jwk("P-256", "")},
		{jose.EdDSA, material()["Ed25519"], jwk("Ed25519", "")},
	} {
		b.Run(string(bench.alg), func(b *testing.B) {
			v, token := Verifier{Keys: parse(b, bench.keys)}, sign(b, bench.alg, bench.key, "", good0)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
