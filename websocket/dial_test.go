package websocket_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// A server is what a test plays against Dial: it gets the connection and the
// request, and its goroutine ends before the test does.
type server func(c *wstest.Stream, r *http.Request)

// dialed returns options whose connections lead to the server, and the client's
// end of the last one.
func (s server) dialed(t *testing.T, o *websocket.DialOptions) (_ *websocket.DialOptions, line func() *wstest.Stream) {
	t.Helper()
	v := websocket.DialOptions{}
	if o != nil {
		v = *o
	}
	var client *wstest.Stream
	v.DialContext = func(context.Context, string, string) (net.Conn, error) {
		c, peer := wstest.Streams()
		client = c
		served := make(chan struct{})
		go func() {
			defer close(served)
			defer peer.Close()
			br := bufio.NewReader(peer)
			r, err := http.ReadRequest(br)
			if err != nil { // this is TLS, or Dial gave up
				io.Copy(io.Discard, peer)
				return
			}
			s(peer, r)
		}()
		t.Cleanup(func() { c.Close(); <-served })
		return c, nil
	}
	return &v, func() *wstest.Stream { return client }
}

// answer is a server that sends an answer, in which {accept} stands for the right
// Sec-WebSocket-Accept, and waits for the client to go.
func answer(text string) server {
	return func(c *wstest.Stream, r *http.Request) {
		io.WriteString(c, strings.ReplaceAll(text, "{accept}", acceptFor(r.Header.Get("Sec-WebSocket-Key"))))
		io.Copy(io.Discard, c)
	}
}

// acceptFor is computed here as the RFC says, not by what is tested.
func acceptFor(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

const switching = "HTTP/1.1 101 Switching Protocols\r\n"
const fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"

func TestDialRequest(t *testing.T) {
	tests := []struct {
		url     string
		options websocket.DialOptions
		addr    string
		request string // its first line
		host    string
		fields  http.Header // besides the handshake's own
	}{
		{url: "ws://server.test", addr: "server.test:80", request: "GET / HTTP/1.1", host: "server.test"},
		{url: "ws://server.test/", addr: "server.test:80", request: "GET / HTTP/1.1", host: "server.test"},
		{url: "ws://server.test:80/chat", addr: "server.test:80", request: "GET /chat HTTP/1.1", host: "server.test"},
		{url: "ws://server.test:/chat", addr: "server.test:80", request: "GET /chat HTTP/1.1", host: "server.test"},
		{url: "WS://Server.TEST:8080/Chat?a=b&c", addr: "server.test:8080", request: "GET /Chat?a=b&c HTTP/1.1", host: "server.test:8080"},
		{url: "ws://server.test:443/", addr: "server.test:443", request: "GET / HTTP/1.1", host: "server.test:443"},
		{url: "ws://127.0.0.1:8080", addr: "127.0.0.1:8080", request: "GET / HTTP/1.1", host: "127.0.0.1:8080"},
		{url: "ws://[::1]", addr: "[::1]:80", request: "GET / HTTP/1.1", host: "[::1]"},
		{url: "ws://[::1]:8080", addr: "[::1]:8080", request: "GET / HTTP/1.1", host: "[::1]:8080"},
		{url: "ws://[fe80::1%25eth0]:8080", addr: "[fe80::1%eth0]:8080", request: "GET / HTTP/1.1", host: "[fe80::1]:8080"},
		{url: "ws://münchen.example/straße?q=ü x", addr: "xn--mnchen-3ya.example:80", request: "GET /stra%C3%9Fe?q=%C3%BC%20x HTTP/1.1", host: "xn--mnchen-3ya.example"},
		{url: "ws://server.test?only=query", addr: "server.test:80", request: "GET /?only=query HTTP/1.1", host: "server.test"},
		{url: "ws://server.test/%23", addr: "server.test:80", request: "GET /%23 HTTP/1.1", host: "server.test"},
		{url: "ws://ann:pass%20word@server.test/", addr: "server.test:80", request: "GET / HTTP/1.1", host: "server.test",
			fields: http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("ann:pass word"))}}},
		{url: "ws://ann@server.test/", options: websocket.DialOptions{Header: http.Header{"Authorization": {"Bearer x"}}},
			addr: "server.test:80", request: "GET / HTTP/1.1", host: "server.test", fields: http.Header{"Authorization": {"Bearer x"}}},
		{url: "ws://127.0.0.1:8080", options: websocket.DialOptions{Host: "virtual.test"},
			addr: "127.0.0.1:8080", request: "GET / HTTP/1.1", host: "virtual.test"},
		{url: "ws://server.test", options: websocket.DialOptions{Subprotocols: []string{"b", "a"}},
			addr: "server.test:80", request: "GET / HTTP/1.1", host: "server.test", fields: http.Header{"Sec-Websocket-Protocol": {"b, a"}}},
		{url: "ws://server.test", options: websocket.DialOptions{Header: http.Header{"Origin": {"https://x.test"}, "X-A": {"1", "2"}}},
			addr: "server.test:80", request: "GET / HTTP/1.1", host: "server.test", fields: http.Header{"Origin": {"https://x.test"}, "X-A": {"1", "2"}}},
	}
	for _, test := range tests {
		t.Run(test.url, func(t *testing.T) {
			var got *http.Request
			o, line := server(func(c *wstest.Stream, r *http.Request) {
				got = r
				answer(switching+fields+"\r\n")(c, r)
			}).dialed(t, &test.options)
			inner := o.DialContext
			o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if network != "tcp" || addr != test.addr {
					t.Errorf("connected to %s %s, want tcp %s", network, addr, test.addr)
				}
				return inner(ctx, network, addr)
			}
			c, _, err := websocket.Dial(t.Context(), test.url, o)
			if err != nil {
				t.Fatal(err)
			}
			if n := line().Stats().Writes; n != 1 {
				t.Errorf("the request took %d writes", n)
			}
			c.CloseNow()
			if first := fmt.Sprintf("%s %s %s", got.Method, got.RequestURI, got.Proto); first != test.request {
				t.Errorf("request %q, want %q", first, test.request)
			}
			if got.Host != test.host {
				t.Errorf("Host %q, want %q", got.Host, test.host)
			}
			key, err := base64.StdEncoding.DecodeString(got.Header.Get("Sec-WebSocket-Key"))
			if err != nil || len(key) != 16 {
				t.Errorf("key %q", got.Header["Sec-Websocket-Key"])
			}
			want := http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"}}
			for name, values := range test.fields {
				want[name] = values
			}
			got.Header.Del("Sec-WebSocket-Key")
			got.Header.Del("User-Agent")
			if fmt.Sprint(got.Header) != fmt.Sprint(want) {
				t.Errorf("header %v, want %v", got.Header, want)
			}
		})
	}
}

