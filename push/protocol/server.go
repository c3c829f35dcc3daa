package protocol

import (
	"bytes"
	"encoding/json"
	"io"
	"iter"
	"time"
)

// A Reply answers one command. Either Result or Error is set.
type Reply struct {
	ID     int64   `json:"id,omitempty"` // the command's; 0: it could not be read
	Result *Result `json:"result,omitempty"`
	Error  *Error  `json:"error,omitempty"`
}

// A Result is the answer to a command that was done.
type Result struct {
	// Position is, for Publish, the message's; for Subscribe, where the
	// subscription begins: all that is published after it comes.
	Position string `json:"position,omitempty"`

	// User and ExpiresIn are, for Auth, whose the token is, if it says so, and in
	// how many whole seconds it ends, if it does.
	User      string `json:"user,omitempty"`
	ExpiresIn *int64 `json:"expires_in,omitempty"`

	// Who is, for ShowWho, who reads the channel.
	*Who
}

// Who is who reads a channel.
type Who struct {
	Users  []string `json:"users"`  // in the order of their bytes
	Others int      `json:"others"` // lines that count without a name
}

// Presence is the whole of who reads a channel; it replaces what was known.
type Presence struct {
	Channel string `json:"channel"`
	Who
}

// A Change is a user who has joined or left a channel.
type Change struct {
	Channel string `json:"channel"`
	User    string `json:"user"`
}

// Unsubscribed says that a subscription has ended that the client has not asked to
// end.
type Unsubscribed struct {
	Channel string `json:"channel"`
	Error
}

// A Message is one message of a channel, in the one shape that it has everywhere.
type Message struct {
	Channel  string          `json:"channel"`
	Position string          `json:"position"` // opaque; a subscription may begin after it
	Data     json.RawMessage `json:"data"`     // what was published, compact
	Time     time.Time       `json:"time"`     // when the server took it, to the millisecond
}

// Why a subscription has lost messages.
const (
	// TooOld: the channel's log does not reach back so far.
	TooOld = "too old"
	// Recreated: the position is of another life of the server's memory.
	Recreated = "recreated"
)

// A Reset says that messages of a channel may have been lost for this client:
// it should fetch the state that it builds from messages anew. What is still
// known follows.
type Reset struct {
	Channel  string `json:"channel"`
	Reason   string `json:"reason"`   // TooOld, Recreated
	Position string `json:"position"` // where the channel goes on
}

// An Item is one of the objects that a server sends: a reply, a reset, something
// about presence, the end of a subscription or, where none of them has a value, a
// message.
type Item struct {
	Reply
	Reset        *Reset        `json:"reset,omitempty"`
	Presence     *Presence     `json:"presence,omitempty"`
	Join         *Change       `json:"join,omitempty"`
	Leave        *Change       `json:"leave,omitempty"`
	Unsubscribed *Unsubscribed `json:"unsubscribed,omitempty"`
	Message
}

// IsReply reports whether the item answers a command.
func (i *Item) IsReply() bool { return i.Result != nil || i.Error != nil }

// IsMessage reports whether the item is a message of a channel.
func (i *Item) IsMessage() bool { return i.Channel != "" && i.Position != "" }

// Items takes apart the text of a WebSocket message from a server. A fault ends
// the sequence with an error.
func Items(text []byte) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		dec := json.NewDecoder(bytes.NewReader(text))
		for {
			var i Item
			err := dec.Decode(&i)
			if err == io.EOF || !yield(i, err) || err != nil {
				return
			}
		}
	}
}
