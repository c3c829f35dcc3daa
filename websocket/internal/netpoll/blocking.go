package netpoll

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// A Blocking is a connection of package net whose Read and Write cost less, with two
// methods that wait at less cost: ReadLent holds no buffer while it waits, and Write2 sets
// a deadline only if it has to wait. A third, TryWrite, does not wait.
//
// It owns no descriptor. The net.Conn does, whose methods pass through. Close may
// be called by any goroutine at any time: it makes these methods return net.ErrClosed
// and waits until they have left.
//
// One goroutine at a time may read, and one write.
type Blocking struct {
	net.Conn
	raw syscall.RawConn
	in  lentRead
	out timedWrite
}

// A Lender has the buffer that ReadLent reads into.
type Lender interface {
	// Lend returns a buffer with room for a byte at least.
	Lend() []byte

	// GiveBack takes back the last that was lent, and nothing is in it.
	GiveBack()
}

// lentRead is the read that is under way. It is a part of Blocking, and its
// callback bound once, so that a read allocates nothing.
type lentRead struct {
	callback func(fd uintptr) bool
	lender   Lender // nil: p is the buffer
	p        []byte
	n        int
	err      error
}

// timedWrite is the write that is under way, as lentRead is the read.
type timedWrite struct {
	callback func(fd uintptr) bool
	conn     net.Conn // for its deadline
	timeout  time.Duration
	a, b     []byte // what remains to be written
	n        int64
	err      error
	limited  bool // a deadline is set
	stuck    bool // and nothing has been taken since
	final    bool // the deadline has passed: try once more, and do not wait
	never    bool // do not wait at all
}

// NewBlocking returns a Blocking for a *net.TCPConn, or a *net.UnixConn that is a
// stream. It returns nil where the connection is another, or the system has no
// such thing.
func NewBlocking(c net.Conn) *Blocking {
	if !canBlock || !isStream(c) {
		return nil
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil
	}
	b := &Blocking{Conn: c, raw: raw}
	b.in.callback = b.in.try
	b.out.callback = b.out.try
	b.out.conn = c
	return b
}

func isStream(c net.Conn) bool {
	switch c := c.(type) {
	case *net.TCPConn:
		return c != nil
	case *net.UnixConn:
		return c != nil && c.LocalAddr() != nil && c.LocalAddr().Network() == "unix"
	}
	return false
}

// CloseWrite tells the peer that nothing more will be sent. Reading goes on.
func (c *Blocking) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// ReadLent reads into a buffer that it borrows for the moment in which something
// is there: while it waits it has none. When it returns bytes the buffer is still
// lent, and l knows which it was; with any error it has been given back. l is
// called within ReadLent, and must not use the connection: Close would wait for
// itself.
func (c *Blocking) ReadLent(l Lender) (n int, err error) { return c.read(l, nil) }

// Read is net.Conn's.
func (c *Blocking) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return c.Conn.Read(p)
	}
	return c.read(nil, p)
}

func (c *Blocking) read(l Lender, p []byte) (n int, err error) {
	r := &c.in
	r.lender, r.p, r.n, r.err = l, p, 0, nil
	defer func() { r.lender, r.p = nil, nil }()
	if err := c.raw.Read(r.callback); err != nil {
		return 0, renamed("read", err) // closed, or a deadline: nothing is lent
	}
	return r.n, c.wrap("read", r.err)
}

// try is called by RawConn.Read, at first and then whenever something may be there
// to read; false makes it wait. It must try at the first call, too: RawConn.Read
// forgets what came before it.
func (r *lentRead) try(fd uintptr) bool {
	p := r.p
	if r.lender != nil {
		p = r.lender.Lend()
	}
	if len(p) == 0 {
		r.err = io.ErrShortBuffer // a read would take it for the end
	} else if r.n, r.err = recv(int(fd), p); r.n == 0 && r.err == nil {
		r.err = io.EOF
	}
	if r.err != nil && r.lender != nil {
		r.lender.GiveBack()
	}
	return r.err != ErrWouldBlock
}

// Write is net.Conn's.
func (c *Blocking) Write(p []byte) (int, error) {
	n, err := c.Write2(0, p, nil)
	return int(n), err
}

// Write2 writes a and then b; either may be empty. Where the peer takes nothing
// for as long as timeout, it returns an error that is os.ErrDeadlineExceeded; 0 is
// for ever, or until a write deadline that the caller has set. It returns how many
// bytes were taken.
//
// With a timeout, the connection's write deadline is Write2's: it is set when the
// peer takes nothing, and there is none afterwards.
func (c *Blocking) Write2(timeout time.Duration, a, b []byte) (n int64, err error) {
	w := &c.out
	w.timeout, w.a, w.b = timeout, a, b
	defer func() {
		w.unlimit()
		*w = timedWrite{callback: w.callback, conn: w.conn} // a and b are the caller's again
	}()
	for {
		err = c.raw.Write(w.callback)
		switch {
		case err == nil:
			return w.n, c.wrap("write", w.err)
		case !w.limited || !errors.Is(err, os.ErrDeadlineExceeded):
			return w.n, renamed("write", err)
		}
		// The kernel says that there is room only when a third is free. A peer that
		// is slow, but takes something, passes this last attempt.
		w.unlimit()
		w.final = true
	}
}

// TryWrite writes as much of p as there is room for. Where that is not all, the
// error is ErrWouldBlock, and Write2 may write the rest.
func (c *Blocking) TryWrite(p []byte) (n int, err error) {
	w := &c.out
	w.a, w.never = p, true
	err = c.raw.Write(w.callback)
	n = int(w.n)
	if err == nil {
		err = c.wrap("write", w.err)
	} else {
		err = renamed("write", err)
	}
	w.a, w.n, w.err, w.never = nil, 0, nil, false
	return n, err
}

// try is called by RawConn.Write, at first and then whenever there may be room;
// false makes it wait.
func (w *timedWrite) try(fd uintptr) bool {
	for len(w.a)+len(w.b) > 0 {
		n, err := send2(int(fd), w.a, w.b)
		switch {
		case err == ErrWouldBlock && w.never:
			w.err = err
			return true
		case err == ErrWouldBlock && !w.final:
			w.limit()
			return false
		case err == ErrWouldBlock:
			err = os.ErrDeadlineExceeded
			fallthrough
		case err != nil:
			w.err = err
			return true
		}
		w.n += int64(n)
		w.a, w.b = rest(w.a, w.b, n)
		w.stuck, w.final = false, false
	}
	return true
}

// limit sets the deadline, if something was taken since it was set. RawConn.Write
// looks at it after the callback.
func (w *timedWrite) limit() {
	if w.timeout > 0 && !w.stuck {
		w.conn.SetWriteDeadline(time.Now().Add(w.timeout))
		w.limited, w.stuck = true, true
	}
}

// unlimit takes the deadline back.
func (w *timedWrite) unlimit() {
	if w.limited {
		w.conn.SetWriteDeadline(time.Time{})
		w.limited, w.stuck = false, false
	}
}

// rest is what remains of a and b after n bytes.
func rest(a, b []byte, n int) ([]byte, []byte) {
	if n < len(a) {
		return a[n:], b
	}
	return nil, b[n-len(a):]
}

// wrap gives an error of a system call the form that package net would.
func (c *Blocking) wrap(op string, err error) error {
	if err == nil || err == io.EOF || err == ErrWouldBlock {
		return err
	}
	return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// renamed gives an error of a syscall.RawConn the name of what was done.
func renamed(op string, err error) error {
	if e, ok := err.(*net.OpError); ok {
		e.Op = op // it was made for us
	}
	return err
}
