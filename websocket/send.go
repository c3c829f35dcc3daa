package websocket

import (
	"errors"
	"fmt"
	"time"

	"github.com/duplexgo/duplex/websocket/internal/netpoll"
	"github.com/duplexgo/duplex/websocket/wire"
)

// A SlowPolicy says what [Conn.Send] does when a peer is so slow that more than
// [Options.SendLimit] would wait to be sent to it.
type SlowPolicy uint8

const (
	SlowRefuse     SlowPolicy = iota // Send returns ErrSlow, and the message is not sent
	SlowDropOldest                   // the messages that have waited longest are not sent
	SlowClose                        // the connection is ended with 1008, and nothing that waits is sent
)

// String returns "refuse", "drop oldest" or "close".
func (p SlowPolicy) String() string {
	switch p {
	case SlowDropOldest:
		return "drop oldest"
	case SlowClose:
		return "close"
	}
	return "refuse"
}

// ErrSlow is found by errors.Is in the error of a [Conn.Send] that [Options.SendLimit]
// did not let pass, and in that of every call on a connection that [SlowClose] has
// ended, which is an [*Error], too.
var ErrSlow = errors.New("websocket: sending: the peer takes messages more slowly than they are sent")

const slowReason = "messages are taken too slowly"

// errSlow ends a connection by SlowClose.
var errSlow = fmt.Errorf("%w: %w", ErrSlow, &Error{Code: ClosePolicyViolation, Msg: slowReason})

// SendStats count what [Conn.Send] has to do with a slow peer. A connection that
// has ended counts no messages as waiting.
type SendStats struct {
	Waiting      int    // messages that wait now
	WaitingBytes int    // of them, as frames without a mask
	Dropped      uint64 // messages that waited and were thrown away by SlowDropOldest or SlowClose
	Refused      uint64 // messages for which Send has returned ErrSlow
}

// backlog is the messages of Send that wait for a slow peer. They are shared with
// other connections, not copied. The last of them may be a close frame.
type backlog struct {
	stats    SendStats
	messages []*Prepared // from next on
	next     int
	ahead    int // how many of them go before a Write that waits for its turn
}

// keepBacklog is for how many messages the memory of a backlog is kept when it is
// empty.
const keepBacklog = 16

// Send sends a message without waiting. It returns when the stream has taken the
// message, or soon will, or when the message waits because the peer is slow. Up to
// [Options.SendLimit] bytes wait, or one message of any size; beyond that
// [Options.SlowPolicy] rules. What waits is shared between connections.
//
// Messages of Send and Write that one goroutine sends go out in the order of its
// calls: a Write waits until what waited before it has gone. Behind a message
// that a [Conn.Writer] has begun, Send's messages wait for its end.
//
// The error is ErrSlow, or why nothing can be sent any more. That the peer has got
// the message nil does not say: a connection that ends takes with it what waits,
// unless it ends by Close, before whose close frame it is sent.
func (c *Conn) Send(m *Prepared) error { return c.send(m, nil) }

// send is Send for a Broadcast, whose outbox writes the message, or for nil.
func (c *Conn) send(m *Prepared, box *outbox) error {
	if !m.typ.valid() {
		return errMessageType
	}
	c.encodeShared(m)
	c.out.mu.Lock()
	err := c.out.enqueue(m, box)
	c.out.mu.Unlock()
	return c.sent(m.typ, int64(len(m.payload())), err)
}

// SendStats returns the counts of this connection.
func (c *Conn) SendStats() SendStats {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.out.backlog == nil {
		return SendStats{}
	}
	return c.out.backlog.stats
}

// enqueue is send with the mutex held.
func (o *out) enqueue(m *Prepared, box *outbox) error {
	if err := o.failed(); err != nil {
		return err
	}
	switch {
	case !o.passes(m):
		if err := o.delay(m); err != nil {
			return err
		}
	case box == nil && o.alone():
		o.join(m)
		return o.attempt()
	default:
		o.join(m)
	}
	if box == nil || o.c.socket() != nil || o.corked() {
		o.background()
	} else {
		box.put(o)
	}
	return nil
}

// passes reports whether a message need not wait.
func (o *out) passes(m *Prepared) bool {
	return o.free(len(m.frame), nil) && !o.stuck.Load() && (!o.busy || o.c.socket() != nil)
}

// burst is how many milliseconds after a Send another counts as coming together with
// it.
const burst = 1

// alone reports whether a message that passes is to be written at once, by its
// sender: to a socket, unless it is one of many that come together and should leave
// so.
func (o *out) alone() bool {
	if _, ok := o.c.stream.(*netpoll.Blocking); !ok || o.flusher || o.pending() || o.corked() {
		return false
	}
	last := o.lately
	o.lately = uint32(clock() / time.Millisecond)
	return o.lately-last > burst
}

