//go:build linux

package websocket_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

const manyClients = "DUPLEX_MANY_CLIENTS" // set in the clients' process: the server's address and how many

// howMany returns how many connections this process, and its clients', can have.
func howMany(t *testing.T) int {
	t.Helper()
	n := 15_000
	if raceEnabled || testing.Short() {
		n = 2000
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	const others = 200 // descriptors for all else
	if limit.Cur < uint64(n)+others {
		if limit.Cur < 2*others {
			t.Skipf("this process may have %d descriptors only", limit.Cur)
		}
		n = int(limit.Cur) - others
		t.Logf("%d connections: this process may have %d descriptors", n, limit.Cur)
	}
	return n
}

// A great many connections are used, idle, pinged and shut down, and nothing is
// left of them. The clients are a process of their own: one process may not have
// the descriptors for both ends.
func TestManyConnections(t *testing.T) {
	if to := os.Getenv(manyClients); to != "" {
		runManyClients(t, to)
		return
	}
	n := howMany(t)
	nothingLeft(t)
	goroutines := runtime.NumGoroutine()
	var registry websocket.Registry
	var closes, going atomic.Int64
	h := echoHandler(&websocket.Options{PingInterval: 2 * time.Second, PongTimeout: 10 * time.Minute, CloseTimeout: 10 * time.Minute})
	h.Registry = &registry
	h.Close = func(_ *websocket.Conn, err error) {
		closes.Add(1)
		if end := (*websocket.CloseError)(nil); errors.As(err, &end) && end.Local && end.Code == websocket.CloseGoingAway {
			going.Add(1)
		}
	}
	var alive atomic.Int64 // callbacks of http.Server: accepted and not yet a WebSocket's
	s := overLoop.run(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		alive.Add(1)
		defer alive.Add(-1)
		h.ServeHTTP(w, r)
	}))
	c := startMany(t, s, n)

	c.await("echoed")
	if got := registry.Len(); got != n {
		t.Errorf("the registry has %d connections, want %d", got, n)
	}
	eventually(t, overLoop, "the end of the goroutines that accepted", func() bool {
		return alive.Load() == 0 && runtime.NumGoroutine() < goroutines+100
	})
	c.proceed()

	c.await("pinged")
	for conn := range registry.All() {
		eventually(t, overLoop, "the pong, and parking", func() bool { return conn.RTT() > 0 && conn.IsParked() })
	}
	eventually(t, overLoop, "the end of the goroutines that read pongs", func() bool {
		return runtime.NumGoroutine() < goroutines+100
	})
	c.proceed()

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := registry.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v, with %d connections left", err, registry.Len())
	}
	c.await("closed")
	c.proceed()
	c.end()
	if closes.Load() != int64(n) || going.Load() != int64(n) || registry.Len() != 0 {
		t.Errorf("Close was called %d times, %d of them after a closing handshake with 1001, want %d; the registry has %d",
			closes.Load(), going.Load(), n, registry.Len())
	}
}

// A manyProcess is the clients, as the test sees them.
type manyProcess struct {
	t    *testing.T
	in   io.Writer
	out  *bufio.Scanner
	wait func() error
	said []string // that was no step
}

func startMany(t *testing.T, s *site, n int) *manyProcess {
	t.Helper()
	cmd := again(t, "TestManyConnections", manyClients, fmt.Sprintf("%s %d", s.url[len("ws://"):], n))
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() }) // where the test ends before: so do they
	return &manyProcess{t: t, in: in, out: bufio.NewScanner(out), wait: cmd.Wait}
}

// await waits until the clients have come that far.
func (p *manyProcess) await(step string) {
	p.t.Helper()
	for p.out.Scan() {
		if p.out.Text() == step {
			return
		}
		p.said = append(p.said, p.out.Text())
	}
	p.wait()
	p.t.Fatalf("the clients have not %s:\n%s", step, strings.Join(p.said, "\n"))
}

func (p *manyProcess) proceed() { io.WriteString(p.in, "\n") }

func (p *manyProcess) end() {
	p.t.Helper()
	for p.out.Scan() {
		p.said = append(p.said, p.out.Text())
	}
	if err := p.wait(); err != nil {
		p.t.Errorf("the clients' process: %v\n%s", err, strings.Join(p.said, "\n"))
	}
}

// clients are sockets that do not wait, and one who waits for all of them.
type clients struct {
	t     *testing.T
	epoll int
	lines map[int]*line

	opened, echoes, pinged, closes int
}

// A line is one of them.
type line struct {
	in     []byte // what has come of a frame, or of the handshake
	opened bool
	closed bool // by a close frame
	pinged bool
}

