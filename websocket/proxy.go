//go:build !js

package websocket

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/duplexgo/duplex/websocket/internal/handshake"
)

// A proxy is what stands between a client and its servers, and can be asked for a
// connection to one of them.
type proxy struct {
	scheme     string
	host, port string
	user       *url.Userinfo
}

// way returns the proxy on the way to the server, nil for none.
func (d *dialing) way() (*proxy, error) {
	choose := d.options.Proxy
	if choose == nil {
		if d.options.DialContext != nil {
			return nil, nil
		}
		choose = http.ProxyFromEnvironment
	}
	target := *d.url
	target.User = nil
	u, err := choose(&http.Request{Method: http.MethodGet, URL: &target, Host: target.Host, Header: make(http.Header)})
	if err != nil || u == nil {
		return nil, err
	}
	return newProxy(u)
}

func newProxy(u *url.URL) (*proxy, error) {
	p := &proxy{scheme: u.Scheme, user: u.User}
	switch u.Scheme {
	case "http":
		p.port = "80"
	case "https":
		p.port = "443"
	case "socks5", "socks5h":
		p.port = "1080"
	default:
		return nil, fmt.Errorf("the scheme of its URL is %q: use http, https, socks5 or socks5h", u.Scheme)
	}
	var err error
	if p.host, err = handshake.ASCIIHost(u.Hostname()); err != nil {
		return nil, fmt.Errorf("the host of its URL: %w", err)
	}
	if port := u.Port(); port != "" {
		if p.port, err = handshake.CheckPort(port); err != nil {
			return nil, fmt.Errorf("the port of its URL, %q: %w", port, err)
		}
	}
	return p, p.checkUser()
}

// String is the proxy's URL without user and password.
func (p *proxy) String() string { return p.scheme + "://" + net.JoinHostPort(p.host, p.port) }

// through has the proxy, to which c leads, make c a connection to the server.
func (p *proxy) through(ctx context.Context, c net.Conn, d *dialing) (_ net.Conn, step string, err error) {
	step = "proxy " + p.String()
	switch p.scheme {
	case "https":
		t, err := secured(ctx, c, d.options.ProxyTLSConfig, p.host)
		if err != nil {
			cut(c)
			return nil, step + ": TLS", err
		}
		c = t
		fallthrough
	case "http":
		err = within(ctx, c, func() error { return p.connect(c, d) })
	default:
		err = p.socks(ctx, c, d)
	}
	if err != nil {
		cut(c)
		return nil, step, err
	}
	return c, step, nil
}

// connect asks an HTTP proxy for a tunnel. RFC 9110, 9.3.6.
func (p *proxy) connect(c net.Conn, d *dialing) error {
	target := net.JoinHostPort(d.host, d.port)
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: target}, Host: target}
	var b bytes.Buffer
	fmt.Fprintf(&b, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", target, target)
	header := respelled(d.options.ProxyHeader, "Proxy-Authorization", "User-Agent")
	if _, ok := header["User-Agent"]; !ok && d.request.UserAgent() != "" {
		header.Set("User-Agent", d.request.UserAgent())
	}
	if p.user != nil && header.Get("Proxy-Authorization") == "" {
		password, _ := p.user.Password()
		header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(p.user.Username()+":"+password)))
	}
	header.Write(&b)
	b.WriteString("\r\n")
	if _, err := c.Write(b.Bytes()); err != nil {
		return err
	}
	limited := &limitedReader{r: c, n: maxAnswer}
	br := bufio.NewReader(limited)
	resp, err := readAnswer(br, limited, request)
	switch {
	case err != nil:
		return fmt.Errorf("asking it for a tunnel: %w", err)
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return &HandshakeError{Status: resp.StatusCode, Msg: proxyAdvice(resp), header: resp.Header}
	case br.Buffered() > 0:
		// A server waits for the request, and so would be something that only
		// claims to be it.
		return errors.New("it sent bytes through the tunnel before anything was asked of the server")
	}
	return nil
}

// proxyAdvice says what a proxy's answer means.
func proxyAdvice(resp *http.Response) string {
	switch code := resp.StatusCode; {
	case code == http.StatusProxyAuthRequired:
		return "the proxy wants credentials: put them in its URL (user:password@) or a Proxy-Authorization in DialOptions.ProxyHeader" + field(resp, "Proxy-Authenticate")
	case code == http.StatusForbidden, code == http.StatusMethodNotAllowed:
		return "the proxy does not allow a tunnel to this host and port: many allow only port 443, so wss:// may pass"
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		return "the proxy takes no more connections now: try again later" + field(resp, "Retry-After")
	case code >= 500:
		return "the proxy did not reach the server"
	}
	return "the proxy refused to make a tunnel"
}
