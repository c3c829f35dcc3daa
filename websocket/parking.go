package websocket

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/duplexgo/duplex/websocket/internal/netpoll"
)

// parking is how a Handler's connection waits for bytes: without a goroutine, a
// buffer or a timer of its own where the system allows it. There are three ways,
// and stream and loop tell which:
//
//   - A plain TCP connection, and one over TLS whose listener was made by NewListener,
//     has left the runtime's poller: stream is a socket, and the loop reads it.
//   - Any other connection with a descriptor below it (TLS, a Unix socket, a
//     wrapper) stays as it is. The loop hears that bytes have come, and a goroutine
//     reads them; it stays a moment for more and parks the connection again.
//   - Without a descriptor, and on systems without epoll, loop is nil and a
//     goroutine reads.
//
// One goroutine at a time owns a connection: it reads, calls back and parks it
// again. At first that is the one that calls Open.
type parking struct {
	loop  *loop
	token netpoll.Token
	state atomic.Uint64
	final atomic.Pointer[final]
}

// The bits of parking.state. The rest of it counts how often the connection has had
// an owner.
const (
	owned = 1 << iota
	again // bytes or the end have come since the owner began
	ended // somebody ends the connection and calls Close
	turns
)

// claim makes the caller the owner, or tells the owner to look again.
func (p *parking) claim() bool {
	for {
		s := p.state.Load()
		switch {
		case s&owned == 0:
			if p.state.CompareAndSwap(s, s+turns|owned) {
				return true
			}
		case s&again != 0 || p.state.CompareAndSwap(s, s|again):
			return false
		}
	}
}

// release ends ownership and reports true, unless the owner has to look again.
func (p *parking) release() bool {
	for {
		s := p.state.Load()
		if s&again != 0 {
			if p.state.CompareAndSwap(s, s&^again) {
				return false
			}
		} else if p.state.CompareAndSwap(s, s&^owned) {
			return true
		}
	}
}

// waits returns a number that changes with every wait for bytes, and whether the
// connection waits for some now.
func (c *Conn) waits() (number uint32, waiting bool) {
	if c.parking.loop == nil {
		reads := c.in.reads.Load()
		return uint32(reads), reads&1 == 1
	}
	s := c.parking.state.Load()
	return uint32(s / turns), s&owned == 0 && !c.out.stuck.Load()
}

// park finds out how a Handler's connection is to wait. Bytes of frames that have
// come already are copied.
func (c *Conn) park(buffered []byte) {
	c.parking.state.Store(owned)
	if netpoll.Supported && descriptor(c.stream) != nil {
		c.joinLoop()
	}
	switch {
	case c.socket() == nil:
		if c.parking.loop == nil {
			c.stream = patient(c.stream)
		}
		c.in = newIn(c, buffered)
	case len(buffered) > 0:
		c.in = newParkedIn(c)
		c.in.keep(buffered)
	}
}

// joinLoop has a loop wait for the connection, or read it where it can.
func (c *Conn) joinLoop() {
	l := c.settings.handler.join()
	if l == nil {
		return
	}
	c.parking.loop = l
	switch s := c.stream.(type) {
	case *net.TCPConn:
		if taken, err := netpoll.Take(s); err == nil {
			c.stream = taken
			return
		}
	case *tls.Conn:
		if taken := takeTLS(s); taken != nil {
			c.stream = taken
			// What crypto/tls has read already is no event: whoever has the connection
			// now must look for it.
			c.parking.state.Store(owned | again)
			return
		}
		if s.SetReadDeadline(time.Time{}) == nil {
			return
		}
	case stoppable:
		if s.SetReadDeadline(time.Time{}) == nil {
			return
		}
	}
	c.parking.loop = nil
	l.leave()
}

// A socket is a stream that never waits, and that the loop reads. Its methods are
// netpoll.Socket's.
type socket interface {
	Stream
	Write2(a, b []byte) (int, error)
	CloseWrite() error
	Control(f func(fd int) error) error
}

