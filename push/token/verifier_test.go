package token

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// wantError checks that an error is of a kind and says something.
func wantError(t *testing.T, got, kind error, text string) {
	t.Helper()
	if !errors.Is(got, kind) || !strings.Contains(got.Error(), text) {
		t.Errorf("the error is %q, want %q and in it %q", got, kind, text)
	}
}

// A token of each algorithm counts with the key that belongs to it, in each form
// that a key has, and with no other.
func TestAlgorithms(t *testing.T) {
	signers := []struct {
		alg  jose.SignatureAlgorithm
		with any
		keys string
	}{
		{jose.HS256, []byte(secret), secret + "\n"},
		{jose.HS256, []byte(secret), octets(secret, "")},
		{jose.RS256, material()["RSA"], string(public("RSA"))},
		{jose.RS256, material()["RSA"], jwks(jwk("RSA", "a"))},
		{jose.ES256, material()["P-256"], string(public("P-256"))},
		{jose.ES256, material()["P-256"], jwk("P-256", "a")},
		{jose.EdDSA, material()["Ed25519"], string(public("Ed25519"))},
		{jose.EdDSA, material()["Ed25519"], jwk("Ed25519", "")},
	}
	for _, a := range signers {
		token := sign(t, a.alg, a.with, "", good(nil))
		for _, b := range signers {
			v := Verifier{Keys: parse(t, b.keys)}
			g, err := v.Verify(t.Context(), token)
			if a.alg == b.alg {
				if err != nil || g.User != "42" || !g.Subscribe.Match("user:42") {
					t.Errorf("%s with %.40s: %+v, %v", a.alg, b.keys, g, err)
				}
			} else {
				wantError(t, err, ErrInvalid, "no key of its kid and algorithm")
			}
		}
	}
	other := sign(t, jose.RS256, material()["other RSA"], "", good(nil))
	_, err := (&Verifier{Keys: parse(t, string(public("RSA")))}).Verify(t.Context(), other)
	wantError(t, err, ErrInvalid, "its signature is wrong")
}

// The public key is known to all. Whoever signs with it as a secret, in any form that
// it has, must not get in.
func TestPublicKeyIsNoSecret(t *testing.T) {
	pemKey := public("RSA")
	v := Verifier{Keys: parse(t, string(pemKey))}
	head := `{"alg":"HS256","typ":"JWT"}`
	for _, key := range [][]byte{pemKey, []byte(strings.TrimSpace(string(pemKey))), []byte(jwk("RSA", ""))} {
		input := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString([]byte(good(nil)))
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(input))
		_, err := v.Verify(t.Context(), input+"."+base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
		wantError(t, err, ErrInvalid, "no key of its kid and algorithm")
	}
}

