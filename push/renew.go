package push

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
)

// connectURL is that of the requests that stand for a command.
var connectURL = &url.URL{Path: "/connect"}

// auth takes a token, the first or a new one.
func (s *session) auth(ctx context.Context, cmd protocol.Command, result *protocol.Result) error {
	if s.core.authorize == nil || s.trusted {
		return s.nameItself(cmd.User, result)
	}
	r := &http.Request{Method: "GET", URL: connectURL, Header: make(http.Header), RemoteAddr: s.from}
	g, err := s.core.grant(r.WithContext(ctx), cmd.Token)
	if err == nil && s.known && s.grant.User != "" && g.User != s.grant.User {
		err = &protocol.Error{Code: protocol.Forbidden, Message: "the new token is of another user"}
	}
	if err != nil {
		if !s.known {
			s.fatal = refusal(err)
		}
		return err
	}
	s.begin(g)
	s.keepTo(g)
	result.User = g.User
	if !g.Expires.IsZero() {
		result.ExpiresIn = new(int64(time.Until(g.Expires) / time.Second))
	}
	return nil
}

// refusal is how a line ends whose first token was refused.
func refusal(err error) *ending {
	switch e := toError(err); {
	case e.Code == protocol.Expired:
		return &ending{protocol.CloseExpired, e.Message}
	case e.Code.Temporary():
		return &ending{closeTryAgain, e.Message}
	default:
		return &ending{protocol.CloseUnauthorized, e.Message}
	}
}

// closeTryAgain says that nobody could tell whether the token is good.
const closeTryAgain = 1013

// nameItself gives a client a name where no tokens are asked for.
func (s *session) nameItself(user string, result *protocol.Result) error {
	if user != "" {
		if err := checkUser(user); err != nil {
			return err
		}
		if s.grant.User != "" && s.grant.User != user {
			return &protocol.Error{Code: protocol.Forbidden, Message: "this line has another name already"}
		}
		s.grant.User = user
		s.identify(user)
	}
	result.User = s.grant.User
	return nil
}

// keepTo ends the subscriptions that a new grant does not allow, and tells of them.
func (s *session) keepTo(g Grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.readers) - 1; i >= 0; i-- {
		r := s.readers[i]
		channel := r.channel.log.channel
		if can(g.Subscribe, channel) && (r.watch == nil || can(g.Presence, channel)) {
			continue
		}
		s.leave(i)
		s.replies = append(protocol.Unsubscribed{
			Channel: channel,
			Error:   protocol.Error{Code: protocol.Forbidden, Message: "the new token does not allow this channel"},
		}.Append(s.replies), '\n')
	}
}
