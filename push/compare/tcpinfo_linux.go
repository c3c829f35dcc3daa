//go:build linux && !386 && !s390x

package compare

import (
	"encoding/binary"
	"syscall"
	"unsafe"
)

// Where in the kernel's struct tcp_info the counters are. The struct only ever grows
// at its end, so the places are the same on every kernel that has them.
const (
	offReceived     = 128
	offSegsOut      = 136
	offSegsIn       = 140
	offNotSent      = 144
	offDataSegsIn   = 152
	offDataSegsOut  = 156
	offSent         = 200 // since Linux 4.19
	offRetransmits  = 208
	leastInfo       = 216
	roomForTCPInfos = 512
)

// States of a connection whose client has said that nothing more will come. One that
// is closed may have been reset instead: then a byte is missing.
const (
	stateTimeWait  = 6
	stateClosed    = 7
	stateCloseWait = 8
	stateLastAck   = 9
	stateClosing   = 11
)

// readCarried returns what a connection has carried since it began. Bytes that were
// written and have not left yet count as sent, those that were sent again count once.
func readCarried(c syscall.Conn) (t carried, ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return t, false
	}
	var info [roomForTCPInfos]byte
	size := uint32(len(info))
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	})
	if err != nil || errno != 0 || size < leastInfo {
		return t, false
	}
	u32 := func(at int) uint64 { return uint64(binary.NativeEndian.Uint32(info[at:])) }
	u64 := func(at int) uint64 { return binary.NativeEndian.Uint64(info[at:]) }
	received := u64(offReceived)
	switch info[0] {
	case stateTimeWait, stateClosed, stateCloseWait, stateLastAck, stateClosing:
		received-- // the client's FIN, which the kernel counts
	}
	dataIn, dataOut := u32(offDataSegsIn), u32(offDataSegsOut)
	acksIn, acksOut := u32(offSegsIn)-dataIn, u32(offSegsOut)-dataOut
	acksOut++ // that of the client's SYN went before there was a connection to count it
	return carried{
		asked:    half{received, dataIn + acksOut},
		answered: half{u64(offSent) - u64(offRetransmits) + u32(offNotSent), dataOut + acksIn},
		closed:   info[0] == stateClosed,
	}, true
}

// shutdown tells the client that nothing more will come. What it sends meanwhile is
// still taken, for what is refused the kernel does not count.
func shutdown(c syscall.Conn) {
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { syscall.Shutdown(int(fd), syscall.SHUT_WR) })
	}
}