// What is wrong with the arguments is told before anything is sent.
func TestDialBadArguments(t *testing.T) {
	const good = "ws://server.test/"
	tests := []struct {
		url     string
		options websocket.DialOptions
		says    string
	}{
		{url: "", says: "ws://"},
		{url: "server.test", says: "ws://"},
		{url: "http://server.test", says: "use ws:// or wss://"},
		{url: "https://server.test", says: "use ws:// or wss://"},
		{url: "ftp://server.test", says: "use ws:// or wss://"},
		{url: "ws://", says: "host"},
		{url: "ws:server.test", says: "host"},
		{url: "ws:///chat", says: "host"},
		{url: "ws://:80/", says: "host"},
		{url: "ws://a<b/", says: "host"},
		{url: "ws://server.test/#part", says: "fragment"},
		{url: "ws://server.test/#", says: "fragment"},
		{url: "ws://server.test:0/", says: "port"},
		{url: "ws://server.test:65536/", says: "port"},
		{url: "ws://server.test:http/", says: "port"},
		{url: "ws://server.test/\r\nEvil: 1", says: "cannot be read"},
		{url: "ws://server.test/\x00", says: "cannot be read"},
		{url: "ws://[::1", says: "cannot be read"},
		{url: "ws://ann:s3cret@server.test:no/", says: "cannot be read"},
		{good, websocket.DialOptions{Subprotocols: []string{"a b"}}, "Subprotocols"},
		{good, websocket.DialOptions{Subprotocols: []string{"a,b"}}, "Subprotocols"},
		{good, websocket.DialOptions{Subprotocols: []string{""}}, "Subprotocols"},
		{good, websocket.DialOptions{Subprotocols: []string{"a", "b", "a"}}, "twice"},
		{good, websocket.DialOptions{Host: "a b"}, "DialOptions.Host"},
		{good, websocket.DialOptions{Host: "a\r\nEvil: 1"}, "DialOptions.Host"},
		{good, websocket.DialOptions{Header: http.Header{"X": {"a\r\nEvil: 1"}}}, "line break"},
		{good, websocket.DialOptions{Header: http.Header{"X": {"a\nb"}}}, "line break"},
		{good, websocket.DialOptions{Header: http.Header{"X: a\r\nEvil": {"1"}}}, "not a token"},
		{good, websocket.DialOptions{Header: http.Header{"Host": {"a"}}}, "DialOptions.Host"},
		{good, websocket.DialOptions{Header: http.Header{"upgrade": {"a"}}}, "upgrade"},
		{good, websocket.DialOptions{Header: http.Header{"Connection": {"close"}}}, "Connection"},
		{good, websocket.DialOptions{Header: http.Header{"Sec-WebSocket-Key": {"a"}}}, "Sec-WebSocket-Key"},
		{good, websocket.DialOptions{Header: http.Header{"Sec-Websocket-Extensions": {"a"}}}, "Sec-Websocket-Extensions"},
		{good, websocket.DialOptions{Header: http.Header{"Content-Length": {"3"}}}, "Content-Length"},
		{good, websocket.DialOptions{Header: http.Header{"Transfer-Encoding": {"chunked"}}}, "Transfer-Encoding"},
	}
	for _, test := range tests {
		test.options.DialContext = func(context.Context, string, string) (net.Conn, error) {
			t.Errorf("%q, %q: the network was used", test.url, test.says)
			return nil, errors.New("no network")
		}
		c, resp, err := websocket.Dial(t.Context(), test.url, &test.options)
		if c != nil || resp != nil || err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v, %v, error %v, want one with %q", test.url, c, resp, err, test.says)
		}
	}
}

