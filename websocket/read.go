package websocket

import (
	"context"
	"errors"
	"io"
)

// Read returns the next message, whole. The slice is the caller's. It waits until
// ctx ends; then it returns ctx.Err(), and the next call goes on where this one
// stopped, in the middle of a frame if need be: nothing is lost.
//
// The error is an [*Error] where the peer broke the protocol or passed a limit
// ([ErrMessageTooBig] among them), a [*CloseError] after a close, [ErrPongTimeout]
// where the peer fell silent, and else what the stream returned.
func (c *Conn) Read(ctx context.Context) (MessageType, []byte, error) {
	return c.AppendRead(ctx, nil)
}

// AppendRead is [Conn.Read] into a slice of the caller's: it appends the next
// message to dst and returns the extended slice. With dst[:0] of the last
// message's slice it allocates nothing once that is large enough. On an error it
// returns dst as it was; what had come of the message is kept by the Conn.
func (c *Conn) AppendRead(ctx context.Context, dst []byte) (MessageType, []byte, error) {
	t, b, err := c.appendRead(ctx, dst)
	if err == nil {
		c.received(t, int64(len(b)-len(dst)))
	}
	return t, b, err
}

func (c *Conn) appendRead(ctx context.Context, dst []byte) (MessageType, []byte, error) {
	if c.settings.handler != nil {
		return 0, dst, errHandled
	}
	if err := c.in.acquire(ctx); err != nil {
		return 0, dst, err
	}
	defer c.in.release()
	t, b, err := c.in.message(dst)
	if err != nil {
		return 0, dst, c.in.outcome(ctx, err)
	}
	return t, b, nil
}

// Reader returns the next message's type as soon as its first frame begins, and a
// reader of its bytes, which ends with io.EOF where the message does. Messages of
// any size pass in constant memory; set [Options.MaxMessage] for larger ones.
//
// ctx bounds this call and the reads. What is left of the message before is
// thrown away, unless it was a context that stopped it: then Reader goes on with
// that message. The reader is good until the next call of Reader or Read.
func (c *Conn) Reader(ctx context.Context) (MessageType, io.Reader, error) {
	if c.settings.handler != nil {
		return 0, nil, errHandled
	}
	if err := c.in.acquire(ctx); err != nil {
		return 0, nil, err
	}
	defer c.in.release()
	if err := c.in.outcome(ctx, c.in.next(c.in.stopped)); err != nil {
		return 0, nil, err
	}
	c.in.taken = true
	c.in.reader = &messageReader{c: c, ctx: ctx}
	return c.in.typ, c.in.reader, nil
}

type messageReader struct {
	c   *Conn
	ctx context.Context
	eof bool
	n   int64 // bytes that have been read
}

var errStaleReader = errors.New("websocket: read: this reader's message is over; a later call of Read or Reader has taken its place")

func (r *messageReader) Read(p []byte) (int, error) {
	in := r.c.in
	if err := in.acquire(r.ctx); err != nil {
		return 0, err
	}
	defer in.release()
	switch {
	case r.eof:
		return 0, io.EOF
	case in.reader != r:
		return 0, errStaleReader
	case len(in.part) > 0:
		n := copy(p, in.part)
		in.part = in.part[n:]
		r.n += int64(n)
		return n, nil
	}
	n, err := in.read(p)
	r.n += int64(n)
	if err == io.EOF {
		r.eof = true
		r.c.received(in.typ, r.n)
		return n, io.EOF
	}
	return n, in.outcome(r.ctx, err)
}