func TestMalformed(t *testing.T) {
	right := hs256(t, good(nil))
	header, rest, _ := strings.Cut(right, ".")
	claims, signature, _ := strings.Cut(rest, ".")
	own := must((&jose.JSONWebKey{Key: material()["RSA"].Public()}).MarshalJSON())
	longest := strings.Repeat("a", defaultMaxToken-2)
	for _, test := range []struct{ name, token, want string }{
		{"nothing", "", "empty"},
		{"one part", header, "three parts"},
		{"two parts", header + "." + claims, "three parts"},
		{"four parts", right + ".", "three parts"},
		{"encrypted", "e30." + right + ".e30", "three parts"},
		{"with Bearer", "Bearer " + right, "three parts"},
		{"a line break", right[:9] + "\n" + right[9:], "three parts"},
		{"base64 with filling", right + "=", "three parts"},
		{"as long as may be", longest + "..", "header, claims and a signature"},
		{"too long", longest + "...", "longer than 8192 bytes"},
		{"no header", "." + claims + "." + signature, "algorithm is not one of"},
		{"no signature", header + "." + claims + ".", "signature is wrong"},
		{"claims of another", header + "." + base64.RawURLEncoding.EncodeToString([]byte(good(map[string]any{"sub": "43"}))) + "." + signature, "signature is wrong"},
		{"claims with bits left over", strings.Replace(hs256(t, "{}"), ".e30.", ".e31.", 1), "leaves over"},
		{"a signature with bits left over", right[:len(right)-1] + string(right[len(right)-1]+1), "leaves over"},
		{"none", parts(`{"alg":"none"}`, good(nil), ""), "algorithm is not one of"},
		{"None", parts(`{"alg":"None"}`, good(nil), ""), "algorithm is not one of"},
		{"no algorithm", parts(`{}`, good(nil), ""), "algorithm is not one of"},
		{"an empty algorithm", parts(`{"alg":""}`, good(nil), ""), "algorithm is not one of"},
		{"another algorithm", sign(t, jose.HS512, []byte(secret+secret), "", good(nil)), "algorithm is not one of"},
		{"the algorithm twice", parts(`{"alg":"none","alg":"HS256"}`, good(nil), ""), "header, claims"},
		{"a kid that is a number", parts(`{"alg":"HS256","kid":7}`, good(nil), ""), "header, claims"},
		{"a key of its own", parts(`{"alg":"RS256","jwk":`+string(own)+`}`, good(nil), ""), "no key of its kid"},
		{"unknown extension", parts(`{"alg":"HS256","crit":["x"],"x":1}`, good(nil), ""), "extensions"},
		{"payload as it is", parts(`{"alg":"HS256","crit":["b64"],"b64":false}`, good(nil), ""), "extensions"},
		{"a header that is an array", parts(`[]`, good(nil), ""), "header, claims"},
		{"deep", parts(`{"alg":"HS256","x":`+strings.Repeat("[", 2000)+strings.Repeat("]", 2000)+`}`, "{}", ""), "signature is wrong"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, err := (&Verifier{Keys: parse(t, secret), Eternal: true}).Verify(t.Context(), test.token)
			if g != nil {
				t.Errorf("granted %+v", g)
			}
			wantError(t, err, ErrInvalid, test.want)
		})
	}
	if _, err := (&Verifier{Keys: parse(t, secret), MaxToken: len(right)}).Verify(t.Context(), right); err != nil {
		t.Errorf("a token as long as MaxToken: %v", err)
	}
	_, err := (&Verifier{Keys: parse(t, secret), MaxToken: len(right) - 1}).Verify(t.Context(), right)
	wantError(t, err, ErrInvalid, "longer than")
	if _, err := (&Verifier{Keys: parse(t, secret), MaxToken: -1}).Verify(t.Context(), hs256(t, good(map[string]any{"x": longest}))); err != nil {
		t.Errorf("without a limit: %v", err)
	}
	_, err = new(Verifier).Verify(t.Context(), right)
	wantError(t, err, ErrUnavailable, "")
}

