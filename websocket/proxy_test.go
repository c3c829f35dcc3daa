package websocket_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// echoServer is a WebSocket server in memory that sends everything back. With a
// certificate it speaks TLS.
func echoServer(t *testing.T, cert *tls.Certificate) *wstest.Listener {
	t.Helper()
	h := &websocket.Handler{
		AcceptOptions: websocket.AcceptOptions{Registry: new(websocket.Registry)},
		Message:       func(c *websocket.Conn, typ websocket.MessageType, p []byte) { c.Write(bg, typ, p) },
	}
	l := wstest.NewListener()
	srv := &http.Server{Handler: h, ErrorLog: quiet}
	served := async(func() error {
		if cert != nil {
			return srv.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cert}}))
		}
		return srv.Serve(l)
	})
	t.Cleanup(func() {
		srv.Close()
		h.Registry.Shutdown(bg)
		served()
	})
	return l
}

func TestProxy(t *testing.T) {
	cert, pool := certificate(t, "server.test")
	proxyCert, proxyPool := certificate(t, "proxy.test")
	tests := []struct {
		proxy, url string
		user, pass string
		asked      string
	}{
		{proxy: "http://proxy.test:3128", url: "ws://server.test/a", asked: "CONNECT server.test:80"},
		{proxy: "http://proxy.test", url: "wss://server.test:8443/a", asked: "CONNECT server.test:8443"},
		{proxy: "http://ann:p%40ss@proxy.test", url: "ws://127.0.0.1:9000", user: "ann", pass: "p@ss", asked: "CONNECT 127.0.0.1:9000"},
		{proxy: "http://ann:p%40ss@proxy.test", url: "wss://server.test", user: "ann", pass: "p@ss", asked: "CONNECT server.test:443"},
		{proxy: "http://proxy.test", url: "ws://[::1]:9000", asked: "CONNECT [::1]:9000"},
		{proxy: "https://proxy.test", url: "ws://server.test", asked: "CONNECT server.test:80"},
		{proxy: "https://ann:x@proxy.test", url: "wss://server.test", user: "ann", pass: "x", asked: "CONNECT server.test:443"},
		{proxy: "socks5h://proxy.test", url: "ws://server.test", asked: "SOCKS server.test:80"},
		{proxy: "socks5h://ann:x@proxy.test", url: "wss://server.test", user: "ann", pass: "x", asked: "SOCKS server.test:443"},
		{proxy: "socks5h://ann:x@proxy.test", url: "ws://localhost:9000", asked: "SOCKS localhost:9000"},
		{proxy: "socks5h://proxy.test", url: "ws://[::1]:9000", asked: "SOCKS [::1]:9000"},
		{proxy: "socks5://proxy.test", url: "ws://127.0.0.1:9000", asked: "SOCKS 127.0.0.1:9000"},
	}
	for _, test := range tests {
		t.Run(test.proxy+" "+test.url, func(t *testing.T) {
			var serverCert *tls.Certificate
			if strings.HasPrefix(test.url, "wss") {
				serverCert = &cert
			}
			m := newMiddle(t, echoServer(t, serverCert))
			m.user, m.pass = test.user, test.pass
			o := m.options(test.proxy)
			o.TLSConfig = &tls.Config{RootCAs: pool}
			if strings.HasPrefix(test.proxy, "https") {
				m.cert = &proxyCert
				o.ProxyTLSConfig = &tls.Config{RootCAs: proxyPool}
			}
			c, _, err := websocket.Dial(t.Context(), test.url, o)
			if err != nil {
				t.Fatal(err)
			}
			echoed(t, c, "hello")
			if err := c.Close(websocket.CloseNormal, ""); err != nil {
				t.Error(err)
			}
			if got := m.asked(); len(got) != 1 || got[0] != test.asked {
				t.Errorf("the proxy was asked for %q, want %q", got, test.asked)
			}
		})
	}
}

// With socks5 the client finds the address, with socks5h the proxy does.
func TestProxySOCKS5LooksUp(t *testing.T) {
	m := newMiddle(t, echoServer(t, nil))
	c, _, err := websocket.Dial(t.Context(), "ws://localhost:9000", m.options("socks5://proxy.test"))
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
	if got := m.asked(); len(got) != 1 || got[0] != "SOCKS 127.0.0.1:9000" && got[0] != "SOCKS [::1]:9000" {
		t.Errorf("the proxy was asked for %q, want an address", got)
	}
}

