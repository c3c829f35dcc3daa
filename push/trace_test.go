package push

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
)

// A journal is a Tracer that writes down what has ended.
type journal struct {
	mu    sync.Mutex
	begun int
	ended []string
}

// inJournal is where a journal puts the work into its context.
type inJournal struct{}

func (j *journal) trace(ctx context.Context, w *Work) (context.Context, func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.begun++
	return context.WithValue(ctx, inJournal{}, w), func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		entry := fmt.Sprint(w.Kind, " ", w.Transport, " ", w.Channels)
		for _, n := range []struct {
			name string
			n    int
		}{{"messages", w.Messages}, {"refused", w.Refused}, {"bytes", w.Bytes}, {"status", w.Status}, {"code", int(w.Code)}} {
			if n.n != 0 {
				entry += fmt.Sprint(" ", n.name, " ", n.n)
			}
		}
		if w.Gone {
			entry += " gone"
		}
		j.ended = append(j.ended, entry)
	}
}

// want checks what has been written since the last time.
func (j *journal) want(t *testing.T, want ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Equal(j.ended, want) {
		t.Errorf("ended have\n%s\nwant\n%s", strings.Join(j.ended, "\n"), strings.Join(want, "\n"))
	}
	if j.begun != len(want) {
		t.Errorf("%d have begun, want %d", j.begun, len(want))
	}
	j.begun, j.ended = 0, nil
}

func TestTrace(t *testing.T) {
	const asked, asText = "Authorization: Bearer ann:a,/", "Content-Type: text/plain"
	var j journal
	s := guarded()
	s.Trace, s.MaxMessage = j.trace, 10
	inMemory(t, s, func(t *testing.T, s *site) {
		for _, test := range []struct {
			request, body string
			header        []string
			want          string
		}{
			{"POST /channels/a", "hello", []string{asked}, "publish http [a] messages 1 bytes 7 status 200"},
			{"POST /channels/%2F", "hello", []string{asked}, "publish http [/] messages 1 bytes 7 status 200"},
			{"POST /channels/a", "hello", nil, "publish http [a] status 401 code 109"},
			{"POST /channels/x", "hello", []string{asked}, "publish http [x] messages 1 bytes 7 status 403 code 110"},
			{"POST /channels/a", "hello world", []string{asked}, "publish http [a] status 413 code 105"},
			{"POST /channels/a", "{", []string{asked, jsonType}, "publish http [a] messages 1 bytes 1 status 400 code 104"},
			{"POST /channels/a", "a", []string{asked, "Content-Encoding: gzip"}, "publish http [a] status 415"},
			{"POST /channels/a", "a", []string{"Authorization: Bearer broken"}, "publish http [a] status 500 code 200"},
			{"POST /channels", `[{"channel":"a","data":1},{"channel":"x","data":1},{"channel":"","data":1}]`, []string{asked, jsonType}, "publish batch http [] messages 3 refused 2 status 200 code 110"},
			{"POST /channels", `[]`, []string{asked, jsonType}, "publish batch http [] status 400 code 100"},
			{"POST /channels", `[]`, []string{asked, asText}, "publish batch http [] status 415"},
			{"GET /poll?channel=a&wait=0", "", []string{asked}, "open poll [a] status 200"},
			{"GET /poll?channel=a&channel=x", "", []string{asked}, "open poll [a x] status 403 code 110"},
			{"GET /poll", "", []string{asked}, "open poll [] status 400 code 100"},
			{"GET /events?channel=a&since=x", "", []string{asked}, "open sse [] status 400 code 103"},
			{"GET /events?channel=a", "", nil, "open sse [a] status 401 code 109"},
			{"GET /connect", "", []string{asked}, "open websocket [] status 426"},
			{"GET /connect", "", []string{"Authorization: Bearer bad"}, "open websocket [] status 401 code 109"},
			{"GET /connect", "", []string{"Sec-WebSocket-Protocol: other"}, "open websocket [] status 400"},
			{"GET /channels/a", "", []string{asked}, ""},
			{"GET /healthz", "", nil, ""},
			{"PUT /channels/a", "", nil, ""},
			{"HEAD /events?channel=a", "", nil, ""},
		} {
			resp := s.request(test.request, test.body, test.header...)
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			synctest.Wait()
			t.Log(test.request)
			if test.want == "" {
				j.want(t)
			} else {
				j.want(t, test.want)
			}
		}
	})
}

// What opens a line has ended when the line is there, although the line goes on.
func TestTraceLines(t *testing.T) {
	var j journal
	inMemory(t, &Server{Trace: j.trace}, func(t *testing.T, s *site) {
		e, _ := s.listen("channel=a&channel=b")
		synctest.Wait()
		j.want(t, "open sse [a b] status 200")

		answer := make(chan polled)
		go func() { answer <- s.poll("channel=c") }()
		synctest.Wait()
		j.want(t, "open poll [c] status 200")

		c := s.dial()
		synctest.Wait()
		j.want(t, "open websocket [] status 101")

		c.send(`{"id":1,"command":"publish","channel":"a","data":[1]}{"id":2,"command":"publish","channel":"","data":[]}{"id":3,"command":"ping"}`)
		e.want("[1]")
		synctest.Wait()
		j.want(t, "publish websocket [a] bytes 3", "publish websocket [] bytes 2 code 102")

		if _, err := s.server.Publish(t.Context(), "c", json.RawMessage(`"x"`)); err != nil {
			t.Fatal(err)
		}
		s.server.Publish(t.Context(), "c", json.RawMessage(strings.Repeat("1", defaultMaxMessage+1)))
		if got := (<-answer).data(); got != `"x"` {
			t.Errorf("the poll brings %s", got)
		}
		j.want(t, "publish  [c] bytes 3", "publish  [c] bytes 65537 code 105")

		e.body.Close()
		c.CloseNow()
		synctest.Wait()
		j.want(t)
	})
}

