package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// NetConn returns the connection as a net.Conn, for protocols that want a stream of
// bytes. Each Write is a message of the type; Read returns the bytes of one message
// after the other, and a message of the other type ends the connection with 1003.
//
// A close by the peer with 1000 or 1001 is io.EOF; Close closes with 1000 as
// [Conn.Close] does. A deadline that has passed ends calls with
// os.ErrDeadlineExceeded and does no harm: with a later one they go on where they
// stopped. That of Write bounds the wait for its turn, see [Conn.Write].
//
// Nothing else must read from the Conn. One of a [Handler] cannot be read at all.
func (c *Conn) NetConn(t MessageType) net.Conn {
	n := &netConn{c: c, t: t}
	n.readBy.init()
	n.writeBy.init()
	return n
}

type netConn struct {
	c       *Conn
	t       MessageType
	readBy  deadline
	writeBy deadline

	mu sync.Mutex // of reading
	r  io.Reader  // of the message in hand
}

// Read returns the next bytes.
func (n *netConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil // as of TCP: nobody waits for nothing
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		got, err := n.read(p)
		switch {
		case got > 0:
			return got, nil
		case errors.Is(err, os.ErrDeadlineExceeded) && n.c.ended() == nil:
			// The message's reader has the deadline of the time when it began.
			n.r = nil
			if n.readBy.passed() {
				return 0, err
			}
		case err == io.EOF:
			n.r = nil
		case err != nil:
			return 0, streamEnd(err)
		}
	}
}

// read returns bytes of the message in hand, at its end io.EOF.
func (n *netConn) read(p []byte) (int, error) {
	if n.r == nil {
		t, r, err := n.c.Reader(n.readBy.context())
		if err != nil {
			return 0, err
		}
		if t != n.t {
			n.c.CloseWrite(CloseUnsupportedData, "messages are to be "+n.t.String())
			return 0, fmt.Errorf("websocket: read: a message was %v, not %v; the connection was closed", t, n.t)
		}
		n.r = r
	}
	return n.r.Read(p)
}

// streamEnd is the end of the connection as a stream has it.
func streamEnd(err error) error {
	var closed *CloseError
	if errors.As(err, &closed) && !closed.Local && (closed.Code == CloseNormal || closed.Code == CloseGoingAway) {
		return io.EOF
	}
	return err
}

// Write sends p as one message.
func (n *netConn) Write(p []byte) (int, error) {
	if err := n.c.Write(n.writeBy.context(), n.t, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (n *netConn) Close() error { return n.c.Close(CloseNormal, "") }

func (n *netConn) LocalAddr() net.Addr  { return addrOr(n.c.LocalAddr()) }
func (n *netConn) RemoteAddr() net.Addr { return addrOr(n.c.RemoteAddr()) }

func (n *netConn) SetDeadline(t time.Time) error {
	n.readBy.set(t)
	n.writeBy.set(t)
	return nil
}

func (n *netConn) SetReadDeadline(t time.Time) error {
	n.readBy.set(t)
	return nil
}

func (n *netConn) SetWriteDeadline(t time.Time) error {
	n.writeBy.set(t)
	return nil
}

// An unknownAddr is an address where there is none: users of a net.Conn print it.
type unknownAddr struct{}

func (unknownAddr) Network() string { return "websocket" }
func (unknownAddr) String() string  { return "unknown" }

func addrOr(a net.Addr) net.Addr {
	if a == nil {
		return unknownAddr{}
	}
	return a
}

// A deadline can be moved while calls wait for it.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	over  chan struct{} // closed when it has passed
}

func (d *deadline) init() { d.over = make(chan struct{}) }

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if isClosed(d.over) {
		d.over = make(chan struct{})
	}
	if t.IsZero() {
		return
	}
	over := d.over
	end := sync.OnceFunc(func() { close(over) })
	if wait := time.Until(t); wait > 0 {
		var timer *time.Timer
		timer = time.AfterFunc(wait, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.timer == timer { // else it has been moved at the same moment
				end()
			}
		})
		d.timer = timer
	} else {
		end()
	}
}

func (d *deadline) passed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return isClosed(d.over)
}

// context returns a context that ends with the deadline.
func (d *deadline) context() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	return deadlineContext{context.Background(), d.over}
}

// A deadlineContext is a context whose error is the one of a net.Conn.
type deadlineContext struct {
	context.Context
	over chan struct{}
}

func (c deadlineContext) Done() <-chan struct{} { return c.over }
func (c deadlineContext) Err() error {
	if isClosed(c.over) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
