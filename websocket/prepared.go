package websocket

import (
	"context"
	"iter"

	"github.com/duplexgo/duplex/websocket/wire"
)

// A Prepared is a message that is encoded once, to be sent to many connections.
// It does not change and can be used by any goroutine at any time.
type Prepared struct {
	typ   MessageType
	frame []byte // as a server sends it; its capacity is its length
	head  int    // how much of frame is the header
}

// Prepare encodes a message. p is copied. A type that is neither Text nor Binary
// is an error of every call that the message is given to; that Text is UTF-8 is
// not checked.
func Prepare(t MessageType, p []byte) *Prepared {
	h := wire.Header{Fin: true, Opcode: wire.Opcode(t), Length: int64(len(p))}
	m := &Prepared{typ: t, head: h.Size()}
	m.frame = append(h.Append(make([]byte, 0, m.head+len(p))), p...)
	return m
}

// payload returns the message's bytes, which must not be changed.
func (m *Prepared) payload() []byte { return m.frame[m.head:] }

// batch returns the message as a batch. Its bytes must not be changed; what is
// appended makes a copy of them.
func (m *Prepared) batch() *batch {
	b := batches.Get().(*batch)
	b.b = m.frame[:len(m.frame):len(m.frame)]
	return b
}

// WritePrepared is [Conn.Write] for a message that is encoded already: a server
// copies nothing of a large one. A client has to mask each message for itself, and
// gains nothing.
func (c *Conn) WritePrepared(ctx context.Context, m *Prepared) error {
	if m.typ != Text && m.typ != Binary || !c.settings.server {
		return c.Write(ctx, m.typ, m.payload())
	}
	return c.out.prepared(ctx, m)
}

// prepared sends a message as a server does; see frame.
func (o *out) prepared(ctx context.Context, m *Prepared) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.proceed()
	if err := o.turn(ctx, len(m.frame), nil); err != nil {
		return err
	}
	switch {
	case o.c.socket() != nil:
		o.join(m)
		o.soon()
		return nil
	case o.collects() && len(m.frame) <= gatherSize:
		o.join(m)
		return nil
	case o.busy || o.batch != nil:
		o.join(m)
		return o.flush(o.round)
	}
	return o.lead(func() error { return o.write(m.frame) })
}

// Broadcast sends a message to many connections, as [Conn.Send] does, and returns
// how many of them took it: the others have ended or are over their limit. It
// waits for none of them, so that a slow reader hurts only itself.
//
//	websocket.Broadcast(registry.All(), websocket.Prepare(websocket.Text, p))
func Broadcast(conns iter.Seq[*Conn], m *Prepared) (sent int) {
	for c := range conns {
		if c.Send(m) == nil {
			sent++
		}
	}
	return sent
}
