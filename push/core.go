package push

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/duplexgo/duplex/push/protocol"
)

// core is what the HTTP API and the sessions of all transports share.
type core struct {
	limits   limits
	broker   broker
	hub      hub
	draining atomic.Bool // shutting down: nothing new is taken
}

// publish checks a message, but for its size, and gives it to the broker. Errors are
// *protocol.Error, but for those of the broker. data stays the caller's.
func (c *core) publish(ctx context.Context, channel string, data json.RawMessage) (Position, error) {
	if c.draining.Load() {
		return Position{}, errShuttingDown
	}
	if err := checkChannel(channel); err != nil {
		return Position{}, err
	}
	data, err := compact(data, c.limits.depth)
	if err != nil {
		return Position{}, err
	}
	return c.broker.publish(ctx, channel, data)
}

var errShuttingDown = &protocol.Error{Code: protocol.ShuttingDown, Message: "the server is shutting down; come back soon"}

// checkSize returns an error if data of n bytes, as the publisher sent it, is too
// long. It stands apart because text grows when it becomes JSON.
func (c *core) checkSize(n int64) error {
	if max := c.limits.message; max > 0 && n > int64(max) {
		return &protocol.Error{Code: protocol.DataTooBig, Message: fmt.Sprintf("data is longer than %d bytes", max)}
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
