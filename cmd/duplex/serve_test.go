package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
)

// startServe runs a push server and returns its URL.
func startServe(t *testing.T, args ...string) (*running, string) {
	t.Helper()
	r := start(t, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	return r, strings.TrimSuffix(r.find("http"), "/console")
}

// wantCode checks with which code the other side has closed.
func wantCode(t *testing.T, err error, want websocket.CloseCode) {
	t.Helper()
	if closed, ok := errors.AsType[*websocket.CloseError](err); !ok || closed.Code != want || closed.Local {
		t.Errorf("the connection ended with %v, want %v from the other side", err, want)
	}
}

// A message goes from pub through serve to sub, one position after the other.
func TestServePubSub(t *testing.T) {
	_, url := startServe(t)
	sub := start(t, "sub", url, "news", "sport")
	pub := func(channel, data string) string {
		got := duplex(t, nil, "pub", url, channel, data)
		if got.code != exitOK {
			t.Fatalf("%+v", got)
		}
		return strings.TrimSpace(got.stdout)
	}
	waitForSubscriber(t, url, "sport", sub)
	for _, test := range []struct{ channel, data, want string }{
		{"news", `{"a": [1, 2]}`, `{"a":[1,2]}`},
		{"other", "1", ""},
		{"sport", "just text", `"just text"`},
		{"news", "", `""`},
	} {
		position := pub(test.channel, test.data)
		if test.want == "" {
			continue
		}
		var got protocol.Message
		line := sub.line()
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if got.Channel != test.channel || got.Position != position || string(got.Data) != test.want {
			t.Errorf("%s, want channel %s, position %s, data %s", line, test.channel, position, test.want)
		}
	}
	sub.cancel()
	if code := sub.wait(); code != exitOK || sub.stderr.String() != "" {
		t.Errorf("sub: exit code %d, stderr %q", code, sub.stderr)
	}
}

// waitForSubscriber publishes to a channel until the subscriber sees it, and
// takes what it saw off its output.
func waitForSubscriber(t *testing.T, url, channel string, sub *running) {
	t.Helper()
	for late, n := time.Now().Add(patience), 0; time.Now().Before(late); n++ {
		if got := duplex(t, nil, "pub", url, channel, fmt.Sprint(n)); got.code != exitOK {
			t.Fatalf("%+v", got)
		}
		select {
		case line := <-sub.lines:
			for !strings.Contains(line, fmt.Sprintf(`"data":%d,`, n)) {
				line = sub.line()
			}
			return
		default:
		}
	}
	t.Fatalf("nothing comes; stderr %q", sub.stderr)
}

// Who comes late begins where it wants to, as far back as there is history.
func TestServeHistory(t *testing.T) {
	_, url := startServe(t, "--history-messages", "2")
	var last string
	for i := range 3 {
		last = strings.TrimSpace(duplex(t, nil, "pub", url, "news", fmt.Sprint(i)).stdout)
	}
	sub := start(t, "sub", url, "news", "--history", "10")
	for _, want := range []string{`"data":1,`, `"data":2,`} {
		if line := sub.line(); !strings.Contains(line, want) {
			t.Errorf("%s, want %s", line, want)
		}
	}
	next := strings.TrimSpace(duplex(t, nil, "pub", url, "news", `"after"`).stdout)
	since := start(t, "sub", url, "news", "--since", last)
	if line := since.line(); !strings.Contains(line, next) || !strings.Contains(line, `"after"`) {
		t.Errorf("after %s came %s", last, line)
	}
}

// A server that was started anew has forgotten everything. Its subscribers come back
// by themselves and are told.
func TestServeRestart(t *testing.T) {
	first, url := startServe(t)
	sub := start(t, "sub", url, "news")
	waitForSubscriber(t, url, "news", sub)
	first.cancel()
	if code := first.wait(); code != exitOK {
		t.Fatalf("exit code %d, stderr %q", code, first.stderr)
	}
	sub.stderr.waitFor(t, "no connection: the server closed the connection with 1001 (going away); trying again in ")
	start(t, "serve", "--listen", strings.TrimPrefix(url, "http://")).find("/console")
	sub.stderr.waitFor(t, `reset: messages of "news" may be lost: recreated`)
	position := strings.TrimSpace(duplex(t, nil, "pub", url, "news", "again").stdout)
	if line := sub.line(); !strings.Contains(line, `"again"`) || !strings.Contains(line, position) {
		t.Errorf("after the restart came %s, want position %s", line, position)
	}
}

// Without keys everybody may do everything: only whoever is on this machine may be
// everybody, unless the user says otherwise.
func TestServeStaysOnThisMachine(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0"} {
		got := duplex(t, nil, "serve", "--listen", addr)
		want := result{exitUsage, "", "duplex serve: --listen " + addr + " would let everybody who reaches it publish and subscribe: set keys with --api-key-file, --token-key-file or --jwks-url, use a loopback address as 127.0.0.1, or add --insecure if that is what you want; try 'duplex serve --help'\n"}
		if got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	for _, addr := range []string{"127.0.0.1:0", "localhost:0", "127.8.8.8:0"} {
		r := start(t, "serve", "--listen", addr)
		r.find("/console")
	}
	r := start(t, "serve", "--listen", "0.0.0.0:0", "--insecure")
	url := strings.TrimSuffix(r.find("http"), "/console")
	if !strings.HasPrefix(url, "http://localhost:") {
		t.Errorf("the URL is %s, which this machine may not reach", url)
	}
	if !strings.Contains(r.stderr.String(), "everybody who reaches this address") {
		t.Errorf("no warning on stderr: %q", r.stderr)
	}
}

// Attack, DNS rebinding: a foreign page reaches the server by a name of its own
// that resolves to this machine, and has that name as its origin.
func TestServeHost(t *testing.T) {
	for _, test := range []struct {
		args []string
		host string
		want int
	}{
		{nil, "evil.example", http.StatusMisdirectedRequest},
		{nil, "evil.example:8080", http.StatusMisdirectedRequest},
		{nil, "localhost", http.StatusOK},
		{nil, "[::1]:8080", http.StatusOK},
		{[]string{"--insecure"}, "push.internal:8080", http.StatusOK},
	} {
		_, url := startServe(t, test.args...)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/channels/news", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		req.Host, req.Close = test.host, true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != test.want {
			t.Errorf("%q, host %s: %s, want %d", test.args, test.host, resp.Status, test.want)
		}
	}
}

