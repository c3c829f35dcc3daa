package netpoll

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"

	"github.com/duplexgo/duplex/websocket/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// tcpPair returns both ends of a connection over the loopback.
func tcpPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dialed, accepted := pair(t, l)
	return dialed.(*net.TCPConn), accepted.(*net.TCPConn)
}

// pair returns both ends of a connection to a listener, which it closes.
func pair(t testing.TB, l net.Listener) (dialed, accepted net.Conn) {
	t.Helper()
	defer l.Close()
	dialed, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close(); accepted.Close() })
	return dialed, accepted
}

func mustWrite(t testing.TB, w io.Writer, p string) {
	t.Helper()
	if n, err := io.WriteString(w, p); n != len(p) || err != nil {
		t.Fatalf("writing %d bytes: %d, %v", len(p), n, err)
	}
}

// mustRead reads that many bytes from something that waits.
func mustRead(t testing.TB, r io.Reader, n int) string {
	t.Helper()
	p := make([]byte, n)
	if got, err := io.ReadFull(r, p); err != nil {
		t.Fatalf("reading %d bytes: %d, %v", n, got, err)
	}
	return string(p)
}

func TestErrWouldBlock(t *testing.T) {
	if !errors.Is(ErrWouldBlock, os.ErrDeadlineExceeded) || errors.Is(ErrWouldBlock, io.EOF) {
		t.Error("ErrWouldBlock is not os.ErrDeadlineExceeded, or is everything")
	}
	if e, ok := ErrWouldBlock.(net.Error); !ok || !e.Timeout() {
		t.Error("ErrWouldBlock is no net.Error that is a timeout")
	}
}

func TestRest(t *testing.T) {
	for _, test := range []struct {
		n    int
		a, b string
	}{{0, "ab", "cd"}, {1, "b", "cd"}, {2, "", "cd"}, {3, "", "d"}, {4, "", ""}} {
		if a, b := rest([]byte("ab"), []byte("cd"), test.n); string(a) != test.a || string(b) != test.b {
			t.Errorf("after %d bytes: %q, %q; want %q, %q", test.n, a, b, test.a, test.b)
		}
	}
}
