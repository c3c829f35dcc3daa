package load

import (
	"io"
	"math/rand/v2"

	"github.com/duplexgo/duplex/websocket/wire"
)

// A role is what a connection does.
type role uint8

const (
	echoes   role = iota // sends, and gets back what it has sent
	receives             // gets what the sender has sent
	sends                // sends; what it gets may be its own messages or nothing
	idles
)

// A conn is one open connection without its input and output: what has come is
// given to feed, what is to go is taken from fill. Messages are numbered from 0.
type conn struct {
	s    *shard
	id   uint32
	role role

	// Out. What is to be sent is a frame in the making, then all up to due.
	closing bool   // a close frame was sent, or is in control
	offset  int    // how much of message sent has left
	sent    uint64 // messages that have left
	due     uint64 // messages that were begun
	control []byte // control frames to be sent before the next message
	times   queue  // when those should have been sent that are in flight; of echoes
	going   bool   // of sends: there will be another message, or one is on its way
	counted uint32 // what the shard has been told to be in flight

	// In.
	inFrame bool
	frame   wire.Header // in hand
	kept    uint8       // bytes of the next header that came without the rest
	head    [wire.MaxHeader]byte
	payload []byte // of a control frame in hand
	decoder wire.Decoder
	at      int    // how much has come of message next
	flow    *flow  // of a connection that is compressed
	next    uint64 // the message to come
	heard   int64  // when a message came last, or was begun with none in flight
}

func (c *conn) init(s *shard, id uint32) {
	*c = conn{s: s, id: id}
	// What is compared with a text that is UTF-8 need not be checked to be.
	c.decoder.AnyText = !s.w.job.Any
	switch {
	case id == sender:
		c.role = sends
	case s.w.job.Mode == Broadcast:
		c.role = receives
		c.next = s.w.room.begun()
	case s.w.job.Mode == Idle:
		c.role = idles
	}
}

// agree takes what the opening handshake has settled on about compression.
func (c *conn) agree(a *agreement) {
	w := c.s.w
	w.agreedOn(a)
	if a == nil {
		return
	}
	c.decoder.Rsv = wire.Rsv1
	c.flow = &flow{agreed: a}
	if w.job.Payload != nil {
		c.flow.out = w.packings.get(w.job.Payload, a)
	}
}

// stream is whose messages come on the connection.
func (c *conn) stream() uint32 {
	if c.role == receives {
		return sender
	}
	return c.id
}

// feed takes what has come. An error is the end of the connection: a *Failure, or
// io.EOF after a close frame that answers ours.
func (c *conn) feed(p []byte, now int64) error {
	for {
		if !c.inFrame {
			h, rest, err := c.header(p)
			if err == io.ErrUnexpectedEOF {
				return nil
			}
			if err == nil {
				err = c.decoder.Frame(h)
			}
			if err != nil {
				return c.broke(err)
			}
			p, c.frame, c.inFrame = rest, h, true
			if err := c.beginFrame(); err != nil {
				return err
			}
		}
		n := int(min(int64(len(p)), c.decoder.Remaining()))
		piece := p[:n]
		p = p[n:]
		if n > 0 {
			if err := c.decoder.Payload(piece); err != nil {
				return c.broke(err)
			}
			if err := c.take(piece); err != nil {
				return err
			}
		}
		if c.decoder.Remaining() > 0 {
			return nil
		}
		c.inFrame = false
		if err := c.endFrame(now); err != nil {
			return err
		}
	}
}

// header takes the next header from what was kept and p.
func (c *conn) header(p []byte) (h wire.Header, rest []byte, err error) {
	if c.kept == 0 {
		h, n, err := wire.ParseHeader(p)
		if err == io.ErrUnexpectedEOF {
			c.kept = uint8(copy(c.head[:], p))
		}
		return h, p[n:], err
	}
	before := int(c.kept)
	n := before + copy(c.head[before:], p)
	h, size, err := wire.ParseHeader(c.head[:n])
	if err != nil {
		c.kept = uint8(n)
		return h, nil, err
	}
	c.kept = 0
	return h, p[size-before:], nil
}