// runManyClients is the clients' process.
func runManyClients(t *testing.T, to string) {
	where, count, _ := strings.Cut(to, " ")
	n, err := strconv.Atoi(count)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := net.ResolveTCPAddr("tcp4", where)
	if err != nil {
		t.Fatal(err)
	}
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(epoll)
	c := &clients{t: t, epoll: epoll, lines: make(map[int]*line)}
	steps := bufio.NewReader(os.Stdin)
	step := func(name string) {
		fmt.Println(name)
		if _, err := steps.ReadString('\n'); err != nil {
			t.Fatal("the server's process has gone")
		}
	}

	for i := range n {
		c.connect(addr, i)
		if i%100 == 99 || i == n-1 { // not more than the server's queue takes
			c.until("echoed", func() bool { return c.echoes == i+1 })
		}
	}
	for fd := range c.lines { // and again, when they have been idle
		c.send(fd, wire.OpText, manyEcho)
	}
	c.until("echoed twice", func() bool { return c.echoes == 2*n })
	step("echoed")
	for _, l := range c.lines { // from now on, when they are idle
		l.pinged = false
	}
	c.pinged = 0
	c.until("been pinged", func() bool { return c.pinged == n })
	step("pinged")
	c.until("been closed", func() bool { return len(c.lines) == 0 })
	if c.closes != n {
		t.Errorf("%d of %d got a close frame", c.closes, n)
	}
	step("closed")
}

const manyEcho = "are we many?"

// connect opens a connection, which begins with the handshake and a message.
func (c *clients) connect(to *net.TCPAddr, i int) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	// One address has not always so many ports.
	const bindAddressNoPort = 24
	syscall.SetsockoptInt(fd, syscall.SOL_IP, bindAddressNoPort, 1)
	from := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + i/4000)}}
	if err := syscall.Bind(fd, from); err != nil {
		c.t.Fatal(err)
	}
	for err = syscall.EINTR; err == syscall.EINTR; {
		err = syscall.Connect(fd, &syscall.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())})
	}
	if err != nil {
		c.t.Fatalf("connecting number %d: %v", i, err)
	}
	syscall.SetNonblock(fd, true)
	event := &syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP, Fd: int32(fd)}
	if err := syscall.EpollCtl(c.epoll, syscall.EPOLL_CTL_ADD, fd, event); err != nil {
		c.t.Fatal(err)
	}
	c.lines[fd] = new(line)
	c.write(fd, []byte(handshakeRequest))
}

// write sends bytes, which are so few that the socket takes them at once.
func (c *clients) write(fd int, b []byte) {
	if n, err := syscall.Write(fd, b); n != len(b) {
		c.t.Fatalf("writing %d bytes: %d, %v", len(b), n, err)
	}
}

func (c *clients) send(fd int, op wire.Opcode, payload string) {
	c.write(fd, (&raw{Peer: wstest.NewPeer(nil, true)}).frame(true, op, payload))
}

// until works on what comes until a condition holds.
func (c *clients) until(what string, holds func() bool) {
	c.t.Helper()
	events := make([]syscall.EpollEvent, 256)
	for end := time.Now().Add(time.Minute); !holds(); {
		n, err := syscall.EpollWait(c.epoll, events, 1000)
		if err != nil && err != syscall.EINTR {
			c.t.Fatal(err)
		}
		for _, e := range events[:max(0, n)] {
			c.read(int(e.Fd))
		}
		if time.Now().After(end) {
			c.t.Fatalf("not all have %s: there are %d, %d opened; %d echoes, %d pinged, %d closed",
				what, len(c.lines), c.opened, c.echoes, c.pinged, c.closes)
		}
	}
}

// read works on what has come on a connection.
func (c *clients) read(fd int) {
	l := c.lines[fd]
	b := make([]byte, 4096)
	n, err := syscall.Read(fd, b)
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return
	case err != nil || n == 0:
		if !l.closed || err != nil {
			c.t.Errorf("a connection ends with %v; it had a close frame: %v", err, l.closed)
		}
		delete(c.lines, fd)
		syscall.Close(fd)
		return
	}
	l.in = append(l.in, b[:n]...)
	if !l.opened {
		head, rest, ok := strings.Cut(string(l.in), "\r\n\r\n")
		if !ok {
			return
		}
		if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
			c.t.Fatalf("the server answered %q", head)
		}
		l.opened, l.in = true, []byte(rest)
		c.opened++
		c.send(fd, wire.OpText, manyEcho)
	}
	for c.frame(fd, l) {
	}
}

// frame works on a frame that has come whole, and reports whether there was one.
func (c *clients) frame(fd int, l *line) bool {
	h, n, err := wire.ParseHeader(l.in)
	if err != nil || len(l.in) < n+int(h.Length) {
		return false
	}
	p := string(l.in[n:][:h.Length])
	if l.in = l.in[n+int(h.Length):]; len(l.in) == 0 {
		l.in = nil
	}
	switch h.Opcode {
	case wire.OpText:
		if p != manyEcho {
			c.t.Errorf("echo %q", p)
		}
		c.echoes++
	case wire.OpPing:
		c.send(fd, wire.OpPong, p)
		if !l.pinged {
			l.pinged = true
			c.pinged++
		}
	case wire.OpClose:
		l.closed = true
		c.closes++
		c.send(fd, wire.OpClose, p)
	default:
		c.t.Errorf("a frame %v %q", h.Opcode, p)
	}
	return true
}