// attempt writes what has gathered, as far as the socket takes it at once. A goroutine
// waits with the rest.
func (o *out) attempt() error {
	s := o.c.stream.(*netpoll.Blocking)
	batch, round := o.batch, o.round
	o.batch, o.round = nil, round+1
	full := false
	err := o.lead(func() error {
		n, err := s.TryWrite(batch.flat())
		if full = err == netpoll.ErrWouldBlock; full {
			batch.b = batch.b[n:]
			return nil
		}
		return o.written(err)
	})
	if full {
		o.restore(batch)
		o.background()
		return nil
	}
	batch.release()
	if err == nil {
		o.flushed = round
	}
	return err
}

// join puts a message into the batch. It is not copied before it is written, if it
// must be then.
func (o *out) join(m *Prepared) {
	if m.typ.valid() && !o.c.settings.shares() || !o.c.settings.server {
		o.gatherMessage(m)
		return
	}
	if m.typ.valid() { // else a close frame
		m = o.fit(m)
	}
	if o.batch == nil {
		o.batch = newBatch()
	}
	o.batch.share(m)
}

// delay lets a message wait, if there is room. A single one always may: else
// messages above the limit would be taken or not by chance.
func (o *out) delay(m *Prepared) error {
	b, limit := o.waiting(), o.c.settings.SendLimit
	for limit > 0 && b.stats.Waiting > 0 && b.stats.WaitingBytes+len(m.frame) > limit {
		if o.c.settings.SlowPolicy == SlowDropOldest {
			b.shift()
			b.stats.Dropped++
			continue
		}
		b.stats.Refused++
		if o.c.settings.SlowPolicy == SlowClose {
			return o.giveUp()
		}
		return ErrSlow
	}
	b.push(m)
	return nil
}

// giveUp ends the connection by SlowClose.
func (o *out) giveUp() error {
	o.backlog.stats.Dropped += uint64(o.backlog.stats.Waiting)
	o.backlog.clear()
	// A peer that does not take messages does not answer a close frame either.
	o.c.ending.limit(o.c, lingerTimeout, errSlow, true)
	o.finish(errSlow, ClosePolicyViolation, slowReason)
	return errSlow
}

// waiting returns the backlog.
func (o *out) waiting() *backlog {
	if o.backlog == nil {
		o.backlog = new(backlog)
	}
	return o.backlog
}

// waits reports whether messages of Send wait.
func (o *out) waits() bool { return o.backlog != nil && o.backlog.stats.Waiting > 0 }

// refills reports whether it is the turn of messages that wait: not between the
// fragments of another, and not when a Write has waited for as many as were there
// when it came. Without that a Write might wait for ever.
func (o *out) refills() bool {
	return o.waits() && o.writer == nil && (!o.first || o.backlog.ahead > 0)
}

// refill lets messages that wait gather, as many as fit.
func (o *out) refill() {
	for o.refills() {
		m := o.backlog.messages[o.backlog.next]
		if o.batch != nil && len(m.frame) > maxBatch-o.gathered() {
			return
		}
		o.join(m)
		o.backlog.shift()
	}
}

// lineUp makes the caller the first to have the next turn, when what waits now has
// gone.
func (o *out) lineUp() {
	o.first = true
	if o.backlog != nil {
		o.backlog.ahead = o.backlog.stats.Waiting
	}
}

// finish puts a close frame behind everything that has gathered or waits. From
// then on writes return err.
func (o *out) finish(err error, code CloseCode, reason string) {
	o.closed = err
	o.closing.Store(true)
	o.pop() // it leaves at once
	payload := wire.AppendClose(make([]byte, 0, wire.MaxControl), code, reason)
	m := Prepare(MessageType(wire.OpClose), payload)
	if o.writer == nil && (o.waits() || o.gathered() > maxBatch) {
		o.waiting().push(m)
		o.backlog.ahead = o.backlog.stats.Waiting
	} else {
		o.gatherSlot()
		o.join(m)
	}
	o.background()
	o.change()
}

func (b *backlog) push(m *Prepared) {
	if len(b.messages) == cap(b.messages) && b.next > len(b.messages)/2 {
		n := copy(b.messages, b.messages[b.next:])
		clear(b.messages[n:])
		b.messages, b.next = b.messages[:n], 0
	}
	b.messages = append(b.messages, m)
	b.stats.Waiting++
	b.stats.WaitingBytes += len(m.frame)
}

// shift takes the oldest message out.
func (b *backlog) shift() {
	b.stats.Waiting--
	b.stats.WaitingBytes -= len(b.messages[b.next].frame)
	b.ahead = max(0, b.ahead-1)
	b.messages[b.next] = nil
	if b.next++; b.next == len(b.messages) {
		b.clear()
	}
}

// clear forgets the messages.
func (b *backlog) clear() {
	b.stats.Waiting, b.stats.WaitingBytes = 0, 0
	clear(b.messages[b.next:])
	b.messages, b.next = b.messages[:0], 0
	if cap(b.messages) > keepBacklog {
		b.messages = nil
	}
}
