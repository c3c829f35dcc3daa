//go:build !js

package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// checkUser looks whether a user and password can be sent to a proxy: RFC 1929
// gives each a byte for its length; the user's name of RFC 7617 has no colon.
func (p *proxy) checkUser() error {
	if p.user == nil {
		return nil
	}
	name := p.user.Username()
	password, _ := p.user.Password()
	switch socks := p.scheme == "socks5" || p.scheme == "socks5h"; {
	case socks && (len(name) == 0 || len(name) > 255 || len(password) > 255):
		return errors.New("a SOCKS5 user and password have 1 to 255 bytes each")
	case !socks && strings.Contains(name, ":"):
		return errors.New("a user's name in basic authentication has no colon")
	}
	return nil
}

// What SOCKS5 consists of. RFC 1928.
const (
	socksVersion   = 5
	socksNoAuth    = 0
	socksPassword  = 2
	socksNone      = 0xFF
	socksConnect   = 1
	socksIPv4      = 1
	socksName      = 3
	socksIPv6      = 4
	passwordMethod = 1 // the version of RFC 1929
)

// socks asks a SOCKS5 proxy for a connection to the server.
func (p *proxy) socks(ctx context.Context, c net.Conn, d *dialing) error {
	addr, err := p.socksTarget(ctx, d.host)
	if err != nil {
		return err
	}
	return within(ctx, c, func() error {
		if err := p.socksLogin(c); err != nil {
			return fmt.Errorf("SOCKS5: %w", err)
		}
		if err := socksAsk(c, addr, d.port); err != nil {
			return fmt.Errorf("SOCKS5: %w", err)
		}
		return nil
	})
}

// socksTarget returns the host as SOCKS5 has it: an IP address, or a name for the
// proxy to look up. RFC 1928, 5.
func (p *proxy) socksTarget(ctx context.Context, host string) ([]byte, error) {
	addr, err := netip.ParseAddr(host)
	if err != nil && p.scheme == "socks5" {
		addrs, err := lookup(ctx, host)
		if err != nil {
			return nil, fmt.Errorf("%w; with socks5h:// the proxy looks it up", err)
		}
		addr = addrs[0]
		for _, a := range addrs { // what proxies can reach more often
			if a.Is4() {
				addr = a
				break
			}
		}
	}
	switch addr = addr.Unmap().WithZone(""); {
	case addr.Is4():
		return append([]byte{socksIPv4}, addr.AsSlice()...), nil
	case addr.Is6():
		return append([]byte{socksIPv6}, addr.AsSlice()...), nil
	case len(host) > 255:
		return nil, errors.New("SOCKS5 has no room for a host of more than 255 bytes")
	}
	return append([]byte{socksName, byte(len(host))}, host...), nil
}

// socksLogin agrees on a way to authenticate and does so. RFC 1928, 3; RFC 1929.
func (p *proxy) socksLogin(c net.Conn) error {
	hello := []byte{socksVersion, 1, socksNoAuth}
	if p.user != nil {
		hello = []byte{socksVersion, 2, socksNoAuth, socksPassword}
	}
	answer, err := socksExchange(c, hello, 2)
	switch {
	case err != nil:
		return err
	case answer[0] != socksVersion:
		return fmt.Errorf("the proxy does not speak it: its first bytes are % x", answer)
	case answer[1] == socksNoAuth:
		return nil
	case answer[1] == socksPassword && p.user != nil:
		return p.socksPassword(c)
	case answer[1] == socksNone && p.user == nil:
		return errors.New("the proxy wants credentials, probably: put them in its URL (user:password@)")
	case answer[1] == socksNone:
		return errors.New("the proxy takes none of the ways to authenticate: none, or user and password")
	}
	return fmt.Errorf("the proxy chose to authenticate by method %d, which was not offered", answer[1])
}

func (p *proxy) socksPassword(c net.Conn) error {
	name := p.user.Username()
	password, _ := p.user.Password()
	b := append([]byte{passwordMethod, byte(len(name))}, name...)
	b = append(append(b, byte(len(password))), password...)
	answer, err := socksExchange(c, b, 2)
	if err == nil && answer[1] != 0 {
		err = errors.New("the proxy does not accept the user and password")
	}
	return err
}

// socksAsk asks for the connection. RFC 1928, 4 and 6.
func socksAsk(c net.Conn, addr []byte, port string) error {
	n, _ := strconv.ParseUint(port, 10, 16)
	b := append([]byte{socksVersion, socksConnect, 0}, addr...)
	b = append(b, byte(n>>8), byte(n))
	answer, err := socksExchange(c, b, 5) // up to the first byte of an address
	switch {
	case err != nil:
		return err
	case answer[0] != socksVersion:
		return fmt.Errorf("the proxy answered with version %d", answer[0])
	case answer[1] != 0:
		return &socksRefusal{answer[1]}
	}
	// The address from which the proxy connects is of no use, but must be read. One
	// byte of it has been.
	rest := 0
	switch answer[3] {
	case socksIPv4:
		rest = 4 - 1
	case socksIPv6:
		rest = 16 - 1
	case socksName:
		rest = int(answer[4])
	default:
		return fmt.Errorf("the proxy answered with an address of type %d", answer[3])
	}
	_, err = io.ReadFull(c, make([]byte, rest+2))
	return socksEnd(err)
}

// A socksRefusal is a proxy that did not connect. RFC 1928, 6.
type socksRefusal struct{ code byte }

func (e *socksRefusal) Error() string {
	texts := []string{1: "it failed", 2: "its rules do not allow this host and port", 3: "the network cannot be reached", 4: "the host cannot be reached",
		5: "nothing listens there", 6: "the time to live is over", 7: "it does not know the command", 8: "it does not know this type of address"}
	text := "it refused"
	if int(e.code) < len(texts) {
		text = texts[e.code]
	}
	return fmt.Sprintf("the proxy did not connect to the server: %s (code %d)", text, e.code)
}

// socksExchange sends b and reads an answer of n bytes, and no byte more: what
// comes after is not the proxy's.
func socksExchange(c net.Conn, b []byte, n int) ([]byte, error) {
	if _, err := c.Write(b); err != nil {
		return nil, err
	}
	answer := make([]byte, n)
	got, err := io.ReadFull(c, answer)
	if got >= 2 && n == 5 && answer[1] != 0 {
		return answer, nil // a refusal may end before the address
	}
	return answer, socksEnd(err)
}

func socksEnd(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("the proxy closed the connection before its answer was complete: %w", io.ErrUnexpectedEOF)
	}
	return err
}
