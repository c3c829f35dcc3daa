package handshake

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Origins is a list of patterns for the origins that may connect besides the
// host itself. The zero value has none.
type Origins struct {
	any      bool // "*"
	null     bool // "null"
	patterns []pattern
}

// A pattern matches origins: [scheme://]host[:port].
type pattern struct {
	scheme    string // "": http and https
	host      string
	subdomain bool   // "*." before host: any name that ends in it, the host itself not
	port      string // "": the scheme's default; "*": any
}

// An origin is scheme://host[:port], a port that is left out being the scheme's
// default one. RFC 6454, 6.2.
type origin struct{ scheme, host, port string }

// ParseOrigins reads patterns. A pattern is
//
//   - any origin
//     null                    the origin of sandboxed frames, local files and the like
//     [scheme://]host[:port]  without a scheme: http and https;
//     without a port: the scheme's default one;
//     *.host: the subdomains of host, at any depth;
//     host:*: any port
//
// in any letter case. The error names the first pattern that is none of these:
// one that never matches must not go unnoticed.
func ParseOrigins(patterns []string) (Origins, error) {
	var o Origins
	for _, s := range patterns {
		switch toLower(s) {
		case "*":
			o.any = true
		case "null":
			o.null = true
		default:
			p, err := parsePattern(s)
			if err != nil {
				return Origins{}, fmt.Errorf("origin pattern %s: %w; want [scheme://]host[:port], as in https://example.com, *.example.com or localhost:*", quote(s), err)
			}
			o.patterns = append(o.patterns, p)
		}
	}
	return o, nil
}

func parsePattern(s string) (p pattern, err error) {
	rest := s
	if scheme, after, found := strings.Cut(s, "://"); found {
		p.scheme, rest = toLower(scheme), after
		if err := checkScheme(p.scheme); err != nil {
			return p, err
		}
	}
	if strings.Contains(rest, "/") {
		return p, errors.New("an origin has no path, and no slash at its end")
	}
	rest, p.subdomain = strings.CutPrefix(rest, "*.")
	rest, anyPort := strings.CutSuffix(rest, ":*")
	if rest, err = asciiHostPort(rest); err != nil {
		return p, err
	}
	if p.host, p.port, err = SplitHost(rest); err != nil {
		return p, err
	}
	if p.subdomain && endsInNumber(p.host) {
		return p, errors.New("an IP address has no subdomains")
	}
	if anyPort {
		if p.port != "" {
			return p, errPort
		}
		p.port = "*"
	}
	return p, nil
}

func checkScheme(s string) error {
	if s == "ws" || s == "wss" {
		return errors.New("an origin is a page's address: its scheme is http or https, never ws or wss")
	}
	if !isScheme(s) {
		return errors.New("the scheme is not one")
	}
	return nil
}

// isScheme reports whether s, in lower case, is a URL's scheme. RFC 3986, 3.1.
func isScheme(s string) bool {
	for i := range len(s) {
		letter := s[i] >= 'a' && s[i] <= 'z'
		other := s[i] >= '0' && s[i] <= '9' || s[i] == '+' || s[i] == '-' || s[i] == '.'
		if !letter && (i == 0 || !other) {
			return false
		}
	}
	return s != ""
}

// asciiHostPort turns a Unicode host of host[:port] into ASCII: browsers send
// the xn-- form.
func asciiHostPort(s string) (string, error) {
	if isASCII(s) {
		return s, nil
	}
	host, port, found := strings.Cut(s, ":")
	host, err := ASCIIHost(host)
	if found {
		host += ":" + port
	}
	return host, err
}

// endsInNumber reports whether the last label is a number, as in an IPv4 address
// and in no name. "*.0.0.1" would otherwise seem to match 127.0.0.1.
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	label := host[strings.LastIndexByte(host, '.')+1:]
	return isIP(host) || strings.Trim(label, "0123456789") == ""
}

// Check decides whether a request may connect: h is its header, host its Host.
// A request without Origin does not come from a browser's page and passes. An
// http or https origin on the same host and port passes, whichever of the two
// it is, because a server behind a TLS proxy does not know. Any other has to
// match a pattern. RFC 6455, 4.2.2 and 10.2.
func (o Origins) Check(h http.Header, host string) error {
	values := h.Values("Origin")
	switch {
	case len(values) == 0:
		return nil
	case len(values) > 1:
		return errors.New("field Origin stands there more than once")
	case o.any:
		return nil
	case equalFold(values[0], "null"):
		if !o.null {
			return errors.New(`origin "null" is not allowed: the server would have to list it in AcceptOptions.Origins`)
		}
		return nil
	}
	from, ok := parseOrigin(values[0])
	if !ok {
		return fmt.Errorf("origin %s is not scheme://host[:port] in ASCII", quote(values[0]))
	}
	if from.isHost(host) || o.match(from) {
		return nil
	}
	return fmt.Errorf("origin %s is not allowed: it is not this host, %s, and the server does not list it in AcceptOptions.Origins", quote(values[0]), quote(host))
}

func parseOrigin(s string) (o origin, ok bool) {
	scheme, rest, found := strings.Cut(s, "://")
	if o.scheme = toLower(scheme); !found || !isScheme(o.scheme) {
		return o, false
	}
	var err error
	if o.host, o.port, err = SplitHost(rest); err != nil {
		return o, false
	}
	if o.port == "" {
		o.port = defaultPort(o.scheme)
	}
	return o, true
}

// isHost reports whether a page of this origin was served by host[:port].
func (o origin) isHost(hostport string) bool {
	if !o.isHTTP() {
		return false
	}
	host, port, err := SplitHost(strings.TrimSuffix(hostport, ":"))
	if err != nil {
		return false
	}
	if port == "" {
		port = defaultPort(o.scheme)
	}
	return host == o.host && port == o.port
}

func (o origin) isHTTP() bool { return o.scheme == "http" || o.scheme == "https" }

func (o Origins) match(from origin) bool {
	for _, p := range o.patterns {
		if p.match(from) {
			return true
		}
	}
	return false
}

func (p pattern) match(from origin) bool {
	return p.matchScheme(from) && p.matchHost(from.host) && p.matchPort(from)
}

func (p pattern) matchScheme(from origin) bool {
	return p.scheme == from.scheme || p.scheme == "" && from.isHTTP()
}

func (p pattern) matchHost(host string) bool {
	if !p.subdomain {
		return p.host == host
	}
	before, found := strings.CutSuffix(host, "."+p.host)
	return found && before != ""
}

func (p pattern) matchPort(from origin) bool {
	switch p.port {
	case "*":
		return true
	case "":
		return from.port == defaultPort(from.scheme)
	}
	return p.port == from.port
}

// defaultPort returns the port of a URL that names none, "" for a scheme without
// ports.
func defaultPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}
