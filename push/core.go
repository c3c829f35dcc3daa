package push

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/duplexgo/duplex/push/protocol"
)

// core is what the HTTP API and the sessions of all transports share.
type core struct {
	limits    limits
	broker    broker
	hub       hub
	crowd     crowd
	deadlines deadlines
	keys      keys
	rates     rates
	authorize Authorizer // nil: everybody may do everything
	hooks     Hooks
	trace     Tracer // nil: nothing is traced
	log       *slog.Logger
	leaving   atomic.Bool   // is about to shut down
	draining  atomic.Bool   // shutting down: nothing new is taken
	stop      chan struct{} // closed when it is time for lines to end
}

// A message is what somebody wants to publish.
type message struct {
	channel string
	data    json.RawMessage
	key     string // of idempotency; "": none
}

// publishFor is publish for a client.
func (c *core) publishFor(ctx context.Context, g *Grant, m message) (p Position, err error) {
	if err = allow(g.Publish, "publish to", m.channel); err != nil {
		c.hooks.published(0, err)
		return Position{}, err
	}
	return c.publish(ctx, m)
}

// publish checks a message, but for its size, and gives it to the broker. Errors are
// *protocol.Error, but for those of the broker. The data stays the caller's.
func (c *core) publish(ctx context.Context, m message) (p Position, err error) {
	defer func() {
		if err != nil {
			c.hooks.published(0, err)
		}
	}()
	if c.draining.Load() {
		return Position{}, errShuttingDown
	}
	if err := cmp.Or(checkChannel(m.channel), checkKey(m.key)); err != nil {
		return Position{}, err
	}
	data, err := compact(m.data, c.limits.depth)
	if err != nil {
		return Position{}, err
	}
	store := func() (Position, error) {
		p, err := c.broker.publish(ctx, m.channel, data)
		if err == nil {
			c.hooks.published(len(m.data), nil)
		}
		return p, err
	}
	if m.key == "" {
		return store()
	}
	return c.keys.once(ctx, m.channel, m.key, store)
}

// enter lets a line of a transport begin, unless something stands against it; leave
// ends it.
func (c *core) enter(transport string) error {
	err := errShuttingDown
	if !c.draining.Load() {
		err = c.crowd.enter(transport, c.limits.lines)
	}
	if err != nil {
		c.hooks.refused(err)
		return err
	}
	c.hooks.opened(transport)
	return nil
}

func (c *core) leave(transport string) {
	c.crowd.leave(transport)
	c.hooks.closed(transport)
}

// grant asks what a client may do who shows this token.
func (c *core) grant(r *http.Request, token string) (Grant, error) {
	if c.authorize == nil || ofAdmin(r) {
		return FullGrant(), nil
	}
	g, err := c.authorize(r, token)
	if err == nil && g.User != "" {
		err = checkUser(g.User)
	}
	if err == nil && g.expired(time.Now()) {
		err = errExpired
	}
	if err != nil {
		c.report("authorizing", err)
		c.hooks.refused(err)
		return Grant{}, err
	}
	return g, nil
}

var errExpired = &protocol.Error{Code: protocol.Expired, Message: "the token has ended; get a new one"}

// checkUser returns what is wrong with the name of a user.
func checkUser(name string) error {
	if checkChannel(name) != nil {
		return &protocol.Error{Code: protocol.Unauthorized, Message: "the name of the user is not 1 to 255 bytes of UTF-8 without control characters"}
	}
	return nil
}

// report logs an error that is the server's own.
func (c *core) report(doing string, err error) {
	if e, ok := errors.AsType[*protocol.Error](err); ok && e.Code != protocol.Internal || errors.Is(err, context.Canceled) {
		return
	}
	c.logger().Error("push: "+doing, "error", err)
}

func (c *core) logger() *slog.Logger {
	if c.log == nil {
		return slog.Default()
	}
	return c.log
}

var errShuttingDown error = &protocol.Error{Code: protocol.ShuttingDown, Message: "the server is shutting down; come back soon"}

// checkSize returns an error if data of n bytes, as the publisher sent it, is too
// long. It stands apart because text grows when it becomes JSON.
func (c *core) checkSize(n int64) error {
	if max := c.limits.message; max > 0 && n > int64(max) {
		err := &protocol.Error{Code: protocol.DataTooBig, Message: fmt.Sprintf("data is longer than %d bytes", max)}
		c.hooks.published(0, err)
		return err
	}
	return nil
}

// maxChannel is the longest name of a channel, in bytes.
const maxChannel = 255

// checkChannel returns what is wrong with the name of a channel.
func checkChannel(name string) error {
	bad := func(format string, args ...any) error {
		return &protocol.Error{Code: protocol.BadChannel, Message: "the name of the channel " + fmt.Sprintf(format, args...)}
	}
	switch {
	case name == "":
		return bad("is missing")
	case len(name) > maxChannel:
		return bad("has %d bytes, at most %d are allowed", len(name), maxChannel)
	case !utf8.ValidString(name):
		return bad("is not UTF-8")
	}
	if i := strings.IndexFunc(name, unicode.IsControl); i >= 0 {
		r, _ := utf8.DecodeRuneInString(name[i:])
		return bad("has a control character, %U", r)
	}
	// Package json puts it in the place of escapes that are no character, so that
	// different names would become one.
	if strings.ContainsRune(name, utf8.RuneError) {
		return bad("has U+FFFD, which stands for what could not be read")
	}
	return nil
}

// parsePosition reads a position that a client gave; "" is none.
func parsePosition(s string) (p Position, err error) {
	if p.UnmarshalText([]byte(s)) != nil {
		err = &protocol.Error{Code: protocol.BadPosition, Message: "since is not a position that a server gave"}
	}
	return p, err
}
