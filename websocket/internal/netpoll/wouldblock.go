package netpoll

import "os"

// ErrWouldBlock says that the kernel has nothing more to give, or no more room, at
// the moment: an event will tell when it has. To callers that know only net.Conn
// it is a deadline that has passed; compare with == or errors.Is.
var ErrWouldBlock error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string        { return "netpoll: the operation would have to wait" }
func (wouldBlock) Timeout() bool        { return true }
func (wouldBlock) Temporary() bool      { return true }
func (wouldBlock) Is(target error) bool { return target == os.ErrDeadlineExceeded }
