package push

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
)

// A bouncer authorizes by tokens that say what they are: "ann", "ann+10s" (ends after
// that time, from the first use on), "ann:a,b" (only these channels), "admin".
type bouncer struct {
	mu   sync.Mutex
	ends map[string]time.Time
}

func newBouncer() *bouncer { return &bouncer{ends: make(map[string]time.Time)} }

func (b *bouncer) authorize(r *http.Request, token string) (Grant, error) {
	switch {
	case token == "":
		return Grant{}, &protocol.Error{Code: protocol.Unauthorized, Message: "a token is needed"}
	case token == "admin":
		return FullGrant(), nil
	case token == "broken":
		return Grant{}, errors.New("the secret database at 10.0.0.1 is gone")
	case token == "later":
		return Grant{}, &protocol.Error{Code: protocol.Internal, Message: "the keys cannot be fetched"}
	case strings.HasPrefix(token, "bad"):
		return Grant{}, &protocol.Error{Code: protocol.Unauthorized, Message: "the token is not good"}
	}
	user, channels, _ := strings.Cut(token, ":")
	user, life, ends := strings.Cut(user, "+")
	allowed := func(channel string) bool { return channels == "" || strings.Contains(channels, channel) }
	g := Grant{User: user, Subscribe: allowed, Publish: allowed, Presence: allowed}
	if d, err := time.ParseDuration(life); ends && err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.ends[token].IsZero() {
			b.ends[token] = time.Now().Add(d)
		}
		g.Expires = b.ends[token]
	}
	return g, nil
}

// guarded returns a server that asks for tokens.
func guarded() *Server { return &Server{Authorize: newBouncer().authorize} }

func TestAuthOverWebSocket(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"first", `{"id":1,"command":"auth","token":"ann"}{"id":2,"command":"publish","channel":"a","data":1}`, "1, 2"},
		{"nothing without", `{"id":1,"command":"publish","channel":"a","data":1}{"id":2,"command":"subscribe","channel":"a"}{"id":3,"command":"ping"}{"id":4,"command":"presence","channel":"a"}`,
			"1!109, 2!109, 3!109, 4!109, end 4001 no token has been shown in time"},
		{"too late", ``, "end 4001 no token has been shown in time"},
		{"no token", `{"id":1,"command":"auth"}`, "1!109, end 4001 a token is needed"},
		{"bad", `{"id":1,"command":"auth","token":"bad"}{"id":2,"command":"subscribe","channel":"a"}`, "1!109, end 4001 the token is not good"},
		{"ended", `{"id":1,"command":"auth","token":"ann+-1s"}`, "1!111, end 4501 the token has ended; get a new one"},
		{"nobody can say", `{"id":1,"command":"auth","token":"later"}`, "1!200, end 1013 the keys cannot be fetched"},
		{"the server's fault", `{"id":1,"command":"auth","token":"broken"}`, "1!200, end 1013 the server failed; try again"},
		{"channels", `{"id":1,"command":"auth","token":"ann:a"}{"id":2,"command":"subscribe","channel":"b"}{"id":3,"command":"publish","channel":"b","data":1}` +
			`{"id":4,"command":"presence","channel":"b"}{"id":5,"command":"subscribe","channel":"a"}{"id":6,"command":"subscribe","channel":""}`, "1, 2!110, 3!110, 4!110, 5, 6!102"},
		{"another user", `{"id":1,"command":"auth","token":"ann"}{"id":2,"command":"auth","token":"ben"}{"id":3,"command":"ping"}`, "1, 2!110, 3"},
		{"a bad new one", `{"id":1,"command":"auth","token":"ann"}{"id":2,"command":"auth","token":"bad"}{"id":3,"command":"ping"}`, "1, 2!109, 3"},
		{"its own name counts not", `{"id":1,"command":"auth","user":"ann"}`, "1!109, end 4001 a token is needed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := guarded()
			s.Log = quiet
			inMemory(t, s, func(t *testing.T, s *site) {
				c := s.dial()
				if test.text != "" {
					c.send("%s", test.text)
				}
				c.want(test.want)
				c.CloseNow()
			})
		})
	}
}

// The handshake may bring the token; then a bad one gets no line at all.
func TestAuthInTheHandshake(t *testing.T) {
	s := guarded()
	s.Log = quiet
	inMemory(t, s, func(t *testing.T, s *site) {
		for token, want := range map[string]int{"ann": 101, "bad": 401, "ann+-1s": 401, "broken": 500} {
			c, resp, err := s.web.Dial(t.Context(), "/connect", &websocket.DialOptions{Header: http.Header{"Authorization": {"bearer " + token}}})
			if resp == nil || resp.StatusCode != want {
				t.Errorf("%s: %v, %v, want %d", token, resp, err, want)
				continue
			}
			if challenge := resp.Header.Get("WWW-Authenticate"); (want == 401) != strings.HasPrefix(challenge, "Bearer") {
				t.Errorf("%s: WWW-Authenticate is %q", token, challenge)
			}
			if err == nil {
				c.Write(t.Context(), websocket.Text, []byte(`{"id":1,"command":"subscribe","channel":"a"}`))
				if _, text, err := c.Read(t.Context()); err != nil || !strings.Contains(string(text), `"position"`) {
					t.Errorf("%s: %s, %v", token, text, err)
				}
				c.CloseNow()
			}
		}
		synctest.Wait()
		if n := s.server.Stats().Lines[WebSocket]; n != 0 {
			t.Errorf("%d lines are left", n)
		}
	})
}

