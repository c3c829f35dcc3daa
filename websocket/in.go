package websocket

import (
	"context"
	"crypto/tls"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/duplexgo/duplex/websocket/internal/netpoll"
	"github.com/duplexgo/duplex/websocket/wire"
)

// in is the receiving half of a Conn. One goroutine at a time owns it: the one
// that has the lock or, in a Handler's Conn, that owns the connection.
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
//
// The fields come in groups: those that every message needs lie together, for where
// there are thousands of connections each line of the cache is a miss.
type in struct {
	c      *Conn
	lock   lock
	turns  uint64            // calls that have owned it
	lender *netpoll.Blocking // the source, if it waits without a buffer
	desk   []byte            // lent by a turn for buf
	buf    []byte
	loan   loan // what buf is a slice of, unless it is its own
	r, w   int

	typ      MessageType // of the message in hand
	open     bool        // there is one: begun, and its end has not been told
	control  wire.Opcode // of the control frame whose payload is still to come; 0: none
	taken    bool        // a Reader has the message; Read takes the one after it
	stopped  bool        // a context stopped the last call; Reader goes on with the message
	skipping bool        // what is left of the message is thrown away
	pending  bool        // the Decoders have not put out all of the frame in hand
	metered  bool        // the peer has rates to keep to
	more     bool        // the next one has come already
	corked   bool        // that has been so since the last read from the stream

	dec    wire.Decoder
	rules  *settings     // that dec is made of
	err    error         // the first that ended receiving; every later call returns it
	reads  atomic.Uint64 // odd while something waits in the stream's Read; see pinger
	reader *messageReader
	watch  watch

	source io.Reader // the stream, or a pump before it
	first  [1]byte   // what is waited for where the source is frugal
	frugal bool      // it has the rest of what it has read at hand: crypto/tls
	part   []byte    // of the message: what a stopped Read had got together

	// With extensions; see decode.go.
	decoders *decoders // of the connection, while a message passes them
	passes   uint16    // the Decoders that the message in hand passes
	text     wire.UTF8 // the message, where it is one
	ahead    int       // how many bytes at r are unmasked and still to be decoded
	total    int64     // bytes of the message that have come out of them
}

// A stoppable is what can stop a read: the stream's deadline, or a pump's.
type stoppable interface{ SetReadDeadline(time.Time) error }

// newIn returns the receiving half of a connection whose application or whose own
// goroutine reads.
func newIn(c *Conn, buffered []byte) *in {
	in := &in{c: c}
	in.follow(c.settings)
	if s, ok := c.stream.(stoppable); ok && s.SetReadDeadline(time.Time{}) == nil {
		in.source, in.watch.source = c.stream, s
		in.lender, _ = c.stream.(*netpoll.Blocking)
		_, in.frugal = c.stream.(*tls.Conn)
	} else {
		p := newPump(c.stream)
		in.source, in.watch.source = p, p
	}
	in.keep(buffered)
	return in
}

// newParkedIn returns the receiving half of a connection that a turn reads.
func newParkedIn(c *Conn) *in {
	in := &in{c: c}
	in.follow(c.settings)
	return in
}

// follow makes the settings the rules for what is received.
func (in *in) follow(s *settings) {
	in.rules, in.dec = s, s.decoder()
	in.metered = s.MessageRate > 0 || s.ByteRate > 0
}

// between reports whether there is nothing to remember: no message in hand, and
// nothing read of the next one.
func (in *in) between() bool {
	return in.r == in.w && !in.open && in.control == 0
}

// decoder returns the rules for what is received.
func (s *settings) decoder() wire.Decoder {
	d := wire.Decoder{
		Server:       s.server,
		MaxFrame:     s.MaxFrame,
		MaxMessage:   s.MaxMessage,
		MaxFragments: s.MaxFragments,
		AnyText:      s.AnyText,
	}
	if a := s.agreed; a != nil {
		d.Rsv, d.FrameRsv = a.rsv, a.frameRsv
		d.MaxFrame, d.MaxMessage = wireSlack(s.MaxFrame), wireSlack(s.MaxMessage)
		d.AnyText = true // what comes out of the Decoders is checked
	}
	return d
}

// keep makes a copy of bytes that have been read what is still to be used.
func (in *in) keep(b []byte) {
	b = append([]byte(nil), b...)
	in.giveBack()
	in.buf, in.w = b, len(b)
}

