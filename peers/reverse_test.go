package peers

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/duplexgo/duplex/websocket"
)

// reverseProxies stand before a server and have its TLS.
var reverseProxies = map[string]part{
	"nginx": {"nginx", "nginx-light", []string{"-c", "CONFIG", "-p", "DIR", "-e", "stderr"}, `
daemon off;
master_process off;
pid DIR/pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path DIR;
	proxy_temp_path DIR;
	fastcgi_temp_path DIR;
	uwsgi_temp_path DIR;
	scgi_temp_path DIR;
	map $http_upgrade $connection_upgrade { default upgrade; '' close; }
	server {
		listen 127.0.0.1:PORT ssl;
		ssl_certificate CERTFILE;
		ssl_certificate_key KEYFILE;
		location / {
			proxy_pass http://BACKEND;
			proxy_http_version 1.1;
			proxy_set_header Host $host;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection $connection_upgrade;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
		}
	}
}
`},
	"haproxy": {"haproxy", "haproxy", []string{"-db", "-f", "CONFIG"}, `
defaults
	mode http
	timeout connect 5s
	timeout client 30s
	timeout server 30s
	timeout tunnel 1h
	option forwardfor
frontend tls
	bind 127.0.0.1:PORT ssl crt BUNDLE
	default_backend app
backend app
	server app BACKEND
`},
}

func TestReverseProxies(t *testing.T) {
	for name, p := range reverseProxies {
		t.Run(name, func(t *testing.T) {
			e := newEcho()
			e.limits.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
			backend := httptest.NewServer(e.handler)
			t.Cleanup(backend.Close)
			cert := newCertificate(t)
			bundle := filepath.Join(t.TempDir(), "bundle.pem")
			certPEM, err1 := os.ReadFile(cert.file)
			keyPEM, err2 := os.ReadFile(cert.key)
			if err := errors.Join(err1, err2, os.WriteFile(bundle, append(certPEM, keyPEM...), 0o600)); err != nil {
				t.Fatal(err)
			}
			addr := p.start(t, "BACKEND", strings.TrimPrefix(backend.URL, "http://"), "CERTFILE", cert.file, "KEYFILE", cert.key, "BUNDLE", bundle)
			o := &websocket.DialOptions{
				TLSConfig: &tls.Config{RootCAs: cert.pool},
				// What a client says of itself is not believed.
				Header:      http.Header{"X-Forwarded-For": {"6.6.6.6"}},
				DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext,
			}
			for len(e.clients) > 0 { // of looks whether it listens
				<-e.clients
			}
			through(t, "wss://"+addr+"/chat", o)
			if got := <-e.clients; got != "127.0.0.2" {
				t.Errorf("the client's address is %s, want 127.0.0.2", got)
			}
			o.Header.Set("Origin", "https://evil.example")
			_, _, err := websocket.Dial(t.Context(), "wss://"+addr+"/chat", o)
			var refused *websocket.HandshakeError
			if !errors.As(err, &refused) || refused.Status != http.StatusForbidden {
				t.Errorf("a foreign origin: %v", err)
			}
			o.Header.Del("Origin")
			slowAndGone(t, e, "wss://"+addr+"/", o)
			if _, _, err := websocket.Dial(context.Background(), "wss://"+addr+"/", o); !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable || refused.RetryAfter() == 0 {
				t.Errorf("after the shutdown: %v", err)
			}
		})
	}
}
