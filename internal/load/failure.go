package load

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// A Kind is what went wrong with a connection, in a word or two.
type Kind string

const (
	Local      Kind = "local limit"          // this machine has no port, file or memory for it
	Refused    Kind = "refused"              // nothing listens
	Unreached  Kind = "not reached"          // TCP failed in another way
	TLS        Kind = "TLS failed"           // the TLS handshake
	Status     Kind = "not accepted"         // an HTTP status other than 101
	Handshake  Kind = "broken handshake"     // an answer that RFC 6455, 4.1 forbids
	NoOpening  Kind = "no handshake in time" // not connected and accepted within the timeout
	Reset      Kind = "reset"                // the open connection was cut by a TCP reset
	Ended      Kind = "ended"                // it ended without a close frame
	Closed     Kind = "closed"               // by a close frame of the server
	Protocol   Kind = "protocol error"       // the server broke RFC 6455
	Wrong      Kind = "wrong answer"         // a message that was not the one that was sent
	OutOfOrder Kind = "out of order"         // a message that was sent, but not the next one
	Unasked    Kind = "unasked message"      // a message with none in flight
	NoAnswer   Kind = "no answer in time"    // messages in flight and nothing came within the timeout
)

// A Failure is the end of one connection.
type Failure struct {
	Kind Kind
	Text string // for people
}

func (f *Failure) Error() string { return f.Text }

func failure(kind Kind, format string, args ...any) error {
	return &Failure{kind, fmt.Sprintf(format, args...)}
}

// Failures are all connections that ended with one Kind.
type Failures struct {
	Kind    Kind
	Count   int
	Example string // of the first that was seen
}

// A tally counts failures by their kinds.
type tally map[Kind]*Failures

func (t tally) add(err error) {
	f, ok := errors.AsType[*Failure](err)
	if !ok {
		f = &Failure{Unreached, err.Error()}
	}
	if t[f.Kind] == nil {
		t[f.Kind] = &Failures{Kind: f.Kind, Example: f.Text}
	}
	t[f.Kind].Count++
}

func (t tally) merge(other tally) {
	for kind, f := range other {
		if t[kind] == nil {
			t[kind] = &Failures{Kind: kind, Example: f.Example}
		}
		t[kind].Count += f.Count
	}
}

// list returns the failures, the most frequent first.
func (t tally) list() []Failures {
	all := make([]Failures, 0, len(t))
	for _, f := range t {
		all = append(all, *f)
	}
	slices.SortFunc(all, func(a, b Failures) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Kind, b.Kind))
	})
	return all
}
