package websocket

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/duplexgo/duplex/websocket/wire"
)

// out is the sending half of a Conn. Its mutex guards all of it and is never held
// while the stream is written to.
//
// One goroutine at a time writes to the stream; busy says that there is one.
// The frames of others gather in batch meanwhile, and the first of them to find
// the stream free leads: it writes the whole batch with one call and wakes those
// who wait for it. So a lone frame costs one write, and many that come at once
// cost one write together.
//
// A frame that a Write brings is in a batch, or being written, only once its turn
// has come; until then its context may stop it and nothing was sent. After that
// it goes out, or the connection fails.
type out struct {
	c *Conn

	mu      sync.Mutex
	changed sync.Cond
	err     error // the first that ended sending; every later call returns it
	closed  error // a close frame is in the batch or sent; nothing follows it

	busy    bool
	batch   []byte
	loan    *[smallBuffer]byte // what batch began as, nil while it is empty
	round   uint64             // the number of the batch that gathers
	flushed uint64             // the number of the last batch that was written
	last    uint64             // the number of the batch that has the close frame

	writer  *messageWriter // whose message is in the middle of its fragments
	slot    []byte         // payload of a pong that found the batch full
	slotted bool           // slot is to be sent
	first   bool           // a frame that did not fit into the batch waits for it to leave
	flusher bool           // a goroutine writes batches for which nobody waits

	// The fields below belong to the one who is busy.
	deadlines interface{ SetWriteDeadline(time.Time) error } // the stream's; nil: it has none
	timer     *time.Timer                                    // for a stream without deadlines
	socket    bool                                           // the stream is the system's own, not a layer over it
	head      [wire.MaxHeader]byte
	vec       [2][]byte
	buffers   net.Buffers
}

// maxBatch is how many bytes gather while a write is under way. Beyond it writers
// wait for their turn.
const maxBatch = 64 << 10

func (o *out) init(c *Conn) {
	o.c = c
	o.changed.L = &o.mu
	o.round = 1
	if s, ok := c.stream.(interface{ SetWriteDeadline(time.Time) error }); ok && s.SetWriteDeadline(time.Time{}) == nil {
		o.deadlines = s
	}
	switch c.stream.(type) {
	case *net.TCPConn, *net.UnixConn:
		o.socket = true
	}
}

// frame sends a data frame; w is the message it is a fragment of, or nil.
func (o *out) frame(ctx context.Context, h wire.Header, p []byte, w *messageWriter) error {
	h = o.masked(h, len(p))
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.turn(ctx, h.Size()+len(p), w); err != nil {
		return err
	}
	if w != nil {
		o.hold(w, h.Fin)
	}
	if o.busy || len(o.batch) > 0 {
		o.gather(h, p)
		return o.flush(o.round)
	}
	return o.lead(func() error { return o.send(h, p) })
}

// masked completes the header of a frame with n bytes of payload. A client masks
// each frame with a key that nobody can foresee (RFC 6455, 5.3 and 10.3): the
// generator behind rand is ChaCha8, seeded by the operating system.
func (o *out) masked(h wire.Header, n int) wire.Header {
	h.Length = int64(n)
	if !o.c.server {
		h.Masked, h.Key = true, rand.Uint32()
	}
	return h
}

// turn waits until a data frame of size bytes may join the batch, or be written
// where the stream is free.
func (o *out) turn(ctx context.Context, size int, w *messageWriter) error {
	first := false
	defer func() {
		if first {
			o.first = false
			o.changed.Broadcast()
		}
	}()
	for {
		if err := o.failed(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		empty := len(o.batch) == 0
		switch {
		case o.writer != nil && o.writer != w:
			// Fragments of two messages must not be interleaved. RFC 6455, 5.4.
		case o.first && !first && o.writer == nil:
			// A frame that did not fit goes first, else small ones would pass it for ever.
		case !o.busy && empty, size <= maxBatch-len(o.batch):
			return nil
		default:
			first, o.first = true, true
			if !o.busy {
				if err := o.flush(o.round); err != nil {
					return err
				}
				continue
			}
		}
		o.wait(ctx)
	}
}

// over returns why nothing can be sent any more, or nil.
func (o *out) over() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed()
}

// failed is over with the mutex held.
func (o *out) failed() error {
	if o.closed != nil {
		return o.closed
	}
	return o.err
}

