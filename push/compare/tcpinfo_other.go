//go:build !linux || 386 || s390x

package compare

import "net"

// readCarried has nothing to ask here.
func readCarried(*net.TCPConn) (carried, bool) { return carried{}, false }
