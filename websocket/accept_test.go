package websocket_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
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

// upgrade returns a request that is answered with 101, after changes to its
// lines: "Name: value" puts another value into a field, "-Name" takes the field
// out, "+line" adds one, "=line" replaces the request line.
func upgrade(changes ...string) string {
	request := "GET /chat HTTP/1.1"
	lines := []string{
		"Host: server.test",
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		"Sec-WebSocket-Version: 13",
	}
	for _, change := range changes {
		name, _, _ := strings.Cut(strings.TrimPrefix(change, "-"), ":")
		isField := func(line string) bool { return strings.HasPrefix(line, name+":") }
		switch change[0] {
		case '=':
			request = change[1:]
		case '+':
			lines = append(lines, change[1:])
		case '-':
			lines = slices.DeleteFunc(lines, isField)
		default:
			lines[slices.IndexFunc(lines, isField)] = change
		}
	}
	return request + "\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// A requester is an HTTP client that sends bytes as a test wants them.
type requester struct {
	*wstest.Stream
	br *bufio.Reader
}

func connect(t *testing.T, s *wstest.Server) *requester {
	t.Helper()
	c, err := s.Listener.DialContext(t.Context(), "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &requester{c.(*wstest.Stream), bufio.NewReader(c)}
}

// ask sends a request, if there is one, and returns the answer. Its body is read.
func (r *requester) ask(t *testing.T, request string) (resp *http.Response, body string) {
	t.Helper()
	if request != "" {
		if _, err := r.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := http.ReadResponse(r.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// peer is the requester after a 101, bytes that came with it not forgotten.
func (r *requester) peer(t *testing.T) *raw {
	b, _ := r.br.Peek(r.br.Buffered())
	return &raw{wstest.NewPeer(readFirst{r.Stream, strings.NewReader(string(b))}, true), t, r.Stream}
}

type readFirst struct {
	*wstest.Stream
	first *strings.Reader
}

func (r readFirst) Read(p []byte) (int, error) {
	if r.first.Len() > 0 {
		return r.first.Read(p)
	}
	return r.Stream.Read(p)
}

// accepting starts a server that echoes and hands over what Accept returns.
func accepting(t *testing.T, o *websocket.AcceptOptions) (*wstest.Server, <-chan error) {
	errs := make(chan error, 1)
	s := wstest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, o)
		errs <- err
		if err == nil {
			defer c.CloseNow()
			echoing(c)()
		}
	}))
	t.Cleanup(s.Close)
	return s, errs
}

// wantRefusal fails unless err is a HandshakeError of this status whose text has
// this in it.
func wantRefusal(t *testing.T, err error, status int, text string) {
	t.Helper()
	var refused *websocket.HandshakeError
	if !errors.As(err, &refused) || refused.Status != status || !strings.Contains(refused.Msg, text) {
		t.Errorf("got error %v, want a HandshakeError %d with %q", err, status, text)
	}
}

func TestAcceptAnswer(t *testing.T) {
	s, errs := accepting(t, nil)
	tests := []struct {
		name, request, accept string
	}{
		{"the RFC's example", upgrade(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
		{"a key with stray bits in its last character",
			upgrade("Sec-WebSocket-Key: eHlqIGCmZVwFTKolp53iMP=="), "QLVAeRtctb3x8iqHoXw3CfCCuT0="},
		{"any letter case, a token in a list",
			upgrade("Connection: keep-alive, UPGRADE", "Upgrade: WebSocket"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
		{"lists on several lines",
			upgrade("Connection: keep-alive", "+Connection: upgrade", "Upgrade: h2c", "+Upgrade: websocket"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
		{"extensions that are not known, subprotocols that are not spoken",
			upgrade("+Sec-WebSocket-Extensions: x-unknown; a=1", "+Sec-WebSocket-Protocol: chat"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := connect(t, s)
			r.Write([]byte(test.request))
			want := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + test.accept + "\r\n\r\n"
			got := make([]byte, len(want))
			if _, err := io.ReadFull(r.br, got); err != nil || string(got) != want {
				t.Fatalf("answer %q, %v; want %q", got, err, want)
			}
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
			if n := r.Peer().Stats().Writes; n != 1 {
				t.Errorf("the answer took %d writes", n)
			}
			peer := r.peer(t)
			peer.send(peer.text("hello"))
			peer.want("text hello")
		})
	}
}

func TestAcceptRefusals(t *testing.T) {
	s, errs := accepting(t, nil)
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	tests := []struct {
		name, request string
		status        int
		says          string
	}{
		{"POST", upgrade("=POST / HTTP/1.1"), 405, "GET"},
		{"HEAD in lower case", upgrade("=head / HTTP/1.1"), 405, "GET"},
		{"HTTP/1.0", upgrade("=GET / HTTP/1.0"), 426, "HTTP/1.1"},
		{"a browser that wants a page", "GET / HTTP/1.1\r\nHost: server.test\r\n\r\n", 426, "Connection"},
		{"no Connection", upgrade("-Connection"), 426, "Connection"},
		{"another Connection", upgrade("Connection: keep-alive"), 426, "Connection"},
		{"no Upgrade", upgrade("-Upgrade"), 426, "Upgrade"},
		{"another Upgrade", upgrade("Upgrade: h2c"), 426, "Upgrade"},
		{"no version", upgrade("-Sec-WebSocket-Version"), 426, "Sec-WebSocket-Version: 13"},
		{"version 8", upgrade("Sec-WebSocket-Version: 8"), 426, "13"},
		{"version 9", upgrade("Sec-WebSocket-Version: 9"), 426, "13"},
		{"version 10", upgrade("Sec-WebSocket-Version: 10"), 426, "13"},
		{"version 11", upgrade("Sec-WebSocket-Version: 11"), 426, "13"},
		{"version 12", upgrade("Sec-WebSocket-Version: 12"), 426, "13"},
		{"version 14", upgrade("Sec-WebSocket-Version: 14"), 426, "13"},
		{"version 013", upgrade("Sec-WebSocket-Version: 013"), 426, "13"},
		{"versions", upgrade("Sec-WebSocket-Version: 13, 8"), 426, "13"},
		{"version twice", upgrade("+Sec-WebSocket-Version: 13"), 426, "13"},
		{"no key", upgrade("-Sec-WebSocket-Key"), 400, "missing"},
		{"key twice", upgrade("+" + key), 400, "more than once"},
		{"key too short", upgrade("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"), 400, "16 bytes"},
		{"key too long", upgrade("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWQh"), 400, "16 bytes"},
		{"key not base64", upgrade("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ?=="), 400, "16 bytes"},
		{"body", upgrade("+Content-Length: 3") + "abc", 400, "body"},
		{"body in chunks", upgrade("+Transfer-Encoding: chunked") + "0\r\n\r\n", 400, "body"},
		{"subprotocol not a token", upgrade("+Sec-WebSocket-Protocol: a b"), 400, "Sec-WebSocket-Protocol"},
		{"subprotocol twice", upgrade("+Sec-WebSocket-Protocol: a, a"), 400, "Sec-WebSocket-Protocol"},
		{"no subprotocol", upgrade("+Sec-WebSocket-Protocol: "), 400, "Sec-WebSocket-Protocol"},
		{"foreign origin", upgrade("+Origin: https://evil.example"), 403, `"https://evil.example"`},
		{"two origins", upgrade("+Origin: http://server.test", "+Origin: http://server.test"), 403, "more than once"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			resp, body := connect(t, s).ask(t, test.request)
			wantRefusal(t, <-errs, test.status, test.says)
			if resp.StatusCode != test.status || !strings.Contains(body, test.says) {
				t.Errorf("answer %d, %q; want %d with %q", resp.StatusCode, body, test.status, test.says)
			}
			if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain") || strings.Count(body, "\n") != 1 {
				t.Errorf("the answer is not a line of text: %s, %q", got, body)
			}
			for name, want := range map[string]string{
				"Allow":                 map[int]string{405: "GET"}[test.status],
				"Upgrade":               map[int]string{426: "websocket"}[test.status],
				"Sec-Websocket-Version": map[int]string{426: "13"}[test.status],
			} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestAcceptOrigins(t *testing.T) {
	tests := []struct {
		patterns []string
		host     string
		origin   string // "": none
		want     int
	}{
		{nil, "server.test", "", 101},
		{nil, "server.test", "http://server.test", 101},
		{nil, "server.test:443", "https://SERVER.test", 101},
		{nil, "[::1]:8080", "http://[0:0::1]:8080", 101},
		{nil, "127.0.0.1:8080", "http://127.0.0.1:8080", 101},
		{nil, "127.0.0.1:8080", "http://127.0.0.1:9090", 403},
		{nil, "127.0.0.1:8080", "http://localhost:8080", 403},
		{nil, "server.test", "http://server.test:8080", 403},
		{nil, "server.test", "null", 403},
		{nil, "server.test", "https://münchen.example", 403},
		{[]string{"null"}, "server.test", "null", 101},
		{[]string{"münchen.example"}, "server.test", "https://xn--mnchen-3ya.example", 101},
		{[]string{"https://*.example.com", "localhost:*"}, "server.test", "https://a.example.com", 101},
		{[]string{"https://*.example.com", "localhost:*"}, "server.test", "http://localhost:5173", 101},
		{[]string{"https://*.example.com", "localhost:*"}, "server.test", "http://a.example.com", 403},
		{[]string{"*"}, "server.test", "https://evil.example", 101},
		// A pattern that matches nothing is noticed by everybody.
		{[]string{"https://example.com/"}, "server.test", "http://server.test", 500},
		{[]string{"https://example.com/"}, "server.test", "", 500},
		{[]string{"*", "wss://example.com"}, "server.test", "", 500},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.patterns, test.host, test.origin), func(t *testing.T) {
			s, errs := accepting(t, &websocket.AcceptOptions{Origins: test.patterns})
			changes := []string{"Host: " + test.host}
			if test.origin != "" {
				changes = append(changes, "+Origin: "+test.origin)
			}
			r := connect(t, s)
			r.Write([]byte(upgrade(changes...)))
			resp, err := http.ReadResponse(r.br, nil)
			if err != nil || resp.StatusCode != test.want {
				t.Fatalf("%v, %v, want %d", resp, err, test.want)
			}
			if err := <-errs; test.want != 101 {
				says := test.origin
				if test.want == 500 {
					says = test.patterns[len(test.patterns)-1]
				}
				wantRefusal(t, err, test.want, strings.Trim(fmt.Sprintf("%+q", says), `"`))
			}
		})
	}
}

func TestAcceptSubprotocol(t *testing.T) {
	tests := []struct {
		spoken  []string
		offered string
		want    string
	}{
		{[]string{"v2", "v1"}, "v1, v2", "v2"}, // the server's order
		{[]string{"v2", "v1"}, "v1", "v1"},
		{[]string{"v2"}, "v1, V2", ""},
		{nil, "v1", ""},
		{[]string{"v1"}, "", ""},
	}
	for _, test := range tests {
		got := make(chan string, 1)
		s := wstest.NewServer(&websocket.Handler{
			AcceptOptions: websocket.AcceptOptions{Subprotocols: test.spoken},
			Open:          func(c *websocket.Conn, _ *http.Request) { got <- c.Subprotocol() },
		})
		changes := []string{}
		if test.offered != "" {
			changes = append(changes, "+Sec-WebSocket-Protocol: "+test.offered)
		}
		resp, _ := connect(t, s).ask(t, upgrade(changes...))
		if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Protocol") != test.want {
			t.Errorf("%q offered, %q spoken: answer %v", test.offered, test.spoken, resp.Header)
		}
		if _, sent := resp.Header["Sec-Websocket-Protocol"]; sent != (test.want != "") {
			t.Errorf("%q offered, %q spoken: answer %v", test.offered, test.spoken, resp.Header)
		}
		if got := <-got; got != test.want {
			t.Errorf("%q offered, %q spoken: Subprotocol() = %q, want %q", test.offered, test.spoken, got, test.want)
		}
		s.Close()
	}
}

func TestAcceptOptionsThatAreWrong(t *testing.T) {
	tests := []struct {
		options websocket.AcceptOptions
		says    string
	}{
		{websocket.AcceptOptions{Header: http.Header{"X": {"a\r\nSet-Cookie: evil=1"}}}, "line break"},
		{websocket.AcceptOptions{Header: http.Header{"X\r\nEvil": {"a"}}}, "not a token"},
		{websocket.AcceptOptions{Header: http.Header{"Sec-WebSocket-Accept": {"a"}}}, "Sec-WebSocket-Accept"},
		{websocket.AcceptOptions{Header: http.Header{"Connection": {"close"}}}, "Connection"},
		{websocket.AcceptOptions{Header: http.Header{"Content-Length": {"3"}}}, "Content-Length"},
		{websocket.AcceptOptions{Subprotocols: []string{"a b"}}, "Subprotocols"},
		{websocket.AcceptOptions{Subprotocols: []string{"a", "a"}}, "Subprotocols"},
	}
	for _, test := range tests {
		s, errs := accepting(t, &test.options)
		resp, body := connect(t, s).ask(t, upgrade())
		wantRefusal(t, <-errs, 500, test.says)
		if resp.StatusCode != 500 || resp.Header.Get("Set-Cookie") != "" || !strings.Contains(body, test.says) {
			t.Errorf("%q: answer %v, %q", test.says, resp, body)
		}
	}
}

func TestAcceptHeader(t *testing.T) {
	accepted := make(chan struct{})
	s := wstest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Server", "middleware")
		h.Set("X-Request-Id", "7")
		h.Add("Set-Cookie", "a=1")
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", "10")
		h.Set("Transfer-Encoding", "chunked")
		h.Set("Connection", "close")
		h.Set("Sec-WebSocket-Accept", "wrong")
		h["X-Evil"] = []string{"a\r\nEvil: 1"}
		h["Evil: 2\r\nX"] = []string{"a"}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Header: http.Header{
			"Server":     {"application"},
			"set-cookie": {"b=2"},
			"X-Own":      {"yes"},
		}})
		close(accepted)
		if err != nil {
			t.Error(err)
			return
		}
		c.CloseNow()
	}))
	defer s.Close()
	resp, _ := connect(t, s).ask(t, upgrade())
	<-accepted
	want := http.Header{
		"Upgrade":              {"websocket"},
		"Connection":           {"Upgrade"},
		"Sec-Websocket-Accept": {"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
		"Server":               {"application"},
		"X-Request-Id":         {"7"},
		"X-Own":                {"yes"},
		"Set-Cookie":           {"a=1", "b=2"},
	}
	if fmt.Sprint(resp.Header) != fmt.Sprint(want) {
		t.Errorf("answer %v, want %v", resp.Header, want)
	}
}

func TestAcceptAfterShutdown(t *testing.T) {
	var g websocket.Registry
	if err := g.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, errs := accepting(t, &websocket.AcceptOptions{Registry: &g})
	resp, body := connect(t, s).ask(t, upgrade())
	wantRefusal(t, <-errs, 503, "shutting down")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || !strings.Contains(body, "shutting down") {
		t.Errorf("answer %v, %q", resp, body)
	}
}

// Frames that come with the request, and half of one, are the first to be read.
func TestAcceptFramesWithTheRequest(t *testing.T) {
	s, _ := accepting(t, nil)
	r := connect(t, s)
	peer := &raw{wstest.NewPeer(r.Stream, true), t, r.Stream}
	last := peer.text("third")
	early := slices.Concat(peer.text("first"), peer.frame(false, wire.OpText, "sec"), peer.frame(true, wire.OpContinuation, "ond"), last[:7])
	if resp, _ := r.ask(t, upgrade()+string(early)); resp.StatusCode != 101 {
		t.Fatal(resp)
	}
	peer = r.peer(t)
	peer.send(last[7:])
	peer.want("text first", "text second", "text third")
}

// Middleware that has nothing but Unwrap does not break a WebSocket, whatever it
// would do to a body.
func TestAcceptThroughMiddleware(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		echoing(c)()
	})
	h := logging(compression(aggregation(compression(echo))))
	s := wstest.NewServer(h)
	defer s.Close()
	c, resp, err := s.Dial(t.Context(), "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if resp.Header.Get("X-Logged") != "yes" || resp.Header.Get("Content-Encoding") != "" {
		t.Errorf("answer %v", resp.Header)
	}
	if err := c.Write(t.Context(), websocket.Text, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	read(t, c, "hello")
}

func logging(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Logged", "yes")
		next.ServeHTTP(&statusWriter{ResponseWriter: w}, r)
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func compression(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "rot1")
		next.ServeHTTP(rotWriter{w}, r)
	})
}

