//go:build !386

package websocket_test

import (
	"encoding/binary"
	"syscall"
	"testing"
	"unsafe"
)

// segments returns how many packets with data have come: of what is short, as many
// as the server has written.
func (c client) segments(t testing.TB) int {
	t.Helper()
	const tcpInfo, dataSegsIn = 11, 152 // linux/tcp.h: TCP_INFO and tcpi_data_segs_in
	var info [dataSegsIn + 4]byte
	size := uint32(len(info))
	_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, uintptr(c), syscall.IPPROTO_TCP, tcpInfo,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 || size < uint32(len(info)) {
		t.Skipf("the system does not count packets: %d bytes, %v", size, errno)
	}
	return int(binary.NativeEndian.Uint32(info[dataSegsIn:]))
}
