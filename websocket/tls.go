package websocket

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/duplexgo/duplex/websocket/internal/netpoll"
)

// A tlsSocket is a connection over TLS that never waits: crypto/tls over a
// netpoll.Socket, for a connection whose listener was made by NewListener.
//
//	Read ──▶ crypto/tls ──▶ carrier.Read ──▶ socket
//	Write ─▶ crypto/tls ──▶ carrier.Write ─▶ sealed ─ flush ─▶ socket
//
// crypto/tls takes a read that finds nothing for a deadline that has passed: it keeps
// the part of a record that has come, and goes on with it at the next call. A write that
// fails it never forgives. So carrier.Write takes everything, and what the socket does
// not take of it waits in sealed; Write takes nothing more before that has gone.
type tlsSocket struct {
	*netpoll.Socket
	tls *tls.Conn
	dry bool  // a short read: the socket has nothing more for the Read that is under way
	end error // what reading has ended with: crypto/tls would go on after some errors

	mu     sync.Mutex
	sealed *batch // records that the socket has not taken; nil: none
	moving bool   // Write is under way, and flushes by itself
	moved  bool   // the socket has taken something since progress was asked for
}

const (
	// recordBytes is how much is encrypted before it is written. With what the records
	// add, it fits into a large buffer.
	recordBytes = 48 << 10

	// mostSealed is how much crypto/tls may have to say by itself to a peer that takes
	// nothing: each update of its keys has to be answered. RFC 8446, 4.6.3.
	mostSealed = 2 * largeBuffer
)

var errSealed = errors.New("the peer asks for more answers of TLS than it takes")

// takeTLS returns the connection as one that never waits, or nil where its listener
// was another. What has been decrypted already stays in crypto/tls, and no event will
// tell of it.
func takeTLS(c *tls.Conn) *tlsSocket {
	t, ok := c.NetConn().(*transport)
	if !ok {
		return nil
	}
	tcp, ok := t.NetConn().(*net.TCPConn)
	if !ok {
		return nil
	}
	socket, err := netpoll.Take(tcp)
	if err != nil {
		return nil
	}
	s := &tlsSocket{Socket: socket, tls: c}
	t.become((*carrier)(s))
	return s
}

// Read reads what is there, as netpoll.Socket's Read does. One goroutine at a time may
// call it.
func (s *tlsSocket) Read(p []byte) (n int, err error) {
	s.dry = false
	for n < len(p) && s.end == nil {
		more, err := s.tls.Read(p[n:])
		n += more
		switch {
		case err == nil:
		case err != netpoll.ErrWouldBlock:
			s.end = err
		case n > 0:
			return n, nil
		case s.dry: // part of a record, behind which the end may have come with the same event
			s.dry = false
		default:
			return 0, err
		}
	}
	return n, s.end
}

// Write writes as much of p as there is room for. Where the error is ErrWouldBlock, an
// event will tell when there is room again; then it has to be called again, though it be
// with nothing.
func (s *tlsSocket) Write(p []byte) (int, error) { return s.Write2(p, nil) }

// Write2 writes a, which is short, and then b as Write does. One goroutine at a time may
// call it or Write.
func (s *tlsSocket) Write2(a, b []byte) (n int, err error) {
	if err := s.flush(); err != nil {
		return 0, err
	}
	if len(a) > 0 && len(b) > 0 { // a record of its own would be more than a itself
		loan := smallBuffers.Get().(*[smallBuffer]byte)
		defer smallBuffers.Put(loan)
		m := copy(loan[:], a)
		first := loan[:m+copy(loan[m:], b)]
		n, err = s.seal(first)
		a, b = nil, b[max(0, n-m):]
	}
	if len(b) == 0 {
		b = a
	}
	for err == nil && len(b) > 0 {
		var more int
		more, err = s.seal(b[:min(len(b), recordBytes)])
		n += more
		b = b[more:]
	}
	return n, err
}

// seal encrypts and writes p. ErrWouldBlock says that it was taken, and that there is no
// more room.
func (s *tlsSocket) seal(p []byte) (n int, err error) {
	s.move(true)
	n, err = s.tls.Write(p)
	s.move(false)
	if err != nil {
		return n, err
	}
	return n, s.flush()
}

func (s *tlsSocket) move(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moving = on
}

// flush writes what is sealed.
func (s *tlsSocket) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flushSealed()
}

// flushSealed is flush with the mutex held: the socket's Write does not wait.
func (s *tlsSocket) flushSealed() error {
	if s.sealed == nil {
		return nil
	}
	n, err := s.Socket.Write(s.sealed.b)
	s.moved = s.moved || n > 0
	s.sealed.b = s.sealed.b[n:]
	if err != netpoll.ErrWouldBlock {
		s.sealed.release()
		s.sealed = nil
	}
	return err
}

// progress reports whether the peer has taken something since it was last asked.
func (s *tlsSocket) progress() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	moved := s.moved
	s.moved = false
	return moved
}

// CloseWrite tells the peer that nothing more will be sent. Reading goes on.
func (s *tlsSocket) CloseWrite() error { return s.tls.CloseWrite() }

// Close ends the connection, as Socket's does.
func (s *tlsSocket) Close() error { return s.tls.Close() }

// A carrier is the tlsSocket as crypto/tls sees it: the net.Conn below, with bytes as
// they go over the wire.
type carrier tlsSocket

func (c *carrier) Read(p []byte) (int, error) {
	if c.dry {
		return 0, netpoll.ErrWouldBlock
	}
	n, err := c.Socket.Read(p)
	c.dry = n < len(p) && err == nil
	return n, err
}

func (c *carrier) Write(p []byte) (int, error) {
	s := (*tlsSocket)(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sealed == nil {
		s.sealed = newBatch()
	}
	if len(s.sealed.b)+len(p) > mostSealed {
		return 0, errSealed
	}
	s.sealed.grow(len(p))
	s.sealed.b = append(s.sealed.b, p...)
	if s.moving {
		return len(p), nil
	}
	if err := s.flushSealed(); err != nil && err != netpoll.ErrWouldBlock {
		return 0, err
	}
	return len(p), nil
}

func (c *carrier) Close() error                     { return c.Socket.Close() }
func (c *carrier) LocalAddr() net.Addr              { return c.Socket.LocalAddr() }
func (c *carrier) RemoteAddr() net.Addr             { return c.Socket.RemoteAddr() }
func (c *carrier) SetDeadline(time.Time) error      { return nil } // nothing waits
func (c *carrier) SetReadDeadline(time.Time) error  { return nil }
func (c *carrier) SetWriteDeadline(time.Time) error { return nil }