type rotWriter struct{ w http.ResponseWriter }

func (w rotWriter) Header() http.Header         { return w.w.Header() }
func (w rotWriter) WriteHeader(status int)      { w.w.WriteHeader(status) }
func (w rotWriter) Unwrap() http.ResponseWriter { return w.w }
func (w rotWriter) Write(p []byte) (int, error) {
	q := slices.Clone(p)
	for i := range q {
		q[i]++
	}
	return w.w.Write(q)
}

// aggregation writes everything at the end.
func aggregation(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &allWriter{ResponseWriter: w}
		next.ServeHTTP(a, r)
		if len(a.all) > 0 {
			w.Write(a.all)
		}
	})
}

type allWriter struct {
	http.ResponseWriter
	all []byte
}

func (w *allWriter) Write(p []byte) (int, error) {
	w.all = append(w.all, p...)
	return len(p), nil
}
func (w *allWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Wrappers that do not let a connection through.
type (
	opaqueWriter   struct{ http.ResponseWriter }
	assertWriter   struct{ opaqueWriter }
	refusingWriter struct{ opaqueWriter }
	emptyWriter    struct{ opaqueWriter }
	lostWriter     struct{ opaqueWriter }
	embedsNil      struct {
		opaqueWriter
		http.Hijacker
	}
)

func (w assertWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.ResponseWriter.(http.Hijacker).Hijack()
}
func (w refusingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, errors.New("not today")
}
func (w emptyWriter) Unwrap() http.ResponseWriter { return nil }
func (w lostWriter) Unwrap() http.ResponseWriter  { panic("lost") }

func TestAcceptWhereTheConnectionIsHidden(t *testing.T) {
	tests := []struct {
		wrap func(http.ResponseWriter) http.ResponseWriter
		says string
	}{
		{func(w http.ResponseWriter) http.ResponseWriter { return opaqueWriter{w} }, "websocket_test.opaqueWriter does not"},
		{func(w http.ResponseWriter) http.ResponseWriter {
			return &statusWriter{ResponseWriter: &statusWriter{ResponseWriter: opaqueWriter{w}}}
		}, "websocket_test.opaqueWriter does not"},
		{func(w http.ResponseWriter) http.ResponseWriter {
			return &statusWriter{ResponseWriter: &embedsNil{opaqueWriter: opaqueWriter{w}}}
		}, "*websocket_test.embedsNil: panic: "},
		{func(w http.ResponseWriter) http.ResponseWriter {
			return assertWriter{opaqueWriter{&statusWriter{ResponseWriter: w}}}
		}, "websocket_test.assertWriter: panic: "},
		{func(w http.ResponseWriter) http.ResponseWriter { return refusingWriter{opaqueWriter{w}} }, "websocket_test.refusingWriter: not today"},
		{func(w http.ResponseWriter) http.ResponseWriter { return emptyWriter{opaqueWriter{w}} }, "websocket_test.emptyWriter does not"},
		{func(w http.ResponseWriter) http.ResponseWriter { return lostWriter{opaqueWriter{w}} }, "websocket_test.lostWriter: panic: lost"},
	}
	for _, test := range tests {
		t.Run(test.says, func(t *testing.T) {
			errs := make(chan error, 1)
			s := wstest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, err := websocket.Accept(test.wrap(w), r, nil)
				errs <- err
			}))
			defer s.Close()
			_, resp, err := s.Dial(t.Context(), "/", nil)
			wantRefusal(t, err, 500, test.says)
			wantRefusal(t, <-errs, 500, test.says)
			if resp == nil || resp.StatusCode != 500 {
				t.Errorf("answer %v", resp)
			}
		})
	}
}