// A token ends on open lines, of every transport, unless a new one has come.
func TestExpiry(t *testing.T) {
	inMemory(t, guarded(), func(t *testing.T, s *site) {
		begin := time.Now()
		at := func(want time.Duration) {
			t.Helper()
			if got := time.Since(begin); got != want {
				t.Errorf("after %v, want %v", got, want)
			}
		}
		a, b := s.dial(), s.dial()
		a.send(`{"id":1,"command":"auth","token":"ann+10s"}{"id":2,"command":"subscribe","channel":"x"}`)
		if text := a.read(); !strings.Contains(text, `{"user":"ann","expires_in":10}`) {
			t.Error(text)
		}
		b.send(`{"id":1,"command":"auth","token":"ben+10s"}{"id":2,"command":"subscribe","channel":"x"}{"id":3,"command":"subscribe","channel":"y"}`)
		b.want("1, 2, 3")
		events := s.request("GET /events?channel=x&token=eve%2B10s", "")
		poll := make(chan string)
		go func() {
			resp := s.request("GET /poll?channel=x&wait=60s", "", "Authorization: Bearer pol+10s")
			text, _ := io.ReadAll(resp.Body)
			poll <- string(text)
		}()
		time.Sleep(8 * time.Second)
		b.send(`{"id":4,"command":"auth","token":"ben+20s:x"}`)
		text := b.read()
		if !strings.Contains(text, `"expires_in":20`) || !strings.Contains(text, `{"unsubscribed":{"channel":"y","code":110,`) {
			t.Error(text)
		}
		a.want("end 4501 the token has ended")
		at(10 * time.Second)
		stream, _ := io.ReadAll(events.Body)
		if want := "event: end\ndata: {\"code\":4501,\"reason\":\"the token has ended\"}\n\n"; !strings.HasSuffix(string(stream), want) {
			t.Errorf("the stream ends with %s", stream)
		}
		if got := <-poll; !strings.HasPrefix(got, `{"messages":[],"position":"`) {
			t.Errorf("the poll is answered %s", got)
		}
		at(10 * time.Second)
		if _, err := s.server.Publish(t.Context(), "y", json.RawMessage("1")); err != nil {
			t.Fatal(err)
		}
		if _, err := s.server.Publish(t.Context(), "x", json.RawMessage("2")); err != nil {
			t.Fatal(err)
		}
		b.want("x2")
		b.want("end 4501 the token has ended")
		at(28 * time.Second)
		if n := len(s.server.core.deadlines.due); n != 0 {
			t.Errorf("%d deadlines are left", n)
		}
	})
}

func TestAuthOverHTTP(t *testing.T) {
	for _, test := range []struct {
		request, body, token string
		status               int
		code                 protocol.Code // 0: no problem
	}{
		{"POST /channels/a", "x", "", 401, 109},
		{"POST /channels/a", "x", "bad", 401, 109},
		{"POST /channels/a", "x", "ann+-1s", 401, 111},
		{"POST /channels/a", "x", "ann:b", 403, 110},
		{"POST /channels/a", "x", "later", 500, 200},
		{"POST /channels/a", "x", "ann:a", 200, 0},
		{"GET /channels/a", "", "", 401, 109},
		{"GET /channels/a", "", "ann:b", 403, 110},
		{"GET /channels/a", "", "ann:a", 200, 0},
		{"GET /channels/a/presence", "", "ann:b", 403, 110},
		{"GET /channels/a/presence", "", "ann:a", 200, 0},
		{"GET /poll?channel=a&channel=b&wait=0", "", "ann:a", 403, 110},
		{"GET /poll?channel=a&wait=0", "", "ann:a", 200, 0},
		{"GET /poll?channel=a&wait=0&token=ann", "", "", 401, 109},
		{"GET /events?channel=a&channel=b", "", "ann:a", 403, 110},
		{"GET /events?channel=a", "", "", 401, 109},
		{"GET /channels", "", "ann", 403, 110},
		{"GET /channels", "", "admin", 200, 0},
		{"POST /users/ann/disconnect", "", "ann", 403, 110},
		{"POST /users/ann/disconnect", "", "admin", 200, 0},
		{"GET /metrics", "", "ann", 403, 110},
		{"GET /metrics", "", "admin", 200, 0},
		{"GET /healthz", "", "", 200, 0},
		{"GET /readyz", "", "", 200, 0},
	} {
		t.Run(test.request+" "+test.token, func(t *testing.T) {
			s := guarded()
			s.Log, s.Metrics = quiet, http.HandlerFunc(healthz)
			method, path, _ := strings.Cut(test.request, " ")
			var header []string
			if test.token != "" {
				header = append(header, "Authorization: Bearer "+test.token)
			}
			resp := do(t, s, method, path, test.body, header...)
			if test.code != 0 {
				wantProblem(t, resp, test.status, test.code, "")
			} else if resp.StatusCode != test.status {
				t.Errorf("status %d, want %d", resp.StatusCode, test.status)
			}
		})
	}
}