// acquire makes the caller the owner of the receiving half.
func (in *in) acquire(ctx context.Context) error {
	done := ctx.Done() // a nil ctx panics here, and not with the lock held
	if !in.lock.acquire(done) {
		return ctx.Err()
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
	in.pause()
	in.lock.release()
	if in.c.ending.ended() {
		in.letGo()
	}
}

// pause is called between two calls for a message, or a part of one.
func (in *in) pause() {
	in.foresee()
	if in.r == in.w {
		in.giveBack()
	}
}

// foresee looks whether another message is to be had without waiting: what the
// application sends until then leaves together.
func (in *in) foresee() {
	more := in.ready()
	if more == in.more {
		return
	}
	if in.more = more; more {
		in.corked = true
		in.c.out.plug()
	} else {
		in.c.out.pull()
	}
}

// letGo forgets the caller's context once the connection is over: it may live for
// as long as the program, and would keep the Conn alive.
func (in *in) letGo() {
	if in.lock.try() { // else whoever has it calls release
		in.watch.end()
		in.lock.release()
	}
}

// stop ends a pump.
func (in *in) stop(err error) {
	if p, ok := in.source.(*pump); ok {
		p.stop(err)
	}
}

// outcome makes of an error what the caller gets: where ctx stopped the call, its
// error; else the error that ends the connection.
func (in *in) outcome(ctx context.Context, err error) error {
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

// fail records the end of receiving and ends the connection as that asks for.
func (in *in) fail(err error) error {
	if in.err == nil {
		in.err = in.c.end(err)
		in.part, in.reader = nil, nil
	}
	return in.err
}

// message appends the next message to dst. When it is stopped, what has come is
// kept in part.
func (in *in) message(dst []byte) (MessageType, []byte, error) {
	if typ, p, ok, err := in.whole(); ok || err != nil {
		in.reader = nil
		return typ, append(dst, p...), err
	}
	return in.collected(dst)
}

// collected is message where it does not lie in buf.
func (in *in) collected(dst []byte) (MessageType, []byte, error) {
	if err := in.next(!in.taken); err != nil {
		return 0, dst, err
	}
	in.reader = nil
	b := in.part
	if dst != nil {
		b = append(dst, b...)
	}
	b, err := in.rest(b, len(dst), 1, slices.Grow[[]byte])
	in.part = nil
	switch {
	case err == nil:
		return in.typ, b, nil
	case in.err != nil:
	case dst == nil && !roomy(b):
		in.part = b
	default:
		in.part = slices.Clone(b[len(dst):]) // dst is the caller's again
	}
	return 0, dst, err
}

// roomy reports whether a buffer is too large for the part of a message that is in
// it: memory follows the bytes that have come. What rest has made is less than six
// times as large, and must pass, or every piece of a long message that comes slowly
// would have all before it copied.
func roomy(part []byte) bool { return cap(part) > 6*len(part)+512 }

// take returns the next message for a turn: as it lies in buf, where all of it is
// there in one frame, else gathered in a long buffer, which the turn has until the
// next call. The slice is good until then.
func (in *in) take(t *turn) (MessageType, []byte, error) {
	t.giveBack()
	if typ, p, ok, err := in.whole(); ok || err != nil {
		return typ, p, err
	}
	if err := in.next(true); err != nil {
		return 0, nil, err
	}
	b, err := in.rest(in.part, 0, 2, in.growLong)
	if err != nil {
		in.part = b
		return 0, nil, err
	}
	in.part, t.lent = nil, b
	return in.typ, b, nil
}

// growLong is growLong for a turn, which reads what is there at once. For that it takes
// a buffer that is large enough for all that the header declares, if somebody has left
// one: that is no new memory, and takeBack returns it where less has come.
func (in *in) growLong(b []byte, n int) []byte {
	if left := in.dec.Remaining(); in.rules.agreed == nil && left <= 1<<longestLong {
		if all := leftLong(len(b) + int(left)); all != nil {
			return moveLong(all, b)
		}
	}
	return growLong(b, n)
}

// whole returns the next message as it lies in buf, if that is one frame and all
// of it is there after one read at most.
func (in *in) whole() (typ MessageType, p []byte, ok bool, err error) {
	if in.open || in.control != 0 || in.rules.agreed != nil {
		return 0, nil, false, nil
	}
	if in.r == in.w {
		if err := in.fill(); err != nil {
			return 0, nil, false, err
		}
	}
	h, n, err := wire.ParseHeader(in.buf[in.r:in.w])
	if err != nil || !h.Fin || h.Opcode != wire.OpText && h.Opcode != wire.OpBinary || h.Length > int64(in.w-in.r-n) {
		return 0, nil, false, nil // for next to judge
	}
	if err := in.judge(h); err != nil {
		return 0, nil, false, violation(err)
	}
	begin := in.r + n
	in.r = begin + int(h.Length)
	p = in.buf[begin:in.r:in.r]
	if err := in.checked(p); err != nil {
		return 0, nil, false, err
	}
	return MessageType(h.Opcode), p, true, nil
}

// ready reports whether all of the next frame has been read.
func (in *in) ready() bool {
	if in.r == in.w || in.open || in.control != 0 {
		return false
	}
	h, n, err := wire.ParseHeader(in.buf[in.r:in.w])
	return err == nil && h.Length <= int64(in.w-in.r-n)
}

// rest appends what is left of the message in hand to b, where it begins at start. For
// a long message grow makes room for so many times as much as has come.
func (in *in) rest(b []byte, start, times int, grow func([]byte, int) []byte) ([]byte, error) {
	for {
		if cap(b)-len(b) < in.minRoom() {
			b = grow(b, in.room(len(b)-start, times))
		}
		n, err := in.read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch err {
		case nil:
		case io.EOF:
			return b, nil
		default:
			return b, err
		}
	}
}

// minRoom returns how much room is worth a read: for Decoders some, for the stream
// what is left of the frame, or else a buffer's.
func (in *in) minRoom() int {
	if in.rules.agreed != nil {
		return 512
	}
	return int(min(in.dec.Remaining(), smallBuffer))
}

// room returns how much memory to have ready for a message of which size bytes have
// come, beside what is in buf: as many times as much again. What a header declares is
// never believed.
func (in *in) room(size, times int) int {
	more := max(times*max(in.w-in.r, size), smallBuffer)
	if in.rules.agreed != nil {
		return more // what comes out of Decoders has no length that is known
	}
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
	if in.rules.agreed != nil {
		return in.skipDecoded()
	}
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
	if in.rules.agreed != nil {
		return in.decoded(p)
	}
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
		return violation(err)
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
		if err := in.judge(h); err != nil {
			return violation(err)
		}
		switch {
		case h.Opcode.IsControl():
			in.control = h.Opcode
		case h.Opcode != wire.OpContinuation:
			in.open, in.typ = true, MessageType(h.Opcode)
		}
		if in.control == 0 && in.rules.agreed != nil {
			return in.begin(h)
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

// judge holds a frame to the rules, and the peer to its rates.
func (in *in) judge(h wire.Header) error {
	if err := in.dec.Frame(h); err != nil || !in.metered {
		return err
	}
	return in.c.measure(h)
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
			return wire.Header{}, violation(err)
		}
	}
}

// answer does what a control frame asks for. RFC 6455, 5.5.
func (in *in) answer(op wire.Opcode, payload []byte) error {
	defer in.c.controlled(op, payload)
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
		return violation(err)
	}
	return &closeFrame{code, reason}
}

// violation is the end of receiving by a broken rule.
func violation(err error) error { return &opError{"reading", err} }

// A closeFrame is the end of receiving by the peer's close frame.
type closeFrame struct {
	code   CloseCode
	reason string
}

func (*closeFrame) Error() string { return "websocket: the peer's close frame" }

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
	if !in.lock.acquire(in.c.ending.done) {
		return false
	}
	if in.err != nil {
		in.release()
		return false
	}
	return true
}

