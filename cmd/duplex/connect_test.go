package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/duplexgo/duplex/websocket"
)

func TestConnectThroughAPipe(t *testing.T) {
	_, url := startEcho(t)
	for _, test := range []struct {
		name  string
		args  []string
		stdin string
		want  string
	}{
		{"lines", nil, "one\ntwo\n\nthree", "one\ntwo\n\nthree\n"},
		{"nothing", nil, "", ""},
		{"JSON stays JSON", nil, `{"a":"\n\\"}` + "\n", `{"a":"\n\\"}` + "\n"},
		{"control characters", nil, "\x1b]0;x\x07\tgrüße\u202e\n", `\x1b]0;x\x07\tgrüße\u202e` + "\n"},
		{"binary", []string{"--binary"}, "a\xff\x00\n\nb\n", "[binary, 3 bytes] 61ff00\n[binary, 0 bytes] \n[binary, 1 bytes] 62\n"},
		{"as long as allowed", []string{"--max-message", "10"}, "0123456789\n", "0123456789\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := duplex(t, strings.NewReader(test.stdin), append([]string{"connect", url}, test.args...)...)
			if got != (result{exitOK, test.want, ""}) {
				t.Errorf("%+v, want stdout %q", got, test.want)
			}
		})
	}
}

// All that was sent is answered, though the input ends long before.
func TestConnectManyLines(t *testing.T) {
	_, url := startEcho(t)
	stdin := strings.Repeat("a line of some length, as they are\n", 20_000)
	got := duplex(t, strings.NewReader(stdin), "connect", url)
	if got.code != exitOK || got.stdout != stdin {
		t.Errorf("exit code %d, stderr %q, %d bytes of output for %d of input", got.code, got.stderr, len(got.stdout), len(stdin))
	}
}

// Each message is there as soon as it has come, and a signal ends in order.
func TestConnectInteractive(t *testing.T) {
	_, url := startEcho(t)
	c := start(t, "connect", url)
	for _, line := range []string{"one", "two"} {
		if _, err := io.WriteString(c.stdin, line+"\n"); err != nil {
			t.Fatal(err)
		}
		if got := c.line(); got != line {
			t.Errorf("%q came back for %q", got, line)
		}
	}
	c.cancel()
	if code := c.wait(); code != exitOK || c.stderr.String() != "" {
		t.Errorf("exit code %d, stderr %q", code, c.stderr)
	}
}

// A bad line is not cut and not passed over. What came before it is sent and
// answered.
func TestConnectBadLines(t *testing.T) {
	_, url := startEcho(t)
	for _, test := range []struct{ name, stdin, want string }{
		{"too long", "a\n" + strings.Repeat("x", 11) + "\nb\n", "line 2 of the input is over 10 and was not sent: raise --max-message"},
		{"not UTF-8", "a\n\xff\nb\n", "line 2 of the input is not UTF-8 and was not sent: use --binary"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := duplex(t, strings.NewReader(test.stdin), "connect", url, "--max-message", "10")
			if want := (result{exitFailure, "a\n", "duplex connect: " + test.want + "\n"}); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

// serveConn runs a server that gives each connection to f and returns its URL.
func serveConn(t *testing.T, o *websocket.AcceptOptions, f func(c *websocket.Conn)) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, o)
		if err != nil {
			return
		}
		defer c.CloseNow()
		f(c)
	}))
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

// The server ends it: with 1000 all is well, with another code the user hears
// which one.
func TestConnectClosedByTheServer(t *testing.T) {
	for _, test := range []struct {
		name   string
		close  func(c *websocket.Conn)
		code   int
		stderr string
	}{
		{"1000", func(c *websocket.Conn) { c.Close(websocket.CloseNormal, "done") }, exitOK, ""},
		{"no code", func(c *websocket.Conn) { c.Close(websocket.CloseNoStatus, "") }, exitOK, ""},
		{"1001", func(c *websocket.Conn) { c.Close(websocket.CloseGoingAway, "") }, exitFailure,
			"the server closed the connection with 1001 (going away)"},
		{"4000 and a reason that attacks", func(c *websocket.Conn) { c.Close(4000, "go \x1b[31maway\n") }, exitFailure,
			`the server closed the connection with 4000: go \x1b[31maway\n`},
		{"no close frame", func(c *websocket.Conn) { c.CloseNow() }, exitFailure,
			"the connection broke: it ended without a close frame"},
		{"a message too big", func(c *websocket.Conn) {
			c.Write(context.Background(), websocket.Text, make([]byte, 101))
			c.Read(context.Background())
		}, exitFailure, "the server sent a message over 100: raise --max-message"},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := serveConn(t, nil, func(c *websocket.Conn) {
				c.Write(context.Background(), websocket.Text, []byte("first"))
				test.close(c)
			})
			c := start(t, "connect", url, "--max-message", "100")
			if got := c.line(); got != "first" {
				t.Errorf("printed %q", got)
			}
			want := ""
			if test.stderr != "" {
				want = "duplex connect: " + test.stderr + "\n"
			}
			if code := c.wait(); code != test.code || c.stderr.String() != want {
				t.Errorf("exit code %d, stderr %q, want %d, %q", code, c.stderr, test.code, want)
			}
		})
	}
}

