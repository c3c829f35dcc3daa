package push

import (
	"net"
	"net/netip"
	"strings"
)

// literalHost reports whether a Host is an IP address or localhost, with or
// without a port. Any page can have a name of its own resolve to this machine,
// and is then of the same origin; it can do so neither with an address nor with
// localhost, which browsers and resolvers answer themselves (RFC 6761, 6.3).
func literalHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}
