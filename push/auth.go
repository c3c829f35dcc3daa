package push

import (
	"net/http"
	"strings"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
)

// A Grant is what a client may do, and until when. The zero Grant allows nothing.
type Grant struct {
	// User is who the client is: in presence, and where users are disconnected. It
	// follows the rules for names of channels. "": nobody in particular.
	User string

	// Expires is when the grant ends, and with it every open line that has it.
	// The zero Time: never.
	Expires time.Time

	// Subscribe, Publish and Presence report whether the client may read a
	// channel and its history, publish to it, and see who reads it. They are
	// called often and at any time until the line ends, must not block, and must
	// be good for use by several goroutines. nil: no channel; see [AnyChannel].
	Subscribe, Publish, Presence func(channel string) bool

	// Admin lets the client see the list of channels and the metrics and
	// disconnect users, and exempts it from PublishRate.
	Admin bool
}

// AnyChannel is a predicate of a Grant that allows every channel.
func AnyChannel(string) bool { return true }

// FullGrant returns the grant that allows everything for ever: what a client has
// where there is no Authorize, and what the holder of an API key should get.
func FullGrant() Grant {
	return Grant{Subscribe: AnyChannel, Publish: AnyChannel, Presence: AnyChannel, Admin: true}
}

// An Authorizer says what a client may do. token is what the client has given as its
// bearer token (RFC 6750, 2.1), by the command auth or in the query of /events; ""
// is none. r is the request that it came with: the opening handshake, or one of the
// HTTP API. For a token that came by a command over an open line it is a request
// for /connect with the line's RemoteAddr and an empty header.
//
// An error refuses the client. Of a [*protocol.Error] it is told the code, which
// should be [protocol.Unauthorized] for no token or a bad one, [protocol.Expired] for
// one that was good before, or [protocol.Internal] where nobody can say now; the
// token must not be in the message. Any other error is logged, and the client is
// told only that the server failed.
//
// A WebSocket whose handshake has no token and is refused with Unauthorized opens
// all the same and has some time for a token by command. It is called from many
// goroutines, may block for a while, and should heed r's context.
type Authorizer func(r *http.Request, token string) (Grant, error)

// bearer returns the token of the Authorization header; "" for none. A header of
// another scheme is none, too: an Authorizer that knows it has the request.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") { // RFC 9110, 11.1
		return ""
	}
	return strings.TrimSpace(token)
}

// can reports whether a predicate of a Grant allows a channel.
func can(predicate func(string) bool, channel string) bool {
	return predicate != nil && predicate(channel)
}

// expired reports whether the grant has ended.
func (g *Grant) expired(now time.Time) bool {
	return !g.Expires.IsZero() && !now.Before(g.Expires)
}

// allow returns what the client is told if a predicate does not allow a channel.
func allow(predicate func(string) bool, doing, channel string) error {
	if err := checkChannel(channel); err != nil {
		return err
	}
	if can(predicate, channel) {
		return nil
	}
	return &protocol.Error{Code: protocol.Forbidden, Message: "this client may not " + doing + " this channel"}
}
