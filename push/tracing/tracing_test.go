package tracing_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/push/tracing"
	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// What a client shows, as an API key would be.
const secret = "tok-secret"

// The trace of somebody else, and the header that names it.
const (
	foreign     = "0af7651916cd43dd8448eb211c80319c"
	foreignSpan = "b7ad6b7169203331"
	traceparent = "00-" + foreign + "-" + foreignSpan + "-01"
	unsampled   = "00-" + foreign + "-" + foreignSpan + "-00"
)

// newServer returns a server that wants the secret, and what it records.
func newServer(t *testing.T, sampler sdktrace.Sampler) (*push.Server, *tracetest.SpanRecorder) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder), sdktrace.WithSampler(sdktrace.ParentBased(sampler)))
	srv := &push.Server{Authorize: func(_ *http.Request, token string) (push.Grant, error) {
		if token != secret {
			return push.Grant{}, &protocol.Error{Code: protocol.Unauthorized, Message: "no"}
		}
		return push.FullGrant(), nil
	}}
	tracing.Attach(srv, provider)
	t.Cleanup(func() { srv.Shutdown(context.Background()) })
	return srv, recorder
}

// ask makes a request in a context. The secret is shown where the path or the header have
// no other.
func ask(ctx context.Context, srv *push.Server, request, body string, header ...string) *http.Response {
	method, path, _ := strings.Cut(request, " ")
	r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	if !strings.Contains(path, "token=") {
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	return w.Result()
}

// describe writes a span as a line: name, kind, attributes in their order, status.
func describe(s sdktrace.ReadOnlySpan) string {
	text := fmt.Sprint(s.Name(), " (", s.SpanKind(), ")")
	for _, a := range s.Attributes() {
		text += fmt.Sprint(" ", a.Key, "=", a.Value.AsInterface())
	}
	if s.Status().Code != codes.Unset {
		text += fmt.Sprint(": ", s.Status().Code, " ", s.Status().Description)
	}
	return text
}

// want checks which spans have ended, and forgets them.
func want(t *testing.T, recorder *tracetest.SpanRecorder, want ...string) {
	t.Helper()
	var got []string
	for _, s := range recorder.Ended() {
		got = append(got, describe(s))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the spans are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if begun := len(recorder.Started()); begun != len(want) {
		t.Errorf("%d spans have begun, and %d ended", begun, len(want))
	}
	recorder.Reset()
}

const (
	asJSON   = "Content-Type: application/json"
	posted   = "publish (server) duplex.transport=http http.request.method=POST http.route=/channels/{channel} network.protocol.version=1.1 messaging.system=duplex messaging.operation.name=publish messaging.operation.type=send messaging.destination.name="
	batched  = "publish batch (server) duplex.transport=http http.request.method=POST http.route=/channels network.protocol.version=1.1 messaging.system=duplex messaging.operation.name=publish messaging.operation.type=send messaging.batch.message_count="
	streamed = "connect sse (server) duplex.transport=sse http.request.method=GET http.route=/events network.protocol.version=1.1 "
	polled   = "connect poll (server) duplex.transport=poll http.request.method=GET http.route=/poll network.protocol.version=1.1 "
	upgraded = "connect websocket (server) duplex.transport=websocket http.request.method=GET http.route=/connect network.protocol.version=1.1 "
)

func TestSpans(t *testing.T) {
	srv, recorder := newServer(t, sdktrace.AlwaysSample())
	gone, leave := context.WithCancel(t.Context())
	leave()
	for _, test := range []struct {
		ctx           context.Context
		request, body string
		header        []string
		want          string
	}{
		{t.Context(), "POST /channels/news", "hello", nil, posted + "news messaging.message.body.size=7 http.response.status_code=200"},
		{t.Context(), "POST /channels/news", "{", []string{asJSON}, posted + "news messaging.message.body.size=1 http.response.status_code=400 duplex.error.code=104"},
		{t.Context(), "POST /channels/news", "x", []string{"Authorization: none"}, posted + "news messaging.message.body.size=0 http.response.status_code=401 duplex.error.code=109"},
		{t.Context(), "POST /channels", `[{"channel":"a","data":1},{"channel":"","data":1}]`, []string{asJSON}, batched + "2 duplex.refused=1 http.response.status_code=200 duplex.error.code=102"},
		{t.Context(), "GET /poll?channel=a&channel=b&wait=0", "", nil, polled + "duplex.channels=[a b] http.response.status_code=200"},
		{gone, "GET /events?channel=a", "", nil, streamed + "duplex.channels=[a] http.response.status_code=200"},
		{t.Context(), "GET /events", "", nil, streamed + "http.response.status_code=400 duplex.error.code=100"},
		{t.Context(), "GET /connect", "", nil, upgraded + "http.response.status_code=426"},
		{gone, "GET /connect", "", nil, upgraded + "http.response.status_code=426 error.type=client_gone: Error the client has gone before the answer"},
	} {
		ask(test.ctx, srv, test.request, test.body, test.header...)
		t.Log(test.request)
		want(t, recorder, test.want)
	}
	if _, err := srv.Publish(t.Context(), "news", json.RawMessage("1")); err != nil {
		t.Fatal(err)
	}
	srv.Publish(t.Context(), "", json.RawMessage("1"))
	const published = "publish (internal) messaging.system=duplex messaging.operation.name=publish messaging.operation.type=send messaging.destination.name="
	want(t, recorder, published+"news messaging.message.body.size=1", published+" messaging.message.body.size=1 duplex.error.code=102 error.type=102: Error ")

	srv.Shutdown(t.Context())
	ask(t.Context(), srv, "GET /poll?channel=a", "")
	want(t, recorder, polled+"duplex.channels=[a] http.response.status_code=503 duplex.error.code=203 error.type=503: Error Service Unavailable")

	srv, recorder = newServer(t, sdktrace.AlwaysSample())
	srv.Authorize = func(*http.Request, string) (push.Grant, error) { panic("broken") }
	func() {
		defer func() { recover() }()
		ask(t.Context(), srv, "POST /channels/news", "x")
	}()
	want(t, recorder, posted+"news messaging.message.body.size=0 error.type=_OTHER: Error no answer was sent")
}

// A WebSocket has a span until it is open, and one for each message that it publishes.
func TestWebSocket(t *testing.T) {
	srv, recorder := newServer(t, sdktrace.AlwaysSample())
	web := wstest.NewServer(srv)
	defer web.Close()
	header := http.Header{"Authorization": {"Bearer " + secret}, "Traceparent": {traceparent}}
	c, _, err := web.Dial(t.Context(), "/connect", &websocket.DialOptions{Header: header, Subprotocols: []string{protocol.Subprotocol}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	const text = `{"id":1,"command":"publish","channel":"a","data":1}{"id":2,"command":"publish","channel":"a","data":[[[}`
	if err := c.Write(t.Context(), websocket.Text, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	connect := recorder.Ended()[0]
	if got := connect.Parent().SpanID().String(); got != foreignSpan {
		t.Errorf("the parent of the connection is %s", got)
	}
	want(t, recorder,
		upgraded+"http.response.status_code=101",
		"publish (server) duplex.transport=websocket messaging.system=duplex messaging.operation.name=publish messaging.operation.type=send messaging.destination.name=a messaging.message.body.size=1")
}

// Who a span belongs to, and whether it is recorded.
func TestParents(t *testing.T) {
	for _, test := range []struct {
		name    string
		sampler sdktrace.Sampler
		header  string
		traced  bool
		parent  string // "": none
	}{
		{"nobody else", sdktrace.AlwaysSample(), "", true, ""},
		{"nobody else, of whom nothing is recorded", sdktrace.NeverSample(), "", false, ""},
		{"somebody", sdktrace.AlwaysSample(), traceparent, true, foreignSpan},
		{"somebody who records, and we do not", sdktrace.NeverSample(), traceparent, true, foreignSpan},
		{"somebody who does not record", sdktrace.AlwaysSample(), unsampled, false, ""},
		{"nobody: the header is none", sdktrace.AlwaysSample(), "00-xyz-1-01", true, ""},
		{"nobody: the header is endless", sdktrace.AlwaysSample(), strings.Repeat(traceparent, 100), true, ""},
	} {
		srv, recorder := newServer(t, test.sampler)
		ask(t.Context(), srv, "POST /channels/a", "x", "traceparent: "+test.header, "tracestate: vendor=1")
		spans := recorder.Ended()
		if (len(spans) == 1) != test.traced {
			t.Errorf("%s: %d spans", test.name, len(spans))
		}
		if !test.traced {
			continue
		}
		parent := spans[0].Parent()
		switch {
		case test.parent == "" && parent.IsValid():
			t.Errorf("%s: the parent is %s", test.name, parent.SpanID())
		case test.parent != "" && (parent.SpanID().String() != test.parent || spans[0].SpanContext().TraceID().String() != foreign || spans[0].SpanContext().TraceState().Get("vendor") != "1"):
			t.Errorf("%s: the trace is %s, the parent %s", test.name, spans[0].SpanContext().TraceID(), parent.SpanID())
		}
	}
}

// What the program around the server has begun counts more than the request's header, and
// the work is a part of it.
func TestParentInProcess(t *testing.T) {
	srv, recorder := newServer(t, sdktrace.AlwaysSample())
	outer := sdktrace.NewTracerProvider()
	ctx, around := outer.Tracer("outer").Start(t.Context(), "around")
	ask(ctx, srv, "POST /channels/a", "x", "traceparent: "+traceparent)
	srv.Publish(ctx, "a", json.RawMessage("1"))
	for _, s := range recorder.Ended() {
		if s.Parent().SpanID() != around.SpanContext().SpanID() || s.SpanKind() != trace.SpanKindInternal {
			t.Errorf("%s is a %v of %s, want an internal of %s", s.Name(), s.SpanKind(), s.Parent().SpanID(), around.SpanContext().SpanID())
		}
	}
	if n := len(recorder.Ended()); n != 2 {
		t.Errorf("%d spans", n)
	}
}

// What clients keep secret, and what they send, is in no span, whatever becomes of it.
func TestNoSecrets(t *testing.T) {
	const data = "data-secret"
	srv, recorder := newServer(t, sdktrace.AlwaysSample())
	gone, leave := context.WithCancel(t.Context())
	leave()
	for _, token := range []string{secret, "wrong-" + secret} {
		bearer := "Authorization: Bearer " + token
		ask(gone, srv, "GET /events?channel=a&token="+token, "")
		ask(gone, srv, "GET /events?channel=a&since="+secret+"&token="+token, "")
		ask(t.Context(), srv, "GET /poll?wait=0&channel=a&token="+token, "", bearer)
		ask(t.Context(), srv, "GET /connect?token="+token, "", bearer, "Sec-WebSocket-Protocol: "+token)
		for _, body := range []string{data, `{"` + data + `":`, `[{"channel":"a","data":"` + data + `"}]`, `[{"data":{"` + data + `":`, `["` + data + `"]`} {
			ask(t.Context(), srv, "POST /channels/a?token="+token, body, bearer, asJSON, "Idempotency-Key: "+secret, "Cookie: "+secret)
			ask(t.Context(), srv, "POST /channels?token="+token, body, bearer, asJSON)
		}
	}
	srv.Publish(t.Context(), "a", json.RawMessage(`{"`+data))
	if n := len(recorder.Ended()); n != 29 {
		t.Errorf("%d spans", n)
	}
	for _, s := range recorder.Ended() {
		if all := fmt.Sprintf("%s %+v %+v", describe(s), s.Events(), s.Links()); strings.Contains(all, "secret") {
			t.Error(all)
		}
	}
}

// Attack: one span that cannot be encoded would take all down that are sent with it, and a
// name without an end would fill the queue.
func TestHarmless(t *testing.T) {
	srv, recorder := newServer(t, sdktrace.AlwaysSample())
	long := strings.Repeat("%C3%BC", 2000)
	gone, leave := context.WithCancel(t.Context())
	leave()
	ask(t.Context(), srv, "POST /channels/a%FFb", "x")
	ask(t.Context(), srv, "POST /channels/"+long, "x")
	ask(t.Context(), srv, "GET /poll?channel=a%FFb&wait=0", "")
	ask(gone, srv, "GET /events?channel="+long, "")
	if n := len(recorder.Ended()); n != 4 {
		t.Errorf("%d spans", n)
	}
	for _, s := range recorder.Ended() {
		if text := describe(s); !utf8.ValidString(text) || len(text) > 800 {
			t.Errorf("%d bytes: %q", len(text), text)
		}
	}
}

// What spans hold is what the document for operators says they do, no more and no less.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Traces\n")
	section, _, _ = strings.Cut(section, "\n## ")
	documented := map[string]bool{}
	for line := range strings.Lines(section) {
		if cell, _, _ := strings.Cut(line, " | "); strings.HasPrefix(cell, "| `") {
			for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
				documented[name[1]] = true
			}
		}
	}

	srv, recorder := newServer(t, sdktrace.AlwaysSample())
	ask(t.Context(), srv, "POST /channels/a", "{", asJSON)
	ask(t.Context(), srv, "POST /channels", `[{"channel":"","data":1}]`, asJSON)
	ask(t.Context(), srv, "GET /connect", "")
	srv.Shutdown(t.Context())
	ask(t.Context(), srv, "GET /events?channel=a", "")
	ask(t.Context(), srv, "GET /poll?channel=a", "")
	made := map[string]bool{}
	for _, s := range recorder.Ended() {
		made[s.Name()] = true
		for _, a := range s.Attributes() {
			made[string(a.Key)] = true
		}
	}
	if !maps.Equal(made, documented) {
		t.Errorf("spans and attributes are\n%v\nthe document has\n%v", made, documented)
	}
}
