package websocket

import (
	"net/http"
	"net/netip"
	"strings"
)

// ClientAddr returns the address of the client that a request comes from: the
// peer's or, where that is a trusted proxy, the one that the proxies tell of. It is
// the zero Addr where it is not known. A nil *Limits trusts no proxy.
func (l *Limits) ClientAddr(r *http.Request) netip.Addr {
	addr := parseAddr(r.RemoteAddr)
	if l == nil || !l.trusts(addr) {
		return addr
	}
	name := l.ForwardedHeader
	if name == "" {
		name = "X-Forwarded-For"
	}
	// All lines of the field are one list. RFC 9110, 5.3.
	list := strings.Join(r.Header.Values(name), ",")
	pairs := strings.EqualFold(name, "Forwarded")
	for list != "" {
		var last string
		list, last = cutLast(list, pairs)
		if pairs {
			last = forwardedFor(last)
		}
		hop := parseAddr(strings.Trim(last, " \t"))
		if !hop.IsValid() {
			return addr // a proxy that does not tell: it is the last that is known
		}
		if addr = hop; !l.trusts(addr) {
			break
		}
	}
	return addr
}

// parseAddr reads an IP address, perhaps with a port.
func parseAddr(s string) netip.Addr {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			addr, _ = netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
		} else {
			addr = ap.Addr()
		}
	}
	return addr.Unmap().WithZone("")
}

// cutLast cuts the last member off a list. With quotes, a comma in a quoted string
// is none. It is looked for from the right, where the trusted proxies write: a quote
// that a client opens on the left and never closes would else swallow what they say.
func cutLast(list string, quotes bool) (before, last string) {
	quoted := false
	for i := len(list) - 1; i >= 0; i-- {
		switch c := list[i]; {
		case c == '"' && quotes && !(quoted && isEscaped(list, i)):
			quoted = !quoted
		case c == ',' && !quoted:
			return list[:i], list[i+1:]
		}
	}
	return "", list
}

// isEscaped reports whether the byte at i has an odd number of backslashes before it.
func isEscaped(s string, i int) bool {
	before := strings.TrimRight(s[:i], "\\")
	return (i-len(before))%2 == 1
}

// forwardedFor returns the value of "for" in a member of Forwarded, "" where there
// is none. RFC 7239, 4.
func forwardedFor(member string) string {
	for member != "" {
		pair, rest := cutPair(member)
		member = rest
		name, value, _ := strings.Cut(pair, "=")
		if strings.EqualFold(strings.Trim(name, " \t"), "for") {
			return unquote(strings.Trim(value, " \t"))
		}
	}
	return ""
}

func cutPair(member string) (pair, rest string) {
	quoted := false
	for i := 0; i < len(member); i++ {
		switch c := member[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ';' && !quoted:
			return member[:i], member[i+1:]
		}
	}
	return member, ""
}

// unquote returns what a quoted string stands for. An address needs no escapes, and
// one that has some is no address.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}
