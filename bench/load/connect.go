package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
)

// The opening handshake, RFC 6455, 4.1, with the key of section 1.3.
const (
	handshakeKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	handshakeAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
	handshakeTime   = 10 * time.Second
)

func handshakeRequest(addr, path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n", path, addr, handshakeKey)
}

// readAnswer reads the server's part of the handshake. Nothing may follow it until
// the client has sent a message.
func readAnswer(r io.Reader) error {
	var answer []byte
	buf := make([]byte, 1024)
	for !bytes.Contains(answer, []byte("\r\n\r\n")) {
		n, err := r.Read(buf)
		answer = append(answer, buf[:n]...)
		if err != nil {
			return fmt.Errorf("handshake: %w after %q", err, answer)
		}
		if len(answer) > 8<<10 {
			return fmt.Errorf("handshake: more than 8 KiB of answer, it begins %.100q", answer)
		}
	}
	if !strings.HasPrefix(string(answer), "HTTP/1.1 101 ") || !strings.Contains(string(answer), handshakeAccept) {
		return fmt.Errorf("handshake: the server answered %.200q", answer)
	}
	if !bytes.HasSuffix(answer, []byte("\r\n\r\n")) {
		return fmt.Errorf("handshake: the server sent more than its answer, and nobody had asked: %.200q", answer)
	}
	return nil
}

// sources are the addresses to connect from: each has ports of its own, some
// 28,000.
const sources = 64

// A dialer opens connections from 127.0.0.1, and from 127.0.0.2 and so on once the
// ports of one address have run out.
type dialer struct {
	to     syscall.SockaddrInet4
	source byte
}

func newDialer(addr string) (*dialer, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil || !ap.Addr().Is4() {
		return nil, fmt.Errorf("%s is not an IPv4 address and port", addr)
	}
	return &dialer{to: syscall.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}, source: 1}, nil
}

// dial returns a connected socket that blocks, up to handshakeTime.
func (d *dialer) dial() (fd int, err error) {
	for {
		fd, err = d.dialFrom([4]byte{127, 0, 0, d.source})
		if !errors.Is(err, syscall.EADDRNOTAVAIL) || d.source == sources {
			return fd, err
		}
		d.source++
	}
}

func (d *dialer) dialFrom(source [4]byte) (fd int, err error) {
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	err = prepare(fd)
	if err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: source})
	}
	if err == nil {
		err = d.connect(fd)
	}
	if err != nil {
		syscall.Close(fd)
		return -1, fmt.Errorf("connect from %v: %w", net.IP(source[:]), err)
	}
	return fd, nil
}

// connect waits for the connection, whatever signals come meanwhile; the Go runtime
// sends some.
func (d *dialer) connect(fd int) error {
	for {
		switch err := syscall.Connect(fd, &d.to); err {
		case syscall.EINTR: // it goes on, and the next call waits for it
		case syscall.EISCONN:
			return nil
		default:
			return err
		}
	}
}

// ipBindAddressNoPort leaves the choice of a port to connect, which needs it to
// be free for one destination only, not for all.
const ipBindAddressNoPort = 24

// prepare sets a socket's options.
func prepare(fd int) error {
	wait := syscall.NsecToTimeval(int64(handshakeTime))
	return errors.Join(
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1),
		// A reset at the end leaves no port in TIME_WAIT for the next run to miss.
		syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1}),
		syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &wait),
		syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &wait),
		syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipBindAddressNoPort, 1),
	)
}

// connecting is how many handshakes are under way at once: enough to keep a server
// busy, fewer than the backlog of any listener.
const connecting = 64

// open makes n connections to a path, their handshakes done, their descriptors not
// blocking.
func open(addr, path string, n int) (fds []int, err error) {
	d, err := newDialer(addr)
	if err != nil {
		return nil, err
	}
	if err := checkDescriptors(n); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeAll(fds)
		}
	}()
	request := handshakeRequest(addr, path)
	for len(fds) < n {
		batch := len(fds)
		for len(fds) < n && len(fds) < batch+connecting {
			fd, err := d.dial()
			if err != nil {
				return fds, fmt.Errorf("connection %d: %w", len(fds), err)
			}
			fds = append(fds, fd)
			if _, err := syscall.Write(fd, request); err != nil {
				return fds, fmt.Errorf("connection %d: handshake: %w", len(fds)-1, err)
			}
		}
		for i, fd := range fds[batch:] {
			if err := readAnswer(socket(fd)); err != nil {
				return fds, fmt.Errorf("connection %d: %w", batch+i, err)
			}
			if err := syscall.SetNonblock(fd, true); err != nil {
				return fds, err
			}
		}
	}
	return fds, nil
}

// maxDescriptors is the most that a process of the comparison opens.
const maxDescriptors = 20000

// checkDescriptors says what is wrong before it goes wrong halfway.
func checkDescriptors(conns int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	const others = few + 64 // standard streams, epoll, control
	if most := min(limit.Cur, maxDescriptors); uint64(conns)+others > most {
		return fmt.Errorf("%d connections are too many: this process may open %d files, and needs %d for other things", conns, most, others)
	}
	return nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		syscall.Close(fd)
	}
}

// A socket is a blocking descriptor as a Reader.
type socket int

func (s socket) Read(p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(s), p)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return 0, os.ErrDeadlineExceeded
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}
