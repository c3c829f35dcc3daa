package websocket

import (
	"time"
	"unsafe"
)

// Waits is what a pong timeout is decided by: a number that changes with every
// wait for bytes, and whether there is such a wait now. A test that sends piece by
// piece learns from it that a piece has been read and worked on.
func (c *Conn) Waits() (number uint32, waiting bool) { return c.waits() }

// IsParked reports whether a loop waits for the connection, and nobody reads it.
func (c *Conn) IsParked() bool {
	_, waiting := c.waits()
	return c.parking.loop != nil && waiting
}

// LeavesPoller reports whether the connection has left package net.
func (c *Conn) LeavesPoller() bool { return c.socket() != nil }

// IsWriting reports whether the line is taken: by somebody who writes, or by what
// a socket has not taken.
func (c *Conn) IsWriting() bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.busy || c.out.stuck.Load()
}

// IsStuck reports whether a parked connection waits for its socket to have room, and
// the write timeout runs.
func (c *Conn) IsStuck() bool { return c.out.stuck.Load() }

// IsBare reports whether a parked connection remembers nothing of what it has
// received. Only for one that is idle: its owner changes that.
func (c *Conn) IsBare() bool {
	if !c.parking.claim() {
		return false
	}
	bare := c.in == nil
	switch { // as ServeHTTP ends
	case c.parking.release():
	case c.socket() == nil:
		go c.settings.handler.attend(c)
	default:
		c.parking.loop.crew.work(c, true)
	}
	return bare
}

// WriteTimesOut has the write timeout of a parked connection pass now.
func (c *Conn) WriteTimesOut() {
	c.out.mu.Lock()
	c.out.rare().alarm.since -= c.settings.WriteTimeout
	c.out.mu.Unlock()
	c.writeTimedOut()
}

// StuckSince returns when the socket of a parked connection that is stuck last took
// something.
func (c *Conn) StuckSince() time.Duration {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.rare().alarm.since
}

// Unsent returns how many bytes of a parked connection its socket has not taken.
func (c *Conn) Unsent() int {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	n := c.out.gathered()
	if s, ok := c.stream.(*tlsSocket); ok {
		n += s.unsent()
	}
	return n
}

func (s *tlsSocket) unsent() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sealed == nil {
		return 0
	}
	return len(s.sealed.b)
}

// MostSealed is how much crypto/tls may have to say to a peer that takes nothing.
const MostSealed = mostSealed

// AnswerTLS has crypto/tls send something by itself, of a connection over TLS that
// the loop reads.
func (c *Conn) AnswerTLS(p []byte) error {
	_, err := (*carrier)(c.stream.(*tlsSocket)).Write(p)
	return err
}

// ControlSocket calls f with the descriptor of a parked connection.
func (c *Conn) ControlSocket(f func(fd int) error) error { return c.socket().Control(f) }

// Packed returns for how many sizes of window the message has been compressed.
func (m *Prepared) Packed() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, packed := range m.packed {
		if packed != nil {
			n++
		}
	}
	return n
}

// WindowIdle reports whether the connection has no window or compressor for what it
// sends.
func (c *Conn) WindowIdle() bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	d := c.out.aside.encoders.list[0].(*deflater)
	return d.kept == nil && cap(d.window.Bytes()) == 0
}

// CodecBytes returns how much memory a connection has for compression. Only for one
// that is idle.
func (c *Conn) CodecBytes() (n int) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if k := c.out.encoded(); k != nil {
		d := k.list[0].(*deflater)
		n += int(unsafe.Sizeof(*c.out.aside)+unsafe.Sizeof(*k)+unsafe.Sizeof(*d)) + 16*len(k.list) + cap(d.window.Bytes())
		if d.kept != nil {
			n += 1 << 20
		}
	}
	if k := c.out.decodersMade(); k != nil {
		d := k.list[0].(*inflater)
		n += int(unsafe.Sizeof(*k)+unsafe.Sizeof(*d)+unsafe.Sizeof(k.between[0])) + 16*len(k.list) + cap(d.window.Bytes())
		if d.f != nil {
			n += 1 << 17
		}
	}
	return n
}

// decodersMade returns the Decoders if a message has passed one.
func (o *out) decodersMade() *decoders {
	if o.aside == nil {
		return nil
	}
	return o.aside.decoders
}

// Suspended reports whether a parked connection waits in the middle of a compressed
// message, and has no decompressor.
func (c *Conn) Suspended() bool {
	if !c.parking.claim() {
		return false
	}
	suspended := false
	if k := c.out.decodersMade(); k != nil {
		d := k.list[0].(*inflater)
		suspended = d.f == nil && d.rest != nil
	}
	switch { // as ServeHTTP ends
	case c.parking.release():
	case c.socket() == nil:
		go c.settings.handler.attend(c)
	default:
		c.parking.loop.crew.work(c, true)
	}
	return suspended
}

// Addrs returns how many addresses are remembered.
func (l *Limits) Addrs() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.addrs)
}

// NewLong, FreeLong and GrowLong are the buffers of long messages.
var (
	NewLong  = newLong
	FreeLong = freeLong
	GrowLong = growLong
)

// AlwaysBlocks has every callback run in a goroutine, as if all of them blocked.
func (h *Handler) AlwaysBlocks() { h.temper.blocking.Store(true) }

// Hands returns how many goroutines wait to run callbacks that block, and whether they
// may.
func (h *Handler) Hands() (idle int, open bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.loops {
		if l != nil {
			l.crew.mu.Lock()
			idle += len(l.crew.idle)
			open = open || l.crew.open
			l.crew.mu.Unlock()
		}
	}
	return idle, open
}

// HoldsBuffer reports whether the receiving half of a Conn has a buffer. Only for one
// whose reader waits, in fake time.
func (c *Conn) HoldsBuffer() bool { return c.in.loan.lent() || cap(c.in.buf) > 64 }
