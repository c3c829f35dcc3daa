package websocket

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/duplexgo/duplex/websocket/wire"
)

// out is the sending half of a Conn. Its mutex guards all of it and is never held
// while the stream is written to.
//
// One goroutine at a time writes to the stream; busy says that there is one. The
// frames of others gather in batch meanwhile and leave together, with one call.
// What becomes of a batch depends on the stream:
//
//   - A stream that waits until it has taken the bytes: the first of the writers to
//     find it free leads, writes the whole batch and wakes those who wait for it.
//     See lead.go. What Send and Broadcast bring is written without waiting where
//     the stream is a socket; see attempt and outbox.go.
//   - A parked connection's socket, which takes what it can at once: nobody waits;
//     what the socket has not taken leaves when there is room again. See drain.go.
//
// A frame that a Write brings is in a batch, or being written, only once its turn
// has come; until then its context may stop it and nothing was sent. After that
// it goes out, or the connection fails.
type out struct {
	c *Conn

	mu      sync.Mutex
	changed *sync.Cond // lent to those who wait
	waiters int32
	lately  uint32 // by clock, in milliseconds, when a Send last found the stream idle
	err     error  // the first that ended sending; every later call returns it
	closed  error  // a close frame has gathered or been sent; nothing follows it

	batch   *batch         // what has gathered; nil: nothing
	round   uint64         // the number of the batch that gathers
	flushed uint64         // the number of the last batch that was written
	writer  *messageWriter // whose message is in the middle of its fragments
	backlog *backlog       // messages that wait for the batch to leave
	aside   *aside         // what most connections never need; see rare

	busy    bool        // somebody writes to the stream
	apart   bool        // somebody is busy encoding a frame, which goes first
	first   bool        // a frame that did not fit into the batch waits for it to leave
	flusher bool        // a goroutine or an outbox writes batches for which nobody waits
	listed  bool        // the loop writes the batch at the end of its events
	room    bool        // the socket told of room while somebody wrote to it
	stalled bool        // nothing is read before the socket has taken what has gathered
	stuck   atomic.Bool // the socket takes no more for now
	closing atomic.Bool // closed is not nil
}

// maxBatch is how many bytes gather while a write is under way. Beyond it writers
// wait for their turn.
const maxBatch = 64 << 10

// An aside is what few connections need, or all of them seldom: it is kept out of
// those that are idle.
type aside struct {
	slot  *pongSlot    // a pong that found the batch full
	timer *time.Timer  // the write timeout's, for a stream that waits
	began atomic.Int64 // by clock, when the write began that is under way; 0: there is none
	alarm *writeAlarm  // the write timeout's, for a socket that is stuck
	cork  *cork        // nil: there has been none
	run   func()       // flushPending, made once

	encoders *encoders // nil: no message has passed one
	decoders *decoders // nil: no message has passed one; the one who reads owns them
	seat     *seat     // by which the connection is counted
	rates    *rates    // what has been received of late
}

// rare returns the aside to be changed.
func (o *out) rare() *aside {
	if o.aside == nil {
		o.aside = new(aside)
	}
	return o.aside
}

// pending reports whether there is something to write.
func (o *out) pending() bool { return o.batch != nil || o.slotted() || o.refills() }

// slotted reports whether a pong is still to gather.
func (o *out) slotted() bool { return o.aside != nil && o.aside.slot != nil }

// A pongSlot is the payload of a pong that is still to gather.
type pongSlot struct {
	payload [wire.MaxControl]byte
	n       int
}

func (o *out) init(c *Conn) {
	o.c = c
	o.round = 1
}

// frame sends a data frame; w is the message it is a fragment of, or nil.
func (o *out) frame(ctx context.Context, f Frame, p []byte, w *messageWriter) error {
	h := wire.Header{Fin: f.Last}
	if f.First {
		h.Opcode = wire.Opcode(f.Type)
	}
	h = o.masked(h, len(p))
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.proceed()
	if err := o.turn(ctx, h.Size()+len(p), w); err != nil {
		return err
	}
	if w != nil {
		o.hold(w, h.Fin)
	}
	if o.c.settings.agreed != nil {
		return o.putEncoded(h, f, p, w)
	}
	return o.put(h, p)
}

// putEncoded is put for a frame that passes Encoders first.
func (o *out) putEncoded(h wire.Header, f Frame, p []byte, w *messageWriter) (err error) {
	s := scratches.Get().(*scratch)
	defer s.release()
	if h.Rsv, p, err = o.encode(s, f, p, w); err != nil {
		return err
	}
	h.Length = int64(len(p))
	return o.put(h, p)
}

// put sends a frame whose turn has come.
func (o *out) put(h wire.Header, p []byte) error {
	switch {
	case o.c.socket() != nil:
		return o.post(h, p)
	case o.corked() && !o.busy && len(p) <= gatherSize:
		o.gather(h, p)
		o.aside.cork.keep()
		return nil
	case o.busy || o.batch != nil:
		o.gather(h, p)
		return o.flush(o.round)
	}
	return o.lead(func() error { return o.send(h, p) })
}

// proceed is called when a frame has been sent or given up, behind which messages
// of Send may have waited.
func (o *out) proceed() {
	if o.refills() {
		o.background()
	}
}

