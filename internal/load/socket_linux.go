package load

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// A dialer begins connections to one address: from the address that the system
// chooses and, for a server on a 127 address, from 127.0.0.2 and so on once the
// ports of that have run out. Each has some 28,000.
type dialer struct {
	to      netip.AddrPort
	source  int                               // the next to use; 0 leaves it to the system
	connect func(int, syscall.Sockaddr) error // syscall.Connect, but for tests
}

// ipBindAddressNoPort leaves the choice of a port to connect, which needs it to
// be free for one destination only, not for all.
const ipBindAddressNoPort = 24

// dial returns a socket that does not block and connects, or is connected.
func (d *dialer) dial() (fd int, err error) {
	for {
		fd, err = d.dialFrom(d.source)
		if err != syscall.EADDRNOTAVAIL || !d.to.Addr().Unmap().Is4() || !d.to.Addr().Unmap().IsLoopback() || d.source+1 >= lastSource {
			return fd, err
		}
		d.source++
	}
}

func (d *dialer) dialFrom(source int) (fd int, err error) {
	family, to := sockaddr(d.to)
	fd, err = syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	if err == nil && source > 0 {
		err = errors.Join(
			syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipBindAddressNoPort, 1),
			syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(source + 1)}}),
		)
	}
	if err == nil {
		err = d.connect(fd, to)
	}
	if err != nil && err != syscall.EINPROGRESS && err != syscall.EINTR {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

func sockaddr(a netip.AddrPort) (family int, to syscall.Sockaddr) {
	ip := a.Addr().Unmap()
	if ip.Is4() {
		return syscall.AF_INET, &syscall.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}
	}
	return syscall.AF_INET6, &syscall.SockaddrInet6{Port: int(a.Port()), Addr: ip.As16(), ZoneId: zone(ip)}
}

// connected returns the error with which a connection could not be made.
func connected(fd int) error {
	errno, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err != nil {
		return err
	}
	if errno != 0 {
		return syscall.Errno(errno)
	}
	return nil
}

// abort closes a socket with a reset: it leaves no port in TIME_WAIT.
func abort(fd int) {
	syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	syscall.Close(fd)
}

// zone returns the number of the interface that an address of a link is on.
func zone(ip netip.Addr) uint32 {
	if i, err := net.InterfaceByName(ip.Zone()); err == nil {
		return uint32(i.Index)
	}
	return 0
}
