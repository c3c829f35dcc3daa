package websocket

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ending is how a Conn comes to its end. Whatever the way there, it ends in cut,
// once: that closes the stream, and nothing else does.
//
//	Close ───────────────────────┐ our close frame; read on until the peer's
//	the peer's close frame ──────┤ answer it
//	                             ▼
//	                           finish   RFC 6455, 7.1.1: the server ends the stream first
//	a broken rule ─── abort ─────▲ our close frame; do not wait for an answer
//
//	                             ▼
//	CloseNow, timeouts ────────▶ cut
type ending struct {
	mu     sync.Mutex
	err    error         // why the stream was closed
	over   atomic.Bool   // err is set
	told   bool          // the stream has been closed
	timer  *time.Timer   // cuts when the way to the end takes too long
	shaken *CloseError   // both close frames have passed
	done   chan struct{} // closed when the stream has been closed; in a Handler's Conn made by wait
}

// lingerTimeout limits how long an end of the connection that has nothing to say
// any more still reads, so that no reset overtakes its close frame: a system that
// closes a socket with unread bytes resets it.
const lingerTimeout = time.Second

var (
	errWriteTimeout = fmt.Errorf("write timeout; the connection was cut: %w", os.ErrDeadlineExceeded)
	errCloseTimeout = &opError{"closing", fmt.Errorf("the peer did not finish the closing handshake in time; the connection was cut: %w", os.ErrDeadlineExceeded)}
)

// Close does the closing handshake: it sends a close frame with the code and the
// reason, waits for the peer's, and ends the stream (RFC 6455, 7.1.2), all within
// [Options.CloseTimeout]. Messages that come until the peer's close frame go to a
// Read that is in progress, or comes within 100 ms; where none does, Close reads
// and throws away. To be sure of every message, call [Conn.CloseWrite] and read on.
//
// code must be one that may be sent, see [CloseCode.Sendable], or CloseNoStatus
// for a close frame without one; else Close returns an error and does nothing. Of
// the reason at most 123 bytes are sent, as UTF-8.
//
// It returns nil after a handshake that this side began, and else why the
// connection ended: a [*CloseError] where the peer closed first.
//
// In a [Handler]'s Conn, Close queues the frame and returns at once; no Message
// follows, and the Close callback tells how it ended.
func (c *Conn) Close(code CloseCode, reason string) error {
	if err := c.CloseWrite(code, reason); err != nil {
		return err
	}
	if c.settings.handler != nil {
		return nil
	}
	c.in.discard()
	<-c.ending.done
	return c.ending.result()
}

// CloseWrite sends a close frame as Close does and returns: this side has said
// all that it has to say, and goes on to read what the peer still has. Keep
// reading until the error: a [*CloseError] once the peer has answered, or what
// else has ended the connection, at the latest after [Options.CloseTimeout].
// Nothing can be written any more. In a [Handler]'s Conn it is Close.
func (c *Conn) CloseWrite(code CloseCode, reason string) error {
	if !code.Sendable() && code != CloseNoStatus {
		return fmt.Errorf("websocket: close: code %d must not be sent; use 1000 to 1003, 1007 to 1014 or 3000 to 4999", code)
	}
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	c.ending.limit(c, c.settings.CloseTimeout, errCloseTimeout, false)
	c.out.close(&CloseError{Code: code, Reason: reason, Local: true}, code, reason)
	return nil
}

// CloseNow ends the connection without a closing handshake: a peer sees 1006. What
// Writes that have returned have let gather is sent if the stream takes it within 10 ms;
// in a [Handler]'s Conn, if the socket has room. Calls that wait return a [*CloseError],
// and so does every later one. It is harmless after Close, and the thing to defer.
func (c *Conn) CloseNow() error {
	end := &CloseError{Code: CloseAbnormal, Local: true}
	c.out.expel(end)
	return c.cut(end)
}

// end ends the connection as the end of receiving asks for, and returns why it has
// ended: of a connection that was cut that is the reason for it, not what reading
// from a closed stream returns. Only the one who reads calls it.
func (c *Conn) end(err error) error {
	if cause := c.ending.cause(); cause != nil {
		return cause // nothing can be said any more
	}
	var broken *Error
	var panicked *PanicError
	if frame, ok := err.(*closeFrame); ok {
		err = c.closeReceived(frame.code, frame.reason)
	} else if errors.As(err, &broken) {
		c.abort(broken.Code, broken.Msg, err)
	} else if errors.As(err, &panicked) {
		c.abort(CloseInternalError, "", err)
	} else {
		c.out.expel(err) // the peer may have ended its half only
	}
	c.cut(err)
	return c.ending.cause()
}

