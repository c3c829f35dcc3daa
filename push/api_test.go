package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
)

// do asks the server without a network.
func do(t *testing.T, s *Server, method, path, body string, header ...string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // else a stream that should not begin has no end
	t.Cleanup(cancel)
	r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

// wantProblem checks that an answer is a problem document.
func wantProblem(t *testing.T, resp *http.Response, status int, code protocol.Code, detail string) {
	t.Helper()
	body, _ := io.ReadAll(resp.Body)
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != status || kind != "application/problem+json" {
		t.Fatalf("status %d, type %s, want %d and a problem document: %s", resp.StatusCode, kind, status, body)
	}
	var p problemDocument
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if p.Status != status || p.Title != http.StatusText(status) || p.Code != code || !strings.Contains(p.Detail, detail) {
		t.Errorf("problem is %+v, want code %d and %q", p, code, detail)
	}
}

const jsonType = "Content-Type: application/json"

func TestPost(t *testing.T) {
	for _, test := range []struct {
		name, body string
		header     []string
		data       string
	}{
		{"text", "hello", nil, `"hello"`},
		{"text as curl -d sends it", `{"a":1}`, []string{"Content-Type: application/x-www-form-urlencoded"}, `"{\"a\":1}"`},
		{"text with a charset", "grüße", []string{"Content-Type: text/plain; charset=UTF-8"}, `"grüße"`},
		{"text that JSON must escape", "a\"b\\\n\x00", nil, `"a\"b\\\n\u0000"`},
		{"no text", "", nil, `""`},
		{"a type that is none", "x", []string{"Content-Type: ;;"}, `"x"`},
		{"JSON", " {\"a\": [1, 2.50, null],\n\t\"b\": \"<&>\\u00e9\"} ", []string{jsonType}, `{"a":[1,2.50,null],"b":"<&>\u00e9"}`},
		{"JSON with parameters", `null`, []string{"Content-Type: Application/JSON; charset=utf-8"}, `null`},
		{"a kind of JSON", `[]`, []string{"Content-Type: application/ld+json"}, `[]`},
		{"identity", `[]`, []string{jsonType, "Content-Encoding: identity"}, `[]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := new(Server)
			begin := time.Now().Truncate(time.Millisecond)
			resp := do(t, s, "POST", "/channels/news", test.body, test.header...)
			var answer struct{ Position Position }
			body, _ := io.ReadAll(resp.Body)
			if err := json.Unmarshal(body, &answer); err != nil || resp.StatusCode != 200 || answer.Position.IsZero() {
				t.Fatalf("status %d, %s: %v", resp.StatusCode, body, err)
			}
			messages := get(t, s, "/channels/news").Messages
			if len(messages) != 1 {
				t.Fatalf("%d messages", len(messages))
			}
			m := messages[0]
			if string(m.Data) != test.data || m.Channel != "news" || m.Position != answer.Position.String() {
				t.Errorf("message is %+v with data %s, want %s at %v", m, m.Data, test.data, answer.Position)
			}
			if m.Time.Before(begin) || m.Time.After(time.Now()) {
				t.Errorf("time is %v", m.Time)
			}
		})
	}
}

// historyAnswer is the answer of GET /channels/{channel}.
type historyAnswer struct {
	Messages []protocol.Message
	Position string
	Reset    []protocol.Reset
}

func get(t *testing.T, s *Server, path string) (h historyAnswer) {
	t.Helper()
	resp := do(t, s, "GET", path, "")
	body, _ := io.ReadAll(resp.Body)
	if err := json.Unmarshal(body, &h); err != nil || resp.StatusCode != 200 || h.Messages == nil || h.Position == "" {
		t.Fatalf("GET %s: status %d, %s: %v", path, resp.StatusCode, body, err)
	}
	if kind := resp.Header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("GET %s: type %s", path, kind)
	}
	return h
}

func TestPostRefused(t *testing.T) {
	s := &Server{MaxMessage: 200}
	for _, test := range []struct {
		name, path, body string
		header           []string
		status           int
		code             protocol.Code
		detail           string
	}{
		{"JSON cut off", "/channels/a", `{"a":`, []string{jsonType}, 400, protocol.BadData, "not JSON: unexpected end"},
		{"two values", "/channels/a", `1 2`, []string{jsonType}, 400, protocol.BadData, "not JSON"},
		{"JSON too deep", "/channels/a", strings.Repeat("[", 61) + strings.Repeat("]", 61), []string{jsonType}, 400, protocol.BadData, "61 deep, at most 60"},
		{"no JSON", "/channels/a", ``, []string{jsonType}, 400, protocol.BadData, "missing"},
		{"JSON with bytes that are not UTF-8", "/channels/a", "\"\xff\"", []string{jsonType}, 400, protocol.BadData, "not UTF-8"},
		{"text that is not UTF-8", "/channels/a", "a\xc3", nil, 400, protocol.BadData, "not UTF-8"},
		{"another charset", "/channels/a", "a", []string{"Content-Type: text/plain; charset=latin1"}, 415, 0, "latin1"},
		{"compressed", "/channels/a", "a", []string{"Content-Encoding: gzip"}, 415, 0, "gzip"},
		{"too long", "/channels/a", strings.Repeat("1", 201), nil, 413, protocol.DataTooBig, "longer than 200 bytes"},
		{"JSON too long", "/channels/a", strings.Repeat(" ", 199) + "12", []string{jsonType}, 413, protocol.DataTooBig, "longer than 200 bytes"},
		{"name too long", "/channels/" + strings.Repeat("a", 256), "a", nil, 400, protocol.BadChannel, "256 bytes, at most 255"},
		{"name with a control character", "/channels/a%0Ab", "a", nil, 400, protocol.BadChannel, "control character, U+000A"},
		{"name with a later control character", "/channels/a%C2%85", "a", nil, 400, protocol.BadChannel, "control character, U+0085"},
		{"name that is not UTF-8", "/channels/%ff", "a", nil, 400, protocol.BadChannel, "not UTF-8"},
		{"no name", "/channels/", "a", nil, 400, protocol.BadChannel, "missing"},
		{"a name of two segments", "/channels/a/b", "a", nil, 404, 0, "write / in it as %2F"},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantProblem(t, do(t, s, "POST", test.path, test.body, test.header...), test.status, test.code, test.detail)
		})
	}
	if p := s.core.broker.now(); p.seq != 0 {
		t.Errorf("%d messages were published all the same", p.seq)
	}
	// Of exactly the longest length, although it grows when it becomes JSON.
	if resp := do(t, s, "POST", "/channels/a", strings.Repeat("\x01", 200)); resp.StatusCode != 200 {
		t.Errorf("a text of the longest length: status %d", resp.StatusCode)
	}
}

// One message that a client's parser refuses would end all clients of a channel.
func TestDepth(t *testing.T) {
	for value, want := range map[string]int{
		`1`: 0, `"["`: 0, `"\\"`: 0, `["\"[[", {"a]": [[]]}, []]`: 4, `{"a":{}}`: 2, `[[],[]]`: 2, `["\\",[]]`: 2,
	} {
		if got := depth([]byte(value)); got != want {
			t.Errorf("%s nests %d deep, want %d", value, got, want)
		}
	}
	s := new(Server)
	deepest := strings.Repeat(`{"a":[`, 30) + strings.Repeat("]}", 30)
	if resp := do(t, s, "POST", "/channels/a", deepest, jsonType); resp.StatusCode != 200 {
		t.Errorf("data of the greatest depth: status %d", resp.StatusCode)
	}
	for max, ok := range map[int]bool{0: false, 61: true, 2: false, -1: true} {
		s := &Server{MaxDepth: max}
		if resp := do(t, s, "POST", "/channels/a", "["+deepest+"]", jsonType); (resp.StatusCode == 200) != ok {
			t.Errorf("MaxDepth %d, data 61 deep: status %d", max, resp.StatusCode)
		}
	}
}

// A body whose length is not declared is measured while it comes, and not kept
// beyond the limit.
func TestPostUndeclaredLength(t *testing.T) {
	s := &Server{MaxMessage: 10}
	post := func(body io.Reader) *http.Response {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/channels/a", body)
		r.ContentLength = -1
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Result()
	}
	if resp := post(strings.NewReader("1234567890")); resp.StatusCode != 200 {
		t.Errorf("ten bytes: status %d", resp.StatusCode)
	}
	endless := io.LimitReader(neverending{}, 1<<40)
	wantProblem(t, post(endless), 413, protocol.DataTooBig, "longer than 10 bytes")
	wantProblem(t, post(iotest.ErrReader(io.ErrUnexpectedEOF)), 400, 0, "not come whole")
}

type neverending struct{}

func (neverending) Read(p []byte) (int, error) { return len(p), nil }

func TestChannelNames(t *testing.T) {
	s := new(Server)
	for i, name := range []string{"a", ".", "..", "/", "a/", "/a", "//", "a/b", "a b", "a%2Fb", "a+b", "a?b#c", "grüße 世界", "\"'<>&\\", strings.Repeat("ü", 127) + "x", "*", ">", "\u2028"} {
		path := "/channels/" + strings.ReplaceAll(url.PathEscape(name), ".", "%2E")
		if resp := do(t, s, "POST", path, fmt.Sprint(i)); resp.StatusCode != 200 {
			t.Errorf("%q: status %d", name, resp.StatusCode)
			continue
		}
		h := get(t, s, path)
		if len(h.Messages) != 1 || h.Messages[0].Channel != name || string(h.Messages[0].Data) != fmt.Sprintf("%q", fmt.Sprint(i)) {
			t.Errorf("%q: messages are %+v", name, h.Messages)
		}
	}
}

func TestGetHistory(t *testing.T) {
	s := &Server{HistoryMessages: 3}
	h := get(t, s, "/channels/a")
	if len(h.Messages) != 0 || h.Reset != nil {
		t.Errorf("an unknown channel has %+v", h)
	}
	begin := h.Position
	var at []string
	for i := range 5 {
		var answer struct{ Position string }
		json.NewDecoder(do(t, s, "POST", "/channels/a", fmt.Sprint(i), jsonType).Body).Decode(&answer)
		at = append(at, answer.Position)
	}
	for _, test := range []struct{ query, want, position, reset string }{
		{"", "2 3 4", at[4], ""},
		{"?limit=2", "3 4", at[4], ""},
		{"?since=" + at[2], "3 4", at[4], ""},
		{"?since=" + at[1], "2 3 4", at[4], ""},
		{"?limit=1&since=" + at[2], "3", at[3], ""},
		{"?since=" + at[4], "", at[4], ""},
		{"?since=", "2 3 4", at[4], ""},
		{"?colour=red", "2 3 4", at[4], ""},
		{"?since=" + begin, "2 3 4", at[4], protocol.TooOld},
		{"?limit=1&since=" + begin, "2", at[2], protocol.TooOld},
		{"?since=1.1", "2 3 4", at[4], protocol.Recreated},
	} {
		h := get(t, s, "/channels/a"+test.query)
		var data []string
		for _, m := range h.Messages {
			data = append(data, string(m.Data))
		}
		if got := strings.Join(data, " "); got != test.want || h.Position != test.position {
			t.Errorf("%s: messages %s at %s, want %s at %s", test.query, got, h.Position, test.want, test.position)
		}
		switch {
		case test.reset == "" && h.Reset != nil, test.reset != "" && len(h.Reset) != 1:
			t.Errorf("%s: reset is %+v", test.query, h.Reset)
		case test.reset != "" && h.Reset[0] != protocol.Reset{Channel: "a", Reason: test.reset, Position: at[1]}:
			t.Errorf("%s: reset is %+v, want it at %s", test.query, h.Reset, at[1])
		}
	}
	wantProblem(t, do(t, s, "GET", "/channels/a?since=rubbish", ""), 400, protocol.BadPosition, "since is not a position")
	wantProblem(t, do(t, s, "GET", "/channels/a?limit=0", ""), 400, protocol.BadCommand, "limit must be")
	wantProblem(t, do(t, s, "GET", "/channels/a?limit=x", ""), 400, protocol.BadCommand, "limit must be")
	wantProblem(t, do(t, s, "GET", "/channels/a?since="+at[2]+"%zz", ""), 400, protocol.BadCommand, "query cannot be read")
	wantProblem(t, do(t, s, "GET", "/channels/a?since="+at[2]+";limit=1", ""), 400, protocol.BadCommand, "query cannot be read")
	wantProblem(t, do(t, s, "GET", "/channels/a%00", ""), 400, protocol.BadChannel, "control character")
	if resp := do(t, s, "HEAD", "/channels/a", ""); resp.StatusCode != 200 {
		t.Errorf("HEAD: status %d", resp.StatusCode)
	}
}

// failing is a broker that fails.
type failing struct{ broker }

func (failing) publish(context.Context, string, json.RawMessage) (Position, error) {
	return Position{}, errors.New("the disk is on fire")
}

func (failing) history(string, Position, int) (past, error) {
	return past{}, errors.New("the disk is on fire")
}

// What fails in the server is logged, and not told to clients.
func TestBrokerFails(t *testing.T) {
	var logged strings.Builder
	s := &Server{Log: slog.New(slog.NewTextHandler(&logged, nil))}
	s.core.broker = failing{newTestMemory(t, memoryLimits{})}
	wantProblem(t, do(t, s, "POST", "/channels/a", "1"), 500, protocol.Internal, "the server failed")
	wantProblem(t, do(t, s, "GET", "/channels/a", ""), 500, protocol.Internal, "the server failed")
	if n := strings.Count(logged.String(), "the disk is on fire"); n != 2 {
		t.Errorf("logged: %s", logged.String())
	}
	wantProblem(t, do(t, s, "GET", "/channels/a?since=0", ""), 400, protocol.BadPosition, "")
	if n := strings.Count(logged.String(), "\n"); n != 2 {
		t.Errorf("a client's fault was logged: %s", logged.String())
	}
}

func TestTooManyChannels(t *testing.T) {
	s := &Server{MaxChannels: 1}
	s.init()
	if _, err := s.core.broker.open("a"); err != nil {
		t.Fatal(err)
	}
	resp := do(t, s, "POST", "/channels/b", "1")
	wantProblem(t, resp, 503, protocol.TooManyChannels, "as many channels")
	if resp.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}
