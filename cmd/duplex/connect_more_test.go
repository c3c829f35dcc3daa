package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
)

// tunnelServer is an HTTP proxy that makes tunnels for who knows the password.
func tunnelServer(t *testing.T, count *atomic.Int64) string {
	t.Helper()
	var running sync.WaitGroup
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") != "Basic YW5uOng=" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		count.Add(1)
		s, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer s.Close()
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		running.Go(func() {
			io.Copy(s, rw)
			s.(*net.TCPConn).CloseWrite()
		})
		io.Copy(c, s)
	}))
	t.Cleanup(func() { srv.Close(); running.Wait() })
	return srv.URL
}

func TestConnectProxy(t *testing.T) {
	_, url := startEcho(t)
	var count atomic.Int64
	proxy := tunnelServer(t, &count)
	authorized := strings.Replace(proxy, "//", "//ann:x@", 1)
	// A proxy that is named is used, for this host, too.
	got := duplex(t, strings.NewReader("hello\n"), "connect", url, "--proxy", authorized)
	if got != (result{exitOK, "hello\n", ""}) || count.Load() != 1 {
		t.Errorf("%+v, %d tunnels", got, count.Load())
	}
	got = duplex(t, strings.NewReader("hello\n"), "connect", url, "--proxy", proxy)
	if got.code != exitFailure || !strings.Contains(got.stderr, "the proxy wants credentials") || strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("without a password: %+v", got)
	}
	for _, bad := range []string{"proxy.example", "ftp://proxy.example", "http://"} {
		got := duplex(t, strings.NewReader(""), "connect", url, "--proxy", bad)
		if got.code != exitUsage || !strings.Contains(got.stderr, "--proxy") {
			t.Errorf("--proxy %s: %+v", bad, got)
		}
	}
}

// One connection follows the other, until the server says that there is no use in it.
func TestConnectReconnect(t *testing.T) {
	n := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		switch n {
		case 1:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		case 4:
			w.WriteHeader(http.StatusForbidden)
			return
		}
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.Write(t.Context(), websocket.Text, []byte(fmt.Sprintf("%d up", n)))
		_, p, err := c.Read(t.Context())
		if err != nil {
			return
		}
		c.Write(t.Context(), websocket.Text, []byte(fmt.Sprintf("%d %s", n, p)))
		c.Close(websocket.CloseServiceRestart, "")
	}))
	defer srv.Close()
	c := start(t, "connect", "ws"+strings.TrimPrefix(srv.URL, "http"), "--reconnect")
	for _, number := range []string{"2", "3"} {
		for _, want := range []string{number + " up", number + " line"} {
			if got := c.line(); got != want {
				t.Errorf("%q, want %q", got, want)
			}
			if strings.HasSuffix(want, "up") {
				io.WriteString(c.stdin, "line\n")
			}
		}
	}
	if code := c.wait(); code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	out := c.stderr.String()
	for _, want := range []string{"the server answered 503", "again in ", "closed the connection with 1012", "the server answered 403"} {
		if !strings.Contains(out, want) {
			t.Errorf("stderr has no %q: %s", want, out)
		}
	}
}

// The end of the input that comes together with the end of a connection ends the
// next one.
func TestConnectReconnectInputEnds(t *testing.T) {
	first, closed := make(chan struct{}), make(chan error, 1)
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		if n.Add(1) == 1 {
			c.Close(websocket.CloseServiceRestart, "")
			close(first)
			return
		}
		_, _, err = c.Read(t.Context())
		closed <- err
	}))
	defer srv.Close()
	c := start(t, "connect", "ws"+strings.TrimPrefix(srv.URL, "http"), "--reconnect")
	<-first
	c.stdin.Close()
	select {
	case err := <-closed:
		var end *websocket.CloseError
		if !errors.As(err, &end) || end.Code != websocket.CloseNormal {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("the end of the input was forgotten")
		c.cancel()
	}
	if code := c.wait(); code != exitOK {
		t.Errorf("exit code %d: %s", code, c.stderr)
	}
}

func TestConnectVerbose(t *testing.T) {
	srv := httptest.NewServer(&websocket.Handler{
		AcceptOptions: websocket.AcceptOptions{Header: http.Header{"X-Server": {"a"}}},
		Open:          func(c *websocket.Conn, _ *http.Request) { c.Ping(t.Context()) },
		Message: func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
			c.Write(t.Context(), typ, p)
			c.Close(websocket.CloseNormal, "by\x1b")
		},
	})
	defer srv.Close()
	got := duplex(t, strings.NewReader("hello\n"), "connect", "ws"+strings.TrimPrefix(srv.URL, "http")+"/a?b", "-v", "-H", "X-Mine: 1")
	if got.code != exitOK || got.stdout != "hello\n" {
		t.Errorf("%+v", got)
	}
	for _, want := range []string{"> GET /a?b HTTP/1.1\n", "> X-Mine: 1\n", "> Sec-WebSocket-Key: ", "< HTTP/1.1 101 Switching Protocols\n", "< X-Server: a\n", "< ping, 8 bytes", "< close 1000 (normal closure) by\\x1b\n"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("stderr has no %q: %s", want, got.stderr)
		}
	}
}