// A client that goes away, and a function of the embedder's that panics, end what has
// begun.
func TestTraceInterrupted(t *testing.T) {
	for _, test := range []struct{ request, want string }{
		{"GET /events?channel=a", "open sse [a]"},
		{"GET /poll?channel=a", "open poll [a]"},
		{"GET /connect", "open websocket []"},
		{"POST /channels/a", "publish http [a]"},
		{"POST /channels", "publish batch http []"},
	} {
		method, path, _ := strings.Cut(test.request, " ")
		var j journal
		for _, authorize := range []Authorizer{
			func(r *http.Request, _ string) (Grant, error) {
				<-r.Context().Done()
				return Grant{}, r.Context().Err()
			},
			func(*http.Request, string) (Grant, error) { panic(http.ErrAbortHandler) },
		} {
			inMemory(t, &Server{Trace: j.trace, Authorize: authorize}, func(t *testing.T, s *site) {
				conn, err := s.web.Listener.DialContext(t.Context(), "tcp", "")
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", method, path)
				synctest.Wait()
				conn.Close()
				synctest.Wait()
			})
		}
		j.want(t, test.want+" status 500 code 200 gone", test.want)
	}
}

// The work goes on in the context that the Tracer gives.
func TestTraceContext(t *testing.T) {
	var seen []*Work
	var j journal
	s := &Server{Trace: j.trace, Authorize: func(r *http.Request, _ string) (Grant, error) {
		w, _ := r.Context().Value(inJournal{}).(*Work)
		seen = append(seen, w)
		return FullGrant(), nil
	}}
	s.init()
	b := &contextual{broker: s.core.broker}
	s.core.broker = b
	do(t, s, "POST", "/channels/a", "x")
	do(t, s, "POST", "/channels", `[{"channel":"a","data":1}]`, jsonType)
	do(t, s, "GET", "/poll?channel=a&wait=0", "")
	s.Publish(t.Context(), "a", json.RawMessage("1"))
	if len(seen) != 3 || slices.Contains(seen, nil) {
		t.Errorf("the Authorizer has seen %v", seen)
	}
	if len(b.seen) != 3 || b.seen[0] != seen[0] || b.seen[1] != seen[1] || b.seen[2].Transport != "" {
		t.Errorf("the broker has seen %v", b.seen)
	}
	s.core.broker.close()
}

// contextual is a broker that remembers the work in whose context it publishes.
type contextual struct {
	broker
	seen []*Work
}

func (b *contextual) publish(ctx context.Context, channel string, data json.RawMessage) (Position, error) {
	b.seen = append(b.seen, ctx.Value(inJournal{}).(*Work))
	return b.broker.publish(ctx, channel, data)
}

// Attack: a body without an end. A server that traces reads no more of it than another.
func TestTraceTooLong(t *testing.T) {
	var j journal
	inMemory(t, &Server{Trace: j.trace, MaxMessage: 10}, func(t *testing.T, s *site) {
		conn, err := s.web.Listener.DialContext(t.Context(), "tcp", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		begin := time.Now()
		io.WriteString(conn, "POST /channels/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n"+strings.Repeat("x", 100)+"\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if took := time.Since(begin); resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close || took > 0 {
			t.Errorf("%s after %v, and the connection is closed: %v", resp.Status, took, resp.Close)
		}
		synctest.Wait()
		j.want(t, "publish http [a] status 413 code 105")
		io.Copy(io.Discard, conn)
		time.Sleep(time.Second) // net/http lingers before it closes
	})
}

// Without a Tracer a request has the handler that it would have if there were no tracing,
// and nothing else that publishes makes any garbage for it.
func TestTraceOff(t *testing.T) {
	s := new(Server)
	defer s.Shutdown(t.Context())
	plain := http.HandlerFunc(s.postMessage)
	if got := s.traced(Publishing, HTTP, plain); reflect.ValueOf(got).Pointer() != reflect.ValueOf(plain).Pointer() {
		t.Error("a request goes through another handler than its own")
	}
	if got := (&Server{Trace: new(journal).trace}).traced(Publishing, HTTP, plain); reflect.ValueOf(got).Pointer() == reflect.ValueOf(plain).Pointer() {
		t.Error("it does so with a Tracer, too: the comparison is none")
	}
	w := httptest.NewRecorder()
	if workOf(w) != nil || bare(w) != w {
		t.Error("an answer is taken for a traced one")
	}

	s.init()
	session := session{core: &s.core, grant: FullGrant()}
	data, ctx := json.RawMessage("1"), t.Context()
	allocs := func(f func() (Position, error)) float64 {
		return testing.AllocsPerRun(1000, func() {
			if _, err := f(); err != nil {
				t.Fatal(err)
			}
		})
	}
	cmd := protocol.Command{Channel: "a", Data: data}
	want := allocs(func() (Position, error) { return s.core.publish(ctx, message{channel: "a", data: data}) })
	byServer := allocs(func() (Position, error) { return s.Publish(ctx, "a", data) })
	bySession := allocs(func() (Position, error) { return session.publish(ctx, cmd) })
	if byServer != want || bySession != want {
		t.Errorf("publishing makes %v objects by the server and %v by a session, and %v without what could be traced", byServer, bySession, want)
	}
}