// What is meant for the proxy goes to it alone, and what is meant for the server
// is not seen by it.
func TestProxyHeader(t *testing.T) {
	var seen *http.Request
	s := wstest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		c, err := websocket.Accept(w, r, nil)
		if err == nil {
			c.CloseNow()
		}
	}))
	t.Cleanup(s.Close)
	m := newMiddle(t, s.Listener)
	o := m.options("http://ann:x@proxy.test")
	o.ProxyHeader = http.Header{"X-Tenant": {"7"}}
	o.Header = http.Header{"Authorization": {"Bearer 1"}, "Cookie": {"a=b"}}
	c, _, err := websocket.Dial(t.Context(), "ws://server.test", o)
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
	asked := m.requests[0].Header
	if asked.Get("X-Tenant") != "7" || asked.Get("Proxy-Authorization") == "" || asked.Get("Authorization")+asked.Get("Cookie") != "" {
		t.Errorf("the proxy got %v", asked)
	}
	if h := seen.Header; h.Get("X-Tenant")+h.Get("Proxy-Authorization") != "" || h.Get("Authorization") == "" {
		t.Errorf("the server got %v", h)
	}
}

func TestProxyRefuses(t *testing.T) {
	tests := []struct {
		name, proxy, refuse string
		user                string // that the proxy wants
		status              int
		says                string
	}{
		{name: "403", proxy: "http://proxy.test", refuse: "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", status: 403, says: "only port 443"},
		{name: "407", proxy: "http://proxy.test", user: "ann", status: 407, says: "Proxy-Authorization"},
		{name: "407, wrong password", proxy: "http://ann:bad-s3cret@proxy.test", user: "ann", status: 407, says: "credentials"},
		{name: "502", proxy: "http://proxy.test", refuse: "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", status: 502, says: "did not reach"},
		{name: "503", proxy: "http://proxy.test", refuse: "HTTP/1.1 503 Busy\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n", status: 503, says: `(Retry-After: "9")`},
		{name: "302", proxy: "http://proxy.test", refuse: "HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\nContent-Length: 0\r\n\r\n", status: 302, says: "refused to make a tunnel"},
		{name: "bytes before the server's", proxy: "http://proxy.test", refuse: "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n", says: "before anything was asked"},
		{name: "a header without end", proxy: "http://proxy.test", refuse: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 65<<10), says: "64 KiB"},
		{name: "not HTTP", proxy: "http://proxy.test", refuse: "SSH-2.0-x\r\n", says: "SSH"},
		{name: "not SOCKS", proxy: "socks5h://proxy.test", user: "HTTP", says: "credentials"},
		{name: "SOCKS login", proxy: "socks5h://ann:bad-s3cret@proxy.test", user: "ann", says: "does not accept the user and password"},
		{name: "SOCKS rules", proxy: "socks5h://proxy.test", refuse: "\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", says: "its rules do not allow"},
		{name: "SOCKS refused, short", proxy: "socks5h://proxy.test", refuse: "\x05\x05", says: "nothing listens there"},
		{name: "SOCKS code unknown", proxy: "socks5h://proxy.test", refuse: "\x05\x99\x00\x01\x00", says: "code 153"},
		{name: "SOCKS version", proxy: "socks5h://proxy.test", refuse: "\x04\x00\x00\x01\x00", says: "version 4"},
		{name: "SOCKS address type", proxy: "socks5h://proxy.test", refuse: "\x05\x00\x00\x09\x00", says: "type 9"},
		{name: "SOCKS cut", proxy: "socks5h://proxy.test", refuse: "\x05\x00\x00\x01", says: "before its answer was complete"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := newMiddle(t, echoServer(t, nil))
			m.refuse, m.user = test.refuse, test.user
			c, resp, err := websocket.Dial(t.Context(), "ws://server.test/", m.options(test.proxy))
			var refused *websocket.HandshakeError
			status := 0
			if errors.As(err, &refused) {
				status = refused.Status
			}
			if c != nil || resp != nil || err == nil || status != test.status || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "proxy.test") || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("status %d, error %v, want %d and %q", status, err, test.status, test.says)
			}
		})
	}
}