func TestDialAnswers(t *testing.T) {
	tests := []struct {
		name, answer string
		offered      []string
		subprotocol  string
	}{
		{"usual", switching + fields + "\r\n", nil, ""},
		{"another reason phrase", "HTTP/1.1 101 OK\r\n" + fields + "\r\n", nil, ""},
		{"a long reason phrase", "HTTP/1.1 101 Web Socket Protocol Handshake (really)\r\n" + fields + "\r\n", nil, ""},
		{"an empty reason phrase", "HTTP/1.1 101 \r\n" + fields + "\r\n", nil, ""},
		{"no reason phrase", "HTTP/1.1 101\r\n" + fields + "\r\n", nil, ""},
		{"any letter case", switching + "UPGRADE: WebSocket\r\nconnection: keep-alive, upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n", nil, ""},
		{"spaces", switching + "Upgrade:websocket\r\nConnection: \t Upgrade \r\nSec-WebSocket-Accept:   {accept} \r\n\r\n", nil, ""},
		{"subprotocol", switching + fields + "Sec-WebSocket-Protocol: a\r\n\r\n", []string{"b", "a"}, "a"},
		{"no subprotocol", switching + fields + "\r\n", []string{"b", "a"}, ""},
		{"interim answers", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + switching + fields + "\r\n", nil, ""},
		{"ten interim answers", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 10) + switching + fields + "\r\n", nil, ""},
		{"fields about a body that there is not", switching + fields + "Content-Length: 5\r\nContent-Type: text/html\r\n\r\n", nil, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			hello := string(wire.Header{Fin: true, Opcode: wire.OpText, Length: 5}.Append(nil)) + "hello"
			o, line := answer(test.answer+hello).dialed(t, &websocket.DialOptions{Subprotocols: test.offered})
			c, resp, err := websocket.Dial(t.Context(), "ws://server.test/", o)
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			if resp.StatusCode != 101 || c.Subprotocol() != test.subprotocol {
				t.Errorf("answer %v, subprotocol %q", resp, c.Subprotocol())
			}
			read(t, c, "hello")
			if c.RemoteAddr() != line().RemoteAddr() || c.LocalAddr() != line().LocalAddr() {
				t.Errorf("addresses %v and %v", c.LocalAddr(), c.RemoteAddr())
			}
		})
	}
}