// socket returns the stream if it is one that the loop reads.
func (c *Conn) socket() socket {
	switch s := c.stream.(type) {
	case *netpoll.Socket:
		return s
	case *tlsSocket:
		return s
	}
	return nil
}

// descriptor returns the way to the descriptor below a stream, or nil.
func descriptor(s Stream) syscall.RawConn {
	if t, ok := s.(*tls.Conn); ok {
		s = t.NetConn()
	}
	if sc, ok := s.(syscall.Conn); ok {
		if rc, err := sc.SyscallConn(); err == nil {
			return rc
		}
	}
	return nil
}

// register lets the loop hear of the connection. Until Open has returned it has an
// owner, who will see what has come.
func (c *Conn) register() (err error) {
	l := c.parking.loop
	if l == nil {
		return nil
	}
	if s := c.socket(); s != nil {
		return s.Control(func(fd int) (err error) {
			c.parking.token, err = l.poller.Add(fd, c)
			return err
		})
	}
	c.control(func(fd int) { c.parking.token, err = l.poller.AddOnce(fd, c) })
	return err
}

// rearm lets the loop hear of the next bytes, once, of a connection that it does
// not read. If the connection has been closed, nothing needs to be heard.
func (c *Conn) rearm() {
	c.control(func(fd int) { c.parking.loop.poller.Rearm(fd, c.parking.token) })
}

// stay makes the owner's reads end after a moment, if it could park the connection.
func (c *Conn) stay() (busy bool) {
	if c.parking.loop != nil {
		c.in.watch.source.SetReadDeadline(time.Now().Add(moment))
	}
	return false
}

// linger makes reads wait as long as they have to: the connection is about to end.
func (c *Conn) linger() {
	if c.parking.loop != nil && c.socket() == nil && c.in != nil {
		c.in.watch.source.SetReadDeadline(time.Time{})
	}
}

// repark parks a connection that the loop does not read, and reports whether it
// has: there may be something to see first.
func (c *Conn) repark() bool {
	c.in.watch.source.SetReadDeadline(time.Time{})
	if in := c.in; in.between() && in.part == nil {
		c.in = nil
	} else {
		in.keep(in.buf[in.r:in.w])
		if in.decoders != nil {
			in.decoders.suspend()
		}
	}
	if c.parking.release() {
		c.rearm()
		return true
	}
	if c.in == nil {
		c.in = newIn(c, nil)
	}
	return false
}

// control calls f with the descriptor below the stream, which f must not keep: it
// may be closed, and its number another connection's, as soon as f has returned.
func (c *Conn) control(f func(fd int)) {
	if rc := descriptor(c.stream); rc != nil {
		rc.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// over reports whether the application has closed the connection: no Message
// follows, and what still comes is thrown away.
func (c *Conn) over() bool { return c.out.closing.Load() || c.ending.ended() }

// unpark is called when the stream has been closed: whoever owns the connection
// finds out by itself, and where nobody does, somebody must end it.
func (c *Conn) unpark() {
	if l := c.parking.loop; l != nil {
		l.poller.Remove(c.parking.token)
		if c.parking.claim() {
			c.depart(c.ending.cause())
		}
	}
}

// depart has a goroutine bring a connection to its end, once. The caller owns it.
func (c *Conn) depart(err error) {
	if c.parking.state.Or(ended)&ended == 0 {
		go c.settings.handler.leave(c, err)
	}
}

// A final is the end of a connection from which only the end of the stream is still
// to come.
type final struct{ err error }

// awaitEnd lets the loop throw away what still comes until the stream ends, and
// returns when the connection has been cut, with err or otherwise.
func (c *Conn) awaitEnd(err error) {
	c.parking.final.Store(&final{err})
	for !c.parking.release() {
	}
	c.parking.loop.post(c)
	<-c.ending.wait()
}
