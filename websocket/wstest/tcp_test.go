package wstest

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// halfCloser is what both a *net.TCPConn and a *Stream are.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// tcp returns both ends of a connection over loopback.
func tcp(t *testing.T) (a, b halfCloser) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skipf("no loopback: %v", err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client.(*net.TCPConn), server.(*net.TCPConn)
}

// What a Stream claims to have of TCP is true of TCP: each of these runs over
// both.
func TestStreamIsAsTCP(t *testing.T) {
	one := make([]byte, 1)
	tests := []struct {
		name string
		run  func(a, b halfCloser) (n int, err error)
		n    int
		err  error
	}{
		{"read after the peer's close", func(a, b halfCloser) (int, error) {
			a.Close()
			return b.Read(one)
		}, 0, io.EOF},
		{"read what came before the peer's close", func(a, b halfCloser) (int, error) {
			a.Write(one)
			a.Close()
			return io.ReadFull(b, one)
		}, 1, nil},
		{"read after the peer's CloseWrite", func(a, b halfCloser) (int, error) {
			a.CloseWrite()
			return b.Read(one)
		}, 0, io.EOF},
		{"the other way after CloseWrite", func(a, b halfCloser) (int, error) {
			a.CloseWrite()
			b.Write(one)
			return io.ReadFull(a, one)
		}, 1, nil},
		{"read after close", func(a, b halfCloser) (int, error) {
			a.Close()
			return a.Read(one)
		}, 0, net.ErrClosed},
		{"write after close", func(a, b halfCloser) (int, error) {
			a.Close()
			return a.Write(one)
		}, 0, net.ErrClosed},
		{"read of nothing after close", func(a, b halfCloser) (int, error) {
			a.Close()
			return a.Read(nil)
		}, 0, net.ErrClosed},
		{"close after close", func(a, b halfCloser) (int, error) {
			a.Close()
			return 0, a.Close()
		}, 0, net.ErrClosed},
		{"CloseWrite after close", func(a, b halfCloser) (int, error) {
			a.Close()
			return 0, a.CloseWrite()
		}, 0, net.ErrClosed},
		{"deadline after close", func(a, b halfCloser) (int, error) {
			a.Close()
			return 0, a.SetReadDeadline(time.Time{})
		}, 0, net.ErrClosed},
		{"read with something there and a passed deadline", func(a, b halfCloser) (int, error) {
			a.Write(one)
			b.SetReadDeadline(time.Unix(1, 0))
			return b.Read(one)
		}, 0, os.ErrDeadlineExceeded},
		{"write with room and a passed deadline", func(a, b halfCloser) (int, error) {
			a.SetWriteDeadline(time.Unix(1, 0))
			return a.Write(one)
		}, 0, os.ErrDeadlineExceeded},
		{"read with a deadline that comes", func(a, b halfCloser) (int, error) {
			b.SetReadDeadline(time.Now().Add(time.Millisecond))
			return b.Read(one)
		}, 0, os.ErrDeadlineExceeded},
		{"read with a deadline that was taken away", func(a, b halfCloser) (int, error) {
			b.SetReadDeadline(time.Unix(1, 0))
			b.Read(one)
			b.SetReadDeadline(time.Time{})
			a.Write(one)
			return b.Read(one)
		}, 1, nil},
		{"end of the stream and a passed deadline", func(a, b halfCloser) (int, error) {
			a.Close()
			b.SetReadDeadline(time.Unix(1, 0))
			return b.Read(one)
		}, 0, os.ErrDeadlineExceeded},
		{"read of nothing", func(a, b halfCloser) (int, error) { return a.Read(nil) }, 0, nil},
		{"write of nothing", func(a, b halfCloser) (int, error) { return a.Write(nil) }, 0, nil},
	}
	for _, row := range tests {
		t.Run(row.name, func(t *testing.T) {
			check := func(what string, a, b halfCloser) {
				defer a.Close()
				defer b.Close()
				n, err := row.run(a, b)
				if n != row.n || !errors.Is(err, row.err) {
					t.Errorf("%s: %d, %v; want %d, %v", what, n, err, row.n, row.err)
				}
			}
			a, b := tcp(t)
			check("TCP", a, b)
			c, s := Streams()
			check("Stream", c, s)
		})
	}
}
