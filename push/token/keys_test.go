package token

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func der(name string) []byte { return must(x509.MarshalPKIXPublicKey(material()[name].Public())) }

func TestParseKeys(t *testing.T) {
	rsaKey := material()["RSA"].(*rsa.PrivateKey)
	cert := must(x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1, 0)}, &x509.Certificate{}, rsaKey.Public(), rsaKey))
	private := string(must((&jose.JSONWebKey{Key: rsaKey}).MarshalJSON()))
	with := func(jwk, member string) string { return strings.TrimSuffix(jwk, "}") + "," + member + "}" }
	for _, test := range []struct {
		name, text string
		algs       string // of the keys that are read
		want       string // in the error
	}{
		{"secret", secret, "HS256", ""},
		{"secret of any bytes", "\x00\xff " + secret + "\t", "HS256", ""},
		{"secret in hexadecimal", strings.Repeat("0a", 32) + "\r\n", "HS256", ""},
		{"PEM", string(public("RSA")), "RS256", ""},
		{"PEM with a byte order mark", "\uFEFF" + string(public("RSA")), "RS256", ""},
		{"PEM behind a note", "the key:\n" + string(public("Ed25519")), "EdDSA", ""},
		{"PKCS #1", block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)), "RS256", ""},
		{"certificate", block("CERTIFICATE", cert), "RS256", ""},
		{"several in PEM", string(public("P-256")) + string(public("RSA")), "ES256 RS256", ""},
		{"JWK", " " + jwk("P-256", "a"), "ES256", ""},
		{"JWK with all that it may say", with(jwk("RSA", "a"), `"use":"sig","alg":"RS256","key_ops":["verify"],"other":1`), "RS256", ""},
		{"JWK Set", jwks(jwk("RSA", "a"), octets(secret, "b")), "RS256 HS256", ""},

		{"nothing", "", "", "it is empty"},
		{"a line break", "\n", "", "it is empty"},
		{"spaces", strings.Repeat(" ", 40), "", "it is empty"},
		{"short secret", secret[1:] + "\n", "", "at least 32 bytes, this one has 31"},
		{"short secret as a JWK", octets(secret[1:], ""), "", "at least 32 bytes, this one has 31"},
		{"short RSA key", string(public("short RSA")), "", "2048 to 8192 bits, this one has 1024"},
		{"short RSA key as a JWK", jwk("short RSA", ""), "", "2048 to 8192 bits, this one has 1024"},
		{"P-384", string(public("P-384")), "", "P-256, this key's is P-384"},
		{"P-521 as a JWK", jwks(jwk("P-521", "")), "", "key 1 of the JWK Set: the curve of ES256 is P-256, this key's is P-521"},
		{"private key", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), "", "private key"},
		{"private key, PKCS #8", block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(material()["Ed25519"]))), "", "private key"},
		{"private key as a JWK", private, "", "private key"},
		{"something else in PEM", block("CERTIFICATE REQUEST", []byte("x")), "", "no public key"},
		{"broken PEM", string(public("RSA")[:100]), "", "PEM is broken"},
		{"one of two broken", string(public("RSA")) + string(public("RSA")[:100]), "", "PEM is broken"},
		{"garbage in PEM", block("PUBLIC KEY", []byte("x")), "", "key 1 (PUBLIC KEY)"},
		{"DER", string(der("RSA")), "", "public key, but not in PEM"},
		{"DER, PKCS #1", string(x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)), "", "public key, but not in PEM"},
		{"DER, certificate", string(cert), "", "public key, but not in PEM"},
		{"base64 without PEM's lines", base64.StdEncoding.EncodeToString(der("P-256")) + "\n", "", "public key, but not in PEM"},
		{"base64 in lines", strings.Join(strings.Split(string(public("RSA")), "\n")[1:4], "\n"), "HS256", ""}, // part of a key is none
		{"all of it in lines", strings.Join(strings.Split(string(public("RSA")), "\n")[1:8], "\n"), "", "public key, but not in PEM"},
		{"OpenSSH", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDummyDummyDummyDummyDummyDummyDummyDummyDumm a@b", "", "public key, but not in PEM"},
		{"broken JSON", `{"kty":`, "", "not a JSON object"},
		{"other JSON", `{"a":1}`, "", "not a JWK"},
		{"an empty set", jwks(), "", "JWK Set is empty"},
		{"a set of nothing", `{"keys":null}`, "", "JWK Set is empty"},
		{"a set of text", `{"keys":"a"}`, "", "not an array"},
		{"unknown kind", `{"kty":"OKP","crv":"Ed448","x":"AA"}`, "", "kty oct, RSA, EC or OKP with Ed25519"},
		{"not on the curve", `{"kty":"EC","crv":"P-256","x":"` + strings.Repeat("A", 43) + `","y":"` + strings.Repeat("A", 43) + `"}`, "", "not a JWK"},
		{"for encryption", with(jwk("RSA", "a"), `"use":"enc"`), "", "use is not sig"},
		{"to encrypt", with(jwk("RSA", "a"), `"key_ops":["encrypt"]`), "", "key_ops"},
		{"for nothing", with(jwk("RSA", "a"), `"key_ops":[]`), "", "key_ops"},
		{"other algorithm", with(jwk("RSA", "a"), `"alg":"PS256"`), "", "its alg is not RS256"},
		{"algorithm of secrets", with(jwk("RSA", "a"), `"alg":"HS256"`), "", "its alg is not RS256"},
		{"too many", jwks(strings.Split(strings.Repeat(octets(secret, "")+"\n", maxKeys+1), "\n")[:maxKeys+1]...), "", "65 keys, more than 64"},
	} {
		t.Run(test.name, func(t *testing.T) {
			keys, err := ParseKeys([]byte(test.text))
			var algs []string
			for _, k := range keys.list {
				algs = append(algs, string(k.algorithm))
			}
			if got := strings.Join(algs, " "); got != test.algs {
				t.Errorf("the algorithms are %q, want %q", got, test.algs)
			}
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("the error is %v, want %s", err, test.want)
			case err != nil && len(strings.TrimSpace(test.text)) > 20 && strings.Contains(err.Error(), strings.TrimSpace(test.text)[5:20]):
				t.Errorf("the error quotes the key: %v", err)
			}
		})
	}
}

// The text of a secret is not kept by the caller's slice.
func TestParseKeysCopies(t *testing.T) {
	text := []byte(secret)
	keys := parse(t, string(text))
	read, err := ParseKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	clear(text)
	if !bytes.Equal(read.list[0].material.([]byte), keys.list[0].material.([]byte)) {
		t.Error("the key changes with the text that it was read from")
	}
}

// Whatever a file holds, reading it must not panic, and a key has one algorithm.
func FuzzKeys(f *testing.F) {
	for _, text := range []string{secret, string(public("RSA")), jwk("P-256", "a"), jwks(jwk("Ed25519", ""), octets(secret, "b")), `{"keys":[{}]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParseKeys(text)
		if (err == nil) != (keys.Len() > 0) {
			t.Fatalf("%d keys, %v", keys.Len(), err)
		}
		for _, k := range keys.list {
			if k.algorithm == "" {
				t.Errorf("a key without an algorithm: %T", k.material)
			}
		}
		parsePublished(text)
	})
}
