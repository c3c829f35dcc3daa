package websocket

import (
	"errors"

	"github.com/duplexgo/duplex/websocket/wire"
)

// A SlowPolicy says what [Conn.Send] does when a peer is so slow that more than
// [Options.SendLimit] waits to be sent to it.
type SlowPolicy uint8

const (
	SlowRefuse     SlowPolicy = iota // Send returns ErrSlow, and the message is not sent
	SlowDropOldest                   // the messages that have waited longest are not sent
	SlowClose                        // the connection is ended with 1008
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

// ErrSlow is returned by [Conn.Send] when the peer takes messages more slowly than
// they are sent and [Options.SendLimit] has been reached.
var ErrSlow = errors.New("websocket: send: the peer is too slow, and the limit of what waits for it has been reached")

// errSlow ends a connection by SlowClose.
var errSlow = &Error{Code: ClosePolicyViolation, Msg: "messages are taken too slowly"}

// SendStats count what [Conn.Send] has to do with a slow peer.
type SendStats struct {
	Waiting      int    // messages that wait now
	WaitingBytes int    // of them
	Dropped      uint64 // messages that SlowDropOldest has thrown away
	Refused      uint64 // messages that Send has returned ErrSlow for
}

// backlog is the messages of Send that wait for a slow peer. They are shared with
// other connections, not copied.
type backlog struct {
	stats    SendStats
	messages []*Prepared
}

// Send sends a message without waiting: what the connection does not take at once
// waits, up to [Options.SendLimit] bytes, and beyond that [Options.SlowPolicy]
// rules. Messages of Send and Write go out in the order of the calls, but a
// Write waits until all that waits before it has gone.
//
// The error is ErrSlow, or why nothing can be sent any more. That the message has
// been received it does not tell.
func (c *Conn) Send(m *Prepared) error {
	if m.typ != Text && m.typ != Binary {
		return errMessageType
	}
	o := &c.out
	o.mu.Lock()
	err := o.enqueue(m)
	if err == errSlow {
		o.backlog.messages = nil
	}
	o.mu.Unlock()
	if err == errSlow {
		// Whoever reads waits for the peer, and the peer for nobody: so it is not asked.
		err := &opError{"sending", errSlow}
		c.ending.limit(c, lingerTimeout, err, true)
		o.close(err, errSlow.Code, errSlow.Msg)
		return ErrSlow
	}
	return err
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

// enqueue is Send with the mutex held.
func (o *out) enqueue(m *Prepared) error {
	if err := o.failed(); err != nil {
		return err
	}
	if o.passes(m) {
		return o.pass(m)
	}
	if o.backlog == nil {
		o.backlog = new(backlog)
	}
	b, limit := o.backlog, o.c.settings.SendLimit
	for limit > 0 && b.stats.WaitingBytes+len(m.frame) > limit {
		switch policy := o.c.settings.SlowPolicy; {
		case policy == SlowDropOldest && len(b.messages) > 0:
			b.shift()
			b.stats.Dropped++
			continue
		case policy == SlowClose:
			return errSlow
		}
		b.stats.Refused++
		return ErrSlow
	}
	b.messages = append(b.messages, m)
	b.stats.Waiting++
	b.stats.WaitingBytes += len(m.frame)
	if o.c.socket() == nil {
		o.flushing()
	}
	return nil
}

// passes reports whether a message need not wait.
func (o *out) passes(m *Prepared) bool {
	return o.free(len(m.frame), nil) && !o.stuck.Load() && (!o.busy || o.c.socket() != nil)
}

// pass sends a message whose turn has come, without waiting.
func (o *out) pass(m *Prepared) error {
	h := o.masked(wire.Header{Fin: true, Opcode: wire.Opcode(m.typ)}, len(m.frame)-m.head)
	if o.c.socket() != nil {
		return o.post(h, m.payload())
	}
	o.gather(h, m.payload())
	o.flushing()
	return nil
}

// waits reports whether messages of Send wait.
func (o *out) waits() bool { return o.backlog != nil && len(o.backlog.messages) > 0 }

// refill lets messages that wait gather: as many as fit, or all. Fragments of
// another message must not be interrupted.
func (o *out) refill(all bool) {
	for o.waits() && o.writer == nil && o.closed == nil {
		m := o.backlog.messages[0]
		if !all && o.batch != nil && len(m.frame) > maxBatch-o.gathered() {
			return
		}
		o.gather(o.masked(wire.Header{Fin: true, Opcode: wire.Opcode(m.typ)}, len(m.frame)-m.head), m.payload())
		o.backlog.shift()
	}
}

// shift takes the oldest message out.
func (b *backlog) shift() {
	b.stats.Waiting--
	b.stats.WaitingBytes -= len(b.messages[0].frame)
	b.messages[0] = nil
	if b.messages = b.messages[1:]; len(b.messages) == 0 {
		b.messages = nil
	}
}
