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

// lines returns what has been added, with line feeds between the lines.
func (b *batch) lines() []byte {
	if b.lone != nil || len(b.text) == 0 {
		return b.lone
	}
	return b.text[:len(b.text)-1]
}

// peek returns the reader's next message up to now. Where messages are missing
// before it, the reset is added to the batch.
func (b *batch) peek(r *reader, now Position) (entry, bool) {
	e, lost, ok := r.channel.log.next(r.seq, now.seq)
	if lost > 0 {
		r.seq, r.reset = lost, cmp.Or(r.reset, protocol.TooOld)
	}
	if r.reset != "" {
		b.add(protocol.Reset{
			Channel:  r.channel.log.channel,
			Reason:   r.reset,
			Position: now.at(r.seq).String(),
		}.Append(nil))
		r.reset = ""
	}
	return e, ok
}

// follow makes the reader one of those that fill the batch, if it has a message.
func (b *batch) follow(r *reader, now Position) {
	if e, ok := b.peek(r, now); ok {
		b.cursors = append(b.cursors, cursor{r, e})
	}
}

// fill adds messages in the order of their positions until the batch has max
// bytes, moves their readers on, and returns the lines; more says that there are
// messages left.
func (b *batch) fill(now Position, max int) (lines []byte, more bool) {
	for i := len(b.cursors)/2 - 1; i >= 0; i-- {
		b.sink(i)
	}
	for len(b.cursors) > 0 {
		if b.size() >= max {
			return b.lines(), true
		}
		first := &b.cursors[0]
		b.add(first.entry.line)
		first.reader.seq = first.entry.seq
		if e, ok := b.peek(first.reader, now); ok {
			first.entry = e
		} else {
			last := len(b.cursors) - 1
			b.cursors[0], b.cursors[last] = b.cursors[last], cursor{}
			b.cursors = b.cursors[:last]
		}
		b.sink(0)
	}
	return b.lines(), false
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
