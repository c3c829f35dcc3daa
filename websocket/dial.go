package websocket

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/duplexgo/duplex/websocket/internal/handshake"
)

// DialOptions are the settings of a client's connection. A nil *DialOptions and
// the zero value are good.
type DialOptions struct {
	Options

	// Subprotocols are offered to the server, the one liked best first; they are
	// tokens (RFC 9110, 5.6.2), each once. [Conn.Subprotocol] tells which one the
	// server chose, "" for none; one that was not offered fails the handshake.
	// RFC 6455, 1.9.
	Subprotocols []string

	// Header is sent with the request: Authorization, Cookie, Origin, User-Agent
	// and whatever the server wants. Fields of the handshake itself and values
	// with line breaks are refused before anything is sent.
	Header http.Header

	// Host is sent instead of the URL's host[:port]. The URL still says where to
	// connect and, for wss, whose certificate is wanted.
	Host string

	// TLSConfig is for wss; it is cloned. Where it has no ServerName, the URL's
	// host is taken. NextProtos is not used: this is HTTP/1.1.
	TLSConfig *tls.Config

	// Jar, if set, provides the request's cookies and takes those of the answer,
	// as for the same URL with http in place of ws and https in place of wss.
	Jar http.CookieJar

	// Proxy returns the proxy on the way to a server, nil for none. The request is
	// never sent: its URL is the server's, with http for ws and https for wss, as
	// [http.ProxyURL] and [http.ProxyFromEnvironment] want it. Schemes of proxies are
	// http and https (a tunnel by CONNECT, RFC 9110, 9.3.6), socks5 (RFC 1928; the
	// host's address is looked up here) and socks5h (the proxy looks it up); a user
	// and password in the proxy's URL are sent to it. A proxy that is returned is
	// used for every host, this one too.
	//
	// Default: http.ProxyFromEnvironment, which leaves out localhost and what
	// NO_PROXY names; where DialContext is set, none.
	Proxy func(*http.Request) (*url.URL, error)

	// ProxyHeader is sent with CONNECT, and to nobody but the proxy: its own
	// Proxy-Authorization, say.
	ProxyHeader http.Header

	// ProxyTLSConfig is for https proxies, as TLSConfig is for servers.
	ProxyTLSConfig *tls.Config

	// DialContext makes the connection, to the server or to its proxy; for wss, TLS
	// is put on top of it. network is "tcp" and addr is host:port, with the default
	// port where the URL has none. It must return when ctx ends. Default: a
	// net.Dialer for each address of the host, the next one 250 ms after the last.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// MaxRedirects is how many redirects are followed: http and https in them mean
	// ws and wss. To another origin (scheme, host and port) nothing goes along that
	// may be secret: of Header only User-Agent and Origin, no user and password, and
	// Host is not used; Subprotocols and the certificates of TLSConfig are, and Jar
	// decides for itself. A redirect from wss to ws is never followed. Default 10;
	// negative: none, and the answer is a [*HandshakeError]. RFC 6455, 4.1.
	MaxRedirects int

	// Parallel lets this Dial go on while another one to the same host has not
	// finished. Otherwise it waits for that: a client must not have more than one
	// connection to a host in the state CONNECTING (RFC 6455, 4.1). A host is an IP
	// address; behind a proxy, a name. With DialContext it is known only once there is
	// a *net.TCPConn, and Dial waits then.
	Parallel bool

	// HandshakeTimeout limits Dial in all: waiting for its turn, finding the host,
	// connecting, proxies, TLS, redirects, and the server's answer. Default 10 s;
	// negative: no limit but that of the context.
	HandshakeTimeout time.Duration
}

// Dial connects to a WebSocket server and does the client's part of the opening
// handshake. RFC 6455, 4.1.
//
// The URL is ws://host[:port]/path?query, or wss for TLS; the ports are 80 and
// 443 by default. A user and password in it are sent as basic authentication,
// unless Header has Authorization. RFC 6455, 3.
//
// ctx is for Dial alone: its end closes the connection while Dial runs, and does
// nothing to the Conn afterwards. An error tells at which step Dial was: connect,
// proxy, TLS, handshake or redirect. It wraps ctx.Err() if ctx ended, and os.ErrDeadlineExceeded
// if HandshakeTimeout did.
//
// The response is that of the server, not nil if there was one. If it refused,
// the error is a [*HandshakeError], and up to 1 KiB of what the server said is in
// the response's Body. Body never needs to be closed. A proxy that refused gives a
// HandshakeError, too, without a response.
//
// In a browser (GOOS=js) Dial uses the browser's WebSocket. That has no request
// header, proxy, redirect or cookie jar to be set, and tells nothing of the
// server's response, which is nil: options that it cannot obey are errors.
func Dial(ctx context.Context, url string, o *DialOptions) (c *Conn, resp *http.Response, err error) {
	if o == nil {
		o = new(DialOptions)
	}
	d, err := newDialing(url, o)
	if err != nil {
		return nil, nil, fmt.Errorf("websocket: dial: %w", err)
	}
	ctx, cancel := withTimeout(ctx, setting(o.HandshakeTimeout, defaultHandshakeTimeout))
	defer cancel()
	if o.Hooks != nil {
		defer func(began time.Duration) { o.Hooks.shaken(c, d.request, resp, began, err) }(clock())
	}
	for left := setting(o.MaxRedirects, defaultMaxRedirects); ; left-- {
		c, resp, err = d.dial(ctx)
		if err == nil {
			return c, resp, nil
		}
		next, redirectErr := d.redirected(resp, left)
		switch {
		case redirectErr != nil:
			return nil, resp, fmt.Errorf("websocket: dial %s: redirect: %w", d, redirectErr)
		case next == nil:
			return nil, resp, fmt.Errorf("websocket: dial %s: %w", d, err)
		}
		d = next
	}
}

