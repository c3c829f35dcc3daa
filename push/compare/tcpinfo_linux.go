//go:build linux && !386 && !s390x

package compare

import (
	"encoding/binary"
	"net"
	"syscall"
	"unsafe"
)

// Where in the kernel's struct tcp_info the counters are. The struct only ever grows
// at its end, so the places are the same on every kernel that has them.
const (
	offSegsOut      = 136
	offSegsIn       = 140
	offNotSent      = 144
	offReceived     = 128
	offSent         = 200 // since Linux 4.19
	offRetransmits  = 208
	leastInfo       = 216
	roomForTCPInfos = 512
)

// States of a connection whose client has said that nothing more will come.
const (
	stateCloseWait = 8
	stateLastAck   = 9
	stateClosing   = 11
)

// readCarried returns what a connection has carried since it began. Bytes that were
// written and have not left yet count as sent, those that were sent again count once.
func readCarried(c *net.TCPConn) (t carried, ok bool) {
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
	case stateCloseWait, stateLastAck, stateClosing:
		received-- // the client's FIN, which the kernel counts
	}
	return carried{
		received:   received,
		sent:       u64(offSent) - u64(offRetransmits) + u32(offNotSent),
		packetsIn:  u32(offSegsIn),
		packetsOut: u32(offSegsOut),
	}, true
}
