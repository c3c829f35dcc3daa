package websocket

import (
	"context"
	"iter"
	"sync"

	"github.com/duplexgo/duplex/websocket/internal/flate"
	"github.com/duplexgo/duplex/websocket/wire"
)

// A Prepared is a message that is encoded once, to be sent to many connections.
// It does not change and can be used by any goroutine at any time.
type Prepared struct {
	typ   MessageType
	frame []byte // as a server sends it; its capacity is its length
	head  int    // how much of frame is the header

	mu     sync.Mutex
	packed *[flate.MaxBits + 1]*Prepared // compressed, by the bits of the window; itself where that does not pay
}

// Prepare encodes a message. p is copied. It is compressed when it is first sent on
// a connection that compresses, once for each size of window. A type that is neither Text nor Binary
// is an error of every call that the message is given to; that Text is UTF-8 is
// not checked.
func Prepare(t MessageType, p []byte) *Prepared {
	return prepare(t, 0, p)
}

func prepare(t MessageType, rsv uint8, p []byte) *Prepared {
	h := wire.Header{Fin: true, Rsv: rsv, Opcode: t.opcode(), Length: int64(len(p))}
	m := &Prepared{typ: t, head: h.Size()}
	m.frame = append(h.Append(make([]byte, 0, m.head+len(p))), p...)
	return m
}

// deflated returns the message compressed for a window of that size, with nothing
// before it, or nil where it would be no shorter. It is compressed once.
func (m *Prepared) deflated(bits int) *Prepared {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.packed == nil {
		m.packed = new([flate.MaxBits + 1]*Prepared)
	}
	packed := m.packed[bits]
	if packed == nil {
		packed = m.deflate(bits)
		m.packed[bits] = packed
	}
	if packed == m {
		return nil
	}
	return packed
}

func (m *Prepared) deflate(bits int) *Prepared {
	s := scratches.Get().(*scratch)
	defer s.release()
	d := flate.NewDeflater(bits)
	defer d.Release()
	d.Reset(nil)
	b := d.Deflate(s.halves[0], m.payload())
	s.halves[0] = b
	if b = b[:len(b)-len(flate.Tail)]; len(b) >= len(m.payload()) && len(b) > 1 {
		return m
	}
	return prepare(m.typ, wire.Rsv1, b)
}

// payload returns the message's bytes, which must not be changed.
func (m *Prepared) payload() []byte { return m.frame[m.head:] }

// WritePrepared is [Conn.Write] for a message that is encoded already: a server
// copies nothing of a large one. A client has to mask each message for itself, and
// gains nothing.
func (c *Conn) WritePrepared(ctx context.Context, m *Prepared) error {
	if !m.typ.valid() || !c.settings.shares() {
		return c.Write(ctx, m.typ, m.payload())
	}
	c.encodeShared(m)
	return c.sent(m.typ, int64(len(m.payload())), c.out.prepared(ctx, m))
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
	case o.corked() && !o.busy && len(m.frame) <= gatherSize:
		o.join(m)
		o.aside.cork.keep()
		return nil
	case o.busy || o.batch != nil:
		o.join(m)
		return o.flush(o.round)
	}
	m = o.fit(m)
	return o.lead(func() error { return o.write(m.frame) })
}

// Broadcast sends a message to many connections, as [Conn.Send] does, and returns
// how many of them took it: the others have ended or are over their limit. It
// waits for none of them, so that a slow reader hurts only itself. It costs less than
// a Send for each: few goroutines write to all, and messages that come one after the
// other leave together.
//
//	websocket.Broadcast(registry.All(), websocket.Prepare(websocket.Text, p))
func Broadcast(conns iter.Seq[*Conn], m *Prepared) (sent int) {
	box := newOutbox()
	defer box.filled()
	for c := range conns {
		if c.send(m, box) == nil {
			sent++
		}
	}
	return sent
}