// Attack: a page that the user has open publishes by a form or a fetch, or opens a
// WebSocket.
func TestServeForeignPage(t *testing.T) {
	_, url := startServe(t)
	for _, path := range []string{"POST /channels/news", "GET /connect"} {
		method, path, _ := strings.Cut(path, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Close = true
		for name, value := range map[string]string{
			"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site",
			"Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AQIDBAUGBwgJCgsMDQ4PEA==",
		} {
			req.Header.Set(name, value)
		}
		if method == http.MethodGet {
			req.Close = false
			req.Header.Set("Connection", "Upgrade")
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s %s: %s", method, path, resp.Status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestServeLimits(t *testing.T) {
	_, url := startServe(t, "--max-message", "10")
	if got := duplex(t, nil, "pub", url, "news", "0123456789"); got.code != exitOK {
		t.Errorf("as long as allowed: %+v", got)
	}
	if got := duplex(t, nil, "pub", url, "news", "0123456789x"); got.code != exitFailure || !strings.Contains(got.stderr, "413") {
		t.Errorf("a byte over: %+v", got)
	}
	for _, args := range [][]string{{"--history-messages", "0"}, {"--history-age", "0s"}, {"--history-bytes", "0"}} {
		if got := duplex(t, nil, append([]string{"serve"}, args...)...); got.code != exitUsage || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

func TestServeShutdown(t *testing.T) {
	r, url := startServe(t)
	c := dial(t, "ws"+strings.TrimPrefix(url, "http")+"/connect", &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}})
	r.cancel()
	_, _, err := c.Read(t.Context())
	wantCode(t, err, websocket.CloseGoingAway)
	if code := r.wait(); code != exitOK {
		t.Errorf("exit code %d, stderr %q", code, r.stderr)
	}
}

// What serve prints can be done: the page is there, and the curl line is right.
func TestServePrints(t *testing.T) {
	r := start(t, "serve", "--listen", "127.0.0.1:0")
	page := r.find("http://")
	publish := r.find("curl")
	listen := r.find("duplex sub")
	url := strings.TrimSuffix(page, "/console")
	if want := "curl -d hello " + url + "/channels/news"; publish != want {
		t.Errorf("%q, want %q", publish, want)
	}
	if want := "duplex sub " + url + " news"; listen != want {
		t.Errorf("%q, want %q", listen, want)
	}
	for _, address := range []string{page, url + "/"} {
		resp, err := http.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %s, %s, %.60q", address, resp.Status, resp.Header.Get("Content-Type"), body)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if got := shellWord("http://[::1]:1/x"); got != "'http://[::1]:1/x'" {
		t.Errorf("for a shell: %s", got)
	}
}
