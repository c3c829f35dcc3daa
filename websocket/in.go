package websocket

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/duplexgo/duplex/websocket/wire"
)

// in is the receiving half of a Conn. One goroutine at a time owns it: the one
// that has put a token into lock.
//
// Bytes go one way, and whatever step a context stops, the next call goes on at
// the same byte:
//
//	stream ── fill ──▶ buf ── frame ──▶ headers, control frames
//	   │                └──── read ───▶ payload, unmasked ──▶ the message's slice
//	   └── read, where a large piece is still to come ──────▶
//
// buf holds what has been read and not been used:
//
//	0 ≤ r ≤ w ≤ len(buf)
//	buf[r:w] is still to be used; buf is nil while there is nothing in it
type in struct {
	c      *Conn
	lock   chan struct{}
	turns  uint64 // calls that have owned it
	source source
	buf    []byte
	loan   *[smallBuffer]byte // what buf is a slice of, unless it is its own
	r, w   int
	dec    wire.Decoder
	err    error // the first that ended receiving; every later call returns it

	typ      MessageType // of the message in hand
	open     bool        // there is one: begun, and its end has not been told
	control  wire.Opcode // of the control frame whose payload is still to come; 0: none
	part     []byte      // of the message: what a stopped Read had got together
	taken    bool        // a Reader has the message; Read takes the one after it
	stopped  bool        // a context stopped the last call; Reader goes on with the message
	skipping bool        // what is left of the message is thrown away
	reader   *messageReader

	watch watch
	reads atomic.Uint64 // odd while something waits in the stream's Read; see pinger
}

// source is where bytes come from: the stream, or a pump before it.
type source interface {
	io.Reader
	SetReadDeadline(time.Time) error
}

func (in *in) init(c *Conn, buffered []byte) {
	in.c = c
	in.lock = make(chan struct{}, 1)
	in.dec = wire.Decoder{
		Server:       c.server,
		MaxFrame:     c.options.MaxFrame,
		MaxMessage:   c.options.MaxMessage,
		MaxFragments: c.options.MaxFragments,
		AnyText:      c.options.AnyText,
	}
	if s, ok := c.stream.(source); ok && s.SetReadDeadline(time.Time{}) == nil {
		in.source = s
	} else {
		in.source = newPump(c.stream)
	}
	in.watch.source = in.source
	if len(buffered) > 0 {
		in.buf = make([]byte, max(len(buffered), smallBuffer))
		in.w = copy(in.buf, buffered)
	}
}

// acquire makes the caller the owner of the receiving half.
func (in *in) acquire(ctx context.Context) error {
	if in.c.handled {
		return errHandled
	}
	done := ctx.Done() // a nil ctx panics here, and not with the lock held
	select {
	case in.lock <- struct{}{}:
	default:
		select {
		case in.lock <- struct{}{}:
		case <-done:
			return ctx.Err()
		}
	}
	err := in.err
	switch {
	case err != nil:
	case in.c.ending.ended():
		err = in.fail(in.c.ending.cause())
	case ctx.Err() != nil:
		err = ctx.Err()
		// Another call's context has not stopped the message that a reader has.
		in.stopped = in.stopped || in.reader != nil && in.reader.ctx.Done() == ctx.Done()
	}
	if err != nil {
		in.release()
		return err
	}
	in.turns++
	in.watch.begin(ctx)
	return nil
}

func (in *in) release() {
	if in.r == in.w {
		in.giveBack()
	}
	<-in.lock
	if in.c.ending.ended() {
		in.letGo()
	}
}

// letGo forgets the caller's context once the connection is over: it may live for
// as long as the program, and would keep the Conn alive.
func (in *in) letGo() {
	select {
	case in.lock <- struct{}{}:
		in.watch.end()
		<-in.lock
	default: // whoever has it calls release
	}
}

// stop makes of an error what the caller gets: where ctx stopped the call, its
// error; else the error that ends the connection.
func (in *in) stop(ctx context.Context, err error) error {
	in.stopped = false
	if err == nil {
		return nil
	}
	if in.err == nil && isTimeout(err) && ctx.Err() != nil {
		in.stopped = !in.skipping
		return ctx.Err()
	}
	if isTimeout(err) {
		err = &opError{"reading", err} // a deadline that was set behind the Conn's back
	}
	return in.fail(err)
}