func TestDialRefused(t *testing.T) {
	longest := "HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\nX: \r\n\r\n" // gets 64 KiB
	longest = strings.Replace(longest, "X: ", "X: "+strings.Repeat("x", 64<<10-len(longest)), 1)
	tests := []struct {
		name, answer string
		offered      []string
		status       int // 0: not a HandshakeError
		says         string
		body         string
	}{
		{"wrong Accept", switching + "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", nil, 101, "does not fit", ""},
		{"no Accept", switching + "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", nil, 101, "no Sec-WebSocket-Accept", ""},
		{"Accept twice", switching + fields + "Sec-WebSocket-Accept: {accept}\r\n\r\n", nil, 101, "more than once", ""},
		{"no Upgrade", switching + "Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n", nil, 101, "Upgrade: websocket", ""},
		{"no Connection", switching + "Upgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n", nil, 101, "Connection: Upgrade", ""},
		{"extension never asked for", switching + fields + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", nil, 101, "permessage-deflate", ""},
		{"subprotocol never asked for", switching + fields + "Sec-WebSocket-Protocol: c\r\n\r\n", []string{"a"}, 101, `"c"`, ""},
		{"subprotocol where none was offered", switching + fields + "Sec-WebSocket-Protocol: c\r\n\r\n", nil, 101, `"c"`, ""},
		{"two subprotocols", switching + fields + "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n\r\n", []string{"a", "b"}, 101, "more than one", ""},

		{"401", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\n\r\nwho's it?", nil, 401, "credentials", "who's it?"},
		{"403", "HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nnever", nil, 403, "Origin", "never"},
		{"404", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", nil, 404, "path", ""},
		{"426", "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13, 8\r\nContent-Length: 0\r\n\r\n", nil, 426, `(Sec-WebSocket-Version: "13, 8")`, ""},
		{"429", "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", nil, 429, `(Retry-After: "7")`, ""},
		{"503", "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", nil, 503, "try again later", ""},
		{"500", "HTTP/1.1 500 Oops\r\nContent-Length: 12\r\n\r\nit broke\nbad", nil, 500, `it said "it broke"`, "it broke\nbad"},
		{"502", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", nil, 502, "proxy", ""},
		{"400", "HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno.", nil, 400, `refused; it said "no."`, "no."},
		{"200", "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>", nil, 200, "ordinary request", "<html></html>"},
		{"200 with every field of a handshake", "HTTP/1.1 200 OK\r\n" + fields + "Content-Length: 0\r\n\r\n", nil, 200, "ordinary request", ""},
		{"302", "HTTP/1.1 302 Found\r\nLocation: https://other.test/\r\nContent-Length: 0\r\n\r\n", nil, 302, `(Location: "https://other.test/")`, ""},
		{"a body in chunks", "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nnev\r\n2\r\ner\r\n0\r\n\r\n", nil, 403, `it said "never"`, "never"},
		{"a long body", "HTTP/1.1 403 Forbidden\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 5000), nil, 403, `xxx"...`, strings.Repeat("x", 1024)},
		{"a body after the longest header", longest + "never", nil, 403, `it said "never"`, "never"},
		{"a body with control characters", "HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\n\r\n\x1b[2Jboo!", nil, 403, `it said "\x1b[2Jboo!"`, "\x1b[2Jboo!"},
		{"an interim answer and then a refusal", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", nil, 404, "path", ""},

		{"eleven interim answers", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 11) + switching + fields + "\r\n", nil, 0, "interim", ""},
		{"interim answers without end", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </"+strings.Repeat("x", 20_000)+">\r\n\r\n", 8), nil, 0, "64 KiB", ""},
		{"10,000 fields", switching + strings.Repeat("X-Y: z\r\n", 10_000) + fields + "\r\n", nil, 0, "64 KiB", ""},
		{"a field of a megabyte", switching + "X-Y: " + strings.Repeat("z", 1<<20) + "\r\n" + fields + "\r\n", nil, 0, "64 KiB", ""},
		{"a reason phrase of a megabyte", "HTTP/1.1 101 " + strings.Repeat("z", 1<<20) + "\r\n" + fields + "\r\n", nil, 0, "64 KiB", ""},
		{"TLS", "\x15\x03\x01\x00\x02\x02\x46", nil, 0, "use wss://", ""},
		{"another protocol", "SSH-2.0-OpenSSH_9.9\r\n", nil, 0, `"SSH-2`, ""},
		{"HTTP/2", "\x00\x00\x12\x04\x00\x00\x00\x00\x00", nil, 0, "did not answer in HTTP/1.1", ""},
		{"a megabyte without a line", strings.Repeat("\xff", 1<<20), nil, 0, "did not answer in HTTP/1.1", ""},
		{"a status that is not a number", "HTTP/1.1 abc\r\n\r\n", nil, 0, "malformed", ""},
		{"a long line that is wrong", "HTTP/1.1 " + strings.Repeat("z", 10_000) + "\r\n\r\n", nil, 0, "...", ""},
		{"a field that is not one", switching + "no colon\r\n\r\n", nil, 0, "malformed", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o, line := answer(test.answer).dialed(t, &websocket.DialOptions{Subprotocols: test.offered, MaxRedirects: -1})
			c, resp, err := websocket.Dial(t.Context(), "ws://server.test/", o)
			if c != nil || err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "ws://server.test/: handshake: ") {
				t.Fatalf("error %v, want one with %q", err, test.says)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			if test.status != 0 {
				wantRefusal(t, err, test.status, test.says)
				b, err := io.ReadAll(resp.Body)
				if resp.StatusCode != test.status || string(b) != test.body || err != nil {
					t.Errorf("answer %v with body %q, %v; want %q", resp, b, err, test.body)
				}
			} else if resp != nil {
				t.Errorf("answer %v", resp)
			}
			if n := line().Stats().BytesRead; n > 80<<10 {
				t.Errorf("Dial read %d bytes", n)
			}
			if _, err := line().Write(nil); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the connection was left open: %v", err)
			}
		})
	}
}

func TestDialAnswerBreaksOff(t *testing.T) {
	whole := switching + fields
	for _, n := range []int{0, 1, 5, 12, 40, len(whole)} {
		o, _ := server(func(c *wstest.Stream, r *http.Request) { io.WriteString(c, whole[:n]) }).dialed(t, nil)
		_, _, err := websocket.Dial(t.Context(), "ws://server.test/", o)
		if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "closed the connection") {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	reset := errors.New("reset")
	o, line := server(func(*wstest.Stream, *http.Request) {}).dialed(t, nil)
	inner := o.DialContext
	o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := inner(ctx, network, addr)
		line().FailWrite(10, reset)
		return c, err
	}
	if _, _, err := websocket.Dial(t.Context(), "ws://server.test/", o); !errors.Is(err, reset) {
		t.Errorf("when the request cannot be written: %v", err)
	}
}

// Frames that come with the answer, and half of one, are the first to be read;
// no byte is lost wherever the network cuts.
func TestDialFramesWithTheAnswer(t *testing.T) {
	frame := func(s string) string {
		return string(wire.Header{Fin: true, Opcode: wire.OpText, Length: int64(len(s))}.Append(nil)) + s
	}
	long := strings.Repeat("long ", 20_000) // more than any buffer of the handshake
	frames := frame("first") + frame("") + frame(long) + frame("last")
	for _, split := range []int{0, 1, 7, 4096} {
		o, line := answer(switching+fields+"\r\n"+frames).dialed(t, nil)
		inner := o.DialContext
		o.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := inner(ctx, network, addr)
			line().SplitReads(split)
			return c, err
		}
		c, _, err := websocket.Dial(t.Context(), "ws://server.test/", o)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"first", "", long, "last"} {
			read(t, c, want)
		}
		c.CloseNow()
	}
}

// Dial returns when its time is over, whatever the server does, and says at which
// step it was; the connection is closed then.
func TestDialTimeouts(t *testing.T) {
	silent := func(c *wstest.Stream, _ *http.Request) { io.Copy(io.Discard, c) }
	trickle := func(text string) server {
		return func(c *wstest.Stream, _ *http.Request) {
			for i := 0; ; i++ {
				if _, err := io.WriteString(c, text[i%len(text):i%len(text)+1]); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}
	}
	hang := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	errCause := errors.New("the user left")
	tests := []struct {
		name    string
		url     string
		server  server
		dial    func(context.Context, string, string) (net.Conn, error) // in place of a server
		timeout time.Duration                                           // DialOptions.HandshakeTimeout
		cancel  time.Duration                                           // of the context, by a cause
		within  time.Duration                                           // of the context
		step    string
		is      error
		after   time.Duration
	}{
		{name: "connecting takes too long", dial: hang, step: "connect", is: os.ErrDeadlineExceeded, after: 10 * time.Second},
		{name: "connecting, with a limit", dial: hang, timeout: time.Second, step: "connect", is: os.ErrDeadlineExceeded, after: time.Second},
		{name: "connecting is cancelled", dial: hang, cancel: time.Second, step: "connect", is: context.Canceled, after: time.Second},
		{name: "connecting, the context is over", dial: hang, within: time.Second, step: "connect", is: context.DeadlineExceeded, after: time.Second},
		{name: "connecting, no limit but the context", dial: hang, timeout: -1, within: time.Hour, step: "connect", is: context.DeadlineExceeded, after: time.Hour},

		{name: "TLS is silent", url: "wss://server.test/", server: silent, step: "TLS", is: os.ErrDeadlineExceeded, after: 10 * time.Second},
		{name: "TLS is cancelled", url: "wss://server.test/", server: silent, cancel: time.Second, step: "TLS", is: context.Canceled, after: time.Second},
		{name: "TLS, the context is over", url: "wss://server.test/", server: silent, within: time.Second, step: "TLS", is: context.DeadlineExceeded, after: time.Second},

		{name: "no answer", server: silent, step: "handshake", is: os.ErrDeadlineExceeded, after: 10 * time.Second},
		{name: "no answer, with a limit", server: silent, timeout: 3 * time.Second, step: "handshake", is: os.ErrDeadlineExceeded, after: 3 * time.Second},
		{name: "no answer is cancelled", server: silent, cancel: time.Second, step: "handshake", is: context.Canceled, after: time.Second},
		{name: "no answer, the cause is told", server: silent, cancel: time.Second, step: "handshake", is: errCause, after: time.Second},
		{name: "no answer, the context is over", server: silent, within: time.Second, step: "handshake", is: context.DeadlineExceeded, after: time.Second},
		{name: "no answer, no limit but the context", server: silent, timeout: -1, within: time.Hour, step: "handshake", is: context.DeadlineExceeded, after: time.Hour},
		{name: "a byte a second", server: trickle(switching), step: "handshake", is: os.ErrDeadlineExceeded, after: 10 * time.Second},
		{name: "garbage, a byte a second", server: trickle("HTTP/"), step: "handshake", is: os.ErrDeadlineExceeded, after: 10 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(bg)
				defer cancel(nil)
				if test.cancel > 0 {
					time.AfterFunc(test.cancel, func() { cancel(errCause) })
				}
				if test.within > 0 {
					var stop context.CancelFunc
					ctx, stop = context.WithTimeout(ctx, test.within)
					defer stop()
				}
				o, line := &websocket.DialOptions{DialContext: test.dial}, func() *wstest.Stream { return nil }
				if test.dial == nil {
					o, line = test.server.dialed(t, nil)
				}
				o.HandshakeTimeout = test.timeout
				start := time.Now()
				c, resp, err := websocket.Dial(ctx, cmpOr(test.url, "ws://server.test/"), o)
				if d := time.Since(start); d != test.after {
					t.Errorf("Dial returned after %v, want %v", d, test.after)
				}
				if c != nil || resp != nil || !errors.Is(err, test.is) || !strings.Contains(err.Error(), "server.test/: "+test.step+": ") {
					t.Errorf("error %v, want one at %s that is %v", err, test.step, test.is)
				}
				if own := test.within == 0 && test.cancel == 0; own == (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
					t.Errorf("error %v is, or is not, that of the context", err)
				}
				if line := line(); line != nil {
					if _, err := line.Write(nil); !errors.Is(err, net.ErrClosed) {
						t.Errorf("the connection was left open: %v", err)
					}
				}
			})
		})
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// A server that refuses and then takes its time with the body has refused all the
// same.
func TestDialSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nno").dialed(t, nil)
		start := time.Now()
		_, resp, err := websocket.Dial(bg, "ws://server.test/", o)
		wantRefusal(t, err, 403, `it said "no"`)
		if d := time.Since(start); d != 10*time.Second || resp == nil {
			t.Errorf("after %v: %v", d, resp)
		}
	})
}

