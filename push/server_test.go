package push

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
)

func TestRoutes(t *testing.T) {
	s := &Server{Console: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "console "+r.URL.Path) })}
	for _, test := range []struct {
		method, path string
		status       int
		want         string // of the body, or the Location, or Allow
	}{
		{"GET", "/healthz", 200, "ok\n"},
		{"HEAD", "/healthz", 200, "ok\n"}, // net/http leaves the body out
		{"POST", "/healthz", 405, "GET, HEAD"},
		{"GET", "/", 302, "console"},
		{"POST", "/", 405, "GET, HEAD"},
		{"GET", "/console", 200, "console /console"},
		{"GET", "/console/console.js", 200, "console /console/console.js"},
		{"GET", "/else", 404, ""},
		{"POST", "/connect", 405, "GET"},
		{"DELETE", "/channels/a", 405, "GET, HEAD, POST"},
		{"GET", "/channels/a/b", 404, ""},
	} {
		resp := do(t, s, test.method, test.path, "")
		body, _ := io.ReadAll(resp.Body)
		got := string(body)
		switch test.status {
		case 302:
			got = resp.Header.Get("Location")
		case 405:
			got = resp.Header.Get("Allow")
		}
		if resp.StatusCode != test.status || got != test.want && test.status != 404 {
			t.Errorf("%s %s: status %d, %q; want %d, %q", test.method, test.path, resp.StatusCode, got, test.status, test.want)
		}
		if resp.StatusCode >= 400 && resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: the error is no problem document: %s", test.method, test.path, body)
		}
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: browsers may guess the type", test.method, test.path)
		}
	}
	without := new(Server)
	for _, path := range []string{"/", "/console"} {
		wantProblem(t, do(t, without, "GET", path, ""), 404, 0, "nothing is here")
	}
}

// A page that somebody has open somewhere must not publish into a server that
// only its reader can reach.
func TestCrossOriginWrites(t *testing.T) {
	s := new(Server)
	for _, test := range []struct {
		header string
		status int
	}{
		{"Sec-Fetch-Site: cross-site", 403},
		{"Sec-Fetch-Site: same-site", 403},
		{"Origin: http://evil.example", 403},
		{"Origin: null", 403},
		{"Sec-Fetch-Site: same-origin", 200},
		{"Origin: http://example.com", 200}, // the Host of these requests
		{"User-Agent: curl", 200},
	} {
		resp := do(t, s, "POST", "/channels/a", "1", test.header)
		if resp.StatusCode != test.status {
			t.Errorf("%s: status %d, want %d", test.header, resp.StatusCode, test.status)
		}
		if test.status == 403 {
			wantProblem(t, resp, 403, 0, "another origin")
		}
	}
	if p := s.core.broker.now(); p.seq != 3 {
		t.Errorf("%d messages were published, want 3", p.seq)
	}
}

func TestLiteralHosts(t *testing.T) {
	guarded, open := &Server{LiteralHosts: true}, new(Server)
	for host, literal := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:8080": true, "10.1.2.3:80": true, "[::1]": true, "[::1]:8080": true, "[fe80::1%eth0]:80": true,
		"localhost": true, "LOCALHOST:8080": true, "localhost.": true,
		"": false, "example.com": false, "example.com:8080": false, "localhost.example.com": false, "a.localhost": false, "127.0.0.1.nip.io": false,
		"127.1": false, "2130706433": false, "0x7f.0.0.1": false, ":8080": false, "127.0.0.1@evil": false, "[::1": false,
	} {
		for _, request := range [][2]string{{"GET", "/healthz"}, {"POST", "/channels/a"}, {"GET", "/channels/a"}, {"GET", "/connect"}} {
			resp := do(t, guarded, request[0], request[1], "", "Host: "+host)
			if refused := resp.StatusCode == 421; refused == literal {
				t.Errorf("%q: %v has status %d", host, request, resp.StatusCode)
			} else if refused {
				wantProblem(t, resp, 421, 0, "by an IP address or as localhost")
			}
		}
		if resp := do(t, open, "GET", "/healthz", "", "Host: "+host); resp.StatusCode != 200 {
			t.Errorf("%q: status %d from a server that takes all", host, resp.StatusCode)
		}
	}
}

func TestServerPublish(t *testing.T) {
	s := &Server{MaxMessage: 8}
	p, err := s.Publish(t.Context(), "a", json.RawMessage(` {"x" :1}`[1:]))
	if err != nil {
		t.Fatal(err)
	}
	if h := get(t, s, "/channels/a"); len(h.Messages) != 1 || h.Messages[0].Position != p.String() || string(h.Messages[0].Data) != `{"x":1}` {
		t.Errorf("history is %+v", h)
	}
	for _, test := range []struct {
		channel, data string
		code          protocol.Code
	}{
		{"", "1", protocol.BadChannel},
		{"a", "", protocol.BadData},
		{"a", "x", protocol.BadData},
		{"a", "123456789", protocol.DataTooBig},
	} {
		if _, err := s.Publish(t.Context(), test.channel, json.RawMessage(test.data)); !errors.Is(err, &protocol.Error{Code: test.code}) {
			t.Errorf("%q to %q: %v, want code %d", test.data, test.channel, err, test.code)
		}
	}
}

func TestShutdownRefuses(t *testing.T) {
	s := new(Server)
	do(t, s, "POST", "/channels/a", "1")
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, request := range [][2]string{{"POST", "/channels/a"}, {"GET", "/connect"}} {
		resp := do(t, s, request[0], request[1], "1")
		wantProblem(t, resp, 503, protocol.ShuttingDown, "shutting down")
		if resp.Header.Get("Retry-After") == "" {
			t.Errorf("%v: no Retry-After", request)
		}
	}
	if _, err := s.Publish(t.Context(), "a", json.RawMessage("1")); !errors.Is(err, &protocol.Error{Code: protocol.ShuttingDown}) {
		t.Errorf("Publish: %v", err)
	}
	if h := get(t, s, "/channels/a"); len(h.Messages) != 1 {
		t.Errorf("history is gone: %+v", h)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if err := new(Server).Shutdown(t.Context()); err != nil {
		t.Errorf("before the first use: %v", err)
	}
}

func TestDefaults(t *testing.T) {
	s := new(Server)
	s.init()
	m := s.core.broker.(*memory)
	if want := (memoryLimits{1000, defaultHistoryAge, 256 << 20, 200_000}); m.limits != want {
		t.Errorf("memory has %+v, want %+v", m.limits, want)
	}
	if want := (limits{64 << 10, 60, 128, 100, 100_000, 10_000, 10 * time.Second}); s.core.limits != want {
		t.Errorf("limits are %+v, want %+v", s.core.limits, want)
	}
	none := &Server{HistoryMessages: -1, HistoryAge: -1, HistoryBytes: -1, MaxChannels: -1, MaxMessage: -1, MaxDepth: -1, MaxSubscriptions: -1, CommandRate: -1, MaxLines: -1, PublishRate: -1, AuthTimeout: -1}
	none.init()
	if m := none.core.broker.(*memory); m.limits != (memoryLimits{}) || none.core.limits != (limits{}) {
		t.Errorf("without limits: %+v, %+v", m.limits, none.core.limits)
	}
	if resp := do(t, none, "POST", "/channels/a", strings.Repeat("x", 1<<20)); resp.StatusCode != 200 {
		t.Errorf("1 MiB without a limit: status %d", resp.StatusCode)
	}
}
