package websocket

import (
	"sync"

	"github.com/duplexgo/duplex/websocket/internal/netpoll"
)

// An outbox is the connections of one Broadcast over streams that wait, and those
// who write to them. Few goroutines do that for many connections: one that may have to wait for
// its peer sees to it that there is another who goes on with the rest.
type outbox struct {
	mu      sync.Mutex
	outs    []*out // from next on
	next    int
	filling bool // the Broadcast goes on
	workers int
	spare   int // how many of them are not busy with a connection
}

var outboxes = sync.Pool{New: func() any { return new(outbox) }}

// put has what has gathered in a connection written, unless somebody does that
// already. The connection's mutex is held.
func (b *outbox) put(o *out) {
	if o.flusher || !o.pending() {
		return
	}
	o.flusher = true
	b.mu.Lock()
	defer b.mu.Unlock()
	b.outs = append(b.outs, o)
	if b.workers == 0 {
		b.hire()
	}
}

// hire starts a worker.
func (b *outbox) hire() {
	b.workers++
	b.spare++
	go b.work()
}

// relieve is called by a worker that may have to wait.
func (b *outbox) relieve() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spare == 0 && b.next < len(b.outs) {
		b.hire()
	}
}

func (b *outbox) work() {
	for o := b.take(); o != nil; o = b.take() {
		o.deliver(b)
		b.mu.Lock()
		b.spare++
		b.mu.Unlock()
	}
}

// take returns the next connection, or nil where there is none: then the worker
// ends.
func (b *outbox) take() *out {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spare--
	if b.next == len(b.outs) {
		b.workers--
		b.free()
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

func (b *outbox) free() {
	if b.workers == 0 {
		b.outs, b.next = b.outs[:0], 0
		if !b.filling {
			outboxes.Put(b)
		}
	}
}

// deliver writes what has gathered.
func (o *out) deliver(b *outbox) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, ok := o.c.stream.(*netpoll.Blocking)
	if !ok || o.busy {
		b.relieve()
		o.flushAll()
	} else if o.err == nil && o.pending() {
		o.leadBatchBy(func(p []byte) error {
			n, err := s.TryWrite(p)
			if err == netpoll.ErrWouldBlock {
				b.relieve()
				return o.whole(s, p[n:], nil)
			}
			return o.written(err)
		})
	}
	o.flusher = false
	if o.err == nil {
		b.put(o)
	}
}
