package handshake

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	errHost     = errors.New("not a host name, nor an IP address")
	errIPv6     = errors.New("an IPv6 address stands in brackets, without a zone")
	errPort     = errors.New("the port must be a number from 1 to 65535")
	errHostForm = errors.New("a name in Unicode that has no ASCII form")
)

// SplitHost cuts host[:port] as it stands in Host and Origin fields. The host
// comes back in the one form in which hosts can be compared: in lower case, and
// an IPv6 address in its shortest form without brackets. Without a port, port
// is "".
func SplitHost(s string) (host, port string, err error) {
	rest := ""
	if strings.HasPrefix(s, "[") {
		literal, after, found := strings.Cut(s[1:], "]")
		ip, err := netip.ParseAddr(literal)
		if !found || err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", "", errIPv6
		}
		host, rest = ip.String(), after
	} else {
		if strings.Count(s, ":") > 1 {
			return "", "", errIPv6
		}
		name, _, found := strings.Cut(s, ":")
		if host = toLower(name); !isHostName(host) {
			return "", "", errHost
		}
		if found {
			rest = s[len(name):]
		}
	}
	if rest == "" {
		return host, "", nil
	}
	if rest[0] != ':' {
		return "", "", errHost
	}
	port, err = CheckPort(rest[1:])
	return host, port, err
}

// CheckPort returns a port, a number from 1 to 65535, without leading zeros.
func CheckPort(s string) (string, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return "", errPort
	}
	return strconv.FormatUint(n, 10), nil
}

// isHostName reports whether s can be a registered name or an IPv4 address in
// ASCII: labels with dots between them, perhaps one at the end, and no byte that
// means something elsewhere in a URL, a header or a pattern.
func isHostName(s string) bool {
	if strings.HasPrefix(s, ".") || strings.Contains(s, "..") {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || strings.IndexByte("\"#%*,/:<>?@[\\]^`{|}", c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isIP reports whether a host, as SplitHost returns it, is an IP address.
func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// ASCIIHost returns a host name, without a port, in lower case and ASCII: a name
// in Unicode becomes its xn-- form. An IP address is returned as it is; its zone,
// the name of a network interface, must be ASCII too.
func ASCIIHost(name string) (string, error) {
	if ip, err := netip.ParseAddr(name); err == nil {
		if zone := ip.Zone(); zone != "" && !isHostName(zone) {
			return "", fmt.Errorf("%s: %w", quote(name), errHost)
		}
		return name, nil
	}
	if !isASCII(name) {
		ascii, err := punycode(name)
		if err != nil {
			return "", fmt.Errorf("%s: %w", quote(name), errHostForm)
		}
		name = ascii
	}
	name = toLower(name)
	if !isHostName(name) {
		return "", fmt.Errorf("%s: %w", quote(name), errHost)
	}
	return name, nil
}

// punycode asks net/http, which turns a Host into ASCII when it writes a
// request. The standard library has no other door to that algorithm, whose time
// grows with the square of the length.
func punycode(name string) (string, error) {
	const most = 4 * 253 // bytes of UTF-8 in the longest name of the DNS
	if len(name) > most || !utf8.ValidString(name) {
		return "", errHostForm
	}
	name = strings.ToLower(name)
	var b bytes.Buffer
	if err := (&http.Request{Method: http.MethodGet, URL: &url.URL{Host: name}}).Write(&b); err != nil {
		return "", err
	}
	r, err := http.ReadRequest(bufio.NewReader(&b))
	if err != nil {
		return "", err
	}
	return r.Host, nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// quote is strconv.QuoteToASCII for what goes into an error: a peer chose it, so
// it is cut to a length that a log can bear.
func quote(s string) string {
	const most = 100
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "..."
	}
	return strconv.QuoteToASCII(s)
}