// A signed token whose claims are of the wrong kind is refused, and not read as
// something else.
func TestClaims(t *testing.T) {
	duplex := func(v any) string { return good(map[string]any{"duplex": v}) }
	many := make([]string, maxPatterns+1)
	for i := range many {
		many[i] = "a"
	}
	for _, test := range []struct{ name, claims, want string }{
		{"all is well", good(nil), ""},
		{"no rights", good(map[string]any{"duplex": nil}), ""},
		{"no name", good(map[string]any{"sub": nil, "duplex": map[string]any{"publish": []string{"*"}}}), ""},
		{"unknown claims and rights", good(map[string]any{"x": 1, "duplex": map[string]any{"x": 1}}), ""},
		{"exp with a fraction", good(map[string]any{"exp": 4102444800.5}), ""},
		{"not JSON", `{`, "not a JSON object"},
		{"text", `"sub"`, "not a JSON object"},
		{"null", `null`, "not a JSON object"},
		{"an array", `[]`, "not a JSON object"},
		{"two values", `{} {}`, "not a JSON object"},
		{"not UTF-8", "{\"sub\":\"\xff\"}", "not a JSON object"},
		{"sub twice", `{"sub":"1","sub":"2","exp":4102444800}`, "not a JSON object"},
		{"sub is a number", good(map[string]any{"sub": 42}), "claims sub, exp"},
		{"sub is too long", good(map[string]any{"sub": strings.Repeat("a", 256)}), "its sub is longer than 255 bytes"},
		{"sub is of half a pair", `{"sub":"\ud800","exp":4102444800}`, "its sub has control characters"},
		{"sub has a line break", good(map[string]any{"sub": "a\nb"}), "its sub has control characters"},
		{"SUB and EXP", `{"SUB":"1","EXP":4102444800}`, "no end (exp)"},
		{"no exp", good(map[string]any{"exp": nil}), "no end (exp)"},
		{"exp is null", `{"exp":null}`, "no end (exp)"},
		{"exp is text", good(map[string]any{"exp": "4102444800"}), "claims sub, exp"},
		{"exp in milliseconds", good(map[string]any{"exp": int64(4102444800000)}), "seconds since 1970"},
		{"exp is huge", `{"exp":1e300}`, "seconds since 1970"},
		{"exp is beyond numbers", `{"exp":1e999}`, "claims sub, exp"},
		{"exp is negative", good(map[string]any{"exp": -1}), "seconds since 1970"},
		{"nbf is huge", good(map[string]any{"nbf": 1e300}), "seconds since 1970"},
		{"rights are a list", duplex([]string{"news"}), "claim about channels"},
		{"a right is text", duplex(map[string]any{"subscribe": "news"}), "claim about channels"},
		{"a right is of numbers", duplex(map[string]any{"publish": []int{1}}), "claim about channels"},
		{"too many patterns", duplex(map[string]any{"presence": many}), "presence: there are 101 patterns"},
		{"an empty pattern", duplex(map[string]any{"subscribe": []string{"a", ""}}), "subscribe: pattern 2"},
		{"a long pattern", duplex(map[string]any{"publish": []string{strings.Repeat("a", 513)}}), "publish: pattern 1"},
		{"{user} of nobody", good(map[string]any{"sub": nil}), "{user} stands for nobody"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := (&Verifier{Keys: parse(t, secret)}).Verify(t.Context(), hs256(t, test.claims))
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, ErrInvalid, test.want)
		})
	}
}

// Each right is read from its own list.
func TestRights(t *testing.T) {
	const claims = `{"sub":"7","exp":4102444800,
		"duplex":{"subscribe":["s:{user}"],"publish":["p:*"],"presence":["q"]},
		"https://example.com/duplex":{"subscribe":["other"]}}`
	g, err := (&Verifier{Keys: parse(t, secret)}).Verify(t.Context(), hs256(t, claims))
	if err != nil {
		t.Fatal(err)
	}
	for _, channel := range []string{"s:7", "p:1", "q", "s:8", "other"} {
		got := [3]bool{g.Subscribe.Match(channel), g.Publish.Match(channel), g.Presence.Match(channel)}
		want := [3]bool{channel == "s:7", channel == "p:1", channel == "q"}
		if got != want {
			t.Errorf("subscribe, publish and presence of %s: %v, want %v", channel, got, want)
		}
	}
	g, err = (&Verifier{Keys: parse(t, secret), Claim: "https://example.com/duplex"}).Verify(t.Context(), hs256(t, claims))
	if err != nil || !g.Subscribe.Match("other") || g.Subscribe.Match("s:7") || g.Publish.Match("p:1") {
		t.Errorf("of the other claim: %+v, %v", g, err)
	}
}

func TestIssuerAndAudience(t *testing.T) {
	for _, test := range []struct {
		name     string
		iss, aud any
		issuer   string
		audience []string
		want     string
	}{
		{"nothing asked", "i", nil, "", nil, ""},
		{"right issuer", "i", nil, "i", nil, ""},
		{"wrong issuer", "j", nil, "i", nil, "issuer (iss) is not"},
		{"no issuer", nil, nil, "i", nil, "issuer (iss) is not"},
		{"issuer but for case", "I", nil, "i", nil, "issuer (iss) is not"},
		{"right audience", nil, "a", "", []string{"a"}, ""},
		{"one of its audiences", nil, []string{"x", "a"}, "", []string{"a"}, ""},
		{"one of our names", nil, "b", "", []string{"a", "b"}, ""},
		{"wrong audience", nil, "x", "", []string{"a"}, "another audience"},
		{"wrong audiences", nil, []string{"x", "y"}, "", []string{"a"}, "another audience"},
		{"no audience", nil, nil, "", []string{"a"}, "another audience"},
		{"an empty audience", nil, []string{}, "", []string{"a"}, "another audience"},
		{"audience of numbers", nil, []int{1}, "", []string{"a"}, "claims sub, exp"},
		{"audience without a name here", nil, "a", "", nil, "no name set"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := Verifier{Keys: parse(t, secret), Issuer: test.issuer, Audience: test.audience}
			_, err := v.Verify(t.Context(), hs256(t, good(map[string]any{"iss": test.iss, "aud": test.aud})))
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, ErrInvalid, test.want)
			if strings.Contains(err.Error(), `"`) || test.name == "wrong audience" && strings.Contains(err.Error(), "x") {
				t.Errorf("the error quotes: %v", err)
			}
		})
	}
}