// A server that does not read does not hold Dial, and neither does a connection
// without deadlines.
func TestDialStuckWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, peer := wstest.Streams()
		client.SetBuffer(0)
		o := &websocket.DialOptions{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return withoutDeadlines{client}, nil
		}}
		start := time.Now()
		_, _, err := websocket.Dial(bg, "ws://server.test/", o)
		if d := time.Since(start); d != 10*time.Second || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v after %v", err, d)
		}
		peer.Close()
	})
}

type withoutDeadlines struct{ *wstest.Stream }

func (withoutDeadlines) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (withoutDeadlines) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (withoutDeadlines) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

func TestDialContextReturnsNothing(t *testing.T) {
	refused := errors.New("nobody home")
	for _, want := range []error{refused, nil} {
		_, _, err := websocket.Dial(t.Context(), "ws://server.test/", &websocket.DialOptions{
			DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, want },
		})
		if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), "connect: ") {
			t.Errorf("DialContext returned nil, %v: Dial %v", want, err)
		}
	}
}

// A context that is over before Dial begins.
func TestDialWithAnEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(bg)
	cancel()
	for _, url := range []string{"ws://server.test/", "wss://server.test/"} {
		o, _ := answer(switching+fields+"\r\n").dialed(t, nil)
		if _, _, err := websocket.Dial(ctx, url, o); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, _, err := websocket.Dial(ctx, "ws://127.0.0.1:1/", nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The end of Dial's context, and that of HandshakeTimeout, mean nothing to the
// connection afterwards.
func TestDialContextEndsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := accepting(t, &websocket.AcceptOptions{Options: websocket.Options{PingInterval: -1}})
		ctx, cancel := context.WithCancel(bg)
		c, _, err := s.Dial(ctx, "/", &websocket.DialOptions{HandshakeTimeout: time.Second, Options: websocket.Options{PingInterval: -1}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		cancel()
		time.Sleep(time.Hour)
		if err := c.Write(bg, websocket.Text, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		read(t, c, "hello")
	})
}

// A context that ends at the last moment leaves no connection behind.
func TestDialContextEndsWithTheAnswer(t *testing.T) {
	ctx, cancel := context.WithCancel(bg)
	o, line := answer(switching+fields+"\r\n").dialed(t, &websocket.DialOptions{Jar: cancelJar(cancel)})
	if c, _, err := websocket.Dial(ctx, "ws://server.test/", o); c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", c, err)
	}
	if _, err := line().Write(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection was left open: %v", err)
	}
}

// A cancelJar cancels when it is given cookies.
type cancelJar context.CancelFunc

func (j cancelJar) SetCookies(*url.URL, []*http.Cookie) { j() }
func (j cancelJar) Cookies(*url.URL) []*http.Cookie     { return nil }

func TestDialCookies(t *testing.T) {
	var got []string
	s := wstest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header["Cookie"]
		http.SetCookie(w, &http.Cookie{Name: "seen", Value: r.URL.Path[1:]})
		if r.URL.Path == "/refused" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		if c, err := websocket.Accept(w, r, nil); err == nil {
			c.CloseNow()
		}
	}))
	defer s.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	site, _ := url.Parse("http://server.test/")
	jar.SetCookies(site, []*http.Cookie{{Name: "user", Value: "ann"}, {Name: "tls", Value: "only", Secure: true}})
	dial := func(path string, header http.Header, want ...string) {
		t.Helper()
		c, _, err := s.Dial(t.Context(), path, &websocket.DialOptions{Jar: jar, Header: header})
		if err == nil {
			c.CloseNow()
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the server got cookies %q, want %q", path, got, want)
		}
	}
	dial("/one", nil, "user=ann")
	dial("/refused", nil, "user=ann; seen=one") // of the answer with 101
	dial("/two", nil, "user=ann; seen=refused") // of the answer with 403
	own := http.Header{"Cookie": {"a=1", "b=2"}}
	dial("/three", own, "a=1; b=2; user=ann; seen=two")
	if len(own["Cookie"]) != 2 {
		t.Errorf("the caller's header was changed: %v", own)
	}
}