// Input for which the connection ended too early is not lost in silence.
func TestConnectTellsOfUnsentLines(t *testing.T) {
	url := serveConn(t, nil, func(c *websocket.Conn) {
		c.Read(context.Background())
		c.Close(websocket.CloseNormal, "")
	})
	endless := strings.NewReader(strings.Repeat("line\n", 1<<20))
	got := duplex(t, endless, "connect", url)
	if got.code != exitFailure || !strings.HasPrefix(got.stderr, "duplex connect: the connection ended before line ") {
		t.Errorf("%+v", got)
	}
}

// A server that never answers the close frame does not hold the command for ever.
func TestConnectCloseTimeout(t *testing.T) {
	release := make(chan struct{})
	url := serveConn(t, nil, func(*websocket.Conn) { <-release })
	t.Cleanup(func() { close(release) })
	got := duplex(t, strings.NewReader(""), "connect", url, "--close-timeout", "50ms")
	if got.code != exitFailure || !strings.Contains(got.stderr, "in time") || strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("%+v", got)
	}
}

func TestConnectHandshake(t *testing.T) {
	var seen http.Header
	var host string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen, host = r.Header.Clone(), r.Host
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"v2"}})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.Write(context.Background(), websocket.Text, []byte(c.Subprotocol()))
		c.Close(websocket.CloseNormal, "")
	}))
	defer srv.Close()
	// A page's address will do.
	got := duplex(t, strings.NewReader(""), "connect", srv.URL+"/x",
		"-H", "Authorization: Bearer a:b", "--header", "X-List: 1", "-H", "X-List:2", "-H", "Host: other.example",
		"--subprotocol", "v1", "--subprotocol", "v2")
	if got != (result{exitOK, "v2\n", ""}) {
		t.Fatalf("%+v", got)
	}
	if host != "other.example" || seen.Get("Authorization") != "Bearer a:b" || strings.Join(seen["X-List"], ",") != "1,2" || seen.Get("Sec-WebSocket-Protocol") != "v1, v2" {
		t.Errorf("the server saw host %q and %v", host, seen)
	}
}

func TestConnectTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(echoHandler(1<<20, nil))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	url := "wss" + strings.TrimPrefix(srv.URL, "https")
	got := duplex(t, strings.NewReader("hello\n"), "connect", url)
	if got.code != exitFailure || !strings.Contains(got.stderr, "certificate is not trusted") || !strings.Contains(got.stderr, "--insecure") {
		t.Errorf("%+v", got)
	}
	if got := duplex(t, strings.NewReader("hello\n"), "connect", url, "--insecure"); got != (result{exitOK, "hello\n", ""}) {
		t.Errorf("with --insecure: %+v", got)
	}
	if got := duplex(t, strings.NewReader(""), "connect", "ws"+strings.TrimPrefix(url, "wss")); got.code != exitFailure || strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("without TLS: %+v", got)
	}
}

// Who is refused hears with which words, and what to do.
func TestConnectRefused(t *testing.T) {
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"no such path", http.NotFound,
			"the server answered 404 (Not Found), 404 page not found: check the path of the URL"},
		{"origin", func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Origin", "https://elsewhere.example")
			websocket.Accept(w, r, nil)
		}, "the server answered 403 (Forbidden), "},
		{"a page", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<!doctype html>\n<title>x</title>") },
			"the server answered 200 (OK): there is something else at this path, check the URL"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/there", http.StatusFound) },
			"the server answered 302 (Found), to /there: this redirect is not followed, use the URL that it leads to"},
		{"overloaded", func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "no\x1b[31mw", http.StatusServiceUnavailable)
		},
			`the server answered 503 (Service Unavailable), no\x1b[31mw: try again later`},
		{"a problem", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusMisdirectedRequest)
			io.WriteString(w, `{"title":"t","detail":"d"}`)
		}, "the server answered 421 (Misdirected Request), d: use an IP address or localhost as the host"},
		{"a broken handshake", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Connection", "Upgrade")
			w.WriteHeader(http.StatusSwitchingProtocols)
		}, "the server's handshake is broken: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := httptest.NewServer(test.handler)
			defer srv.Close()
			url := "ws" + strings.TrimPrefix(srv.URL, "http")
			got := duplex(t, strings.NewReader(""), "connect", url)
			if got.code != exitFailure || !strings.HasPrefix(got.stderr, "duplex connect: "+url+": "+test.want) || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("%+v, want %s", got, test.want)
			}
		})
	}
}

func TestConnectNobodyThere(t *testing.T) {
	srv := httptest.NewServer(nil)
	srv.Close() // its port is free now
	url := "ws" + strings.TrimPrefix(srv.URL, "http")
	got := duplex(t, strings.NewReader(""), "connect", url)
	if want := (result{exitFailure, "", "duplex connect: " + url + ": nothing listens there: start the server, or check host and port\n"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Standard output that is gone ends the command, as nobody reads on.
func TestConnectOutputGone(t *testing.T) {
	_, url := startEcho(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, stdout := io.Pipe()
	out.Close()
	in, stdin := io.Pipe()
	defer stdin.Close()
	go io.WriteString(stdin, "hello\n")
	var stderr lockedBuffer
	began := time.Now()
	if code := run(ctx, []string{"connect", url}, in, stdout, &stderr); code != exitFailure || !strings.Contains(stderr.String(), "writing standard output") {
		t.Errorf("exit code %d after %v, stderr %q", code, time.Since(began), &stderr)
	}
}
