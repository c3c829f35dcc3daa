package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	collected "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
)

// A sink is a collector that passes on what comes.
type sink struct {
	*httptest.Server
	t     *testing.T
	spans chan sunk
}

// sunk is a span as it came to a sink.
type sunk struct {
	*collected.Span
	resource map[string]string
	request  *http.Request
}

func newSink(t *testing.T) *sink {
	s := &sink{t: t, spans: make(chan sunk, 1000)}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10") // ms; else spans take seconds
	return s
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	var data collected.TracesData
	if err := proto.Unmarshal(body, &data); err != nil {
		s.t.Error(err)
	}
	for _, resource := range data.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				s.spans <- sunk{span, texts(resource.Resource.Attributes), r}
			}
		}
	}
}

// texts returns attributes as texts.
func texts(attributes []*common.KeyValue) map[string]string {
	all := map[string]string{}
	for _, a := range attributes {
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			all[a.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			all[a.Key] = fmt.Sprint(v.IntValue)
		default:
			all[a.Key] = fmt.Sprint(v)
		}
	}
	return all
}

// next returns the next span.
func (s *sink) next() sunk {
	s.t.Helper()
	select {
	case span := <-s.spans:
		return span
	case <-time.After(patience):
		s.t.Fatal("no span comes")
	}
	panic("unreachable")
}

// want checks the next span.
func (s *sink) want(name string, attributes map[string]string) sunk {
	s.t.Helper()
	span := s.next()
	got := texts(span.Attributes)
	for key, value := range attributes {
		if got[key] != value {
			s.t.Errorf("%s: %s is %q, want %q", span.Name, key, got[key], value)
		}
	}
	if span.Name != name {
		s.t.Errorf("the span is %s, want %s", span.Name, name)
	}
	return span
}

const (
	testTrace       = "0af7651916cd43dd8448eb211c80319c"
	testSpan        = "b7ad6b7169203331"
	testTraceparent = "00-" + testTrace + "-" + testSpan + "-01"
)

// postTraced publishes as a backend does whose trace goes on in the server.
func postTraced(t *testing.T, url, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("traceparent", testTraceparent)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("it is answered with %s", resp.Status)
	}
}

// What clients do comes to the collector as spans, while the server serves.
func TestServeTraces(t *testing.T) {
	s := newSink(t)
	t.Setenv(envHeaders, "X-Key=a%2Cb, x-team = push ,")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	r, url := startServe(t, "--traces", strings.Replace(s.URL, "http://", "http://user:collector-secret@", 1)+"/prefix/")

	postTraced(t, url+"/channels/news?token=client-secret", "message-secret")
	span := s.want("publish", map[string]string{"duplex.transport": "http", "messaging.destination.name": "news", "http.response.status_code": "200"})
	if trace, parent := hex.EncodeToString(span.TraceId), hex.EncodeToString(span.ParentSpanId); trace != testTrace || parent != testSpan || span.Kind != collected.Span_SPAN_KIND_SERVER {
		t.Errorf("trace %s, parent %s, %v, want %s, %s, a server's", trace, parent, span.Kind, testTrace, testSpan)
	}
	for key, want := range map[string]string{"service.name": "duplex", "service.version": version(), "deployment.environment.name": "test"} {
		if got := span.resource[key]; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if user, password, _ := span.request.BasicAuth(); user != "user" || password != "collector-secret" {
		t.Errorf("the collector is shown %q and %q", user, password)
	}
	if h := span.request.Header; span.request.URL.Path != "/prefix/v1/traces" || h.Get("Content-Type") != "application/x-protobuf" || h.Get("X-Key") != "a,b" || h.Get("X-Team") != "push" {
		t.Errorf("spans are sent to %s with %v", span.request.URL, h)
	}
	if text := fmt.Sprint(span.Span); strings.Contains(text, "secret") {
		t.Errorf("the span holds a secret: %s", text)
	}

	c := dial(t, "ws"+strings.TrimPrefix(url, "http")+"/connect", &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}})
	s.want("connect websocket", map[string]string{"http.response.status_code": "101"})
	if err := c.Write(t.Context(), websocket.Text, []byte(`{"id":1,"command":"publish","channel":"chat","data":1}`)); err != nil {
		t.Fatal(err)
	}
	s.want("publish", map[string]string{"duplex.transport": "websocket", "messaging.destination.name": "chat"})
	c.CloseNow()
	stream := (holder{t, url, ""}).do("GET", "/events?channel=news", "")
	s.want("connect sse", map[string]string{"duplex.transport": "sse", "http.response.status_code": "200"})
	stream.Body.Close()

	r.cancel()
	if code := r.wait(); code != exitOK || strings.Contains(r.stderr.String(), "secret") || strings.Contains(r.stderr.String(), "level=WARN") {
		t.Errorf("exit code %d, stderr %s", code, r.stderr)
	}
}

// What is left when the server ends is sent before it has ended.
func TestServeTracesFlush(t *testing.T) {
	s := newSink(t)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000") // not before that by itself
	r, url := startServe(t, "--traces", s.URL)
	for range 3 {
		postTraced(t, url+"/channels/news", "x")
	}
	if n := len(s.spans); n > 0 {
		t.Fatalf("%d spans have come before: the test shows nothing", n)
	}
	r.cancel()
	if code := r.wait(); code != exitOK {
		t.Errorf("exit code %d, stderr %s", code, r.stderr)
	}
	if n := len(s.spans); n != 3 {
		t.Errorf("%d spans have come, want 3; stderr %s", n, r.stderr)
	}
}