// Each message of a batch needs the right for its channel.
func TestBatchRights(t *testing.T) {
	resp := do(t, guarded(), "POST", "/channels", `[{"channel":"a","data":1},{"channel":"b","data":2}]`, jsonType, "Authorization: Bearer ann:a")
	body, _ := io.ReadAll(resp.Body)
	if got := string(body); !strings.Contains(got, `[{"position":"`) || !strings.Contains(got, `"},{"error":{"code":110,`) {
		t.Errorf("got %s", got)
	}
}

func TestDisconnect(t *testing.T) {
	s := guarded()
	s.Log = quiet
	inMemory(t, s, func(t *testing.T, s *site) {
		a, b := s.dial(), s.dial()
		a.send(`{"id":1,"command":"auth","token":"ann"}`)
		b.send(`{"id":1,"command":"auth","token":"ben"}`)
		a.want("1")
		b.want("1")
		events := s.request("GET /events?channel=x&token=ann", "")
		poll := make(chan *http.Response)
		go func() { poll <- s.request("GET /poll?channel=x", "", "Authorization: Bearer ann") }()
		synctest.Wait()
		resp := s.request("POST /users/ann/disconnect", "", "Authorization: Bearer admin")
		if body, _ := io.ReadAll(resp.Body); string(body) != "{\"lines\":3}\n" {
			t.Errorf("answered %s", body)
		}
		a.want("end 4002 disconnected by the operator")
		if stream, _ := io.ReadAll(events.Body); !strings.Contains(string(stream), "event: end\ndata: {\"code\":4002,") {
			t.Errorf("the stream is %s", stream)
		}
		wantProblem(t, <-poll, 403, 110, "disconnected")
		b.send(`{"id":2,"command":"ping"}`)
		b.want("2")
		synctest.Wait()
		if n := s.server.Disconnect("ann"); n != 0 {
			t.Errorf("ann still has %d lines", n)
		}
		b.CloseNow()
	})
}

// What is wrong with the server is for its log; the token is for nobody.
func TestAuthorizerFails(t *testing.T) {
	var log strings.Builder
	s := guarded()
	s.Log = slog.New(slog.NewTextHandler(&log, nil))
	resp := do(t, s, "GET", "/events?channel=a&token=broken", "")
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 500 || strings.Contains(string(body), "10.0.0.1") {
		t.Errorf("status %d, %s", resp.StatusCode, body)
	}
	if !strings.Contains(log.String(), "10.0.0.1") || strings.Contains(log.String(), "token=") {
		t.Errorf("the log has %s", &log)
	}
}

func TestBearer(t *testing.T) {
	for header, want := range map[string]string{"": "", "Bearer x": "x", "bearer  x ": "x", "Basic x": "", "Bearer": "", "Bearerx": ""} {
		if got := bearer(&http.Request{Header: http.Header{"Authorization": {header}}}); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

// Deadlines come in their order, however they are set, moved and taken away.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d deadlines
		ends := make(chan string, 10)
		sessions := make(map[string]*session)
		for _, name := range []string{"a", "b", "c", "d"} {
			sessions[name] = &session{line: cutter(func(end ending) { ends <- end.reason })}
		}
		at := func(name string, seconds int) {
			d.set(sessions[name], time.Now().Add(time.Duration(seconds)*time.Second), ending{reason: name})
		}
		at("a", 5)
		at("b", 3)
		at("c", 1)
		at("d", 4)
		at("c", 6)
		d.set(sessions["d"], time.Time{}, ending{})
		time.Sleep(4 * time.Second)
		at("a", 3)
		time.Sleep(10 * time.Second)
		if got := <-ends + <-ends + <-ends; got != "bca" || len(ends) > 0 {
			t.Errorf("the order is %s and %d more, want bca", got, len(ends))
		}
	})
}

// A cutter is a carrier that only can be cut.
type cutter func(ending)

func (c cutter) wake()          {}
func (c cutter) cut(end ending) { c(end) }

// quiet is the log of tests that make the server fail.
var quiet = slog.New(slog.DiscardHandler)
