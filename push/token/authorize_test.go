package token

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/duplexgo/duplex/push/protocol"
)

func TestAuthorizer(t *testing.T) {
	const apiKey = "an-API-key-of-a-backend"
	keys, err := ParseAPIKeys([]byte(apiKey))
	if err != nil {
		t.Fatal(err)
	}
	v := &Verifier{Keys: parse(t, secret)}
	right, expired := hs256(t, good(nil)), hs256(t, good(map[string]any{"exp": 1}))
	for _, test := range []struct {
		name   string
		v      *Verifier
		keys   *APIKeys
		target string
		token  string
		code   protocol.Code // 0: let in
		text   string
	}{
		{"token", v, keys, "/", right, 0, ""},
		{"token in a URL", v, keys, "/events?token=" + right, right, 0, ""},
		{"token without API keys", v, nil, "/", right, 0, ""},
		{"API key", v, keys, "/", apiKey, 0, ""},
		{"API key without tokens", nil, keys, "/", apiKey, 0, ""},
		{"nothing", v, keys, "/", "", protocol.Unauthorized, "token or an API key"},
		{"API key in a URL", v, keys, "/events?token=" + apiKey, apiKey, protocol.Unauthorized, "not into a URL"},
		{"other API key", nil, keys, "/", apiKey + "x", protocol.Unauthorized, "not one of the API keys"},
		{"other API key, or a token", v, keys, "/", apiKey + "x", protocol.Unauthorized, "not valid"},
		{"no keys at all", nil, nil, "/", apiKey, protocol.Unauthorized, ""},
		{"broken", v, keys, "/", right + "x", protocol.Unauthorized, "not valid"},
		{"expired", v, keys, "/", expired, protocol.Expired, "has expired"},
		{"no keys for tokens now", &Verifier{Keys: failing{}}, keys, "/", right, protocol.Internal, "try again later"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, test.target, nil)
			g, err := Authorizer(test.v, test.keys)(r, test.token)
			if test.code != 0 {
				e, ok := errors.AsType[*protocol.Error](err)
				if !ok || e.Code != test.code || !strings.Contains(e.Message, test.text) {
					t.Errorf("the error is %v, want code %d and %q", err, test.code, test.text)
				}
				if g.Subscribe != nil || g.Publish != nil || g.Presence != nil || g.Admin {
					t.Errorf("refused, and granted %+v", g)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			admin := test.token == apiKey
			if g.Admin != admin || g.Publish("news") != admin || g.Presence("news") != admin || !g.Subscribe("news") || g.Subscribe("other") != admin {
				t.Errorf("the grant is %+v", g)
			}
			if !admin && (g.User != "42" || g.Expires.IsZero()) {
				t.Errorf("the grant is for %q until %v", g.User, g.Expires)
			}
		})
	}
}
