package push

import (
	"cmp"

	"github.com/duplexgo/duplex/push/protocol"
)

// A batch is the text that a session is about to send, with what it takes to
// build it. Whoever sends for many sessions uses one again and again.
type batch struct {
	text    []byte // lines, each ended by a line feed
	lone    []byte // the only line; a line of the log, not copied
	cursors []cursor

	// What the last cursor reads after its message, many at once: a log is searched
	// and locked once for all of them.
	ahead []entry
	at    int // ahead[at:] is to come

	// What the text is to be: the user's settings.
	form  form // nil: lines
	limit int  // most messages; 0: no limit

	// resetsFirst is for forms that tell of resets apart from the messages: a batch
	// ends where one would have to stand between messages.
	resetsFirst bool

	hooks    *Hooks
	ended    bool     // a reset would have to come next
	messages int      // that it has
	resets   int      // that it has
	position Position // up to here the client has everything when it has the batch
}

// A form is how the text of a batch looks where it is not lines of JSON.
type form interface {
	// message appends a message, given as its line, and its position.
	message(text []byte, p Position, line []byte) []byte

	// reset appends a reset, or keeps it for itself.
	reset(text []byte, r protocol.Reset) []byte
}

// A cursor is a reader with its next message. The cursors of a batch are a heap:
// none has an earlier message than the first.
type cursor struct {
	reader *reader
	entry  entry
}

// keepText is the largest room for text that is kept.
const keepText = 256 << 10

func (b *batch) reset() {
	b.text, b.lone = b.text[:0], nil
	if cap(b.text) > keepText {
		b.text = nil
	}
	clear(b.cursors)
	b.cursors = b.cursors[:0]
	b.forget()
	b.messages, b.resets, b.ended, b.position = 0, 0, false, Position{}
}

// add adds a line, which must not change as long as the batch is in use.
func (b *batch) add(line []byte) {
	if len(b.text) == 0 && b.lone == nil {
		b.lone = line
		return
	}
	if b.lone != nil {
		b.text = append(append(b.text, b.lone...), '\n')
		b.lone = nil
	}
	b.text = append(append(b.text, line...), '\n')
}

func (b *batch) size() int { return len(b.text) + len(b.lone) }

// whole returns what has been added; of lines, with line feeds between them.
func (b *batch) whole() []byte {
	if b.form != nil {
		return b.text
	}
	if b.lone != nil || len(b.text) == 0 {
		return b.lone
	}
	return b.text[:len(b.text)-1]
}

// peek returns the reader's next message up to now. Where messages are missing
// before it, the reset is added to the batch.
func (b *batch) peek(r *reader, now Position) (entry, bool) {
	e, lost, ok := r.channel.log.next(r.seq, now.seq)
	if lost > 0 && b.resetsFirst && b.messages > 0 {
		b.ended = true
		return entry{}, false
	}
	if lost > 0 {
		r.seq, r.reset = lost, cmp.Or(r.reset, protocol.TooOld)
	}
	if r.reset != "" {
		b.tell(protocol.Reset{
			Channel:  r.channel.log.channel,
			Reason:   r.reset,
			Position: now.at(r.seq).String(),
		})
		r.reset = ""
	}
	return e, ok
}

// advance is peek for a cursor of the batch whose message has been added.
func (b *batch) advance(c *cursor, now Position) (entry, bool) {
	if b.at < len(b.ahead) {
		b.at++
		return b.ahead[b.at-1], true
	}
	e, ok := b.peek(c.reader, now)
	if ok && len(b.cursors) == 1 {
		b.forget()
		if b.ahead == nil {
			b.ahead = make([]entry, 0, maxAhead)
		}
		b.ahead = c.reader.channel.log.following(b.ahead, e.seq, now.seq)
	}
	return e, ok
}

// maxAhead is how many messages are read at once.
const maxAhead = 64

// forget lets go of the messages that were read ahead.
func (b *batch) forget() {
	clear(b.ahead)
	b.ahead, b.at = b.ahead[:0], 0
}

func (b *batch) tell(r protocol.Reset) {
	b.resets++
	b.hooks.reset(r.Reason)
	if b.form != nil {
		b.text = b.form.reset(b.text, r)
		return
	}
	b.add(r.Append(nil))
}

func (b *batch) message(e entry, now Position) {
	b.messages++
	if b.form != nil {
		b.text = b.form.message(b.text, now.at(e.seq), e.line)
		return
	}
	b.add(e.line)
}

// follow makes the reader one of those that fill the batch, if it has a message.
func (b *batch) follow(r *reader, now Position) {
	if e, ok := b.peek(r, now); ok {
		b.cursors = append(b.cursors, cursor{r, e})
	}
}

// fill adds messages in the order of their positions until the batch has max
// bytes or its limit of messages, moves their readers on, and returns the text;
// more says that there are messages left.
func (b *batch) fill(now Position, max int) (lines []byte, more bool) {
	for i := len(b.cursors)/2 - 1; i >= 0; i-- {
		b.sink(i)
	}
	for len(b.cursors) > 0 {
		first := &b.cursors[0]
		if b.size() >= max || b.limit > 0 && b.messages >= b.limit {
			b.position = now.at(first.entry.seq - 1)
			return b.whole(), true
		}
		b.message(first.entry, now)
		first.reader.seq = first.entry.seq
		b.position = now.at(first.entry.seq)
		if e, ok := b.advance(first, now); ok {
			first.entry = e
		} else {
			last := len(b.cursors) - 1
			b.cursors[0], b.cursors[last] = b.cursors[last], cursor{}
			b.cursors = b.cursors[:last]
		}
		if b.ended {
			return b.whole(), true
		}
		b.sink(0)
	}
	b.position = now
	return b.whole(), false
}

// sink moves the cursor at i down to its place in the heap.
func (b *batch) sink(i int) {
	for {
		child := 2*i + 1
		if child >= len(b.cursors) {
			return
		}
		if child+1 < len(b.cursors) && b.cursors[child+1].entry.seq < b.cursors[child].entry.seq {
			child++
		}
		if b.cursors[i].entry.seq <= b.cursors[child].entry.seq {
			return
		}
		b.cursors[i], b.cursors[child] = b.cursors[child], b.cursors[i]
		i = child
	}
}