// wait returns when something has changed or ctx has ended.
func (o *out) wait(ctx context.Context) {
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.changed.Broadcast()
		})()
	}
	o.changed.Wait()
}

// gather puts a frame into the batch.
func (o *out) gather(h wire.Header, p []byte) {
	if o.loan == nil {
		o.loan = smallBuffers.Get().(*[smallBuffer]byte)
		o.batch = o.loan[:0]
	}
	o.batch = h.Append(o.batch)
	o.batch = append(o.batch, p...)
	if h.Masked {
		wire.Mask(o.batch[len(o.batch)-len(p):], h.Key)
	}
}

// flush returns when the batch of that round has been written.
func (o *out) flush(round uint64) error {
	for o.flushed < round {
		switch {
		case o.err != nil:
			return o.err
		case o.busy:
			o.changed.Wait()
		default:
			o.leadBatch()
		}
	}
	return nil
}

// leadBatch writes what has gathered.
func (o *out) leadBatch() {
	o.gatherSlot()
	batch, loan, round := o.batch, o.loan, o.round
	o.batch, o.loan, o.round = nil, nil, o.round+1
	defer smallBuffers.Put(loan)
	o.changed.Broadcast() // there is room again
	if o.lead(func() error { return o.write(batch) }) == nil {
		o.flushed = round
	}
}

// gatherSlot puts the pong of the slot into the batch.
func (o *out) gatherSlot() {
	if o.slotted {
		o.slotted = false
		o.gather(o.masked(wire.Header{Fin: true, Opcode: wire.OpPong}, len(o.slot)), o.slot)
	}
}

// lead writes to the stream, which is free, without the mutex.
func (o *out) lead(write func() error) (err error) {
	o.busy = true
	o.mu.Unlock()
	err = errWritePanic // unless write returns
	defer func() {
		o.mu.Lock()
		o.busy = false
		if err != nil && o.err == nil {
			o.err = err
		}
		o.changed.Broadcast()
	}()
	err = write()
	return err
}

var errWritePanic = errors.New("websocket: writing: the stream's Write panicked")

// send writes a frame whose payload is the caller's: a small one with one call
// from a copy, a large one without a copy where the stream is a socket. A client
// may not touch the caller's bytes, so it masks a copy, in pieces.
func (o *out) send(h wire.Header, p []byte) error {
	if h.Size()+len(p) <= smallBuffer {
		b := smallBuffers.Get().(*[smallBuffer]byte)
		defer smallBuffers.Put(b)
		return o.pieces(b[:0], h, p)
	}
	if !h.Masked && o.socket {
		return o.writeBoth(h.Append(o.head[:0]), p)
	}
	b := pieceBuffers.Get().(*[pieceBuffer]byte)
	defer pieceBuffers.Put(b)
	return o.pieces(b[:0], h, p)
}

// pieces writes header and payload by way of b, as much at once as b holds.
func (o *out) pieces(b []byte, h wire.Header, p []byte) error {
	b = h.Append(b)
	for {
		n := min(len(p), cap(b)-len(b))
		piece := b[len(b) : len(b)+n]
		copy(piece, p)
		if h.Masked {
			h.Key = wire.Mask(piece, h.Key)
		}
		if err := o.write(b[:len(b)+n]); err != nil {
			return err
		}
		b, p = b[:0], p[n:]
		if len(p) == 0 {
			return nil
		}
	}
}

// writeBoth writes two slices with one system call, for the one who is busy.
func (o *out) writeBoth(head, p []byte) (err error) {
	o.vec = [2][]byte{head, p}
	o.buffers = o.vec[:]
	for len(o.buffers) > 0 && err == nil {
		err = o.limited(func() (int64, error) { return o.buffers.WriteTo(o.c.stream) })
	}
	o.vec, o.buffers = [2][]byte{}, nil // p is the caller's again
	return err
}

// write writes to the stream, for the one who is busy. Anything but a socket gets
// large slices in pieces: what a write that was given up has got through is not
// known there, so each piece has the timeout to itself.
func (o *out) write(b []byte) (err error) {
	for len(b) > 0 && err == nil {
		most := len(b)
		if !o.socket {
			most = min(most, pieceBuffer)
		}
		err = o.limited(func() (int64, error) {
			n, err := o.c.stream.Write(b[:most])
			b = b[n:]
			return int64(n), err
		})
	}
	return err
}

