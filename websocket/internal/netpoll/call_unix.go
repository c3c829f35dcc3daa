//go:build unix && !linux

package netpoll

import "syscall"

// canBlock says that NewBlocking works on this system.
const canBlock = true

// The calls below do one system call on a descriptor that does not block, and
// return what it says: ErrWouldBlock, or an *os.SyscallError. The caller sees to
// it that the descriptor stays open.

// mostBytes is how many bytes a call moves: some systems refuse more than fits
// into 31 bits.
const mostBytes = 1 << 30

func read(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p[:min(len(p), mostBytes)])
		if err != syscall.EINTR {
			return result("read", n, err)
		}
	}
}

// write2 begins to write a and then b. Package syscall has no writev for all of
// these systems, so it is a first, and b when nothing is left of it.
func write2(fd int, a, b []byte) (int, error) {
	if len(a) == 0 {
		a = b
	}
	for {
		n, err := syscall.Write(fd, a[:min(len(a), mostBytes)])
		if err != syscall.EINTR {
			return result("write", n, err)
		}
	}
}
