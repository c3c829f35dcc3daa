//go:build !unix

package netpoll

import "errors"

// canBlock says that NewBlocking does not work on this system: there is no
// syscall.RawConn, or its callbacks cannot wait.
const canBlock = false

func read(int, []byte) (int, error)           { return 0, errors.ErrUnsupported }
func write2(int, []byte, []byte) (int, error) { return 0, errors.ErrUnsupported }
