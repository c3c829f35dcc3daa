//go:build unix

package load

import (
	"fmt"
	"syscall"
)

// checkFiles says what is wrong before it goes wrong halfway.
func checkFiles(conns int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	const others = 64 // standard streams, epoll, what reads /proc
	if uint64(conns)+others > uint64(limit.Cur) {
		return fmt.Errorf("%d connections are too many: this process may open %d files and needs %d for other things: raise the limit with ulimit -n", conns, limit.Cur, others)
	}
	return nil
}