func (c *conn) broke(err error) error {
	if broken, ok := err.(*wire.Error); ok {
		return failure(Protocol, "connection %d: the server sent a %s", c.id, broken.Msg)
	}
	return failure(Protocol, "connection %d: %v", c.id, err)
}

// compares reports whether the messages that come are to be those that were sent.
func (c *conn) compares() bool {
	return c.role == receives && !c.closing || c.role == echoes && !c.closing && !c.s.w.job.Any
}

// beginFrame looks at what is known before a payload has come.
func (c *conn) beginFrame() error {
	if c.frame.Opcode.IsControl() || c.closing {
		return nil
	}
	if c.flow != nil && c.frame.Opcode != wire.OpContinuation {
		c.flow.packed, c.flow.came = c.frame.Rsv != 0, 0
		c.flow.text = nil
		if c.frame.Opcode == wire.OpText && c.s.w.job.Any {
			c.flow.text = new(wire.UTF8)
		}
	}
	if c.at == 0 && c.frame.Opcode != wire.OpContinuation {
		if c.role == echoes && c.next == c.due {
			return failure(Unasked, "connection %d: a %v message of %d bytes came after %d answers, and nothing was asked", c.id, c.frame.Opcode, c.frame.Length, c.next)
		}
		if c.role == receives && c.next >= c.s.w.room.begun() {
			return failure(Unasked, "connection %d: a %v message of %d bytes came after %d messages, and nobody had sent one", c.id, c.frame.Opcode, c.frame.Length, c.next)
		}
	}
	if want := c.s.w.job.Payload; c.compares() && c.frame.Opcode != wire.OpContinuation && c.frame.Opcode != want.opcode {
		return failure(Wrong, "connection %d: message %d came as %v, and was sent as %v", c.id, c.next, c.frame.Opcode, want.opcode)
	}
	return nil
}

// take takes a piece of a payload.
func (c *conn) take(piece []byte) error {
	if c.frame.Opcode.IsControl() {
		c.payload = append(c.payload, piece...)
		return nil
	}
	if c.flow != nil && c.flow.packed {
		return c.takePacked(piece)
	}
	return c.compare(piece)
}

// compare holds a piece of a message against what was sent.
func (c *conn) compare(piece []byte) error {
	if c.compares() && !c.s.w.job.Payload.holds(piece, c.stream(), c.next, c.at) {
		return c.wrong(piece)
	}
	c.at += len(piece)
	return nil
}

// farthest is how far from the right message another one is looked for.
const farthest = 64

// wrong says what came instead of message next, of which at bytes were right.
func (c *conn) wrong(piece []byte) error {
	p, stream := c.s.w.job.Payload, c.stream()
	if c.at == 0 {
		for n := c.next - min(c.next, farthest); n < c.next+farthest; n++ {
			if n != c.next && p.holds(piece, stream, n, 0) && p.size(stream, n) == len(piece) && n < c.begun() {
				return failure(OutOfOrder, "connection %d: message %d came, and message %d was next", c.id, n, c.next)
			}
		}
	}
	want := make([]byte, min(len(piece), p.size(stream, c.next)-min(c.at, p.size(stream, c.next))))
	p.put(want, stream, c.next, c.at)
	return failure(Wrong, "connection %d: message %d came with %.60q at byte %d of its payload, and was sent with %.60q", c.id, c.next, piece, c.at, want)
}

// begun returns how many messages of the stream were begun.
func (c *conn) begun() uint64 {
	if c.role == receives {
		return c.s.w.room.begun()
	}
	return c.due
}

// endFrame does what a frame asks for, now that it is whole.
func (c *conn) endFrame(now int64) error {
	switch c.frame.Opcode {
	case wire.OpPing:
		c.answerPing()
	case wire.OpPong:
		c.s.greeted.Add(1)
		c.s.w.notify()
	case wire.OpClose:
		return c.closed()
	default:
		if c.frame.Fin {
			return c.endMessage(now)
		}
		return nil
	}
	c.payload = nil
	return nil
}