func TestConnectPing(t *testing.T) {
	pings := make(chan struct{}, 100)
	srv := httptest.NewServer(&websocket.Handler{AcceptOptions: websocket.AcceptOptions{Options: websocket.Options{
		PingInterval: -1,
		Hooks:        &websocket.Hooks{Control: func(*websocket.Conn, wire.Opcode, []byte) { pings <- struct{}{} }},
	}}})
	defer srv.Close()
	c := start(t, "connect", "ws"+strings.TrimPrefix(srv.URL, "http"), "--ping", "10ms")
	for range 3 {
		select {
		case <-pings:
		case <-time.After(patience):
			t.Fatal("no ping")
		}
	}
	c.cancel()
	c.wait()
}

func TestConnectJSON(t *testing.T) {
	_, url := startEcho(t)
	stdin := `{"a":[1,{"b":"x\u001b"}],"c":{}}` + "\n" + `not {json` + "\u202e\n[]\n\"\u202e\"\n"
	want := "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x\\u001b\"\n    }\n  ],\n  \"c\": {}\n}\nnot {json\\u202e\n[]\n\"\\u202e\"\n"
	if got := duplex(t, strings.NewReader(stdin), "connect", url, "--json"); got != (result{exitOK, want, ""}) {
		t.Errorf("%+v, want %q", got, want)
	}
}

func TestConnectSendFile(t *testing.T) {
	_, url := startEcho(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	lines, binary := write("lines", "one\ntwo\n"), write("binary", "\xff\x00")
	got := duplex(t, strings.NewReader("then\n"), "connect", url, "--send-file", lines, "--send-file", lines)
	if want := `one\ntwo\n` + "\n" + `one\ntwo\n` + "\nthen\n"; got != (result{exitOK, want, ""}) {
		t.Errorf("%+v, want %q", got, want)
	}
	if got := duplex(t, strings.NewReader(""), "connect", url, "--send-file", binary, "--binary"); got != (result{exitOK, "[binary, 2 bytes] ff00\n", ""}) {
		t.Errorf("%+v", got)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--send-file", binary}, "is not UTF-8: use --binary"},
		{[]string{"--send-file", lines, "--max-message", "7"}, "is over 7: raise --max-message"},
		{[]string{"--send-file", filepath.Join(dir, "none")}, "no such file"},
	} {
		if got := duplex(t, strings.NewReader(""), append([]string{"connect", url}, test.args...)...); got.code != exitFailure || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%+v, want %q", got, test.want)
		}
	}
}

func TestServerTLS(t *testing.T) {
	for _, command := range []string{"echo", "serve"} {
		c := start(t, command, "--listen", "127.0.0.1:0", "--tls-self-signed")
		line := c.line()
		_, url, ok := strings.Cut(line, "s://")
		url = "wss://" + strings.TrimSuffix(url, "/console")
		if !ok {
			t.Fatalf("%s says %q", command, line)
		}
		if command == "serve" {
			url += "/connect"
		}
		got := duplex(t, strings.NewReader("hello\n"), "connect", url, "--insecure")
		if got.code != exitOK {
			t.Errorf("%s: %+v", command, got)
		}
		if got := duplex(t, strings.NewReader("hello\n"), "connect", url); got.code != exitFailure || !strings.Contains(got.stderr, "not trusted") {
			t.Errorf("%s, verified: %+v", command, got)
		}
		c.cancel()
		if code := c.wait(); code != exitOK || !strings.Contains(c.stderr.String(), "sha256=") {
			t.Errorf("%s: exit code %d, %s", command, code, c.stderr)
		}
		for _, bad := range [][]string{{"--tls-cert", "a"}, {"--tls-key", "a"}, {"--tls-self-signed", "--tls-cert", "a", "--tls-key", "b"}} {
			if got := duplex(t, strings.NewReader(""), append([]string{command, "--listen", "127.0.0.1:0"}, bad...)...); got.code != exitUsage {
				t.Errorf("%s %q: %+v", command, bad, got)
			}
		}
		if got := duplex(t, strings.NewReader(""), command, "--listen", "127.0.0.1:0", "--tls-cert", "none", "--tls-key", "none"); got.code != exitFailure || !strings.Contains(got.stderr, "--tls-cert none") {
			t.Errorf("%s: %+v", command, got)
		}
	}
}
