package websocket

import (
	"errors"
	"fmt"
	"time"

	"github.com/duplexgo/duplex/websocket/internal/netpoll"
	"github.com/duplexgo/duplex/websocket/wire"
)

// flush returns when the batch of that round has been written.
func (o *out) flush(round uint64) error {
	for o.flushed < round {
		switch {
		case o.err != nil:
			return o.err
		case o.busy:
			o.await()
		default:
			o.leadBatch()
		}
	}
	return nil
}

// leadBatch writes what has gathered.
func (o *out) leadBatch() { o.leadBatchBy(o.write) }

func (o *out) leadBatchBy(write func([]byte) error) {
	o.gatherSlot()
	o.refill()
	batch, round := o.batch, o.round
	o.batch, o.round = nil, o.round+1
	defer batch.release()
	o.change() // there is room again
	if o.lead(func() error { return write(batch.flat()) }) == nil {
		o.flushed = round
	}
}

// lead writes to the stream, which is free, without the mutex.
func (o *out) lead(write func() error) (err error) {
	o.guard()
	o.busy = true
	o.mu.Unlock()
	err = errWritePanic // unless write returns
	defer func() {
		o.mu.Lock()
		o.busy = false
		if err != nil {
			o.broke(err)
		}
		o.change()
	}()
	err = write()
	return err
}

var errWritePanic = errors.New("websocket: writing: the stream's Write panicked")

// flushing has a goroutine write what has gathered. It lasts until that is done.
func (o *out) flushing() {
	if o.flusher || !o.pending() {
		return
	}
	o.flusher = true
	a := o.rare()
	if a.run == nil {
		a.run = o.flushPending
	}
	go a.run()
}

func (o *out) flushPending() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flushAll()
}

// restore puts what the stream has not taken before what has gathered meanwhile.
func (o *out) restore(b *batch) {
	if next := o.batch; next != nil {
		b.grow(next.size())
		b.b = append(b.b, next.flat()...)
		next.release()
	}
	o.batch = b
}

// flushAll waits until all that has gathered is written.
func (o *out) flushAll() {
	for o.err == nil && o.pending() {
		if o.busy {
			o.await()
		} else {
			o.leadBatch()
		}
	}
	o.flusher = false
}

// send writes a frame whose payload is the caller's: a small one with one call
// from a copy, a large one without a copy where the stream is a socket. A client
// may not touch the caller's bytes, so it masks a copy, in pieces.
func (o *out) send(h wire.Header, p []byte) error {
	s, ok := o.c.stream.(*netpoll.Blocking)
	small, uncopied := h.Size()+len(p) <= smallBuffer, ok && !h.Masked
	if !small && !uncopied {
		b := pieceBuffers.Get().(*[pieceBuffer]byte)
		defer pieceBuffers.Put(b)
		return o.pieces(b[:0], h, p)
	}
	b := smallBuffers.Get().(*[smallBuffer]byte)
	defer smallBuffers.Put(b)
	switch head := h.Append(b[:0]); {
	case !uncopied:
		return o.pieces(b[:0], h, p)
	case small:
		return o.whole(s, append(head, p...), nil)
	default:
		return o.whole(s, head, p)
	}
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

// write writes to the stream, for the one who is busy. Anything but a socket gets
// large slices in pieces: what a write that was given up has got through is not
// known there, so each piece has the timeout to itself.
func (o *out) write(b []byte) error {
	if s, ok := o.c.stream.(*netpoll.Blocking); ok {
		return o.whole(s, b, nil)
	}
	for len(b) > 0 {
		n := min(len(b), pieceBuffer)
		if err := o.piece(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// whole writes two slices, one after the other, to a socket.
func (o *out) whole(s *netpoll.Blocking, a, b []byte) error {
	_, err := s.Write2(o.c.settings.WriteTimeout, a, b)
	return o.written(err)
}

// piece does a write under the write timeout.
func (o *out) piece(b []byte) error {
	if o.c.settings.WriteTimeout > 0 {
		o.aside.began.Store(int64(clock()))
		defer o.aside.began.Store(0)
	}
	_, err := o.c.stream.Write(b)
	return o.written(err)
}

// guard sees to it that a write is found that takes too long. One timer goes on from
// write to write, and ends when it finds none: setting a deadline for each would
// cost more than all else that is done for a small message. A stream in which a
// write was given up cannot be used any more, so nothing is lost by closing it.
func (o *out) guard() {
	timeout := o.c.settings.WriteTimeout
	if _, ok := o.c.stream.(*netpoll.Blocking); ok || timeout == 0 {
		return
	}
	if a := o.rare(); a.timer == nil {
		a.timer = time.AfterFunc(timeout, o.overdue)
	}
}

// overdue is guard's timer.
func (o *out) overdue() {
	timeout := o.c.settings.WriteTimeout
	o.mu.Lock()
	a := o.aside
	began := time.Duration(a.began.Load())
	wait := began + timeout - clock()
	switch {
	case o.err == nil && began == 0 && o.busy:
		a.timer.Reset(timeout) // between two pieces of a long write
	case o.err == nil && began != 0 && wait > 0:
		a.timer.Reset(wait)
	default:
		a.timer = nil
	}
	o.mu.Unlock()
	if began != 0 && wait <= 0 {
		o.c.cut(writeTimeout(timeout))
	}
}

// written makes of a write's error the one that ends the connection's sending.
func (o *out) written(err error) error {
	switch {
	case err == nil:
		return nil
	case isTimeout(err):
		err = writeTimeout(o.c.settings.WriteTimeout)
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