// Without a collector all goes on as it did, and the log says so once; and once that it
// works again.
func TestServeTracesWithoutCollector(t *testing.T) {
	s := newSink(t)
	ln := s.Listener.Addr().String()
	s.Close()
	r, url := startServe(t, "--traces", "http://user:collector-secret@"+ln)
	for range 10 {
		postTraced(t, url+"/channels/news", "x")
	}
	r.stderr.waitFor(t, "traces cannot be sent")

	again, err := new(net.ListenConfig).Listen(t.Context(), "tcp", ln)
	if err != nil {
		t.Skipf("the port has been taken meanwhile: %v", err)
	}
	back := httptest.NewUnstartedServer(s)
	back.Listener.Close()
	back.Listener = again
	back.Start()
	defer back.Close()
	r.stderr.waitFor(t, "traces are sent again")
	s.want("publish", nil)

	r.cancel()
	if code := r.wait(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	log := r.stderr.String()
	if strings.Count(log, "traces cannot be sent") != 1 || strings.Count(log, "traces are sent again") != 1 || strings.Contains(log, "secret") || !strings.Contains(log, "collector=http://"+ln+"/v1/traces") {
		t.Errorf("the log is %s", log)
	}
}

// A client that goes while the server still asks who it is has a span that ends.
func TestServeTracesClientGone(t *testing.T) {
	s := newSink(t)
	release := make(chan struct{})
	issuer := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer issuer.Close()
	defer close(release)
	_, url := startServe(t, "--traces", s.URL, "--jwks-url", issuer.URL+"/jwks")
	b64 := base64.RawURLEncoding.EncodeToString
	token := b64([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + b64([]byte(`{"sub":"42"}`)) + "." + b64(make([]byte, 256))
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /events?channel=news HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", token)
	conn.Close()
	span := s.want("connect sse", map[string]string{"error.type": "client_gone"})
	if span.Status.Code != collected.Status_STATUS_CODE_ERROR {
		t.Errorf("the status is %v", span.Status)
	}
}

// Of the traces that begin here there are as many as asked for; those of others are theirs
// to decide.
func TestServeTracesRatio(t *testing.T) {
	s := newSink(t)
	t.Setenv("OTEL_SERVICE_NAME", "push-a")
	_, url := startServe(t, "--traces", s.URL, "--traces-ratio", "0")
	(holder{t, url, ""}).do("POST", "/channels/dropped", "x")
	postTraced(t, url+"/channels/kept", "x")
	span := s.want("publish", map[string]string{"messaging.destination.name": "kept"})
	if got := span.resource["service.name"]; got != "push-a" {
		t.Errorf("the service is called %q", got)
	}
}

func TestServeTracesWrong(t *testing.T) {
	for _, test := range []struct {
		args []string
		env  string // envHeaders
		want string
	}{
		{[]string{"--traces", "collector:4318"}, "", "--traces is not the URL of a collector, as in http://127.0.0.1:4318"},
		{[]string{"--traces", "127.0.0.1:4318"}, "", "is not the URL"},
		{[]string{"--traces", "grpc://user:nobody-sees@127.0.0.1:4317"}, "", "is not the URL"},
		{[]string{"--traces", "http://"}, "", "is not the URL"},
		{[]string{"--traces", "http://user:nobody-sees@h:port"}, "", "is not the URL"},
		{[]string{"--traces", "https://h/?api-key=nobody-sees"}, "", "keys go into the environment variable " + envHeaders},
		{[]string{"--traces-ratio", "1.5"}, "", "--traces-ratio must be from 0 to 1"},
		{[]string{"--traces-ratio", "-1"}, "", "--traces-ratio must be from 0 to 1"},
		{[]string{"--traces-ratio", "NaN"}, "", "--traces-ratio must be from 0 to 1"},
		{[]string{"--traces-ratio", "all"}, "", "a number is wanted"},
		{[]string{"--traces", "http://h"}, "nobody-sees", "is not a list of headers"},
		{[]string{"--traces", "http://h"}, "a b=nobody-sees", "is not a list of headers"},
		{[]string{"--traces", "http://h"}, "a=nobody-sees%0D%0A", "is not a list of headers"},
		{[]string{"--traces", "http://h"}, "a=nobody-sees%zz", "is not a list of headers"},
	} {
		t.Setenv(envHeaders, test.env)
		got := duplex(t, nil, append([]string{"serve", "--listen", "127.0.0.1:0"}, test.args...)...)
		if got.code != exitUsage || got.stdout != "" || strings.Count(got.stderr, "\n") != 1 || !strings.Contains(got.stderr, test.want) || strings.Contains(got.stderr, "nobody-sees") {
			t.Errorf("%q: %+v, want %q", test.args, got, test.want)
		}
	}
}

// The setting comes from everywhere, and its password is not printed.
func TestServeTracesSetting(t *testing.T) {
	path := settingsFile(t, "traces: https://user:nobody-sees@h/file\ntraces-ratio: 0.25\n")
	got := printed(t, "--config", path)
	if got["traces"] != `"https://user:xxxxx@h/file" # file `+path+":1" || got["traces-ratio"] != "0.25 # file "+path+":2" {
		t.Errorf("of a file: %s, %s", got["traces"], got["traces-ratio"])
	}
	t.Setenv("DUPLEX_TRACES", "http://user:nobody-sees@h/environment")
	if got := printed(t, "--config", path)["traces"]; got != `"http://user:xxxxx@h/environment" # environment DUPLEX_TRACES` {
		t.Errorf("of the environment: %s", got)
	}
	if got := printed(t, "--traces", "http://user:nobody-sees@h")["traces"]; got != `"http://user:xxxxx@h" # flag` {
		t.Errorf("of a flag: %s", got)
	}
}