// fail records the end of receiving. A connection that was cut ends with the
// reason for that, not with what reading from a closed stream returns.
func (in *in) fail(err error) error {
	if in.err == nil {
		if cause := in.c.ending.cause(); cause != nil {
			err = cause
		}
		in.err = err
		in.part, in.reader = nil, nil
		in.c.cut(err)
	}
	return in.err
}

// message appends the next message to dst. When it is stopped, what has come is
// kept in part.
func (in *in) message(dst []byte) (MessageType, []byte, error) {
	if err := in.next(!in.taken); err != nil {
		return 0, dst, err
	}
	in.reader = nil
	b := append(dst, in.part...)
	in.part = nil
	for {
		b = slices.Grow(b, in.room(len(b)-len(dst)))
		n, err := in.read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch err {
		case nil:
		case io.EOF:
			return in.typ, b, nil
		default:
			if in.err == nil {
				in.part = slices.Clone(b[len(dst):]) // dst is the caller's again
			}
			return 0, dst, err
		}
	}
}

// room returns how much memory to have ready for a message of which size bytes
// have come: what is in buf of its frame, and else as much again as has come.
// What a header declares is never believed.
func (in *in) room(size int) int {
	more := max(in.w-in.r, size, smallBuffer)
	return int(min(in.dec.Remaining(), int64(more)))
}

// next sees to it that there is a message in hand: the one that there is, where
// keep is true, else the one after it.
func (in *in) next(keep bool) error {
	if in.open && !keep {
		in.skipping, in.part = true, nil
	}
	for in.skipping {
		if err := in.skip(); err != nil {
			return err
		}
	}
	for !in.open {
		if err := in.frame(); err != nil {
			return err
		}
	}
	return nil
}

// skip throws away a piece of the message in hand, at its end the message.
func (in *in) skip() error {
	err := in.payload()
	if err == io.EOF {
		in.skipping = false
		return nil
	}
	if err == nil && in.r == in.w {
		err = in.fill()
	}
	if err != nil {
		return err
	}
	n := int(min(int64(in.w-in.r), in.dec.Remaining()))
	in.r += n
	return in.checked(in.buf[in.r-n : in.r])
}

// read puts the next bytes of the message in hand into p. At its end it returns
// io.EOF, and there is no message in hand any more.
func (in *in) read(p []byte) (n int, err error) {
	if err := in.payload(); err != nil {
		return 0, err
	}
	p = p[:min(int64(len(p)), in.dec.Remaining())]
	switch {
	case len(p) == 0:
		return 0, nil
	case in.r == in.w && len(p) >= smallBuffer:
		n, err = in.receive(p) // no copy
	case in.r == in.w:
		err = in.fill()
		fallthrough
	default:
		n = copy(p, in.buf[in.r:in.w])
		in.r += n
	}
	if err != nil {
		return 0, err
	}
	return n, in.checked(p[:n])
}

// payload goes on to where bytes of the message in hand come next. At the
// message's end it returns io.EOF.
func (in *in) payload() error {
	for in.control != 0 || in.dec.Remaining() == 0 {
		if in.control == 0 && !in.dec.InMessage() {
			in.open, in.taken = false, false
			return io.EOF
		}
		if err := in.frame(); err != nil {
			return err
		}
	}
	return nil
}

// checked unmasks a piece of payload and holds it to the rules.
func (in *in) checked(p []byte) error {
	if err := in.dec.Payload(p); err != nil {
		return in.violation(err)
	}
	return nil
}

// frame takes the next frame: of a data frame the header, a control frame whole,
// and does what it asks for.
func (in *in) frame() error {
	if in.control == 0 {
		h, err := in.header()
		if err != nil {
			return err
		}
		if err := in.dec.Frame(h); err != nil {
			return in.violation(err)
		}
		switch {
		case h.Opcode.IsControl():
			in.control = h.Opcode
		case h.Opcode != wire.OpContinuation:
			in.open, in.typ = true, MessageType(h.Opcode)
		}
	}
	if in.control == 0 {
		return nil
	}
	size := int(in.dec.Remaining())
	for in.w-in.r < size {
		if err := in.fill(); err != nil {
			return err
		}
	}
	payload := in.buf[in.r : in.r+size]
	in.r += size
	if err := in.checked(payload); err != nil {
		return err
	}
	op := in.control
	in.control = 0
	return in.answer(op, payload)
}