// A dialing is what is known before there is any network use: everything that
// can be wrong with a caller's arguments has been found.
type dialing struct {
	options *DialOptions
	url     *url.URL // with scheme http or https: what cookies go by
	host    string   // without port, in ASCII
	port    string
	key     string
	request *http.Request
	bytes   []byte // request as it goes over the wire
}

func newDialing(rawURL string, o *DialOptions) (*dialing, error) {
	d := &dialing{options: o, key: handshake.NewKey()}
	if err := d.parse(rawURL); err != nil {
		return nil, err
	}
	if err := handshake.CheckSubprotocols(o.Subprotocols); err != nil {
		return nil, fmt.Errorf("DialOptions.Subprotocols: %w", err)
	}
	if err := handshake.CheckHeader(o.Header); err != nil {
		return nil, fmt.Errorf("DialOptions.Header: %w", err)
	}
	if err := handshake.CheckHeader(o.ProxyHeader); err != nil {
		return nil, fmt.Errorf("DialOptions.ProxyHeader: %w", err)
	}
	if o.Host != "" {
		if _, _, err := handshake.SplitHost(o.Host); err != nil {
			return nil, fmt.Errorf("DialOptions.Host %q: %w", o.Host, err)
		}
	}
	if err := checkExtensions(o.Extensions); err != nil {
		return nil, err
	}
	d.build()
	var b bytes.Buffer
	if err := d.request.Write(&b); err != nil {
		return nil, err
	}
	d.bytes = b.Bytes()
	return d, nil
}

// parse takes the URL apart. RFC 6455, 3.
func (d *dialing) parse(rawURL string) error {
	if strings.Contains(rawURL, "#") {
		return errors.New("the URL has a fragment (#), which a WebSocket's URL must not have; write %23 for the character")
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		if e := (*url.Error)(nil); errors.As(err, &e) {
			err = e.Err // the other part repeats the URL, which may hold a password
		}
		return fmt.Errorf("the URL cannot be read: %w", err)
	}
	switch u.Scheme {
	case "ws":
		u.Scheme, d.port = "http", "80"
	case "wss":
		u.Scheme, d.port = "https", "443"
	default:
		return fmt.Errorf("the URL's scheme is %q: use ws:// or wss://", u.Scheme)
	}
	if d.host, err = handshake.ASCIIHost(u.Hostname()); err != nil {
		return fmt.Errorf("the URL's host: %w", err)
	}
	defaultPort := d.port
	if port := u.Port(); port != "" {
		if d.port, err = handshake.CheckPort(port); err != nil {
			return fmt.Errorf("the URL's port %q: %w", port, err)
		}
	}
	u.Host = net.JoinHostPort(d.host, d.port)
	if d.port == defaultPort { // RFC 6455, 4.1, item 4
		u.Host = strings.TrimSuffix(u.Host, ":"+d.port)
	}
	u.RawQuery = escapeQuery(u.RawQuery)
	d.url = u
	return nil
}

