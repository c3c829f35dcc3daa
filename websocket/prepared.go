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
	frame []byte // as a server sends it
	head  int    // how much of frame is the header
}

// Prepare encodes a message. p is copied.
func Prepare(t MessageType, p []byte) *Prepared {
	h := wire.Header{Fin: true, Opcode: wire.Opcode(t), Length: int64(len(p))}
	m := &Prepared{typ: t, head: h.Size()}
	m.frame = append(h.Append(make([]byte, 0, m.head+len(p))), p...)
	return m
}

// payload returns the message's bytes, which must not be changed.
func (m *Prepared) payload() []byte { return m.frame[m.head:] }

// WritePrepared is [Conn.Write] for a message that is encoded already. A client
// has to mask each message for itself, and gains nothing.
func (c *Conn) WritePrepared(ctx context.Context, m *Prepared) error {
	return c.Write(ctx, m.typ, m.payload())
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
