package wstest

import (
	"io"
	"net"
	"time"

	"github.com/duplexgo/duplex/websocket"
)

// A Kind says which methods a stream has beside Read, Write and Close.
type Kind uint8

const (
	TCP  Kind = iota // all of a net.Conn, and CloseWrite, like a TCP connection
	Bare             // none: no deadlines, no half-close, no addresses, like a stream of HTTP/2
)

// Kinds are all kinds, for tests that must hold over each of them:
//
//	for _, kind := range wstest.Kinds {
//		t.Run(kind.String(), func(t *testing.T) { ... })
//	}
var Kinds = []Kind{TCP, Bare}

// String returns the kind's name, fit for that of a subtest.
func (k Kind) String() string {
	if k == Bare {
		return "Bare"
	}
	return "TCP"
}

// bufferSize is what fits between a Write and the Read that takes it, unless
// SetBuffer says something else.
const bufferSize = 64 << 10

// A Stream is one end of a connection in memory that behaves like TCP on one
// machine: bytes arrive in order, a Write waits while the buffer between the ends
// is full, Close lets the peer read what was sent before. It is a [net.Conn] with
// CloseWrite; for less, see [Stream.As].
//
// Waiting uses nothing but package sync and timers of package time, so that
// streams made within a bubble of testing/synctest follow its clock, and a
// goroutine that waits for a stream is durably blocked.
//
// The methods that net.Conn does not have are the script of a test: they make the
// line slow, narrow or broken, and count. They can be called at any time, and
// take effect at once, on calls that wait already, too.
type Stream struct {
	in, out       *line
	local, remote net.Addr
	peer          *Stream
	closed        func() // of the Listener that this is an end of; may be nil
}

// Streams returns both ends of a new connection. They are alike; they are called
// client and server because most tests use them so.
func Streams() (client, server *Stream) {
	return newStreams(
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1024},
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80})
}

func newStreams(clientAddr, serverAddr net.Addr) (client, server *Stream) {
	up, down := newLine(), newLine()
	client = &Stream{in: down, out: up, local: clientAddr, remote: serverAddr}
	server = &Stream{in: up, out: down, local: serverAddr, remote: clientAddr, peer: client}
	client.peer = server
	return client, server
}

// As returns the stream with the methods that kind has and no others.
func (s *Stream) As(kind Kind) websocket.Stream {
	if kind == Bare {
		return bare{s}
	}
	return s
}

// bare hides all other methods.
type bare struct{ s *Stream }

func (b bare) Read(p []byte) (int, error)  { return b.s.Read(p) }
func (b bare) Write(p []byte) (int, error) { return b.s.Write(p) }
func (b bare) Close() error                { return b.s.Close() }

// Peer returns the other end.
func (s *Stream) Peer() *Stream { return s.peer }

// Read waits until there is something to read and returns at most what is there.
// After the peer's Close or CloseWrite it returns what came before and then
// io.EOF.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.in.read(p)
	return n, s.opError("read", err)
}

// Write returns when all of p is in the buffer between the ends. Writes of
// several goroutines do not mix. The peer's Close makes it fail.
func (s *Stream) Write(p []byte) (int, error) {
	n, err := s.out.write(p)
	return n, s.opError("write", err)
}

// Close ends this end: calls that wait and later ones return [net.ErrClosed]. The
// peer reads what was written before and then io.EOF; its writes fail.
func (s *Stream) Close() error { return s.end(false) }

// Reset ends the connection as TCP does when a machine goes down or a program is
// killed: what is under way is lost, and every call of the peer, those that wait
// too, returns [syscall.ECONNRESET]. For this end it is as Close.
func (s *Stream) Reset() error { return s.end(true) }

func (s *Stream) end(reset bool) error {
	reset, err := s.in.closeReader(reset)
	if err != nil {
		return s.opError("close", err)
	}
	if s.closed != nil {
		s.closed()
	}
	s.out.closeWriter(reset)
	return nil
}

// CloseWrite ends one direction: the peer reads what was written and then io.EOF,
// and can go on writing.
func (s *Stream) CloseWrite() error { return s.opError("close", s.out.finish()) }

// LocalAddr returns the address of this end, a *net.TCPAddr.
func (s *Stream) LocalAddr() net.Addr { return s.local }

// RemoteAddr returns the address of the other end, a *net.TCPAddr.
func (s *Stream) RemoteAddr() net.Addr { return s.remote }

// SetDeadline sets both deadlines, as net.Conn's does.
func (s *Stream) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

// SetReadDeadline makes Read return os.ErrDeadlineExceeded from t on, even where
// there is something to read. A new deadline replaces it, the zero time takes it
// away.
func (s *Stream) SetReadDeadline(t time.Time) error {
	return s.opError("set", s.in.setDeadline(&s.in.reader, t))
}

// SetWriteDeadline makes Write return os.ErrDeadlineExceeded from t on, with the
// number of bytes that were written before. A new deadline replaces it, the zero
// time takes it away.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	return s.opError("set", s.out.setDeadline(&s.out.writer, t))
}

// SetBuffer sets how many bytes fit between this end's Write and the peer's Read;
// 64 KiB at first. With 0 the line is stuck: nothing passes, and every Write
// waits, as if the peer had stopped reading long ago.
func (s *Stream) SetBuffer(n int) {
	s.out.change(func() { s.out.size = n })
}

// SplitReads makes this end's Read return at most n bytes, however many there
// are. With 0 there is no such limit.
func (s *Stream) SplitReads(n int) {
	s.in.change(func() { s.in.split = n })
}

// FailRead makes this end's Read return err once it has returned n more bytes. A
// nil error takes that back.
func (s *Stream) FailRead(n int64, err error) {
	s.in.change(func() { s.in.reader.fault = fault{n, err} })
}

// FailWrite makes this end's Write return err once it has written n more bytes,
// those of the failing call among them. A nil error takes that back.
func (s *Stream) FailWrite(n int64, err error) {
	s.out.change(func() { s.out.writer.fault = fault{n, err} })
}

// ResetUnread makes Close do what TCP does where something has come in that was
// not read: what this end has written, and the peer has not read, is lost, and
// the peer's calls return [syscall.ECONNRESET]. It shows whether a last message
// survives a peer that goes on sending.
func (s *Stream) ResetUnread(on bool) {
	s.in.change(func() { s.in.resetUnread = on })
}

// Stats are counts of one end's calls. A call counts from its beginning; bytes
// count as they pass.
type Stats struct {
	Reads, Writes           int
	BytesRead, BytesWritten int64
}

// Stats returns the counts of this end up to now.
func (s *Stream) Stats() (v Stats) {
	s.in.change(func() { v.Reads, v.BytesRead = s.in.reader.calls, s.in.reader.bytes })
	s.out.change(func() { v.Writes, v.BytesWritten = s.out.writer.calls, s.out.writer.bytes })
	return v
}

// opError gives an error the form in which package net returns it: code that
// compares with == instead of errors.Is fails here and not first in production.
func (s *Stream) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: s.local, Addr: s.remote, Err: err}
}