// closeReceived answers the peer's close frame, ends the stream and returns the
// end: whichever side closed first. Only the one who reads calls it.
func (c *Conn) closeReceived(code CloseCode, reason string) error {
	end := error(&CloseError{Code: code, Reason: reason})
	c.ending.limit(c, c.settings.CloseTimeout, end, false)
	if ours := c.out.close(end, code, ""); ours != nil {
		end = ours
	}
	c.out.awaitClose()
	if closed, ok := end.(*CloseError); ok {
		c.ending.shake(closed)
	}
	c.finish(end, c.settings.server)
	return end
}

// abort tells the peer why the connection ends and ends it, with err for every
// later call. Only the one who reads calls it. RFC 6455, 7.1.7.
func (c *Conn) abort(code CloseCode, reason string, err error) {
	c.ending.limit(c, c.settings.CloseTimeout, err, false)
	c.out.close(err, code, reason)
	c.out.awaitClose()
	c.finish(err, true)
}

// finish ends the stream, first if that is for this side to do: then the sending
// half is closed, what still comes is drained for a moment, and the rest is
// closed. Else the peer ends it and this side waits for that.
func (c *Conn) finish(err error, first bool) {
	c.out.fail(err)
	if first {
		c.ending.limit(c, lingerTimeout, err, true)
		half, ok := c.stream.(interface{ CloseWrite() error })
		if !ok || half.CloseWrite() != nil {
			c.cut(err)
			return
		}
	}
	if c.socket() != nil {
		c.awaitEnd(err)
		return
	}
	if c.in != nil { // else it was cut while it was parked
		c.in.drain()
	}
	c.cut(err)
}

// cut closes the stream, once, for the reason that every later call returns.
func (c *Conn) cut(err error) error {
	if !c.ending.end(err) {
		return nil
	}
	c.out.fail(err)
	c.pinger.stop()
	closeErr := c.stream.Close()
	c.stand()
	c.closed(err)
	if c.parking.loop == nil {
		c.in.stop(err)
	}
	c.ending.tell()
	if c.settings.handler != nil {
		c.unpark()
	} else {
		c.settings.registry.remove(c)
		c.in.letGo()
	}
	return closeErr
}

// end records why, and reports whether it is the first to do so.
func (e *ending) end(err error) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return false
	}
	e.err = err
	e.over.Store(true)
	if e.timer != nil {
		e.timer.Stop()
	}
	return true
}

// wait returns a channel that is closed when the stream has been closed.
func (e *ending) wait() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.done == nil {
		e.done = make(chan struct{})
		if e.told {
			close(e.done)
		}
	}
	return e.done
}

// tell is called when the stream has been closed.
func (e *ending) tell() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told = true
	if e.done != nil {
		close(e.done)
	}
}

// limit cuts the connection after d, with err or the closing handshake's end if
// that has been reached by then. A limit in force stays unless replace is true.
// No d, no limit.
func (e *ending) limit(c *Conn, d time.Duration, err error, replace bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d == 0 || e.err != nil || e.timer != nil && !replace {
		return
	}
	if e.timer != nil {
		e.timer.Stop()
	}
	e.timer = time.AfterFunc(d, func() {
		if end := e.shook(); end != nil {
			err = end
		}
		c.cut(err)
	})
}

// ended reports whether the connection has been cut.
func (e *ending) ended() bool { return e.over.Load() }

// cause returns why the connection was cut, nil where it was not.
func (e *ending) cause() error {
	if !e.over.Load() {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// shake records that both close frames have passed.
func (e *ending) shake(end *CloseError) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shaken = end
}

// shook returns the end that the closing handshake has found, nil before it has.
func (e *ending) shook() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.shaken == nil {
		return nil
	}
	return e.shaken
}

// result is what Close returns.
func (e *ending) result() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.shaken != nil && e.shaken.Local {
		return nil
	}
	return e.err
}