// fill reads more bytes into buf. There are at most those of a header or of a
// control frame in it.
func (in *in) fill() error {
	n, err := in.receive(nil)
	in.w += n
	return err
}

// receive reads from the stream, into p or else into buf: bytes or an error, not
// both.
func (in *in) receive(p []byte) (int, error) {
	if in.corked {
		in.corked = false
		in.c.out.uncork()
	}
	for range maxEmptyReads {
		in.reads.Add(1)
		n, err := in.wait(p)
		switch {
		case n > 0:
			in.reads.Add(1)
			return n, nil // an error comes again
		case err == netpoll.ErrWouldBlock:
			return 0, err
		case err != nil && isTimeout(err):
			in.reads.Add(^uint64(0)) // the next call goes on with the same wait
			return 0, err
		}
		in.reads.Add(1)
		switch {
		case err == io.EOF:
			return 0, errStreamEnd
		case err != nil:
			return 0, &opError{"reading", err}
		}
	}
	return 0, &opError{"reading", io.ErrNoProgress}
}

// wait is the stream's Read, without holding a buffer while it waits if it can. Over TLS
// it waits for one byte: the others of a record have been decrypted with it.
func (in *in) wait(p []byte) (int, error) {
	switch {
	case p != nil:
		return in.source.Read(p)
	case in.lender != nil:
		return in.lender.ReadLent(in)
	case in.frugal && !in.loan.lent():
		n, err := in.source.Read(in.first[:])
		if n > 0 {
			in.Lend()[0] = in.first[0]
		}
		return n, err
	}
	return in.source.Read(in.Lend())
}

// Lend returns room for bytes behind those that are in buf. See netpoll.Lender.
func (in *in) Lend() []byte {
	if !in.loan.lent() {
		rest := in.buf[in.r:in.w]
		if in.buf = in.desk; in.buf == nil {
			in.buf = in.loan.borrow(in.lender != nil)
		}
		in.r, in.w = 0, copy(in.buf, rest)
	} else if in.r > 0 {
		in.r, in.w = 0, copy(in.buf, in.buf[in.r:in.w])
	}
	return in.buf[in.w:]
}

// GiveBack returns the buffer, and keeps a copy of what is in it.
func (in *in) GiveBack() {
	in.keep(in.buf[in.r:in.w])
	if d := in.decoders; d != nil {
		d.suspend()
	}
}

// maxEmptyReads is how often a Stream may return neither bytes nor an error.
const maxEmptyReads = 100

// giveBack returns the buffer. What is in it is lost.
func (in *in) giveBack() {
	in.loan.end()
	in.buf, in.r, in.w = nil, 0, 0
}