// masked completes the header of a frame with n bytes of payload. A client masks
// each frame with a key that nobody can foresee (RFC 6455, 5.3 and 10.3): the
// generator behind rand is ChaCha8, seeded by the operating system.
func (o *out) masked(h wire.Header, n int) wire.Header {
	h.Length = int64(n)
	if !o.c.settings.server {
		h.Masked, h.Key = true, rand.Uint32()
	}
	return h
}

// turn waits until a data frame of size bytes may join the batch, or be written
// where the stream is free.
func (o *out) turn(ctx context.Context, size int, w *messageWriter) error {
	if o.free(size, w) {
		return ctx.Err()
	}
	first := false
	defer func() {
		if first {
			o.first = false
			o.change()
		}
	}()
	for {
		if err := o.failed(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		switch {
		case o.writer != nil && o.writer != w:
			// Fragments of two messages must not be interleaved. RFC 6455, 5.4.
		case o.first && !first && o.writer == nil:
			// A frame that did not fit goes first, else small ones would pass it for ever.
		case o.fits(size):
			return nil
		default:
			if !first {
				first = true
				o.lineUp()
			}
			if !o.busy && !o.stuck.Load() {
				o.writeBatch()
				continue
			}
		}
		o.wait(ctx)
	}
}

// free is turn's answer where nobody has to wait for anything.
func (o *out) free(size int, w *messageWriter) bool {
	return o.failed() == nil && o.writer == w && !o.first && o.fits(size)
}

// fits reports whether a frame of size bytes may join the batch, or be the first.
func (o *out) fits(size int) bool {
	if o.refills() || o.apart {
		return false
	}
	return o.batch == nil && !o.busy || size <= maxBatch-o.gathered()
}

// gathered returns how many bytes wait to be sent.
func (o *out) gathered() int {
	if o.batch == nil {
		return 0
	}
	return o.batch.size()
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
			o.change()
		})()
	}
	o.await()
}

// await returns when something has changed.
func (o *out) await() {
	if o.changed == nil {
		o.changed = conds.Get().(*sync.Cond)
		o.changed.L = &o.mu
	}
	o.waiters++
	o.changed.Wait()
	if o.waiters--; o.waiters == 0 {
		conds.Put(o.changed)
		o.changed = nil
	}
}

// change wakes those who wait.
func (o *out) change() {
	if o.changed != nil {
		o.changed.Broadcast()
	}
}

// gather puts a frame into the batch.
func (o *out) gather(h wire.Header, p []byte) {
	if o.batch == nil {
		o.batch = newBatch()
	}
	o.batch.flat()
	o.batch.grow(h.Size() + len(p))
	b := append(h.Append(o.batch.b), p...)
	if h.Masked {
		wire.Mask(b[len(b)-len(p):], h.Key)
	}
	o.batch.b = b
}

// gatherSlot puts the pong of the slot into the batch.
func (o *out) gatherSlot() {
	if o.slotted() {
		s := o.aside.slot
		o.aside.slot = nil
		o.gather(o.masked(wire.Header{Fin: true, Opcode: wire.OpPong}, s.n), s.payload[:s.n])
	}
}

// writeBatch writes what has gathered. Nobody else is busy.
func (o *out) writeBatch() {
	if o.c.socket() != nil {
		o.drain()
	} else {
		o.leadBatch()
	}
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
	slot := new(pongSlot)
	slot.n = copy(slot.payload[:], payload)
	o.rare().slot = slot
}

// ping sends a ping without waiting and reports whether there was room for it,
// and in which round it goes out.
func (o *out) ping(payload []byte) (round uint64, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	round = o.round
	return round, o.failed() == nil && o.control(wire.OpPing, payload)
}

// stands reports whether that round is still behind a write that the write
// timeout will end if the peer takes nothing.
func (o *out) stands(round uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err == nil && o.flushed < round && o.c.settings.WriteTimeout > 0
}

// broken reports whether a write has failed that was not behind a close frame.
func (o *out) broken() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err != nil && o.closed == nil
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
		if err == nil && o.gathered()+wire.MaxHeader+len(payload) > maxBatch {
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
	if h.Size()+len(payload) > maxBatch-o.gathered() {
		return false
	}
	o.gather(h, payload)
	o.background()
	return true
}

// background sees to it that what has gathered is written, without waiting.
func (o *out) background() {
	switch {
	case o.c.socket() != nil:
		o.soon()
	case o.corked() && !o.waits() && o.gathered() < maxBatch/2: // else it would wait though the peer is not slow
		o.aside.cork.keep()
	default:
		o.flushing()
	}
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
	o.finish(err, code, reason)
	return err
}

// awaitClose waits until the close frame, behind which nothing gathers, has been
// written or never will be.
func (o *out) awaitClose() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.err == nil && (o.batch != nil || o.busy || o.refills()) {
		if o.busy || o.c.socket() != nil {
			o.await()
		} else {
			o.leadBatch()
		}
	}
}

// fail ends sending.
func (o *out) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broke(err)
}

// broke is fail with the mutex held.
func (o *out) broke(err error) {
	if o.err == nil {
		o.err = err
		if o.backlog != nil {
			o.backlog.clear()
		}
	}
	if o.aside != nil && o.aside.timer != nil {
		o.aside.timer.Stop()
	}
	if o.aside != nil && o.aside.cork != nil {
		o.aside.cork.stop()
	}
	o.dropEncoders()
	o.unstick()
	o.change()
}

// hold gives the line to the message of w until its last frame.
func (o *out) hold(w *messageWriter, fin bool) {
	if fin {
		o.writer = nil
		o.change()
	} else {
		o.writer = w
	}
}
