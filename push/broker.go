package push

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// A Position is a place in the order of all messages of a server: after one
// message and before the next. Every message has one, and so has every channel
// at any time, also one without messages. A subscription may begin after a
// Position that was given out earlier, for whatever channel.
//
// To clients it is an opaque text; the texts of two positions are not ordered.
// The zero Position is none.
type Position struct {
	class string // the channels that share a counter; "" where there is one for all
	epoch uint64 // one life of the counter: a position of another says nothing here
	seq   uint64 // of the last message before this place
}

// maxClass is the longest name of a class, in bytes.
const maxClass = 32

var errPosition = errors.New("not a position that a server gave")

// IsZero reports whether p is no position.
func (p Position) IsZero() bool { return p == Position{} }

// String returns the position's text, at most 60 bytes of a-z, 0-9, '-' and '.',
// or "" for none.
func (p Position) String() string {
	b, _ := p.AppendText(nil)
	return string(b)
}

// AppendText appends the position's text. The error is always nil.
func (p Position) AppendText(b []byte) ([]byte, error) {
	if p.IsZero() {
		return b, nil
	}
	if p.class != "" {
		b = append(append(b, p.class...), '.')
	}
	b = append(strconv.AppendUint(b, p.epoch, 36), '.')
	return strconv.AppendUint(b, p.seq, 36), nil
}

// MarshalText returns the position's text. The error is always nil.
func (p Position) MarshalText() ([]byte, error) { return p.AppendText(nil) }

// UnmarshalText reads what [Position.String] has written, and nothing else.
func (p *Position) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*p = Position{}
		return nil
	}
	var q Position
	parts := strings.Split(string(text), ".")
	if len(parts) == 3 && validClass(parts[0]) {
		q.class, parts = parts[0], parts[1:]
	}
	if len(parts) != 2 {
		return errPosition
	}
	var err1, err2 error
	q.epoch, err1 = strconv.ParseUint(parts[0], 36, 64)
	q.seq, err2 = strconv.ParseUint(parts[1], 36, 64)
	// There is one text for each position: no sign, no capitals, no leading zero.
	if err1 != nil || err2 != nil || q.String() != string(text) {
		return errPosition
	}
	*p = q
	return nil
}

func validClass(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= maxClass
}

// of reports whether p counts in the same life of the same counter as now, and
// is not ahead of it.
func (p Position) of(now Position) bool {
	return p.class == now.class && p.epoch == now.epoch && p.seq <= now.seq
}

// at returns the place after message seq of the same counter.
func (p Position) at(seq uint64) Position {
	p.seq = seq
	return p
}

// A broker stores the messages of channels, puts them in one order, and brings
// them to every process that has readers for them. Its methods may be called
// from any goroutine.
type broker interface {
	// publish stores a message and returns its position. When it returns, the
	// message will be in the log of its channel on every process that has one
	// open. data is compact JSON in UTF-8 and stays the caller's; channel is a
	// good name.
	publish(ctx context.Context, channel string, data json.RawMessage) (Position, error)

	// open returns the log of a channel: what is known of it, then what comes,
	// without a gap between the two, until as many calls of release. The log
	// tells of news by the function that the broker was made with.
	open(channel string) (*log, error)
	release(l *log)

	// history returns what is known of a channel after since, at most the first
	// limit messages of it; for the zero Position, at most the last limit of all.
	// No limit for 0.
	history(channel string, since Position, limit int) (past, error)

	// now returns the newest position up to which every open log is complete.
	now() Position

	// list returns the channels that are known, in the order of their names, those
	// above after that begin with prefix, at most limit; more says that there are
	// others.
	list(prefix, after string, limit int) (channels []known, more bool)

	// size returns how many channels and messages there are, and what the messages
	// count in bytes.
	size() (channels, messages int, bytes int64)

	close()
}

// known is what a broker says of a channel.
type known struct {
	name     string
	messages int
	bytes    int64
	position Position // of the newest message; zero before the first
}

// A past is what is known of a channel up to a position.
type past struct {
	begin    Position // before the first message
	messages []entry
	position Position // after the last message, or later: nothing is between
	reset    string   // why messages before begin are missing, as in protocol.Reset; "": none are
}
