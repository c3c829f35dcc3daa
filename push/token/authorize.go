package token

import (
	"errors"
	"net/http"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/protocol"
)

// Authorizer lets those in who present a token that v verifies, and to everything
// those who present one of the API keys. Either may be nil.
//
// An API key in the query of a URL is refused: URLs are in the logs of all that is
// between, and in the history of browsers, and an API key does not end by itself.
func Authorizer(v *Verifier, keys *APIKeys) push.Authorizer {
	return func(r *http.Request, token string) (push.Grant, error) {
		switch {
		case token == "":
			return push.Grant{}, unauthorized("a token or an API key is needed")
		case keys.Has(token):
			if r.URL.Query().Get("token") == token {
				return push.Grant{}, unauthorized("an API key belongs into the header Authorization, not into a URL")
			}
			return push.FullGrant(), nil
		case v == nil:
			return push.Grant{}, unauthorized("this is not one of the API keys")
		}
		g, err := v.Verify(r.Context(), token)
		if err != nil {
			return push.Grant{}, toProtocol(err)
		}
		return push.Grant{
			User:      g.User,
			Expires:   g.Expires,
			Subscribe: g.Subscribe.Match,
			Publish:   g.Publish.Match,
			Presence:  g.Presence.Match,
		}, nil
	}
}

func unauthorized(message string) error {
	return &protocol.Error{Code: protocol.Unauthorized, Message: message}
}

// toProtocol gives an error of Verify its number.
func toProtocol(err error) error {
	code := protocol.Unauthorized
	switch {
	case errors.Is(err, ErrExpired):
		code = protocol.Expired
	case errors.Is(err, ErrUnavailable):
		code = protocol.Internal
	}
	return &protocol.Error{Code: code, Message: err.Error()}
}