func (c *conn) endMessage(now int64) error {
	came := c.at
	ignored := c.role == idles || c.role == sends || c.closing
	if c.flow != nil && c.flow.packed {
		came = c.flow.came
		if !ignored {
			if err := c.unpack(); err != nil {
				return err
			}
		}
	}
	size := c.at
	c.at = 0
	if ignored {
		return nil
	}
	if want := c.s.w.job.Payload.size(c.stream(), c.next); c.compares() && size != want {
		return failure(Wrong, "connection %d: message %d came with %d bytes, and was sent with %d", c.id, c.next, size, want)
	}
	c.heard = now
	var intended int64
	if c.role == receives {
		intended = c.s.w.room.got(c.next)
	} else {
		intended = c.times.pop()
	}
	c.next++
	c.s.answered(intended, now, size, came)
	return nil
}

// closed takes the server's close frame.
func (c *conn) closed() error {
	code, reason, err := wire.ParseClose(c.payload)
	switch {
	case err != nil:
		return c.broke(err)
	case c.closing:
		return io.EOF
	case reason != "":
		return failure(Closed, "connection %d: the server closed it with %v: %s", c.id, code, reason)
	}
	return failure(Closed, "connection %d: the server closed it with %v", c.id, code)
}

// mostControl is how much of control frames is kept for a server that sends pings
// and takes no pongs; further pings have none, which RFC 6455, 5.5.3 allows.
const mostControl = 1 << 10

func (c *conn) answerPing() {
	if len(c.control) < mostControl && !c.closing {
		c.appendControl(wire.OpPong, c.payload)
	}
}

func (c *conn) appendControl(op wire.Opcode, payload []byte) {
	h := wire.Header{Fin: true, Opcode: op, Masked: true, Key: rand.Uint32(), Length: int64(len(payload))}
	c.control = h.Append(c.control)
	start := len(c.control)
	c.control = append(c.control, payload...)
	wire.Mask(c.control[start:], h.Key)
}

func (c *conn) ping() { c.appendControl(wire.OpPing, nil) }

// goodbye begins the closing handshake. What has not begun to leave will not.
func (c *conn) goodbye() {
	c.due = c.sent
	if c.offset > 0 {
		c.due++
	}
	c.appendControl(wire.OpClose, wire.AppendClose(nil, wire.CloseNormal, ""))
	c.closing = true
}

// begin makes the next message due.
func (c *conn) begin(intended int64) {
	deliveries := 1
	if c.role == sends {
		deliveries = c.s.w.room.begin(intended)
	} else {
		if c.times.n == 0 {
			c.heard = c.s.w.now()
		}
		c.times.push(intended)
	}
	c.due++
	if c.s.w.measured(intended) {
		c.s.sent += uint64(deliveries)
	}
}

// topUp begins as many messages as may be in flight, where they have no rate. It is
// to be called after feed and begin: only then the shard learns what is in flight, so
// that nobody takes the moment between an answer and the next message for the end.
func (c *conn) topUp(now int64) {
	defer c.count()
	if c.role == receives || c.role == idles || c.closing || c.s.w.job.Rate > 0 {
		return
	}
	if !c.s.w.sending(now) {
		c.going = c.going && c.s.w.room.inFlight() > 0
		return
	}
	n := int(c.times.n)
	if c.role == sends {
		n = c.s.w.room.inFlight()
		c.going = true
	}
	for ; n < c.s.w.job.InFlight; n++ {
		c.begin(now)
	}
}

// count tells the shard how many messages are in flight.
func (c *conn) count() {
	n := c.times.n
	if c.going {
		n = 1
	}
	if c.counted == n {
		return
	}
	change := int64(n) - int64(c.counted)
	c.counted = n
	if c.s.inFlight.Add(change) == 0 {
		c.s.w.notify()
	}
}

// silent reports whether messages are in flight and none has come for too long.
func (c *conn) silent(now int64) error {
	since, waiting := c.heard, c.role == echoes && c.times.n > 0
	if c.role == receives {
		var intended int64
		intended, waiting = c.s.w.room.since(c.next)
		since = max(since, intended)
	}
	if timeout := c.s.w.job.Timeout; waiting && !c.closing && now-since >= int64(timeout) {
		return failure(NoAnswer, "connection %d: it waits for message %d, and nothing has come for %v", c.id, c.next, timeout)
	}
	return nil
}
