//go:build !linux || 386

package netpoll

// send2 is write2 for a socket.
func send2(fd int, a, b []byte) (int, error) { return write2(fd, a, b) }

// recv is read for a socket.
func recv(fd int, p []byte) (int, error) { return read(fd, p) }