func TestProxyBadArguments(t *testing.T) {
	long := strings.Repeat("x", 256)
	tests := []struct {
		proxy  string
		header http.Header
		err    error
		says   string
	}{
		{proxy: "ftp://proxy.test", says: "socks5h"},
		{proxy: "socks4://proxy.test", says: "socks5h"},
		{proxy: "http://", says: "host"},
		{proxy: "http://a b/", says: "host"},
		{proxy: "http://proxy.test:0", says: "port"},
		{proxy: "http://a%3Ab:c@proxy.test", says: "colon"},
		{proxy: "socks5://" + long + ":c@proxy.test", says: "255"},
		{proxy: "socks5://a:" + long + "@proxy.test", says: "255"},
		{proxy: "http://proxy.test", header: http.Header{"X": {"a\r\nEvil: 1"}}, says: "ProxyHeader"},
		{proxy: "http://proxy.test", header: http.Header{"X\r\nEvil": {"1"}}, says: "ProxyHeader"},
		{proxy: "http://proxy.test", header: http.Header{"Host": {"evil.test"}}, says: "ProxyHeader"},
		{proxy: "http://proxy.test", header: http.Header{"Content-Length": {"5"}}, says: "ProxyHeader"},
		{err: errors.New("no idea"), says: "no idea"},
	}
	for _, test := range tests {
		u, _ := url.Parse(test.proxy)
		if u == nil { // what Parse does not take, a program can make all the same
			u = &url.URL{Scheme: "http", Host: strings.TrimSuffix(strings.TrimPrefix(test.proxy, "http://"), "/")}
		}
		_, _, err := websocket.Dial(t.Context(), "ws://server.test", &websocket.DialOptions{
			Proxy:       func(*http.Request) (*url.URL, error) { return u, test.err },
			ProxyHeader: test.header,
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				t.Errorf("%q: the network was used", test.proxy)
				return nil, errors.New("no network")
			},
		})
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%q: error %v, want one with %q", test.proxy, err, test.says)
		}
	}
}

// Wherever in their conversation a proxy falls silent or goes away, Dial ends: by
// its timeout, or at once. Bytes that come one by one are as good as others.
func TestProxyBadLines(t *testing.T) {
	for _, proxy := range []string{"http://ann:x@proxy.test", "socks5h://ann:x@proxy.test"} {
		t.Run(proxy, func(t *testing.T) {
			for good := 0; ; good++ {
				dialed := false
				for _, cut := range []bool{false, true} {
					synctest.Test(t, func(t *testing.T) {
						m := newMiddle(t, echoServer(t, nil))
						m.user, m.pass = "ann", "x"
						m.line = func(c net.Conn) net.Conn { return &badLine{Conn: c, good: good, cut: cut} }
						start := time.Now()
						c, _, err := websocket.Dial(bg, "ws://server.test", m.options(proxy))
						switch d := time.Since(start); {
						case err == nil:
							c.CloseNow()
							dialed = true
						case cut && d != 0:
							t.Errorf("cut after %d bytes: %v after %v", good, err, d)
						case !cut && (d != 10*time.Second || !errors.Is(err, os.ErrDeadlineExceeded)):
							t.Errorf("silent after %d bytes: %v after %v", good, err, d)
						}
					})
				}
				if dialed {
					break
				}
			}
			synctest.Test(t, func(t *testing.T) {
				m := newMiddle(t, echoServer(t, nil))
				m.user, m.pass = "ann", "x"
				m.line = func(c net.Conn) net.Conn {
					return &badLine{Conn: c, good: -1, split: true, pause: 10 * time.Millisecond}
				}
				c, _, err := websocket.Dial(bg, "ws://server.test", m.options(proxy))
				if err != nil {
					t.Fatal(err)
				}
				defer c.CloseNow()
				echoed(t, c, "hello")
			})
		})
	}
}

// A connection through a proxy and TLS ends by its own limits as any other: when
// the peer takes nothing, and when it does not answer a close.
func TestProxyPeerStops(t *testing.T) {
	for _, end := range []string{"write", "close", "shutdown"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cert, pool := certificate(t, "server.test")
				g := new(websocket.Registry)
				accepted := make(chan *websocket.Conn, 1)
				l := wstest.NewListener()
				srv := &http.Server{ErrorLog: quiet, Handler: &websocket.Handler{
					AcceptOptions: websocket.AcceptOptions{Registry: g},
					Open:          func(c *websocket.Conn, _ *http.Request) { accepted <- c },
				}}
				served := async(func() error { return srv.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})) })
				t.Cleanup(func() { srv.Close(); served() })
				m := newMiddle(t, l)
				o := m.options("http://proxy.test")
				o.TLSConfig = &tls.Config{RootCAs: pool}
				// A client that reads nothing: the buffers between fill up.
				c, _, err := websocket.Dial(bg, "wss://server.test", o)
				if err != nil {
					t.Fatal(err)
				}
				defer c.CloseNow()
				peer := <-accepted
				start, limit := time.Now(), 5*time.Second
				switch end {
				case "write":
					limit = 11 * time.Second
					for err == nil && time.Since(start) < time.Minute {
						err = peer.Write(bg, websocket.Binary, make([]byte, 1<<20))
						peer.Ping(bg)
					}
				case "close":
					peer.Close(websocket.CloseNormal, "")
					g.Shutdown(bg)
				case "shutdown":
					for range 200 {
						peer.Ping(bg)
						peer.Send(websocket.Prepare(websocket.Text, make([]byte, 1000)))
					}
					g.Shutdown(bg)
				}
				if d := time.Since(start); d > limit+time.Second || g.Len() != 0 && end != "write" {
					t.Errorf("it took %v, and %d connections are left", d, g.Len())
				}
				c.CloseNow()
				g.Shutdown(bg)
			})
		})
	}
}