// limited does a write under the write timeout. A socket that took something in
// that time is only slow: the rest may be tried again. Otherwise a stream in which
// a write was given up cannot be used any more: bytes of a frame are missing.
func (o *out) limited(write func() (int64, error)) error {
	timeout := o.c.options.WriteTimeout
	switch {
	case timeout == 0:
	case o.deadlines != nil:
		o.deadlines.SetWriteDeadline(time.Now().Add(timeout))
	case o.timer == nil:
		o.timer = time.AfterFunc(timeout, func() { o.c.cut(writeTimeout(timeout)) })
	default:
		o.timer.Reset(timeout)
	}
	n, err := write()
	if o.timer != nil {
		o.timer.Stop()
	}
	if o.deadlines != nil && timeout > 0 && !o.socket {
		o.deadlines.SetWriteDeadline(time.Time{}) // a layer also writes by itself: TLS answers a key update
	}
	switch {
	case err == nil, isTimeout(err) && n > 0 && o.socket:
		return nil
	case isTimeout(err):
		err = writeTimeout(timeout)
		o.c.cut(err)
	default:
		err = &opError{"writing", err}
	}
	if cause := o.c.ending.cause(); cause != nil {
		return cause
	}
	return err
}

func writeTimeout(d time.Duration) error {
	return &opError{"writing", fmt.Errorf("the peer took nothing for %v: %w", d, errWriteTimeout)}
}

// pong answers a ping. It does not wait: the one who reads must go on reading,
// else two peers that both write would stop each other. Pongs gather with other
// frames; where a stuck write has let the batch fill up there is one slot left,
// and the newest pong has it (RFC 6455, 5.5.3 allows to answer only that).
func (o *out) pong(payload []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed() != nil {
		return
	}
	if o.control(wire.OpPong, payload) {
		return
	}
	o.slot = append(o.slot[:0], payload...)
	o.slotted = true
}

// ping sends a ping without waiting and reports whether there was room for it,
// and in which round it goes out.
func (o *out) ping(payload []byte) (round uint64, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.round, o.failed() == nil && o.control(wire.OpPing, payload)
}

// stands reports whether that round is still behind a write that the write
// timeout will end if the peer takes nothing.
func (o *out) stands(round uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.flushed < round && o.c.options.WriteTimeout > 0
}

// pingInTurn sends a ping and waits for its turn as a message does.
func (o *out) pingInTurn(ctx context.Context, payload []byte) error {
	for {
		if _, ok := o.ping(payload); ok {
			return nil
		}
		o.mu.Lock()
		err := o.failed()
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && len(o.batch)+wire.MaxHeader+len(payload) > maxBatch {
			o.wait(ctx)
		}
		o.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// control puts a control frame into the batch, where there is room, and sees to
// it that somebody writes it.
func (o *out) control(op wire.Opcode, payload []byte) bool {
	h := o.masked(wire.Header{Fin: true, Opcode: op}, len(payload))
	if h.Size()+len(payload) > maxBatch-len(o.batch) {
		return false
	}
	o.gather(h, payload)
	o.background()
	return true
}

// background has a goroutine write what has gathered. It lasts until that is done.
func (o *out) background() {
	if o.flusher {
		return
	}
	o.flusher = true
	go func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		for o.err == nil && (len(o.batch) > 0 || o.slotted) {
			o.flush(o.round)
		}
		o.flusher = false
	}()
}

// close puts a close frame behind everything that has gathered. From then on
// writes return err. It returns the error of the close that is in force, which is
// another where one came before, or nil where nothing can be sent any more.
func (o *out) close(err error, code CloseCode, reason string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil || o.closed != nil {
		return o.closed
	}
	o.closed = err
	o.gatherSlot()
	payload := wire.AppendClose(make([]byte, 0, wire.MaxControl), code, reason)
	o.gather(o.masked(wire.Header{Fin: true, Opcode: wire.OpClose}, len(payload)), payload)
	o.last = o.round
	o.background()
	o.changed.Broadcast()
	return err
}

// awaitClose waits until the close frame has been written or never will be.
func (o *out) awaitClose() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flush(o.last)
}

// fail ends sending.
func (o *out) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	o.changed.Broadcast()
}

// hold gives the line to the message of w until its last frame.
func (o *out) hold(w *messageWriter, fin bool) {
	if fin {
		o.writer = nil
		o.changed.Broadcast()
	} else {
		o.writer = w
	}
}
