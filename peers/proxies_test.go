package peers

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/duplexgo/duplex/websocket"
)

// proxies are those that a client asks for a connection.
var proxies = map[string]struct {
	part
	scheme string
	user   *url.Userinfo
}{
	"squid": {part{"squid", "squid", []string{"-N", "-f", "CONFIG"}, `
http_port 127.0.0.1:PORT
http_access allow localhost
pid_filename none
access_log none
cache_log /dev/stderr
cache_mem 8 MB
netdb_filename none
coredump_dir none
shutdown_lifetime 0 seconds
`}, "http", nil},
	"tinyproxy": {part{"tinyproxy", "tinyproxy", []string{"-d", "-c", "CONFIG"}, `
Port PORT
Listen 127.0.0.1
BasicAuth ann secret
Timeout 60
MaxClients 100
LogLevel Critical
`}, "http", url.UserPassword("ann", "secret")},
	"dante": {part{"danted", "dante-server", []string{"-f", "CONFIG"}, `
internal: 127.0.0.1 port = PORT
external: 127.0.0.1
socksmethod: none
clientmethod: none
logoutput: /dev/null
client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
`}, "socks5", nil},
}

func TestProxies(t *testing.T) {
	for name, p := range proxies {
		t.Run(name, func(t *testing.T) {
			addr := p.start(t)
			via := func(user *url.Userinfo, scheme string) *websocket.DialOptions {
				return &websocket.DialOptions{Proxy: http.ProxyURL(&url.URL{Scheme: scheme, User: user, Host: addr})}
			}
			e := newEcho()
			plain := httptest.NewServer(e.handler)
			t.Cleanup(plain.Close)
			through(t, "ws"+strings.TrimPrefix(plain.URL, "http"), via(p.user, p.scheme))
			if p.scheme == "socks5" { // the proxy finds the address
				through(t, strings.Replace("ws"+strings.TrimPrefix(plain.URL, "http"), "127.0.0.1", "localhost", 1), via(p.user, "socks5h"))
			}

			secure := httptest.NewUnstartedServer(e.handler)
			cert := newCertificate(t)
			secure.TLS = &tls.Config{Certificates: []tls.Certificate{cert.pair}}
			secure.StartTLS()
			t.Cleanup(secure.Close)
			// squid lets tunnels through to no other port than 443 unless it is told so.
			o := via(p.user, p.scheme)
			o.TLSConfig = &tls.Config{RootCAs: cert.pool}
			through(t, "wss"+strings.TrimPrefix(secure.URL, "https"), o)

			if p.user != nil {
				_, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(plain.URL, "http"), via(nil, p.scheme))
				var refused *websocket.HandshakeError
				if !errors.As(err, &refused) || refused.Status != http.StatusProxyAuthRequired && refused.Status != http.StatusUnauthorized {
					t.Errorf("without credentials: %v", err)
				}
			}
			slowAndGone(t, e, "wss"+strings.TrimPrefix(secure.URL, "https"), o)
		})
	}
}

// slowAndGone has one client take nothing of a broadcast, and others all of it; then
// the server is shut down in a burst of pings.
func slowAndGone(t *testing.T, e *echo, url string, o *websocket.DialOptions) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	slow, _, err := websocket.Dial(ctx, url, o)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.CloseNow()
	quick, _, err := websocket.Dial(ctx, url, o)
	if err != nil {
		t.Fatal(err)
	}
	defer quick.CloseNow()
	// Each must have been heard of, or the broadcast may miss it.
	for _, c := range []*websocket.Conn{slow, quick} {
		c.Write(ctx, websocket.Text, []byte("here"))
		if _, _, err := c.Read(ctx); err != nil {
			t.Fatal(err)
		}
	}
	const count = 40
	got := make(chan error, 1)
	go func() {
		for range count {
			if _, _, err := quick.Read(ctx); err != nil {
				got <- err
				return
			}
		}
		got <- nil
	}()
	m := websocket.Prepare(websocket.Binary, make([]byte, 256<<10))
	began := time.Now()
	for range count {
		websocket.Broadcast(e.registry.All(), m)
		// As fast as the quick one takes it: else it would be over its limit, too.
		for c := range e.registry.All() {
			c.Ping(ctx)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := <-got; err != nil {
		t.Errorf("the quick client after %v: %v", time.Since(began), err)
	}
	end := make(chan error, 1)
	go func() { _, _, err := quick.Read(ctx); end <- err }()
	for c := range e.registry.All() {
		for range 100 {
			c.Ping(ctx)
		}
	}
	grace, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	e.registry.Shutdown(grace)
	var closed *websocket.CloseError
	if err := <-end; !errors.As(err, &closed) || closed.Code != websocket.CloseGoingAway {
		t.Errorf("the quick client ended with %v", err)
	}
}