func TestRedirect(t *testing.T) {
	const auth = "Authorization,Cookie,X-Api-Key"
	all := http.Header{"Authorization": {"Bearer s3cret"}, "Cookie": {"a=s3cret"}, "X-Api-Key": {"s3cret"}, "User-Agent": {"me"}, "Origin": {"https://x.test"}}
	cert, pool := certificate(t, "a.test", "b.test")
	tests := []struct {
		name, from string
		redirects  map[string]string // from host and path to the Location
		max        int
		arrives    string // host and path
		keeps      string
		says       string
	}{
		{name: "relative", from: "ws://a.test/1", redirects: map[string]string{"a.test/1": "/2"}, arrives: "a.test/2", keeps: auth},
		{name: "same origin", from: "ws://a.test/1", redirects: map[string]string{"a.test/1": "http://A.test:80/2#part"}, arrives: "a.test/2", keeps: auth},
		{name: "ws in the Location", from: "ws://a.test/1", redirects: map[string]string{"a.test/1": "ws://a.test/2"}, arrives: "a.test/2", keeps: auth},
		{name: "another host", from: "ws://a.test/1", redirects: map[string]string{"a.test/1": "http://b.test/2"}, arrives: "b.test/2"},
		{name: "another port", from: "ws://a.test/1", redirects: map[string]string{"a.test/1": "http://a.test:81/2"}, arrives: "a.test:81/2"},
		{name: "there and back", from: "ws://a.test/1", redirects: map[string]string{"a.test/1": "http://b.test/2", "b.test/2": "http://a.test/3"}, arrives: "a.test/3"},
		{name: "user and password", from: "ws://ann:s3cret@a.test/1", redirects: map[string]string{"a.test/1": "http://b.test/2"}, arrives: "b.test/2"},
		{name: "user and password of the Location", from: "ws://a.test/1", redirects: map[string]string{"a.test/1": "http://eve:x@b.test/2"}, arrives: "b.test/2"},
		{name: "to TLS", from: "ws://a.test/1", redirects: map[string]string{"a.test/1": "https://b.test/2"}, arrives: "b.test/2"},
		{name: "TLS to TLS", from: "wss://a.test/1", redirects: map[string]string{"a.test/1": "https://b.test/2"}, arrives: "b.test/2"},
		{name: "TLS to none", from: "wss://a.test/1", redirects: map[string]string{"a.test/1": "http://a.test/2"}, says: "from wss to ws"},
		{name: "TLS to none, ws", from: "wss://a.test/1", redirects: map[string]string{"a.test/1": "ws://b.test/2"}, says: "from wss to ws"},
		{name: "loop", from: "ws://a.test/1", redirects: map[string]string{"a.test/1": "/2", "a.test/2": "/1"}, says: "10 redirects and no end"},
		{name: "as many as allowed", from: "ws://a.test/1", max: 2, redirects: map[string]string{"a.test/1": "/2", "a.test/2": "/3"}, arrives: "a.test/3", keeps: auth},
		{name: "one too many", from: "ws://a.test/1", max: 1, redirects: map[string]string{"a.test/1": "/2", "a.test/2": "/3"}, says: "1 redirects"},
		{name: "none", from: "ws://a.test/1", max: -1, redirects: map[string]string{"a.test/1": "/2"}, says: "MaxRedirects"},
		{name: "not the web", from: "ws://a.test/1", redirects: map[string]string{"a.test/1": "ftp://a.test/2"}, says: "no WebSocket"},
		{name: "a file", from: "ws://a.test/1", redirects: map[string]string{"a.test/1": "file:///etc/passwd"}, says: "no WebSocket"},
		{name: "no host", from: "ws://a.test/1", redirects: map[string]string{"a.test/1": "http:///2"}, says: "host"},
		{name: "nonsense", from: "ws://a.test/1", redirects: map[string]string{"a.test/1": "http://[::1"}, says: "cannot be read"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			arrived, kept := "", ""
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if to := test.redirects[r.Host+r.URL.Path]; to != "" {
					w.Header().Set("Location", to)
					w.WriteHeader(http.StatusFound)
					return
				}
				arrived = r.Host + r.URL.Path
				for _, name := range []string{"Authorization", "Cookie", "X-Api-Key"} {
					if r.Header.Get(name) != "" {
						kept += "," + name
					}
				}
				if r.UserAgent() != "me" {
					t.Errorf("the User-Agent was %q", r.UserAgent())
				}
				if c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Origins: []string{"*"}}); err == nil {
					c.CloseNow()
				}
			})
			plain, secure := wstest.NewListener(), wstest.NewListener()
			srv := &http.Server{Handler: h, ErrorLog: quiet}
			one := async(func() error { return srv.Serve(plain) })
			two := async(func() error {
				return srv.Serve(tls.NewListener(secure, &tls.Config{Certificates: []tls.Certificate{cert}}))
			})
			t.Cleanup(func() { srv.Close(); one(); two() })
			header := all.Clone()
			if strings.Contains(test.from, "@") {
				header.Del("Authorization")
			}
			c, _, err := websocket.Dial(t.Context(), test.from, &websocket.DialOptions{
				Header:       header,
				MaxRedirects: test.max,
				TLSConfig:    &tls.Config{RootCAs: pool, ServerName: "a.test"},
				DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					if strings.HasSuffix(addr, ":443") {
						return secure.DialContext(ctx, network, addr)
					}
					return plain.DialContext(ctx, network, addr)
				},
			})
			if c != nil {
				c.CloseNow()
			}
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("error %v, want one with %q", err, test.says)
				}
				return
			}
			if err != nil || arrived != test.arrives || strings.TrimPrefix(kept, ",") != test.keeps {
				t.Errorf("arrived at %q with %q, error %v; want %q with %q", arrived, kept, err, test.arrives, test.keeps)
			}
		})
	}
}