// certificate makes a server's certificate and a pool that trusts it.
func certificate(t *testing.T, names ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: names[0]},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// serveTLS echoes over TLS and offers HTTP/2 to those who ask for it.
func serveTLS(t *testing.T, cert tls.Certificate) *wstest.Listener {
	t.Helper()
	l := wstest.NewListener()
	srv := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err == nil {
			defer c.CloseNow()
			echoing(c)()
		}
	})}
	served := async(func() error {
		return srv.Serve(tls.NewListener(l, &tls.Config{
			Certificates: []tls.Certificate{cert},
			NextProtos:   []string{"h2", "http/1.1"},
		}))
	})
	t.Cleanup(func() { srv.Close(); served() })
	return l
}

func TestDialTLS(t *testing.T) {
	cert, pool := certificate(t, "server.test", "::1", "other.test")
	l := serveTLS(t, cert)
	tests := []struct {
		url        string
		serverName string
	}{
		{"wss://server.test/", ""},
		{"wss://Server.Test:443/", ""},
		{"wss://[::1]:8443/", ""},
		{"wss://127.0.0.1/", "other.test"},
	}
	for _, test := range tests {
		config := &tls.Config{RootCAs: pool, ServerName: test.serverName, NextProtos: []string{"h2"}}
		c, resp, err := websocket.Dial(t.Context(), test.url, &websocket.DialOptions{
			DialContext: l.DialContext,
			TLSConfig:   config,
		})
		if err != nil {
			t.Errorf("%s: %v", test.url, err)
			continue
		}
		if resp.TLS == nil || resp.TLS.NegotiatedProtocol != "http/1.1" {
			t.Errorf("%s: TLS %+v", test.url, resp.TLS)
		}
		if config.ServerName != test.serverName || len(config.NextProtos) != 1 {
			t.Errorf("%s: the caller's TLSConfig was changed", test.url)
		}
		if err := c.Write(t.Context(), websocket.Text, []byte("hello")); err != nil {
			t.Errorf("%s: %v", test.url, err)
		}
		read(t, c, "hello")
		if err := c.Close(websocket.CloseNormal, ""); err != nil {
			t.Errorf("%s: %v", test.url, err)
		}
	}
}

