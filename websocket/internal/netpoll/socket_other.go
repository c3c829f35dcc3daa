//go:build !linux

package netpoll

import (
	"errors"
	"net"
)

// A Socket does not exist on this system; Take says so.
type Socket struct{}

// Take returns errors.ErrUnsupported and leaves c as it is.
func Take(*net.TCPConn) (*Socket, error) { return nil, errors.ErrUnsupported }

// LocalAddr returns nil.
func (*Socket) LocalAddr() net.Addr { return nil }

// RemoteAddr returns nil.
func (*Socket) RemoteAddr() net.Addr { return nil }

// Read returns errors.ErrUnsupported, as the other methods do.
func (*Socket) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// Write returns errors.ErrUnsupported.
func (*Socket) Write([]byte) (int, error) { return 0, errors.ErrUnsupported }

// Write2 returns errors.ErrUnsupported.
func (*Socket) Write2(a, b []byte) (int, error) { return 0, errors.ErrUnsupported }

// CloseWrite returns errors.ErrUnsupported.
func (*Socket) CloseWrite() error { return errors.ErrUnsupported }

// Control returns errors.ErrUnsupported and does not call f.
func (*Socket) Control(func(fd int) error) error { return errors.ErrUnsupported }

// Close returns errors.ErrUnsupported.
func (*Socket) Close() error { return errors.ErrUnsupported }
