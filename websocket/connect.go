//go:build !js

package websocket

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// dial takes the steps of Dial one after the other, each within ctx. Until it
// returns, other Dials to the same host wait.
func (d *dialing) dial(ctx context.Context) (*Conn, *http.Response, error) {
	way, err := d.way()
	if err != nil {
		return nil, nil, stepError(ctx, "proxy", err)
	}
	turn := &turnstile{open: d.options.Parallel}
	defer turn.leave()
	c, step, err := d.reach(ctx, way, turn)
	if err != nil {
		return nil, nil, stepError(ctx, step, err)
	}
	if d.secure() {
		t, err := secured(ctx, c, d.options.TLSConfig, d.host)
		if err != nil {
			cut(c)
			return nil, nil, stepError(ctx, "TLS", adviseTLS(err))
		}
		c = t
	}
	conn, resp, err := d.handshake(ctx, c)
	if err != nil {
		cut(c)
		return nil, resp, stepError(ctx, "handshake", err)
	}
	return conn, resp, nil
}

const waitingStep = "waiting until another Dial to this host has finished, see DialOptions.Parallel"

// reach returns a connection on which the server listens, and where that fails,
// at which step.
func (d *dialing) reach(ctx context.Context, way *proxy, turn *turnstile) (c net.Conn, step string, err error) {
	if dial := d.options.DialContext; dial != nil {
		return d.reachBy(ctx, dial, way, turn)
	}
	if way != nil { // whose address is the server's, the proxy alone knows
		if err := turn.enter(ctx, d.host); err != nil {
			return nil, waitingStep, err
		}
		c, err := dialHost(ctx, way.host, way.port)
		if err != nil {
			return nil, "connect to the proxy " + way.String(), err
		}
		return way.through(ctx, c, d)
	}
	addrs, err := lookup(ctx, d.host)
	if err != nil {
		return nil, "connect", err
	}
	if err := turn.enter(ctx, names(addrs)...); err != nil {
		return nil, waitingStep, err
	}
	c, err = race(ctx, addrs, d.port)
	return c, "connect", err
}

// reachBy is reach with the caller's way to connect.
func (d *dialing) reachBy(ctx context.Context, dial dialFunc, way *proxy, turn *turnstile) (c net.Conn, step string, err error) {
	host, port, step := d.host, d.port, "connect"
	if way != nil {
		host, port, step = way.host, way.port, "connect to the proxy "+way.String()
	}
	c, err = dial(ctx, "tcp", net.JoinHostPort(host, port))
	switch {
	case c == nil && err == nil:
		return nil, step, errors.New("DialContext returned no connection and no error")
	case err != nil:
		return nil, step, err
	}
	// What else a DialContext makes may be in memory, where an address says nothing.
	if tcp, ok := c.(*net.TCPConn); ok {
		name := d.host
		if addr, ok := tcp.RemoteAddr().(*net.TCPAddr); ok && way == nil {
			name = addr.AddrPort().Addr().Unmap().String()
		}
		if err := turn.enter(ctx, name); err != nil {
			cut(c)
			return nil, waitingStep, err
		}
	}
	if way != nil {
		return way.through(ctx, c, d)
	}
	return c, step, nil
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// lookup returns the addresses of a host, the best first. (RFC 6724)
func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return alternate(addrs), err
}

// alternate puts the addresses of the two families in turns, so that a family
// without a way out costs little time. RFC 8305, 4.
func alternate(addrs []netip.Addr) []netip.Addr {
	var first, second, mixed []netip.Addr
	for _, a := range addrs {
		if a.Is4() == addrs[0].Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			mixed = append(mixed, first[i])
		}
		if i < len(second) {
			mixed = append(mixed, second[i])
		}
	}
	return mixed
}

func dialHost(ctx context.Context, host, port string) (net.Conn, error) {
	addrs, err := lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	return race(ctx, addrs, port)
}

// headStart is how long an address is tried before the next one is tried, too.
// RFC 8305, 5.
const headStart = 250 * time.Millisecond

// race connects to the first of the addresses that answers.
func race(ctx context.Context, addrs []netip.Addr, port string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of those that are late
	type outcome struct {
		c   net.Conn
		err error
	}
	outcomes := make(chan outcome, len(addrs))
	start := func(addr netip.Addr) {
		n, _ := strconv.ParseUint(port, 10, 16)
		c, err := new(net.Dialer).DialContext(ctx, "tcp", netip.AddrPortFrom(addr, uint16(n)).String())
		outcomes <- outcome{c, err}
	}
	next := time.NewTimer(0)
	defer next.Stop()
	var first error
	for left, running := addrs, 0; len(left) > 0 || running > 0; {
		select {
		case <-next.C:
			if len(left) > 0 {
				go start(left[0])
				left, running = left[1:], running+1
				next.Reset(headStart)
			}
		case o := <-outcomes:
			running--
			if o.err == nil {
				go func() {
					for range running {
						if late := <-outcomes; late.c != nil {
							late.c.Close()
						}
					}
				}()
				return o.c, nil
			}
			if first == nil {
				first = o.err
			}
			next.Reset(0)
		}
	}
	return nil, first
}

// secured returns c with TLS on top, for a host.
func secured(ctx context.Context, c net.Conn, config *tls.Config, host string) (*tls.Conn, error) {
	config = config.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	if config.ServerName == "" {
		config.ServerName = host
	}
	config.NextProtos = []string{"http/1.1"}
	t := tls.Client(c, config)
	return t, t.HandshakeContext(ctx)
}

// adviseTLS adds what to do to the commonest errors of TLS.
func adviseTLS(err error) error {
	var record tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &record):
		return fmt.Errorf("%w; if the server has no TLS on this port, use ws://", err)
	case errors.As(err, &unknown):
		return fmt.Errorf("%w; if you trust it, put its authority into DialOptions.TLSConfig.RootCAs", err)
	}
	return err
}
