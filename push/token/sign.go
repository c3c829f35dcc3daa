package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Claims are what a backend says about a user: the other side of a Grant.
type Claims struct {
	User     string    // sub, as package token describes it; "": somebody without a name
	Expires  time.Time // exp, in whole seconds. Zero: never
	Audience string    // aud; "": the token has none
	Issuer   string    // iss; "": the token has none

	// Subscribe, Publish and Presence are patterns; see ParsePatterns.
	Subscribe, Publish, Presence []string
}

// Sign makes a token, with the first of the keys that is a secret (HS256). What
// Verify would refuse in the claims is an error here.
func (c Claims) Sign(keys Keys) (string, error) {
	if err := checkUser(c.User); err != nil {
		return "", fmt.Errorf("the user's name %w", err)
	}
	may := rights{c.Subscribe, c.Publish, c.Presence}
	if _, err := newGrant(c.User, c.Expires, may); err != nil {
		return "", err
	}
	i := slices.IndexFunc(keys.list, func(k key) bool { return k.algorithm == jose.HS256 })
	if i < 0 {
		return "", errors.New("tokens are signed with a secret, and there is none among the keys")
	}
	payload, err := json.Marshal(c.object(may))
	if err != nil {
		return "", err
	}
	options := new(jose.SignerOptions).WithType("JWT")
	if id := keys.list[i].id; id != "" {
		options.WithHeader("kid", id)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: keys.list[i].material}, options)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// object returns the claims as a token has them.
func (c Claims) object(may rights) map[string]any {
	claims := map[string]any{defaultClaim: may}
	for name, text := range map[string]string{"sub": c.User, "aud": c.Audience, "iss": c.Issuer} {
		if text != "" {
			claims[name] = text
		}
	}
	if !c.Expires.IsZero() {
		claims["exp"] = int64(math.Ceil(float64(c.Expires.UnixMilli()) / 1000))
	}
	return claims
}
