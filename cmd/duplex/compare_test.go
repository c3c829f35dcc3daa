package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/duplexgo/duplex/push/compare"
)

// The figures say what the ways are: whoever polls asks again and again and is late, a
// long poll is asked once for each answer, the others once for all.
func TestCompare(t *testing.T) {
	_, url := startServe(t)
	got := duplex(t, nil, "compare", url, "--rate", "20", "--for", "1s", "--size", "500", "--poll-every", "300ms", "--json")
	if got.code != exitOK || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	var r comparisonReport
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		t.Fatalf("%v: %s", err, got.stdout)
	}
	if r.Published < 10 || r.Size != 500 || r.Rate != 20 || r.PollEvery != 0.3 || len(r.Ways) != 4 {
		t.Errorf("%+v", r)
	}
	for name, w := range r.Ways {
		if w.Messages != r.Published || w.BytesPerMessage < 500 || w.BytesPerMessage > 2000 || w.Delay.Half <= 0 || w.Delay.Half > w.Delay.Most || w.Delay.Most > w.Delay.Longest {
			t.Errorf("%s: %+v", name, w)
		}
		if w.Estimate != (runtime.GOOS != "linux") {
			t.Errorf("%s: estimate %v", name, w.Estimate)
		}
	}
	polling, long, sse, ws := r.Ways["polling"], r.Ways["long_polling"], r.Ways["sse"], r.Ways["websocket"]
	if sse.Requests != 1 || ws.Requests != 1 || polling.Requests < 3 || polling.Requests > 10 || long.Requests < int64(r.Published)/2 {
		t.Errorf("requests: %d, %d, %d, %d", polling.Requests, long.Requests, sse.Requests, ws.Requests)
	}
	if !(polling.Delay.Half > ws.Delay.Half && long.BytesPerMessage > sse.BytesPerMessage) {
		t.Errorf("%+v", r.Ways)
	}
}

func TestCompareTable(t *testing.T) {
	_, url := startServe(t)
	got := duplex(t, nil, "compare", url, "--rate", "20", "--for", "300ms", "--poll-every", "100ms")
	lines := strings.Split(got.stdout, "\n")
	if got.code != exitOK || len(lines) < 11 {
		t.Fatalf("%+v", got)
	}
	if !regexp.MustCompile(`^\d+ messages? of 128 bytes in 0 s, polled every 0\.1 s$`).MatchString(lines[0]) {
		t.Errorf("%q", lines[0])
	}
	for i, name := range []string{"", "Messages", "Requests", "Bytes to server", "Bytes from server", "Bytes a message", "Packets a message", "Delay in ms, median", "Delay in ms, 95 %"} {
		line := lines[2+i]
		if !strings.HasPrefix(line, name) || len(line) != len(lines[2]) || len(line) > 79 {
			t.Errorf("%q, want it to begin with %q", line, name)
		}
	}
	// The table in the documents is one that the command would print.
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "$ duplex compare http://127.0.0.1:8080 --for 8s\n")
	block, _, _ = strings.Cut(block, "```")
	form := func(table string) string { return regexp.MustCompile(`[ ]*[\d.,]+`).ReplaceAllString(table, " N") }
	if got, want := form(block), form(got.stdout); got != want {
		t.Errorf("docs/operations.md has a table of the form\n%s\nand the command prints\n%s", got, want)
	}
}

// What is worked out is marked, and the mark is explained.
func TestCompareTableOfEstimates(t *testing.T) {
	r := &comparisonReport{Published: 1, Ways: map[string]wayCost{
		compare.SSE: {Messages: 1, Figures: compare.Figures{Requests: 1, Received: 1234, Sent: 5678, Estimate: true}, BytesPerMessage: 6912},
	}}
	table := r.table(io.Discard)
	for _, want := range []string{"~1,234", "~5,678", "~6,912", "\n~ is worked out from headers and bodies"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
}

// TLS is counted, and makes more bytes of the same.
func TestCompareTLS(t *testing.T) {
	_, url := startServe(t, "--tls-self-signed")
	if !strings.HasPrefix(url, "https://") {
		t.Fatal(url)
	}
	got := duplex(t, nil, "compare", url, "--insecure", "--rate", "20", "--for", "300ms", "--poll-every", "100ms", "--json")
	var r comparisonReport
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || got.code != exitOK {
		t.Fatalf("%v: %+v", err, got)
	}
	for name, w := range r.Ways {
		if w.Estimate != (runtime.GOOS != "linux") || runtime.GOOS == "linux" && w.Sent < 700 {
			t.Errorf("%s: %+v", name, w)
		}
	}
}

// A signal ends it with the figures until then. What has not come is not missing: here
// a poll that would have brought it was due in an hour.
func TestCompareInterrupted(t *testing.T) {
	_, url := startServe(t)
	r := start(t, "compare", url, "--for", "1h", "--rate", "50", "--poll-every", "1h")
	waitForMessages(t, url)
	r.cancel()
	r.find("Messages")
	r.find("interrupted: messages that have not come by a way were under way")
	if code := r.wait(); code != exitOK || r.stderr.String() != "" {
		t.Errorf("exit code %d, stderr %q", code, r.stderr)
	}
}

// waitForMessages returns when the server keeps some.
func waitForMessages(t *testing.T, url string) {
	t.Helper()
	for late := time.Now().Add(patience); time.Now().Before(late); time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get(url + "/console/api/look?prefix=compare-")
		if err != nil {
			t.Fatal(err)
		}
		var look struct{ Messages int }
		err = json.NewDecoder(resp.Body).Decode(&look)
		resp.Body.Close()
		if err == nil && look.Messages > 5 {
			return
		}
	}
	t.Fatal("nothing is published")
}