func TestAcceptWithoutAServer(t *testing.T) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
		r.Header.Set(name, value)
	}
	_, err := websocket.Accept(w, r, nil)
	wantRefusal(t, err, 500, "*httptest.ResponseRecorder")
	if w.Code != 500 {
		t.Errorf("answer %d", w.Code)
	}
}

// A request over HTTP/2 is refused in a way that HTTP/2 allows.
func TestAcceptHTTP2(t *testing.T) {
	errs := make(chan error, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := websocket.Accept(w, r, nil)
		errs <- err
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	wantRefusal(t, <-errs, 426, "HTTP/1.1")
	if resp.ProtoMajor != 2 || resp.StatusCode != 426 || resp.Header.Get("Upgrade")+resp.Header.Get("Connection") != "" {
		t.Errorf("answer %v", resp)
	}
}

// Accept twice on one request is an error of the program and not a panic.
func TestAcceptTwice(t *testing.T) {
	errs := make(chan error, 1)
	s := wstest.Serve(&http.Server{
		ErrorLog: log.New(failOnLog{t}, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, nil)
			if err == nil {
				defer c.CloseNow()
				_, err = websocket.Accept(w, r, nil)
			}
			errs <- err
		}),
	})
	defer s.Close()
	connect(t, s).ask(t, upgrade())
	if err := <-errs; !errors.Is(err, http.ErrHijacked) {
		t.Errorf("second Accept: %v", err)
	}
}

