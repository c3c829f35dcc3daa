//go:build unix

package netpoll

import (
	"os"
	"syscall"
)

// result is what a system call returned, in the form of the package.
func result(call string, n int, err error) (int, error) {
	switch err {
	case nil:
		return n, nil
	case syscall.EAGAIN:
		return 0, ErrWouldBlock
	}
	return 0, os.NewSyscallError(call, err)
}