// A token begins and ends to the second, give or take the leeway.
func TestTime(t *testing.T) {
	const none = -1
	for _, test := range []struct {
		name     string
		leeway   time.Duration
		exp, nbf time.Duration // from now; 0: the token has none
		want     error
		ends     time.Duration // of the grant, from now
	}{
		{"ends later", none, time.Second, 0, nil, time.Second},
		{"ends now", none, time.Nanosecond, 0, ErrExpired, 0},
		{"has ended", none, -time.Hour, 0, ErrExpired, 0},
		{"in the default leeway", 0, -29 * time.Second, 0, nil, time.Second},
		{"past the default leeway", 0, -30 * time.Second, 0, ErrExpired, 0},
		{"in a leeway", time.Minute, -59 * time.Second, 0, nil, time.Second},
		{"past a leeway", time.Minute, -time.Minute, 0, ErrExpired, 0},
		{"begins now", none, time.Hour, time.Nanosecond, nil, time.Hour},
		{"begins later", none, time.Hour, time.Second, ErrInvalid, 0},
		{"begins within the leeway", 0, time.Hour, 30 * time.Second, nil, time.Hour + 30*time.Second},
		{"begins after the leeway", 0, time.Hour, 31 * time.Second, ErrInvalid, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := time.Now() // a whole second
				claims := map[string]any{"exp": now.Add(test.exp).Unix()}
				if test.nbf != 0 {
					claims["nbf"] = now.Add(test.nbf).Unix()
				}
				g, err := (&Verifier{Keys: parse(t, secret), Leeway: test.leeway}).Verify(t.Context(), hs256(t, good(claims)))
				if !errors.Is(err, test.want) {
					t.Fatalf("%v, want %v", err, test.want)
				}
				if err == nil && !g.Expires.Equal(now.Add(test.ends)) {
					t.Errorf("the grant ends in %v, want %v", g.Expires.Sub(now), test.ends)
				}
			})
		})
	}
	g, err := (&Verifier{Keys: parse(t, secret), Eternal: true}).Verify(t.Context(), hs256(t, `{}`))
	if err != nil || !g.Expires.IsZero() {
		t.Errorf("a token for ever: %+v, %v", g, err)
	}
}

// A token with a kid is verified with that key, also if another has signed it.
func TestKid(t *testing.T) {
	other := strings.Repeat("other", 8)
	keys := parse(t, jwks(octets(secret, "a"), octets(other, "b")))
	for _, test := range []struct{ secret, kid, want string }{
		{secret, "a", ""},
		{other, "b", ""},
		{secret, "", ""},
		{other, "", ""},
		{secret, "b", "signature is wrong"},
		{secret, "c", "no key of its kid"},
		{strings.Repeat("third", 8), "", "signature is wrong"},
	} {
		token := sign(t, jose.HS256, []byte(test.secret), test.kid, good(nil))
		if _, err := (&Verifier{Keys: keys}).Verify(t.Context(), token); test.want == "" && err != nil {
			t.Errorf("signed by %.5s as %q: %v", test.secret, test.kid, err)
		} else if test.want != "" {
			wantError(t, err, ErrInvalid, test.want)
		}
	}
	named := sign(t, jose.HS256, []byte(secret), "any", good(nil))
	if _, err := (&Verifier{Keys: parse(t, secret)}).Verify(t.Context(), named); err != nil {
		t.Errorf("a kid, and a key that has none: %v", err)
	}
}