type failOnLog struct{ t *testing.T }

func (f failOnLog) Write(p []byte) (int, error) {
	f.t.Errorf("net/http complains: %s", p)
	return len(p), nil
}

// Neither http.Server's deadlines nor the end of the handler or its context end
// the connection.
func TestAcceptOutlivesTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		accepted := make(chan *websocket.Conn, 1)
		s := wstest.Serve(&http.Server{
			ReadTimeout:  time.Second,
			WriteTimeout: time.Second,
			IdleTimeout:  time.Second,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Second))
				c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
					Options:          websocket.Options{PingInterval: -1},
					HandshakeTimeout: time.Second,
				})
				if err != nil {
					t.Error(err)
				}
				accepted <- c
			}),
		})
		defer s.Close()
		client, _, err := s.Dial(t.Context(), "/", &websocket.DialOptions{
			Options:          websocket.Options{PingInterval: -1},
			HandshakeTimeout: time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer client.CloseNow()
		server := <-accepted
		echoed := echoing(server)
		time.Sleep(time.Hour)
		if err := client.Write(bg, websocket.Text, []byte("still there")); err != nil {
			t.Fatal(err)
		}
		read(t, client, "still there")
		client.CloseNow()
		echoed()
		server.CloseNow()
	})
}

// A client that takes nothing does not hold Accept longer than HandshakeTimeout.
func TestAcceptTimeout(t *testing.T) {
	tests := []struct{ set, want time.Duration }{
		{0, 10 * time.Second},
		{3 * time.Second, 3 * time.Second},
		{-1, time.Hour}, // when the client goes away
	}
	for _, test := range tests {
		synctest.Test(t, func(t *testing.T) {
			s, errs := accepting(t, &websocket.AcceptOptions{HandshakeTimeout: test.set})
			r := connect(t, s)
			r.Peer().SetBuffer(0)
			time.AfterFunc(time.Hour, func() { r.Close() })
			start := time.Now()
			r.Write([]byte(upgrade()))
			err := <-errs
			if d := time.Since(start); err == nil || d != test.want {
				t.Errorf("HandshakeTimeout %v: %v after %v, want an error after %v", test.set, err, d, test.want)
			}
			if timedOut := errors.Is(err, os.ErrDeadlineExceeded); timedOut != (test.set >= 0) || !strings.Contains(err.Error(), "writing the answer") {
				t.Errorf("HandshakeTimeout %v: error %v", test.set, err)
			}
			if _, err := r.Read(make([]byte, 1)); test.set >= 0 && err != io.EOF {
				t.Errorf("the connection was left open: %v", err)
			}
		})
	}
}

// The callers of a Handler's Open see what the handshake found.
func TestHandlerHandshake(t *testing.T) {
	opened := make(chan string, 1)
	s := wstest.NewServer(&websocket.Handler{
		AcceptOptions: websocket.AcceptOptions{Subprotocols: []string{"chat"}},
		Open: func(c *websocket.Conn, r *http.Request) {
			opened <- fmt.Sprint(r.URL, r.Header.Get("X-User"), c.Subprotocol())
		},
	})
	defer s.Close()
	c, _, err := s.Dial(context.Background(), "/room?n=7", &websocket.DialOptions{
		Subprotocols: []string{"chat"},
		Header:       http.Header{"X-User": {" Ann "}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if got := <-opened; got != "/room?n=7Annchat" {
		t.Errorf("Open saw %q", got)
	}
}
