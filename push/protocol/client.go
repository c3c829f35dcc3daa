package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Subprotocol is the name by which the opening handshake asks for this protocol.
// RFC 6455, 1.9.
const Subprotocol = "duplex.v1.json"

// The commands.
const (
	Subscribe   = "subscribe"
	Unsubscribe = "unsubscribe"
	Publish     = "publish"
	ShowWho     = "presence"
	Auth        = "auth"
	Ping        = "ping"
)

// MaxID is the largest id of a command: the largest whole number that every JSON
// implementation keeps exactly.
const MaxID = 1<<53 - 1

// A Command is what a client asks of the server. Which fields count depends on
// the command; others are ignored, so that a later version can add some.
type Command struct {
	ID      int64  `json:"id"`      // 1 to MaxID, chosen by the client; the reply has the same
	Command string `json:"command"` // Subscribe, Unsubscribe, Publish, ShowWho, Auth, Ping
	Channel string `json:"channel"` // 1 to 255 bytes of UTF-8 without control characters

	// Since makes a subscription begin after this position. Empty: with what
	// comes from now on.
	Since string `json:"since,omitempty"`

	// History makes a subscription without Since begin with as many of the
	// channel's last messages, as far as they are known.
	History int `json:"history,omitempty"`

	// Presence makes a subscription tell who comes and goes, too.
	Presence bool `json:"presence,omitempty"`

	// Data is what to publish: any JSON value.
	Data json.RawMessage `json:"data,omitempty"`

	// Key makes it harmless to publish the same again for a while: 1 to 255 visible
	// ASCII characters that only this publication to this channel has.
	Key string `json:"key,omitempty"`

	// Token is what Auth shows. User is the name that a client gives itself by Auth
	// where no tokens are asked for.
	Token string `json:"token,omitempty"`
	User  string `json:"user,omitempty"`
}

// Commands takes apart the text of a WebSocket message from a client: one or more
// JSON objects with white space between them. A value that is no command comes
// with an error of the code BadCommand, and with its id where that could be read;
// text that is not JSON ends the sequence with one. Text without any value is
// such an error too.
func Commands(text []byte) iter.Seq2[Command, *Error] {
	return func(yield func(Command, *Error) bool) {
		dec := json.NewDecoder(bytes.NewReader(text))
		for n := 0; ; n++ {
			c, err, end := nextCommand(dec)
			if err == nil && end {
				if n == 0 {
					yield(c, &Error{BadCommand, "text without a command"})
				}
				return
			}
			if !yield(c, err) || end {
				return
			}
		}
	}
}

// nextCommand returns the next value as a command; end says that no other can be
// read after it.
func nextCommand(dec *json.Decoder) (c Command, fault *Error, end bool) {
	err := dec.Decode(&c)
	var kind *json.UnmarshalTypeError
	switch {
	case err == io.EOF:
		return c, nil, true
	case errors.As(err, &kind):
		fault = wrongType(kind)
	case err != nil:
		return Command{}, &Error{BadCommand, "not JSON: " + err.Error()}, true
	}
	if c.ID < 1 || c.ID > MaxID {
		c.ID = 0
		if fault == nil {
			fault = &Error{BadCommand, "a command needs an id, a whole number from 1 to 2^53-1"}
		}
	}
	return c, fault, false
}

func wrongType(err *json.UnmarshalTypeError) *Error {
	if err.Field == "" {
		return &Error{BadCommand, fmt.Sprintf("a command is a JSON object, not a JSON %s", err.Value)}
	}
	want := "a string"
	switch err.Field {
	case "id", "history":
		want = "a whole number"
	case "presence":
		want = "true or false"
	}
	return &Error{BadCommand, fmt.Sprintf("%s must be %s, not a JSON %s", err.Field, want, err.Value)}
}
