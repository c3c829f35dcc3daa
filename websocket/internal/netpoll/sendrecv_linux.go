//go:build !386

package netpoll

import (
	"syscall"
	"unsafe"
)

// The calls below are made for sockets only. They cost less than read and write, which
// first find out what they are to read from: some 8 % of all that the kernel does for a small
// message, and more where there are so many connections that no cache has their files.
// Errors have the names that package net gives them.

// send2 is write2 for a socket.
func send2(fd int, a, b []byte) (int, error) {
	if len(a) == 0 {
		a, b = b, nil
	}
	if instrumented || len(a) == 0 || len(b) > 0 {
		return write2(fd, a, b)
	}
	for {
		n, errno := sendOnce(fd, a)
		if errno != syscall.EINTR {
			return result("write", n, errno)
		}
	}
}

func sendOnce(fd int, p []byte) (int, error) {
	const flags = syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL
	if len(p) > rawSize {
		n, _, errno := syscall.Syscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), flags, 0, 0)
		return plain(n, errno)
	}
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), flags, 0, 0)
	return plain(n, errno)
}

// recv is read for a socket.
func recv(fd int, p []byte) (int, error) {
	if instrumented || len(p) == 0 || len(p) > rawSize {
		return read(fd, p)
	}
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), syscall.MSG_DONTWAIT, 0, 0)
		if errno != syscall.EINTR {
			n, err := plain(n, errno)
			return result("read", n, err)
		}
	}
}
