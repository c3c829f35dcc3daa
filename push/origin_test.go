package push

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/duplexgo/duplex/websocket"
)

func TestOriginPatterns(t *testing.T) {
	for _, test := range []struct {
		pattern, origin string
		want            bool
	}{
		{"https://app.example.com", "https://app.example.com", true},
		{"https://app.example.com", "https://APP.example.com", true},
		{"https://app.example.com", "https://app.example.com:443", true},
		{"https://app.example.com", "http://app.example.com", false},
		{"https://app.example.com", "https://app.example.com:8443", false},
		{"https://app.example.com", "https://app.example.com.evil.test", false},
		{"app.example.com", "http://app.example.com", true},
		{"app.example.com", "https://app.example.com", true},
		{"app.example.com", "ftp://app.example.com", false},
		{"*.example.com", "https://a.b.example.com", true},
		{"*.example.com", "https://example.com", false},
		{"*.example.com", "https://evilexample.com", false},
		{"localhost:*", "http://localhost:5173", true},
		{"localhost:*", "http://localhost", true},
		{"localhost:8080", "http://localhost:8081", false},
		{"http://[::1]:8080", "http://[::1]:8080", true},
		{"*", "https://anything.test", true},
		{"*", "null", true},
		{"null", "null", true},
		{"null", "https://null", false},
		{"app.example.com", "null", false},
	} {
		o, err := parseOrigin(test.pattern)
		if err != nil || o.matches(test.origin) != test.want {
			t.Errorf("%s and %s: %v, want %v; %v", test.pattern, test.origin, !test.want, test.want, err)
		}
	}
	for _, bad := range []string{"", "https://", "https://a/", "a b", "*.", "*a.com", "a.*.com", "a:", "a:x", "a:80x", "http://http://a", "a?b", "u@a"} {
		if CheckOrigins([]string{"ok.test", bad}) == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

// Pages of other origins neither write nor read, over any transport, unless the
// server is set to let them in. Programs and links pass.
func TestOrigins(t *testing.T) {
	const page, evil = "https://app.test", "https://evil.test"
	for _, test := range []struct {
		name, request string
		origins       []string
		header        []string
		status        int
		reads         bool // the answer lets the page read it
	}{
		{"a program reads", "GET /poll?channel=a&wait=0", nil, nil, 200, false},
		{"a foreign page reads", "GET /channels/a", nil, []string{"Origin: " + evil}, 403, false},
		{"polls", "GET /poll?channel=a&wait=0", nil, []string{"Origin: " + evil}, 403, false},
		{"listens", "GET /events?channel=a", nil, []string{"Origin: " + evil}, 403, false},
		{"publishes", "POST /channels/a", nil, []string{"Origin: " + evil}, 403, false},
		{"publishes without Origin", "POST /channels/a", nil, []string{"Sec-Fetch-Site: cross-site"}, 403, false},
		{"embeds", "GET /channels/a", nil, []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"}, 403, false},
		{"from a sandbox", "GET /channels/a", nil, []string{"Origin: null"}, 403, false},
		{"two origins", "GET /channels/a", []string{page}, []string{"Origin: " + page, "Origin: " + page}, 403, false},
		{"asks before", "OPTIONS /channels/a", nil, []string{"Origin: " + evil, "Access-Control-Request-Method: POST"}, 403, false},
		{"a link", "GET /channels/a", nil, []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"}, 200, false},
		{"a form is no link", "POST /channels/a", nil, []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"}, 403, false},
		{"its own page", "POST /channels/a", nil, []string{"Origin: http://example.com", "Sec-Fetch-Site: same-origin"}, 200, false},
		{"its own page behind a proxy", "POST /channels/a", nil, []string{"Origin: https://public.test", "Sec-Fetch-Site: same-origin"}, 200, false},
		{"a page that is let in", "POST /channels/a", []string{page}, []string{"Origin: " + page, "Sec-Fetch-Site: cross-site"}, 200, true},
		{"reads", "GET /channels/a", []string{"*.x", page}, []string{"Origin: " + page}, 200, true},
		{"sees why not", "GET /channels/a?limit=x", []string{page}, []string{"Origin: " + page}, 400, true},
		{"asks before and may", "OPTIONS /channels/a", []string{page}, []string{"Origin: " + page, "Access-Control-Request-Method: POST"}, 204, true},
		{"another than that", "GET /channels/a", []string{page}, []string{"Origin: " + evil}, 403, false},
		{"every page", "GET /channels/a", []string{"*"}, []string{"Origin: " + evil}, 200, true},
		{"a sandbox that is let in", "GET /channels/a", []string{"null"}, []string{"Origin: null"}, 200, true},
		{"a pattern that is none", "GET /channels/a", []string{"a b"}, nil, 500, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &Server{Origins: test.origins, Log: quiet}
			method, path, _ := strings.Cut(test.request, " ")
			resp := do(t, s, method, path, "x", test.header...)
			if resp.StatusCode != test.status {
				t.Fatalf("status %d, want %d", resp.StatusCode, test.status)
			}
			if got := resp.Header.Get("Access-Control-Allow-Origin"); (got != "") != test.reads {
				t.Errorf("Access-Control-Allow-Origin is %q", got)
			}
			if credentials := resp.Header.Get("Access-Control-Allow-Credentials") != ""; credentials != (test.reads && test.origins[0] != "*" && test.origins[0] != "null") {
				t.Errorf("credentials are allowed: %v", credentials)
			}
			if test.reads && resp.Header.Get("Vary") != "Origin" {
				t.Errorf("Vary is %q", resp.Header.Get("Vary"))
			}
		})
	}
}

// A page that is let in may send what the protocol has, and go on with its trace here.
func TestPreflightHeaders(t *testing.T) {
	const page = "https://app.test"
	resp := do(t, &Server{Origins: []string{page}}, "OPTIONS", "/channels/a", "", "Origin: "+page, "Access-Control-Request-Method: POST")
	allowed := strings.Split(resp.Header.Get("Access-Control-Allow-Headers"), ", ")
	for _, name := range []string{"Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Traceparent", "Tracestate"} {
		if !slices.Contains(allowed, name) {
			t.Errorf("%s may not be sent: %q", name, allowed)
		}
	}
}

// What lets a page poll lets it open a WebSocket.
func TestOriginsOfWebSockets(t *testing.T) {
	inMemory(t, &Server{Origins: []string{"https://app.test"}}, func(t *testing.T, s *site) {
		for origin, status := range map[string]int{"https://app.test": 101, "https://evil.test": 403, "http://server.test": 101} {
			c, resp, err := s.web.Dial(t.Context(), "/connect", &websocket.DialOptions{Header: http.Header{"Origin": {origin}}})
			if resp == nil || resp.StatusCode != status {
				t.Errorf("%s: %v, %v; want %d", origin, resp, err, status)
			}
			if err == nil {
				c.CloseNow()
			}
		}
	})
}
