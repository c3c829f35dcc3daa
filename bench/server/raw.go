package server

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"
)

// rawBuffer is the most that the floor reads at once. Measured with messages of
// 1 MiB: half of it costs a quarter more, and four times of it gains nothing.
const rawBuffer = 256 << 10

// A rawLoop is what no WebSocket server in Go can fall below: one thread that waits
// in epoll_wait, and for each readable connection does one read and one write of
// the same bytes. It knows no frames. The wait is an ordinary blocking system call:
// the scheduler gives its processor to others, and nothing spins.
type rawLoop struct {
	epfd int
	buf  []byte

	mu      sync.Mutex // the loop holds it while it works, not while it waits
	conns   []*rawConn // by descriptor
	members []*rawConn // those of the broadcast path
}

type rawConn struct {
	fd      int
	room    bool   // bytes go to all members instead of back
	gone    func() // not nil: bytes that come are dropped, and this is called at the end, with the lock held
	pending []byte // what the socket did not take
}

func serveRaw(ln net.Listener) error {
	epfd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	l := &rawLoop{epfd: epfd, buf: make([]byte, rawBuffer)}
	go l.run()
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close() // the loop has a descriptor of its own
			if path, answer, err := rawUpgrade(c); err == nil {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.add(c, &rawConn{room: path == broadcastPath}, answer)
			}
		}()
	}
}

// rawUpgrade reads the opening handshake and returns the answer, RFC 6455, 4.2.2.
// Clients wait for it before they send frames.
func rawUpgrade(c net.Conn) (path string, answer []byte, err error) {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	r, err := http.ReadRequest(bufio.NewReaderSize(c, 1024))
	if err != nil {
		return "", nil, err
	}
	path = r.URL.Path
	if path != "/echo" && path != broadcastPath {
		io.WriteString(c, "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		return "", nil, fmt.Errorf("no path %s", path)
	}
	return path, rawAnswer(r), nil
}

// rawAnswer returns the answer to an opening handshake.
func rawAnswer(r *http.Request) []byte {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return fmt.Appendf(nil, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
}

// add gives a connection to the loop, with a duplicate of its descriptor: the one
// in Go's netpoller would be woken by every packet too. Only then it answers the
// handshake: a client that has the answer gets every broadcast. The lock is held.
// It reports whether the loop has the connection.
func (l *rawLoop) add(c net.Conn, rc *rawConn, answer []byte) bool {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	fd := -1
	raw.Control(func(old uintptr) {
		n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, old, syscall.F_DUPFD_CLOEXEC, 0)
		if errno == 0 {
			fd = int(n)
		}
	})
	if fd < 0 {
		return false
	}
	rc.fd = fd
	if fd >= len(l.conns) {
		l.conns = slices.Grow(l.conns, fd+1-len(l.conns))[:fd+1]
	}
	l.conns[fd] = rc
	if rc.room {
		l.members = append(l.members, rc)
	}
	l.watch(rc, syscall.EPOLL_CTL_ADD, syscall.EPOLLIN)
	l.write(rc, answer)
	return true
}

func (l *rawLoop) watch(c *rawConn, op int, events uint32) {
	ev := syscall.EpollEvent{Events: events | syscall.EPOLLRDHUP, Fd: int32(c.fd)}
	if err := syscall.EpollCtl(l.epfd, op, c.fd, &ev); err != nil {
		panic(err) // a mistake in this file
	}
}

func (l *rawLoop) run() {
	events := make([]syscall.EpollEvent, 512)
	for {
		n, err := syscall.EpollWait(l.epfd, events, -1)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			panic(err)
		}
		l.mu.Lock()
		for i := range events[:n] {
			c := l.conns[events[i].Fd]
			if c == nil {
				continue // removed by an event before this one
			}
			if events[i].Events&syscall.EPOLLOUT != 0 {
				l.flush(c)
			} else {
				l.read(c)
			}
		}
		l.mu.Unlock()
	}
}

func (l *rawLoop) read(c *rawConn) {
	n, err := syscall.Read(c.fd, l.buf)
	switch {
	case err == syscall.EAGAIN:
	case err != nil || n == 0:
		l.remove(c)
	case c.gone != nil:
	case !c.room:
		l.write(c, l.buf[:n])
	default:
		// What is read at once are whole frames: a sender's small writes arrive
		// undivided on the loopback, and the generator would notice otherwise.
		for _, to := range slices.Clone(l.members) {
			l.write(to, l.buf[:n])
		}
	}
}

// write sends p or keeps what does not go out; until that is out the connection is
// not read, or a client that takes nothing would fill the memory.
func (l *rawLoop) write(c *rawConn, p []byte) {
	if len(c.pending) > 0 {
		c.pending = append(c.pending, p...)
		return
	}
	n, err := syscall.Write(c.fd, p)
	if err != nil && err != syscall.EAGAIN {
		l.remove(c)
		return
	}
	if rest := p[max(n, 0):]; len(rest) > 0 {
		c.pending = append(c.pending, rest...)
		l.watch(c, syscall.EPOLL_CTL_MOD, syscall.EPOLLOUT)
	}
}

func (l *rawLoop) flush(c *rawConn) {
	n, err := syscall.Write(c.fd, c.pending)
	if err == syscall.EAGAIN {
		return
	}
	if err != nil {
		l.remove(c)
		return
	}
	if n < len(c.pending) {
		c.pending = append(c.pending[:0], c.pending[n:]...)
		return
	}
	c.pending = c.pending[:0]
	l.watch(c, syscall.EPOLL_CTL_MOD, syscall.EPOLLIN)
}

func (l *rawLoop) remove(c *rawConn) {
	if l.conns[c.fd] != c {
		return
	}
	l.conns[c.fd] = nil
	if i := slices.Index(l.members, c); i >= 0 {
		l.members = slices.Delete(l.members, i, i+1)
	}
	if c.gone != nil {
		c.gone()
	}
	syscall.Close(c.fd)
}
