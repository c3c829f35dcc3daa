package netpoll

import (
	"syscall"
	"unsafe"
)

// canBlock says that NewBlocking works on this system.
const canBlock = true

// The calls below do one system call on a descriptor that does not block, and
// return what it says: ErrWouldBlock, or an *os.SyscallError. The caller sees to
// it that the descriptor stays open.
//
// Package syscall would tell Go's scheduler of each, in case it takes long, which
// costs some 50 ns. These calls cannot wait, only copy.

// rawSize is how many bytes are moved without telling the scheduler: what takes
// some 10 µs. Until it is done the thread runs nothing else, and a garbage
// collection cannot begin.
const rawSize = 64 << 10

func read(fd int, p []byte) (int, error) {
	for {
		n, errno := readOnce(fd, p)
		if errno != syscall.EINTR {
			return result("read", n, errno)
		}
	}
}

func readOnce(fd int, p []byte) (int, error) {
	if instrumented || len(p) == 0 || len(p) > rawSize {
		return syscall.Read(fd, p)
	}
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return plain(n, errno)
}

func write(fd int, p []byte) (int, error) {
	for {
		n, errno := writeOnce(fd, p)
		if errno != syscall.EINTR {
			return result("write", n, errno)
		}
	}
}

func writeOnce(fd int, p []byte) (int, error) {
	if instrumented || len(p) == 0 || len(p) > rawSize {
		return syscall.Write(fd, p)
	}
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return plain(n, errno)
}

// write2 writes a and then b.
func write2(fd int, a, b []byte) (int, error) {
	switch {
	case len(a) == 0:
		return write(fd, b)
	case len(b) == 0, instrumented: // then with two calls: the caller goes on where this ends
		return write(fd, a)
	}
	for {
		n, errno := writevOnce(fd, a, b)
		if errno != syscall.EINTR {
			return result("writev", n, errno)
		}
	}
}

func writevOnce(fd int, a, b []byte) (int, error) {
	vec := [2]syscall.Iovec{{Base: &a[0]}, {Base: &b[0]}}
	vec[0].SetLen(len(a))
	vec[1].SetLen(len(b))
	if len(a)+len(b) > rawSize {
		n, _, errno := syscall.Syscall(syscall.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&vec)), 2)
		return plain(n, errno)
	}
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&vec)), 2)
	return plain(n, errno)
}

func plain(n uintptr, errno syscall.Errno) (int, error) {
	if errno == 0 {
		return int(n), nil
	}
	return 0, errno
}