// Over TLS too the time is up when it is up, though closing TLS means to write to
// a server that takes nothing.
func TestDialTLSTimeout(t *testing.T) {
	tests := []struct {
		name, answer string
		after        time.Duration
	}{
		{"no answer", "", 10 * time.Second},
		{"half of an answer", "HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nno", 10 * time.Second},
		{"a refusal", "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cert, pool := certificate(t, "server.test")
				client, peer := wstest.Streams()
				served := async(func() error {
					defer peer.Close()
					c := tls.Server(peer, &tls.Config{Certificates: []tls.Certificate{cert}})
					if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
						return err
					}
					client.SetBuffer(0)
					io.WriteString(c, test.answer)
					_, err := io.Copy(io.Discard, peer)
					return err
				})
				start := time.Now()
				_, _, err := websocket.Dial(bg, "wss://server.test/", &websocket.DialOptions{
					TLSConfig:   &tls.Config{RootCAs: pool},
					DialContext: func(context.Context, string, string) (net.Conn, error) { return client, nil },
				})
				if d := time.Since(start); err == nil || d != test.after {
					t.Errorf("%v after %v, want %v", err, d, test.after)
				}
				if err := served(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestDialTLSFails(t *testing.T) {
	cert, pool := certificate(t, "server.test")
	secure := serveTLS(t, cert)
	plain, _ := accepting(t, nil)
	tests := []struct {
		name, url string
		listener  *wstest.Listener
		config    *tls.Config
		step      string
		says      string
	}{
		{"a certificate that is not trusted", "wss://server.test/", secure, nil, "TLS", "DialOptions.TLSConfig.RootCAs"},
		{"another host's certificate", "wss://evil.test/", secure, &tls.Config{RootCAs: pool}, "TLS", "evil.test"},
		{"wss to a server without TLS", "wss://server.test/", plain.Listener, nil, "TLS", "use ws://"},
		{"ws to a server with TLS", "ws://server.test/", secure, nil, "handshake", "400"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var line net.Conn
			_, _, err := websocket.Dial(t.Context(), test.url, &websocket.DialOptions{
				TLSConfig: test.config,
				DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
					line, err = test.listener.DialContext(ctx, network, addr)
					return line, err
				},
			})
			if err == nil || !strings.Contains(err.Error(), "/: "+test.step+": ") || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want one at %s with %q", err, test.step, test.says)
			}
			if _, err := line.Write(nil); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the connection was left open: %v", err)
			}
		})
	}
}

