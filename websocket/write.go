package websocket

import (
	"context"
	"errors"
	"io"
	"sync"
)

var errMessageType = errors.New("websocket: write: the type of a message is Text or Binary")

// Write sends a message as one frame. Any goroutine may call it at any time;
// writes that come together leave together, in one call of the stream. It
// returns when the stream has taken the bytes; p is the caller's again then.
//
// Answers to messages that have come together leave together, too: while the next
// message can be read without waiting, up to 64 KiB of short ones gather, in whatever way
// they are sent, and Write returns at once. They leave with the last of them, when a Read
// has to wait, and after a millisecond at the latest; an error shows in a later call.
//
// ctx bounds only the wait for a turn: until then it stops the Write, and nothing
// of the message was sent. From then on [Options.WriteTimeout] rules: a peer that
// takes nothing for so long loses the connection.
//
// Text must be UTF-8. That is not checked here: the peer would close with 1007.
func (c *Conn) Write(ctx context.Context, t MessageType, p []byte) error {
	if !t.valid() {
		return errMessageType
	}
	return c.sent(t, int64(len(p)), c.out.frame(ctx, t.frame(true, true), p, nil))
}

// Writer sends a message whose bytes come little by little. They are gathered,
// and leave as a frame whenever 4 KiB have come together; a message that stays
// below that is one frame. A larger Write is a frame of its own, without a copy.
// Close ends the message; without it no other message can be sent.
//
// From the first frame on the line belongs to the message, and other writers
// wait. ctx bounds the wait for the line up to then. A message that cannot be
// finished leaves nothing but [Conn.CloseNow].
func (c *Conn) Writer(ctx context.Context, t MessageType) (io.WriteCloser, error) {
	if !t.valid() {
		return nil, errMessageType
	}
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if err := c.out.failed(); err != nil {
		return nil, err
	}
	return &messageWriter{c: c, ctx: ctx, typ: t, first: true}, nil
}

type messageWriter struct {
	c   *Conn
	ctx context.Context

	mu    sync.Mutex
	typ   MessageType
	size  int64  // of what Write has taken
	first bool   // no frame has been sent
	skip  uint16 // Encoders that the message does not pass
	loan  *[smallBuffer]byte
	n     int // how much of loan is used
	err   error
}

var errWriterClosed = errors.New("websocket: write: this writer has been closed; call Writer for another message")

// Write takes the next bytes of the message. p is the caller's again on return.
func (w *messageWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	if w.loan == nil {
		w.loan = smallBuffers.Get().(*[smallBuffer]byte)
	}
	if w.n+len(p) > len(w.loan) {
		if err := w.flush(false); err != nil {
			return 0, err
		}
	}
	if len(p) > len(w.loan) {
		if err := w.frame(false, p); err != nil {
			return 0, err
		}
		w.size += int64(len(p))
		return len(p), nil
	}
	w.size += int64(len(p))
	w.n += copy(w.loan[w.n:], p)
	return len(p), nil
}

// Close sends what has gathered as the message's last frame.
func (w *messageWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if err := w.flush(true); err != nil {
		return err
	}
	w.c.sent(w.typ, w.size, nil)
	w.end(errWriterClosed)
	return nil
}

func (w *messageWriter) flush(fin bool) error {
	var p []byte
	if w.loan != nil {
		p = w.loan[:w.n]
	}
	if len(p) == 0 && !fin {
		return nil
	}
	w.n = 0
	return w.frame(fin, p)
}

func (w *messageWriter) frame(fin bool, p []byte) error {
	ctx := w.ctx
	if !w.first {
		ctx = context.Background() // the line is held; only the connection's end can stop it
	}
	err := w.c.out.frame(ctx, w.typ.frame(w.first, fin), p, w)
	w.first = false
	if err != nil {
		w.end(err)
	}
	return err
}

func (w *messageWriter) end(err error) {
	w.err = err
	if w.loan != nil {
		smallBuffers.Put(w.loan)
		w.loan = nil
	}
}
