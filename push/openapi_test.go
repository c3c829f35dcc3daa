package push_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/duplexgo/duplex/js"
	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/console"
	"github.com/duplexgo/duplex/push/metrics"
	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
)

// A call is a request for one operation of the document.
type call struct {
	operation, method, path, query, body string
	header                               http.Header
	slow                                 bool // the body does not come
}

// calls are requests that a server which lets everybody in answers well.
func calls() []call {
	kind := func(s string) http.Header { return http.Header{"Content-Type": {s}} }
	return []call{
		{operation: "connect", path: "/connect", header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Protocol": {protocol.Subprotocol}}},
		{operation: "events", path: "/events", query: "channel=news&channel=chat&history=10"},
		{operation: "poll", path: "/poll", query: "channel=news&wait=0&since=1.1"},
		{operation: "history", path: "/channels/news", query: "since=1.1&limit=10"},
		{operation: "publish", method: "POST", path: "/channels/news", body: `{"text": "hello"}`, header: kind("application/json")},
		{operation: "presence", path: "/channels/news/presence"},
		{operation: "channels", path: "/channels", query: "prefix=n&after=a&limit=1"},
		{operation: "publishMany", method: "POST", path: "/channels", body: `[{"channel": "news", "data": 1, "key": "a"}, {"channel": "", "data": 2}]`, header: kind("application/json")},
		{operation: "disconnect", method: "POST", path: "/users/ann/disconnect"},
		{operation: "healthz", path: "/healthz"},
		{operation: "readyz", path: "/readyz"},
		{operation: "metrics", path: "/metrics"},
		{operation: "openapi", path: "/openapi.json"},
		{operation: "script", path: "/duplex.js"},
		{operation: "console", path: "/console"},
	}
}

// situations are what can be wrong: with the server, or with a request.
var situations = []struct {
	name   string
	server func(*push.Server)
	begun  func(*push.Server)
	change func(*call)
	bodies bool // only of requests that have one
}{
	{name: "nothing"},
	{name: "no token", server: func(s *push.Server) {
		s.Authorize = refusing(&protocol.Error{Code: protocol.Unauthorized, Message: "who is it?"})
	}, change: func(c *call) { c.header.Set("Authorization", "Bearer bad") }},
	{name: "an old token", server: func(s *push.Server) {
		s.Authorize = refusing(&protocol.Error{Code: protocol.Expired, Message: "it was good"})
	}, change: func(c *call) { c.header.Set("Authorization", "Bearer old") }},
	{name: "no rights", server: func(s *push.Server) { s.Authorize = refusing(nil) }},
	{name: "an authorizer that fails", server: func(s *push.Server) { s.Authorize = refusing(errors.New("out of order")) }},
	{name: "a foreign page", change: func(c *call) { c.header.Set("Origin", "https://evil.example") }},
	{name: "another host", server: func(s *push.Server) { s.LiteralHosts = true }, change: func(c *call) { c.header.Set("Host", "evil.example") }},
	{name: "as many as there may be", server: func(s *push.Server) { s.MaxLines = 1 }, begun: occupied},
	{name: "as many of an address as there may be", server: func(s *push.Server) {
		s.Limits = &websocket.Limits{MaxConnsPerAddr: 1, CountPrivate: true, Logger: slog.New(slog.DiscardHandler)}
	}, begun: occupied},
	{name: "an address that may not", server: func(s *push.Server) {
		s.Limits = &websocket.Limits{Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	}},
	{name: "a shutdown", begun: func(s *push.Server) { s.Shutdown(context.Background()) }},
	{name: "a bad query", change: func(c *call) { c.query = "channel=news&since=garbage!&limit=no" }},
	{name: "a bad name", change: func(c *call) { c.path = strings.Replace(c.path, "news", "%FF", 1) }},
	{name: "a bad body", change: func(c *call) { c.body = "{" }},
	{name: "a long body", change: func(c *call) { c.body = strings.Repeat("x", 2<<20) }, bodies: true},
	{name: "a body of another kind", change: func(c *call) { c.header.Set("Content-Encoding", "gzip") }},
	{name: "a slow body", server: func(s *push.Server) { s.BodyTimeout = 20 * time.Millisecond }, change: func(c *call) { c.slow = true }, bodies: true},
	{name: "too many messages", server: func(s *push.Server) { s.PublishRate = 1 }, begun: func(s *push.Server) {
		for range 10 {
			r := httptest.NewRequest("POST", "/channels/news", strings.NewReader("x"))
			r.RemoteAddr = "127.0.0.1:1"
			s.ServeHTTP(httptest.NewRecorder(), r)
		}
	}},
	{name: "other subprotocols", change: func(c *call) { c.header.Set("Sec-WebSocket-Protocol", "chat") }},
	{name: "no handshake", change: func(c *call) { c.header.Del("Upgrade") }},
}

// occupied has a line from this machine's own address wait for something.
func occupied(s *push.Server) {
	r := httptest.NewRequest("GET", "/poll?channel=a&wait=1m", nil)
	r.RemoteAddr = "127.0.0.1:1"
	go s.ServeHTTP(httptest.NewRecorder(), r)
	for s.Stats().Lines[push.Poll] == 0 {
		runtime.Gosched()
	}
}

// refusing answers everybody with the same; nil: with a grant of nothing.
func refusing(err error) push.Authorizer {
	return func(*http.Request, string) (push.Grant, error) { return push.Grant{}, err }
}

// Every answer of every operation is one that the document has, and the document has
// no other.
func TestOpenAPI(t *testing.T) {
	doc := servedSpec(t)
	seen := map[string]bool{}
	for _, situation := range situations {
		for _, c := range calls() {
			if c.header == nil {
				c.header = http.Header{}
			}
			if situation.bodies && c.body == "" {
				continue
			}
			if situation.change != nil {
				situation.change(&c)
			}
			s := whole()
			if situation.server != nil {
				situation.server(s)
			}
			server := httptest.NewServer(s)
			if situation.begun != nil {
				situation.begun(s)
			}
			operation := doc.operation(t, c)
			status, err := doc.try(t, server.URL, operation, c)
			if err != nil {
				t.Errorf("%s, %s: %v", situation.name, c.operation, err)
			}
			seen[c.operation+" "+status] = true
			s.Shutdown(t.Context())
			server.Close()
		}
	}
	for path, item := range doc["paths"].(object) {
		for method, operation := range item.(object) {
			if method == "parameters" {
				continue
			}
			for _, status := range slices.Sorted(maps.Keys(at(operation, "responses").(object))) {
				if id := at(operation, "operationId").(string); !seen[id+" "+status] {
					t.Errorf("%s %s: no answer was %s", method, path, status)
				}
			}
		}
	}
}

// whole returns a server that has all that a server can have.
func whole() *push.Server {
	s := &push.Server{Console: console.Handler(), Script: js.Handler(), Log: slog.New(slog.DiscardHandler)}
	metrics.Attach(s)
	return s
}

// servedSpec returns the document as the server has it.
func servedSpec(t *testing.T) spec {
	t.Helper()
	w := httptest.NewRecorder()
	new(push.Server).ServeHTTP(w, httptest.NewRequest("GET", "/openapi.json", nil))
	var doc spec
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// operation finds what the document says of a call.
func (s spec) operation(t *testing.T, c call) object {
	t.Helper()
	for _, item := range s["paths"].(object) {
		for _, operation := range item.(object) {
			if at(operation, "operationId") == c.operation {
				return operation.(object)
			}
		}
	}
	t.Fatalf("the document has no operation %s", c.operation)
	return nil
}

// try makes a call and holds the answer to the document.
func (s spec) try(t *testing.T, url string, operation object, c call) (status string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var body io.Reader = strings.NewReader(c.body)
	if c.slow {
		in, out := io.Pipe()
		defer out.Close()
		body = in
	}
	r, err := http.NewRequestWithContext(ctx, c.method, url+c.path+"?"+c.query, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = c.header
	if host := c.header.Get("Host"); host != "" {
		r.Host = host
	}
	if c.slow {
		r.ContentLength = int64(len(c.body))
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	status = fmt.Sprint(resp.StatusCode)
	answer, _ := s.resolve(at(operation, "responses", status)).(object)
	if answer == nil {
		text, _ := io.ReadAll(resp.Body)
		return status, fmt.Errorf("the answer is %s, which is not documented: %s", status, text)
	}
	for name, header := range toObject(answer["headers"]) {
		value := resp.Header.Get(name)
		if err := s.check(at(header, "schema"), value); err != nil && (value != "" || at(header, "required") == true) {
			return status, fmt.Errorf("%s: header %s: %w", status, name, err)
		}
	}
	content := toObject(answer["content"])
	if len(content) == 0 {
		return status, nil
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	media, ok := content[kind]
	if !ok {
		return status, fmt.Errorf("%s: the answer is %s, which is not documented", status, kind)
	}
	text := make([]byte, 16)
	if kind == "text/event-stream" { // it has no end
		_, err = io.ReadFull(resp.Body, text[:12])
		text = text[:12]
	} else {
		text, err = io.ReadAll(resp.Body)
	}
	if err == nil {
		err = s.checkText(at(media, "schema"), kind, string(text))
	}
	if err != nil {
		err = fmt.Errorf("%s: %.200s: %w", status, text, err)
	}
	return status, err
}

func toObject(v any) object {
	o, _ := v.(object)
	return o
}

// Programs that make clients read the whole document: its references lead somewhere,
// its names are unique, and its examples are what its schemas say.
func TestOpenAPIHangsTogether(t *testing.T) {
	doc := servedSpec(t)
	ids := map[string]bool{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		if list, ok := v.([]any); ok {
			for i, item := range list {
				walk(fmt.Sprint(path, "/", i), item)
			}
			return
		}
		o := toObject(doc.resolve(v)) // panics where nothing is
		if at(v, "$ref") != nil {
			return
		}
		if id, ok := o["operationId"].(string); ok {
			if ids[id] {
				t.Errorf("%s: there are two operations %s", path, id)
			}
			ids[id] = true
		}
		if example, ok := o["example"]; ok {
			if err := doc.check(o["schema"], example); err != nil {
				t.Errorf("%s: the example: %v", path, err)
			}
		}
		for name, member := range o {
			if name != "example" && name != "examples" {
				walk(path+"/"+name, member)
			}
		}
	}
	walk("", object(doc))
	for path, item := range doc["paths"].(object) {
		for name := range strings.SplitSeq(path, "{") {
			name, _, ok := strings.Cut(name, "}")
			if !ok {
				continue
			}
			parameters, _ := at(item, "parameters").([]any)
			if !slices.ContainsFunc(parameters, func(p any) bool {
				return at(doc.resolve(p), "name") == name && at(doc.resolve(p), "in") == "path"
			}) {
				t.Errorf("%s does not say what %s is", path, name)
			}
		}
	}
}
