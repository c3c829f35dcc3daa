package netpoll

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unique"
)

// A Socket is a TCP connection that has left Go's own poller and package net: 48
// bytes and a descriptor. It never waits. Register it with a Poller, within
// Control, and read or write when there is an event.
//
// All methods may be called by any goroutine at any time, though bytes that two
// goroutines read, or write, at once come in any order. After Close they return an
// error that is net.ErrClosed.
//
// Nothing closes a Socket that is forgotten.
//
// Errors are those of package net: *net.OpError, except for io.EOF and
// ErrWouldBlock.
type Socket struct {
	local      unique.Handle[netip.AddrPort] // those of a server share few
	remote     netip.AddrPort
	fd         int32 // owned; closed by the last of references
	references references
}

// Take makes a Socket out of c, which it closes: reads and writes of c that are
// under way end, and so do its deadlines. On an error c is as it was.
func Take(c *net.TCPConn) (*Socket, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, failed := -1, error(nil)
	// Within Control c's descriptor cannot be closed.
	if err := raw.Control(func(original uintptr) { fd, failed = duplicate(original) }); err != nil {
		return nil, err
	}
	s := &Socket{local: unique.Make(addrPort(c.LocalAddr())), remote: addrPort(c.RemoteAddr()), fd: int32(fd)}
	if failed != nil {
		return nil, s.wrap("take", failed)
	}
	// From here on there are two descriptors of one connection. Closing c's takes
	// it out of Go's poller, and leaves the connection alone.
	if err := c.Close(); errors.Is(err, net.ErrClosed) {
		syscall.Close(fd) // somebody was faster, who wanted the connection to end
		return nil, err
	}
	return s, nil
}

// duplicate returns a second descriptor, which does not block.
func duplicate(original uintptr) (int, error) {
	duplicated, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, original, syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("fcntl", errno)
	}
	fd := int(duplicated)
	// Package net's descriptors never block, unless somebody has had c's File and
	// changed that: the flag is the connection's and not the descriptor's.
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return -1, os.NewSyscallError("setnonblock", err)
	}
	return fd, nil
}

func addrPort(a net.Addr) netip.AddrPort {
	tcp, _ := a.(*net.TCPAddr)
	return tcp.AddrPort()
}

// LocalAddr returns the address of this end, after Close too.
func (s *Socket) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(s.local.Value()) }

// RemoteAddr returns the address of the peer, after Close too.
func (s *Socket) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.remote) }

// Read reads what is there: at least a byte, or ErrWouldBlock, or io.EOF.
//
// Having read less than len(p) means that there was no more at that time, and an
// event will tell when something comes. It does not tell of an end that was there
// already: an event that reads HungUp did.
func (s *Socket) Read(p []byte) (int, error) {
	if !s.references.acquire() {
		return 0, s.wrap("read", net.ErrClosed)
	}
	defer s.release()
	if len(p) == 0 {
		return 0, nil
	}
	n, err := recv(int(s.fd), p)
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, s.wrap("read", err)
}

// Write writes as much of p as there is room for. Where that is not all, the error
// is ErrWouldBlock, and an event will tell when there is room again. It tells when
// about a third is free: whoever wants to give up a peer that takes nothing should
// try once more before.
func (s *Socket) Write(p []byte) (int, error) { return s.Write2(p, nil) }

// Write2 writes a and then b as Write does, with one system call.
func (s *Socket) Write2(a, b []byte) (n int, err error) {
	if !s.references.acquire() {
		return 0, s.wrap("write", net.ErrClosed)
	}
	defer s.release()
	for err == nil && len(a)+len(b) > 0 {
		// Until the kernel says that there is no room: only then will it tell when
		// there is.
		var taken int
		taken, err = send2(int(s.fd), a, b)
		n += taken
		a, b = rest(a, b, taken)
	}
	return n, s.wrap("write", err)
}

// CloseWrite tells the peer that nothing more will be sent. Reading goes on.
func (s *Socket) CloseWrite() error {
	return s.Control(func(fd int) error {
		return s.wrap("close", os.NewSyscallError("shutdown", syscall.Shutdown(fd, syscall.SHUT_WR)))
	})
}

// Control calls f with the descriptor, which stays open until f returns. f must
// not close it, and must not keep its number.
func (s *Socket) Control(f func(fd int) error) error {
	if !s.references.acquire() {
		return s.wrap("control", net.ErrClosed)
	}
	defer s.release()
	return f(int(s.fd))
}

// Close ends the Socket. The descriptor is closed when no other method is in the
// middle of a system call, which is soon: none of them waits. A Socket that is
// registered with a Poller must be removed there, too.
func (s *Socket) Close() error {
	if !s.references.acquire() {
		return s.wrap("close", net.ErrClosed)
	}
	defer s.release()
	if !s.references.end() {
		return s.wrap("close", net.ErrClosed)
	}
	return nil
}

func (s *Socket) release() {
	if s.references.release() {
		syscall.Close(int(s.fd))
	}
}

// wrap gives an error the form that package net would.
func (s *Socket) wrap(op string, err error) error {
	if err == nil || err == ErrWouldBlock {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}
