package websocket

import (
	"time"

	"github.com/duplexgo/duplex/websocket/internal/netpoll"
	"github.com/duplexgo/duplex/websocket/wire"
)

// The sending half of a parked connection. Its socket takes what it can at once,
// and nobody waits for it. While something has gathered, one of four will write it:
//
//   - the one who is busy, before it stops being so
//   - the loop, when the socket has room again: the socket is stuck
//   - the loop, when it has worked through its events: the connection is listed
//   - the one who has let it gather, at once

// gatherSize is up to which size a frame is copied to leave together with others.
// A larger one is written from where it lies.
const gatherSize = 8 << 10

// post sends a data frame whose turn has come. Its error may come too late to be
// returned: then the Close callback tells.
func (o *out) post(h wire.Header, p []byte) error {
	// Behind others a large one is copied too, and fits, or it would not be its turn.
	// To write the others first would be to let go of the mutex, and with it of the
	// turn: somebody could begin a message in fragments. RFC 6455, 5.4.
	if len(p) <= gatherSize || o.busy || o.batch != nil || o.stuck.Load() {
		o.gather(h, p)
	} else {
		o.direct(h, p)
	}
	o.soon()
	return nil
}

// soon sees to it that what has gathered will be written.
func (o *out) soon() {
	if !o.pending() || o.busy || o.stuck.Load() {
		return
	}
	if o.gathered() < maxBatch/2 && (o.listed || o.c.parking.loop.list(o.c)) {
		o.listed = true
		return
	}
	o.drain()
}

// drain writes what has gathered until it is gone or the socket takes no more.
// Nobody else is busy.
func (o *out) drain() {
	s := o.c.socket()
	for o.err == nil && o.pending() {
		o.gatherSlot()
		o.refill()
		b, round := o.batch, o.round
		o.batch, o.round = nil, round+1
		n, err := o.try(func() (int, error) { return s.Write(b.flat()) })
		b.b = b.b[n:]
		if err == netpoll.ErrWouldBlock {
			if o.putBack(b, n); o.stuck.Load() {
				return
			}
			continue
		}
		b.release()
		if err == nil {
			if o.flushed = round; o.stuck.Load() {
				o.watch() // the peer takes something
			}
		}
	}
	o.unstick()
	o.change()
}

// direct writes a frame. What the socket does not take of it is copied: the
// payload is the caller's again when direct returns.
func (o *out) direct(h wire.Header, p []byte) {
	s := o.c.socket()
	loan := smallBuffers.Get().(*[smallBuffer]byte)
	defer smallBuffers.Put(loan)
	head := h.Append(loan[:0])
	n, err := o.try(func() (int, error) { return s.Write2(head, p) })
	if err != netpoll.ErrWouldBlock {
		o.change() // nobody else tells those who waited for their turn
		return
	}
	rest := newBatch()
	rest.grow(len(head) + len(p) - n)
	rest.b = append(rest.b, head[min(n, len(head)):]...)
	rest.b = append(rest.b, p[max(0, n-len(head)):]...)
	o.putBack(rest, n)
}

// try writes to the socket, without the mutex. An error ends sending.
func (o *out) try(write func() (int, error)) (n int, err error) {
	o.busy, o.room = true, false
	o.mu.Unlock()
	n, err = write()
	o.mu.Lock()
	o.busy = false
	if err != nil && err != netpoll.ErrWouldBlock {
		o.broke(o.written(err))
	}
	return n, err
}

// putBack puts what the socket has not taken, when it took n bytes, before what
// has gathered meanwhile. Unless it has had room since, the socket is stuck.
func (o *out) putBack(b *batch, n int) {
	o.restore(b)
	if o.room || o.err != nil {
		return
	}
	if o.progress() || n > 0 || !o.stuck.Load() { // asked each time: what it tells is told once
		o.watch()
	}
	o.stuck.Store(true)
}

// progress reports whether the socket has taken something of what was given to it
// before.
func (o *out) progress() bool {
	s, ok := o.c.stream.(*tlsSocket)
	return ok && s.progress()
}

// A writeAlarm is the write timeout of a socket that is stuck.
type writeAlarm struct {
	alarm
	since time.Duration // when the socket last took something
}

// watch starts the write timeout, or starts it again.
func (o *out) watch() {
	timeout, wheel := o.c.settings.WriteTimeout, &o.c.settings.handler.wheel
	if timeout == 0 {
		return
	}
	a := o.rare().alarm
	if a == nil {
		a = &writeAlarm{alarm: alarm{c: o.c, do: (*Conn).writeTimedOut}}
		o.aside.alarm = a
	}
	a.since = clock()
	wheel.start(&a.alarm, timeout)
}

func (c *Conn) writeTimedOut() {
	timeout := c.settings.WriteTimeout
	c.out.mu.Lock()
	a := c.out.rare().alarm
	late := a != nil && clock()-a.since >= timeout // else it was too late to stop the alarm
	if late && !c.out.busy {
		// The kernel says that there is room only when a third is free. A peer that is
		// slow, but takes something, passes this last attempt.
		since := a.since
		c.out.drain()
		a = c.out.rare().alarm
		late = a != nil && a.since == since
	}
	c.out.mu.Unlock()
	if late {
		c.cut(writeTimeout(timeout))
	}
}

// unstick is called when all has been written or nothing will be.
func (o *out) unstick() {
	if o.aside != nil && o.aside.alarm != nil {
		o.c.settings.handler.wheel.stop(&o.aside.alarm.alarm)
		o.aside.alarm = nil
	}
	o.stuck.Store(false)
	if o.stalled {
		o.stalled = false
		o.c.parking.loop.post(o.c)
	}
}

// stall reports whether the connection is not to be read from before the socket
// has taken what has gathered: a peer that takes nothing must not make this side
// gather more and more. The loop is told when it may go on.
func (o *out) stall() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stalled = o.stuck.Load()
	return o.stalled
}

// writable is called by the loop when the socket has room.
func (o *out) writable() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.room = true
	if o.stuck.Load() && !o.busy {
		o.drain()
	} else {
		o.flushTLS()
	}
}

// flushTLS writes what crypto/tls has had to say by itself when the socket took no more: an
// answer to an update of keys, say, or the end of TLS behind the close frame. No Write
// waits for it.
func (o *out) flushTLS() {
	if s, ok := o.c.stream.(*tlsSocket); ok {
		s.flush() // an error shows in the next Write, or when reading ends
	}
}

// unlist is called by the loop when it has worked through its events.
func (o *out) unlist() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.listed = false
	if o.pending() && !o.busy && !o.stuck.Load() {
		o.drain()
	}
}