// RFC 6455, 4.1: no two connections to one host at a time are on their way, even
// by different names and ports. After one has failed, the next has its turn.
func TestDialOneAtATime(t *testing.T) {
	var silent []net.Listener
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		silent = append(silent, l)
	}
	_, port, _ := net.SplitHostPort(silent[1].Addr().String())
	ctx, cancel := context.WithCancel(t.Context())
	first := async(func() error {
		_, _, err := websocket.Dial(ctx, "ws://"+silent[0].Addr().String(), nil)
		return err
	})
	c, err := silent[0].Accept() // it is on its way, and stays so
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	for _, url := range []string{"ws://127.0.0.1:" + port, "ws://[::ffff:127.0.0.1]:" + port} {
		_, _, err = websocket.Dial(t.Context(), url, &websocket.DialOptions{HandshakeTimeout: 20 * time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), "Parallel") || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a second Dial to %s: %v, want one that waited for the first", url, err)
		}
	}
	_, _, err = websocket.Dial(t.Context(), "ws://127.0.0.1:"+port, &websocket.DialOptions{HandshakeTimeout: 20 * time.Millisecond, Parallel: true})
	if err == nil || strings.Contains(err.Error(), "Parallel") {
		t.Errorf("with Parallel: %v, want that the server was silent", err)
	}

	var waiting []func() error
	order := make(chan int, 3)
	for i := range 3 {
		waiting = append(waiting, async(func() error {
			_, _, err := websocket.Dial(t.Context(), "ws://127.0.0.1:"+port, nil)
			order <- i
			return err
		}))
	}
	cancel()
	if err := first(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	accepted := 0
	go func() {
		for {
			c, err := silent[1].Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	for _, end := range waiting {
		if err := end(); !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "reset") {
			t.Error(err)
		}
		accepted++
	}
	var got []int
	for range accepted {
		got = append(got, <-order)
	}
	slices.Sort(got)
	if !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("%v had their turn", got)
	}
}

// A host that has several addresses is reached by the first that answers.
func TestDialAnyAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := websocket.Accept(w, r, nil); err == nil {
			c.CloseNow()
		}
	})}
	served := async(func() error { return srv.Serve(l) })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	c, _, err := websocket.Dial(t.Context(), "ws://localhost:"+port, nil) // ::1 refuses
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
	srv.Close()
	served()
}