func TestCompareRefused(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	_, locked := startServe(t, "--api-key-file", keyFile(t, testAPIKey))
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{other.URL}, exitFailure, "the server does not compare"},
		{[]string{locked}, exitFailure, "401"},
		{[]string{"http://127.0.0.1:1"}, exitFailure, "nothing listens there"},
		{[]string{locked, "--rate", "0"}, exitUsage, "--rate must be more than 0"},
		{[]string{locked, "--rate", "NaN"}, exitUsage, "--rate must be more than 0"},
		{[]string{locked, "--size", "2MiB"}, exitUsage, "--size must be at most 1MiB"},
		{[]string{locked, "--for", "0s"}, exitUsage, "--for must be more than zero"},
		{[]string{locked, "--poll-every", "-1s"}, exitUsage, "--poll-every must be more than zero"},
		{[]string{locked, "--rate", "1000", "--for", "24h"}, exitUsage, "take less of one"},
		{nil, exitUsage, "URL is missing"},
	} {
		got := duplex(t, nil, append([]string{"compare"}, test.args...)...)
		if got.code != test.code || !strings.Contains(got.stderr, test.want) || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("%q: %+v, want %d, %q", test.args, got, test.code, test.want)
		}
	}
	t.Setenv(envToken, testAPIKey)
	if got := duplex(t, nil, "compare", locked, "--rate", "20", "--for", "300ms", "--poll-every", "50ms"); got.code != exitOK {
		t.Errorf("with the key: %+v", got)
	}
}

// At the address of --admin nothing needs a key; at the other it does.
func TestServeAdmin(t *testing.T) {
	r := start(t, "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--api-key-file", keyFile(t, testAPIKey))
	public := strings.TrimSuffix(r.find("http://"), "/console")
	admin := strings.TrimSuffix(r.find("http://"), "/console/look")
	status := func(url string) int {
		t.Helper()
		q, _ := http.NewRequestWithContext(t.Context(), "GET", url, nil)
		transport := &http.Transport{DisableKeepAlives: true}
		resp, err := transport.RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	for _, path := range []string{"/console/api/look", "/console/api/history", "/metrics", "/channels", "/channels/x"} {
		if p, a := status(public+path), status(admin+path); p != 401 || a != 200 {
			t.Errorf("%s: %d, and at the address for administrators %d", path, p, a)
		}
	}
	if got := duplex(t, nil, "compare", admin, "--rate", "20", "--for", "300ms", "--poll-every", "50ms"); got.code != exitOK {
		t.Errorf("%+v", got)
	}
	r.cancel()
	if code := r.wait(); code != exitOK {
		t.Errorf("exit code %d, stderr %q", code, r.stderr)
	}
	if _, err := (&http.Client{}).Get(admin); err == nil {
		t.Error("the address for administrators is served after the end")
	}
}

func TestServeAdminRefused(t *testing.T) {
	for _, test := range []struct{ addr, want string }{
		{"0.0.0.0:0", "--admin 0.0.0.0:0: everybody who reaches this address may do everything"},
		{":0", "everybody who reaches this address may do everything"},
		{"8.8.8.8:0", "everybody who reaches this address may do everything"},
		{"127.0.0.1", `--admin "127.0.0.1" is not HOST:PORT`},
		{"127.0.0.1:99999", "--admin \"127.0.0.1:99999\": the port is a number"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var stderr strings.Builder
		if code := run(ctx, []string{"serve", "--listen", "127.0.0.1:0", "--admin", test.addr}, strings.NewReader(""), io.Discard, &stderr); code != exitUsage || !strings.Contains(stderr.String(), test.want) {
			t.Errorf("%s: exit code %d, %s", test.addr, code, &stderr)
		}
	}
}