// header takes the next frame's header out of buf.
func (in *in) header() (wire.Header, error) {
	for {
		h, n, err := wire.ParseHeader(in.buf[in.r:in.w])
		switch err {
		case nil:
			in.r += n
			return h, nil
		case io.ErrUnexpectedEOF:
			if err := in.fill(); err != nil {
				return wire.Header{}, err
			}
		default:
			return wire.Header{}, in.violation(err)
		}
	}
}

// answer does what a control frame asks for. RFC 6455, 5.5.
func (in *in) answer(op wire.Opcode, payload []byte) error {
	switch op {
	case wire.OpPing:
		in.c.out.pong(payload)
		return nil
	case wire.OpPong:
		in.c.pinger.pong(payload)
		return nil
	}
	code, reason, err := wire.ParseClose(payload)
	if err != nil {
		return in.violation(err)
	}
	return in.fail(in.c.closeReceived(code, reason))
}

// violation answers a broken rule with its close frame. RFC 6455, 7.1.7.
func (in *in) violation(err error) error {
	var broken *Error
	errors.As(err, &broken) // all that wire returns are
	err = &opError{"reading", err}
	in.c.abort(broken.Code, broken.Msg, err)
	return in.fail(err)
}

// drain throws away what still comes, until the stream ends or is stopped.
func (in *in) drain() {
	in.giveBack()
	for in.fill() == nil {
		in.r = in.w
	}
}

// giveWay is how long Close leaves a message that has come to the reads of others
// before it throws away that message and all after it.
const giveWay = 100 * time.Millisecond

// discard reads on for Close, when nobody else does, until the connection ends.
// A loop of Reads in another goroutine is between two of them now and then: that
// nobody reads at this moment does not mean that nobody will. So the first message
// is left lying for a moment, and thrown away only when nobody has come for it.
func (in *in) discard() {
	for alone := false; in.own(); {
		in.watch.end()
		turns, err := in.turns, in.next(!alone)
		if err != nil {
			in.fail(err)
		}
		in.stopped = in.stopped || !in.taken // a Reader, too, begins with this message
		in.release()
		if alone || err != nil {
			continue
		}
		select {
		case <-time.After(giveWay):
		case <-in.c.ending.done:
		}
		if in.own() {
			alone = turns == in.turns
			in.release()
		}
	}
}

// own makes Close the owner of the receiving half. It reports false when the
// connection has ended.
func (in *in) own() bool {
	select {
	case in.lock <- struct{}{}:
	case <-in.c.ending.done:
		return false
	}
	if in.err != nil {
		in.release()
		return false
	}
	return true
}

// fill reads more bytes into buf, which has room for every header and every
// control frame.
func (in *in) fill() error {
	switch {
	case in.buf == nil:
		in.loan = smallBuffers.Get().(*[smallBuffer]byte)
		in.buf = in.loan[:]
	case in.r == in.w:
		in.r, in.w = 0, 0
	case in.w == len(in.buf):
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	n, err := in.receive(in.buf[in.w:])
	in.w += n
	return err
}

// receive reads from the stream: bytes or an error, not both.
func (in *in) receive(p []byte) (int, error) {
	for range maxEmptyReads {
		in.reads.Add(1)
		n, err := in.source.Read(p)
		if n == 0 && isTimeout(err) {
			in.reads.Add(^uint64(0)) // the next call goes on with the same wait
			return 0, err
		}
		in.reads.Add(1)
		switch {
		case n > 0:
			return n, nil // an error comes again
		case err == io.EOF:
			return 0, errStreamEnd
		case err != nil:
			return 0, &opError{"reading", err}
		}
	}
	return 0, &opError{"reading", io.ErrNoProgress}
}

// maxEmptyReads is how often a Stream may return neither bytes nor an error.
const maxEmptyReads = 100

// giveBack returns the buffer while there is nothing in it.
func (in *in) giveBack() {
	if in.loan != nil {
		smallBuffers.Put(in.loan)
	}
	in.loan, in.buf, in.r, in.w = nil, nil, 0, 0
}
