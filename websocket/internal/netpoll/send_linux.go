//go:build !386

package netpoll

import (
	"syscall"
	"unsafe"
)

// send2 is write2 for a socket. A call that is made for sockets only costs less than
// one that first finds out what it writes to: some 8 % of all that the kernel does for
// a small message.
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
			return result("sendto", n, errno)
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