// Over a real network, with the dialer that is used by default.
func TestDialTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var lines websocket.Registry
	srv := &http.Server{Handler: &websocket.Handler{
		AcceptOptions: websocket.AcceptOptions{Registry: &lines},
		Message: func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
			c.Write(bg, typ, bytes.ToUpper(p))
		},
	}}
	served := async(func() error { return srv.Serve(l) })
	c, _, err := websocket.Dial(t.Context(), "ws://"+l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write(t.Context(), websocket.Text, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	read(t, c, "HELLO")
	if err := c.Close(websocket.CloseNormal, ""); err != nil {
		t.Error(err)
	}
	if err := lines.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	srv.Close()
	served()

	_, _, err = websocket.Dial(t.Context(), "ws://"+l.Addr().String(), nil)
	if err == nil || !strings.Contains(err.Error(), "connect: ") {
		t.Errorf("nobody listens: %v", err)
	}
}

// Errors go into logs: what may be secret stays out of them.
func TestDialErrorsKeepSecrets(t *testing.T) {
	o, _ := answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").dialed(t, nil)
	_, _, err := websocket.Dial(t.Context(), "ws://ann:s3cret@server.test/room?token=s3cret", o)
	if err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "ws://server.test/room: ") {
		t.Errorf("error %v", err)
	}
}
