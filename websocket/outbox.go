package websocket

import (
	"runtime"
	"sync"

	"github.com/duplexgo/duplex/websocket/internal/netpoll"
)

// An outbox is the connections of a Broadcast over streams that wait until they have
// taken the bytes, and the workers that write to them: one, which writes to sockets
// only what they take at once, and another whenever one may have to wait, so that
// nobody waits for a stranger's peer. They end when there is nothing left to write.
//
// A package that kept workers for all would wake goroutines of one bubble of
// testing/synctest from another.
type outbox struct {
	mu      sync.Mutex
	outs    []*out // from next on
	next    int
	filling bool // the Broadcast goes on
	workers int
	waiting int // how many of the workers may have to wait
}

var outboxes = sync.Pool{New: func() any { return new(outbox) }}

func newOutbox() *outbox {
	b := outboxes.Get().(*outbox)
	b.filling = true
	return b
}

// put has what has gathered in a connection written, unless somebody does that
// already. The connection's mutex is held.
func (b *outbox) put(o *out) {
	if o.flusher || !o.pending() {
		return
	}
	o.flusher = true
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.outs) == cap(b.outs) && b.next > len(b.outs)/2 {
		n := copy(b.outs, b.outs[b.next:])
		clear(b.outs[n:])
		b.outs, b.next = b.outs[:n], 0
	}
	b.outs = append(b.outs, o)
	b.hire()
}

// hire starts a worker if there is something to do and nobody does it, or too few
// do: half of the processors may be used, as by the loops of a Handler.
func (b *outbox) hire() {
	left, active := len(b.outs)-b.next, b.workers-b.waiting
	few := left >= crowd && left%crowd == 0 && left/crowd > active && active < runtime.GOMAXPROCS(0)/2
	if left > 0 && active == 0 || few {
		b.workers++
		go b.work()
	}
}

// crowd is for how many connections it pays to wake up another processor.
const crowd = 256

func (b *outbox) work() {
	defer b.leave()
	for o := b.take(); o != nil; o = b.take() {
		b.deliver(o)
	}
}

// leave is the end of a worker.
func (b *outbox) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.workers--
	b.hire() // for what has come since it took nothing, or if a stream has ended it
	b.free()
}

// take returns the next connection, or nil where there is none.
func (b *outbox) take() *out {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == len(b.outs) {
		return nil
	}
	o := b.outs[b.next]
	b.outs[b.next] = nil
	b.next++
	return o
}

// filled is the end of the Broadcast.
func (b *outbox) filled() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.filling = false
	b.free()
}

// free makes the outbox that of another Broadcast when nobody has it any more.
func (b *outbox) free() {
	if b.workers > 0 {
		return
	}
	b.outs, b.next = b.outs[:0], 0
	if !b.filling {
		outboxes.Put(b)
	}
}

// deliver writes what has gathered in a connection. What has come meanwhile goes
// behind the other connections.
func (b *outbox) deliver(o *out) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, ok := o.c.stream.(*netpoll.Blocking)
	switch {
	case o.err != nil || !o.pending():
	case ok && !o.busy:
		o.leadBatchBy(func(p []byte) error { return b.write(o, s, p) })
	default:
		b.wait(o.flushAll)
	}
	o.flusher = false
	if o.err == nil {
		b.put(o)
	}
}

// write writes to a socket, and waits only if it has to.
func (b *outbox) write(o *out, s *netpoll.Blocking, p []byte) (err error) {
	n, err := s.TryWrite(p)
	if err != netpoll.ErrWouldBlock {
		return o.written(err)
	}
	b.wait(func() { err = o.whole(s, p[n:], nil) })
	return err
}

// wait calls f, which may have to wait.
func (b *outbox) wait(f func()) {
	b.mu.Lock()
	b.waiting++
	b.hire()
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.waiting--
		b.mu.Unlock()
	}()
	f()
}