// What Sign makes, Verify takes, and what Verify would refuse, Sign does not make.
func TestSign(t *testing.T) {
	keys := parse(t, jwks(jwk("RSA", "r"), octets(secret, "s")))
	expires := time.Now().Add(time.Hour)
	claims := Claims{User: "42", Expires: expires, Audience: "a", Issuer: "i", Subscribe: []string{"user:{user}"}, Publish: []string{"p"}, Presence: []string{"q*"}}
	token, err := claims.Sign(keys)
	if err != nil {
		t.Fatal(err)
	}
	g, err := (&Verifier{Keys: keys, Audience: []string{"a"}, Issuer: "i", Leeway: -1}).Verify(t.Context(), token)
	if err != nil || g.User != "42" || !g.Subscribe.Match("user:42") || !g.Publish.Match("p") || !g.Presence.Match("q1") {
		t.Errorf("%+v, %v", g, err)
	}
	if late := g.Expires.Sub(expires); late < 0 || late > time.Second {
		t.Errorf("it ends %v after the time that was asked for", late)
	}
	if header := must(base64.RawURLEncoding.DecodeString(token[:strings.Index(token, ".")])); !strings.Contains(string(header), `"kid":"s"`) {
		t.Errorf("the header is %s, without the key's id", header)
	}
	if token, err = (Claims{}).Sign(keys); err != nil {
		t.Fatal(err)
	}
	if g, err := (&Verifier{Keys: keys, Eternal: true}).Verify(t.Context(), token); err != nil || !g.Expires.IsZero() {
		t.Errorf("for nobody and for ever: %+v, %v", g, err)
	}
	for _, test := range []struct {
		claims Claims
		keys   Keys
		want   string
	}{
		{Claims{User: "a\x00"}, keys, "the user's name has control characters"},
		{Claims{Subscribe: []string{"{user}"}}, keys, "subscribe: pattern 1: {user} stands for nobody"},
		{Claims{Publish: []string{"{x}"}}, keys, "publish: pattern 1: { begins {user}"},
		{Claims{}, parse(t, string(public("RSA"))), "signed with a secret"},
	} {
		if token, err := test.claims.Sign(test.keys); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %q, %v, want %s", test.claims, token, err, test.want)
		}
	}
}

// failing is a Source without keys.
type failing struct{}

func (failing) Keys(context.Context, string) (Keys, error) {
	return Keys{}, errors.New("https://user:password@issuer.example is down")
}

func TestSourceFails(t *testing.T) {
	_, err := (&Verifier{Keys: failing{}}).Verify(t.Context(), hs256(t, good(nil)))
	if err != ErrUnavailable {
		t.Errorf("%v, want nothing but ErrUnavailable", err)
	}
}

// Whatever comes, it must not panic; and what counts was signed: the header and the
// claims are, byte for byte, those of a token that the tests have made.
func FuzzToken(f *testing.F) {
	keys := parse(f, jwks(octets(secret, "h"), jwk("RSA", "r"), jwk("P-256", "e"), jwk("Ed25519", "d")))
	ed := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	signed := make(map[string]bool)
	for _, token := range []string{
		sign(f, jose.HS256, []byte(secret), "h", good(nil)),
		sign(f, jose.HS256, []byte(secret), "", `{}`),
		sign(f, jose.RS256, material()["RSA"], "r", good(map[string]any{"aud": "x"})),
		sign(f, jose.ES256, material()["P-256"], "e", good(map[string]any{"exp": 1})),
		sign(f, jose.EdDSA, material()["Ed25519"], "d", good(map[string]any{"duplex": nil})),
	} {
		f.Add(token)
		f.Add(token[:len(token)-1])
		f.Add(token[1:])
		signed[token[:strings.LastIndex(token, ".")]] = true
	}
	f.Add(sign(f, jose.EdDSA, ed, "d", good(nil)))
	f.Add(parts(`{"alg":"none"}`, good(nil), ""))
	f.Add(parts(`{"alg":"HS256","kid":"r"}`, good(nil), "x"))
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		g, err := (&Verifier{Keys: keys, Eternal: true}).Verify(t.Context(), token)
		if (g == nil) == (err == nil) {
			t.Fatalf("%+v, %v", g, err)
		}
		if g != nil && !signed[token[:strings.LastIndex(token, ".")]] {
			t.Fatalf("a token that nobody has signed grants %+v", g)
		}
	})
}