// escapeQuery escapes what cannot stand in a request line. Package url does so
// for paths alone.
func escapeQuery(q string) string {
	var b strings.Builder
	for i := range len(q) {
		if c := q[i]; c <= ' ' || c >= 0x7F {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// build makes the request. RFC 6455, 4.1.
func (d *dialing) build() {
	o, h := d.options, respelled(d.options.Header, "Authorization", "Cookie", "User-Agent")
	// Spelled as in the RFC, which not every server takes in another letter case.
	h["Upgrade"] = []string{"websocket"}
	h["Connection"] = []string{"Upgrade"}
	h["Sec-WebSocket-Version"] = []string{"13"}
	h["Sec-WebSocket-Key"] = []string{d.key}
	if len(o.Subprotocols) > 0 {
		h["Sec-WebSocket-Protocol"] = []string{strings.Join(o.Subprotocols, ", ")}
	}
	if offers := offerExtensions(o.Extensions); offers != "" {
		h["Sec-WebSocket-Extensions"] = []string{offers}
	}
	d.request = &http.Request{
		Method:     http.MethodGet,
		URL:        d.url,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     h,
		Host:       o.Host,
	}
	if user := d.url.User; user != nil && h.Get("Authorization") == "" {
		password, _ := user.Password()
		d.request.SetBasicAuth(user.Username(), password)
	}
	if o.Jar != nil {
		if own := h["Cookie"]; len(own) > 1 {
			h.Set("Cookie", strings.Join(own, "; ")) // AddCookie keeps only the first
		}
		for _, c := range o.Jar.Cookies(d.url) {
			d.request.AddCookie(c)
		}
	}
}

// respelled returns a copy of a caller's header in which the named fields have their
// canonical names, whatever the letter case of the caller's: else what is put in where
// one is missing would stand beside it, a password beside a token even.
func respelled(h http.Header, names ...string) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		if canonical := http.CanonicalHeaderKey(name); slices.Contains(names, canonical) {
			name = canonical
		}
		out[name] = append(out[name], values...)
	}
	return out
}

// String is the URL as it can stand in an error: without user, password and
// query, which are often secret.
func (d *dialing) String() string {
	scheme := "ws"
	if d.secure() {
		scheme = "wss"
	}
	return scheme + "://" + d.url.Host + d.url.EscapedPath()
}

func (d *dialing) secure() bool { return d.url.Scheme == "https" }

// handshake sends the request, reads the answer and makes the Conn.
func (d *dialing) handshake(ctx context.Context, c net.Conn) (*Conn, *http.Response, error) {
	var subprotocol string
	var extensions *agreed
	var br *bufio.Reader
	var resp *http.Response
	if err := within(ctx, c, func() (err error) {
		subprotocol, extensions, br, resp, err = d.exchange(c)
		return err
	}); err != nil {
		return nil, resp, err
	}
	buffered, _ := br.Peek(br.Buffered())
	v := &settings{Options: d.options.Options.withDefaults(), agreed: extensions}
	return newConn(c, v, subprotocol, buffered), resp, nil
}

// within does what talks over c. The end of ctx closes c, which ends a waiting
// Read or Write of any kind of net.Conn.
func within(ctx context.Context, c net.Conn, talk func() error) error {
	stop := context.AfterFunc(ctx, func() { cut(c) })
	err := talk()
	if !stop() && err == nil {
		err = ctx.Err() // c is closed, or will be
	}
	return err
}

// cut closes c at once. A TLS connection would first say goodbye, which can
// wait for a peer that takes nothing.
func cut(c net.Conn) {
	for {
		t, ok := c.(*tls.Conn)
		if !ok {
			break
		}
		c = t.NetConn()
	}
	c.Close()
}

// exchange sends the request and judges the answer. Bytes after the answer are
// left in br.
func (d *dialing) exchange(c net.Conn) (subprotocol string, extensions *agreed, br *bufio.Reader, resp *http.Response, err error) {
	if _, err := c.Write(d.bytes); err != nil {
		return "", nil, nil, nil, err
	}
	limited := &limitedReader{r: c, n: maxAnswer}
	br = bufio.NewReader(limited)
	if resp, err = readAnswer(br, limited, d.request); err != nil {
		return "", nil, nil, nil, err
	}
	if t, ok := c.(*tls.Conn); ok {
		state := t.ConnectionState()
		resp.TLS = &state
	}
	if d.options.Jar != nil {
		d.options.Jar.SetCookies(d.url, resp.Cookies())
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		limited.n += maxErrorBody * 2 // and what its coding adds
		said := keepBody(resp)
		return "", nil, nil, resp, &HandshakeError{Status: resp.StatusCode, Msg: advice(resp, said), header: resp.Header}
	}
	subprotocol, err = handshake.CheckAnswer(resp.Header, d.key, d.options.Subprotocols)
	if err == nil {
		extensions, err = confirmExtensions(d.options.Extensions, resp.Header)
	}
	if err != nil {
		return "", nil, nil, resp, &HandshakeError{Status: resp.StatusCode, Msg: err.Error()}
	}
	return subprotocol, extensions, br, resp, nil
}

// A timeoutError is the end of HandshakeTimeout.
type timeoutError time.Duration

func (e timeoutError) Error() string {
	return fmt.Sprintf("nothing came of it within HandshakeTimeout, %v: %v", time.Duration(e), os.ErrDeadlineExceeded)
}
func (e timeoutError) Unwrap() error { return os.ErrDeadlineExceeded }

func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, timeoutError(d))
}

// stepError says at which step something failed. Where that was because the time
// was up, what the network returned ("use of closed connection", say) is not the
// reason and is left out. A server's refusal is told in any case.
func stepError(ctx context.Context, step string, err error) error {
	var refused *HandshakeError
	if ended := endOf(ctx); ended != nil && !errors.As(err, &refused) {
		err = ended
	}
	return fmt.Errorf("%s: %w", step, err)
}

// endOf returns why ctx ended: a timeoutError, or ctx.Err() with its cause where
// there is one. It returns nil if ctx has not ended.
func endOf(ctx context.Context) error {
	// A net.Dialer and ctx have clocks of their own: this one may be late.
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done()
	}
	err, cause := ctx.Err(), context.Cause(ctx)
	if late, ok := cause.(timeoutError); ok {
		return late
	}
	if err != nil && !errors.Is(cause, err) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return cause
}
