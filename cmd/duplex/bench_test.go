package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/duplexgo/duplex/internal/load"
	"github.com/duplexgo/duplex/websocket"
)

// quick are the flags that make a run short.
var quick = []string{"-c", "4", "--warmup", "10ms", "--duration", "300ms"}

func runBench(t *testing.T, url string, args ...string) result {
	t.Helper()
	return duplex(t, nil, append(append([]string{"bench", url}, quick...), args...)...)
}

func TestBenchTable(t *testing.T) {
	_, url := startEcho(t)
	got := runBench(t, url, "--pid", strconv.Itoa(os.Getpid()))
	if got.code != exitOK || got.stderr != "" {
		t.Fatalf("exit code %d, stderr %q", got.code, got.stderr)
	}
	for _, want := range []string{
		url, "p50", "p90", "p99", "p99.9", "max",
		"echo, 4 connections, messages of 32 bytes, text, 1 in flight", "4 of 4 opened, 0 lost",
		"0 missing", "messages a second", "context switches a second", "resident", "of a processor", "errors", "none",
	} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("the table does not tell of %q:\n%s", want, got.stdout)
		}
	}
	if strings.ContainsAny(got.stdout+got.stderr, "\x1b\r") {
		t.Error("there are escapes where there is no terminal")
	}
}

// What JSON has is an interface: names and units.
func TestBenchJSON(t *testing.T) {
	_, url := startEcho(t)
	got := runBench(t, url, "--json", "--pid", strconv.Itoa(os.Getpid()), "--max-errors", "0", "--max-p99", "1m", "--rate", "500")
	if got.code != exitOK || got.stderr != "" {
		t.Fatalf("exit code %d, stderr %q", got.code, got.stderr)
	}
	var all map[string]any
	if err := json.Unmarshal([]byte(got.stdout), &all); err != nil {
		t.Fatalf("%v:\n%s", err, got.stdout)
	}
	for group, members := range map[string]string{
		"settings":          "connections payload rate_per_second ramp_seconds warmup_seconds duration_seconds",
		"connections":       "wanted opened lost",
		"messages":          "sent received missing seconds per_second bytes_per_second",
		"latency_seconds":   "count mean p50 p90 p99 p99.9 max",
		"handshake_seconds": "count mean p50 p90 p99 p99.9 max",
		"server":            "pid cpu_seconds context_switches resident_bytes_before resident_bytes_after resident_bytes_per_connection",
		"generator":         "cpu_seconds threads busiest_thread_share sent_late saturated reasons",
	} {
		g, ok := all[group].(map[string]any)
		for _, name := range strings.Fields(members) {
			if _, has := g[name]; !ok || !has {
				t.Errorf("there is no %s.%s in %v", group, name, all[group])
			}
		}
	}
	var r report
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		t.Fatal(err)
	}
	if r.Mode != "echo" || r.URL != url || r.Connections != (connections{4, 4, 0}) || r.Messages.Received == 0 || r.Messages.Sent < 149 || r.Messages.Sent > 151 {
		t.Errorf("%+v", r)
	}
	l := r.Latency
	if l.Count != r.Messages.Sent || l.P50 <= 0 || l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.P999 || l.P999 > l.Max || l.Max > 60 {
		t.Errorf("latency %+v", l)
	}
	var n uint64
	for _, b := range r.Histogram {
		n += b.Count
	}
	if n != l.Count || len(r.Thresholds) != 2 || r.Errors == nil {
		t.Errorf("%d latencies in the histogram of %d, thresholds %+v, errors %+v", n, l.Count, r.Thresholds, r.Errors)
	}
}

func TestBenchPage(t *testing.T) {
	_, url := startEcho(t)
	file := filepath.Join(t.TempDir(), "result.html")
	got := runBench(t, url+"?a=<script>&b=1", "--html", file, "--json")
	if got.code != exitOK || got.stderr != "" {
		t.Fatalf("exit code %d, stderr %q", got.code, got.stderr)
	}
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"<svg", "<rect", "prefers-color-scheme: dark",
		"<dt>p50</dt><dd>" + timeText(r.Latency.P50), "<dt>p99.9</dt><dd>" + timeText(r.Latency.P999), "<dt>max</dt><dd>" + timeText(r.Latency.Max), ">p99.9</span>",
		grouped(r.Messages.Received) + " in ", "4 of 4 opened", "&lt;script&gt;",
	} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("the page does not have %q", want)
		}
	}
	for _, bad := range []string{"<script", "http://", "https://", "src=", "ZgotmplZ", "NaN", "Inf"} {
		if bytes.Contains(page, []byte(bad)) {
			t.Errorf("the page has %q", bad)
		}
	}
	// The picture's bars hold all messages.
	bars := uint64(0)
	for _, part := range strings.Split(string(page), "<title>")[2:] {
		count, _, _ := strings.Cut(part, " messages")
		n, err := strconv.ParseUint(strings.ReplaceAll(count, ",", ""), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		bars += n
	}
	if bars != r.Latency.Count {
		t.Errorf("the bars hold %d of %d messages", bars, r.Latency.Count)
	}
	if got := runBench(t, url, "--html", filepath.Join(file, "x")); got.code != exitFailure || !strings.Contains(got.stderr, "--html") {
		t.Errorf("a page that cannot be written: exit code %d, stderr %q", got.code, got.stderr)
	}
}

func TestBenchThresholds(t *testing.T) {
	_, url := startEcho(t)
	srv := httptest.NewServer(&websocket.Handler{
		Message: func(c *websocket.Conn, kind websocket.MessageType, p []byte) { c.Close(4000, "enough") },
	})
	defer srv.Close()
	closing := "ws" + strings.TrimPrefix(srv.URL, "http")
	for _, test := range []struct {
		url  string
		args []string
		code int
		says string
	}{
		{url, []string{"--max-p99", "1m", "--max-errors", "0"}, exitOK, ""},
		{url, []string{"--max-p99", "1ns"}, exitFailure, "missed: the 99th percentile is "},
		{closing, []string{"--max-errors", "3"}, exitFailure, "missed: 4 connections failed, and --max-errors is 3"},
		{closing, []string{"--max-errors", "4", "--max-p99", "1m"}, exitFailure, "missed: no latency was measured, and --max-p99 is 1m0s"},
		{closing, nil, exitFailure, "all connections were lost; most often: connection "},
	} {
		got := runBench(t, test.url, test.args...)
		if got.code != test.code || !strings.Contains(got.stderr, test.says) || strings.Count(got.stderr, "\n") != test.code {
			t.Errorf("%q: exit code %d, stderr %q, want %d, %q", test.args, got.code, got.stderr, test.code, test.says)
		}
		if test.url == closing && !strings.Contains(got.stdout, "closed: 4 times, as in: connection ") {
			t.Errorf("%q: the table does not tell of the errors:\n%s", test.args, got.stdout)
		}
	}
}

// What a server says does nothing to a terminal, in no form of the result, and is no
// markup in the page.
func TestBenchHostileServer(t *testing.T) {
	const reason = "\u009b31m\u202e\x1b]0;x\x07</td><script>"
	srv := httptest.NewServer(&websocket.Handler{
		Message: func(c *websocket.Conn, kind websocket.MessageType, p []byte) { c.Close(4000, reason) },
	})
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "result.html")
	for _, format := range [][]string{nil, {"--json"}} {
		got := runBench(t, "ws"+strings.TrimPrefix(srv.URL, "http"), append(format, "--html", file)...)
		for name, text := range map[string]string{"stdout": got.stdout, "stderr": got.stderr} {
			if !strings.Contains(text, "4000") || strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""), hidden) {
				t.Errorf("%q: %s is %q", format, name, text)
			}
		}
		if format != nil {
			var r report
			if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || len(r.Errors) != 1 || !strings.HasSuffix(r.Errors[0].Example, reason) {
				t.Errorf("%v: %+v", err, r.Errors)
			}
		}
		page, err := os.ReadFile(file)
		if err != nil || bytes.Contains(page, []byte("<script")) || !bytes.Contains(page, []byte("4000")) {
			t.Errorf("%v: the page is %s", err, page)
		}
	}
}

// Of a run that never came to measuring there are no figures but the reason.
func TestBenchBeforeMeasurement(t *testing.T) {
	var requests atomic.Int64
	h := echoHandler(1<<20, nil)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) > 1 {
			http.Error(w, "full", http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	}))
	defer srv.Close()
	got := runBench(t, "ws"+strings.TrimPrefix(srv.URL, "http"), "--pid", strconv.Itoa(os.Getpid()))
	if got.code != exitFailure || !strings.Contains(got.stderr, "before the measurement: no connection could be opened; most often: connection ") || !strings.Contains(got.stderr, "503") {
		t.Errorf("exit code %d, stderr %q", got.code, got.stderr)
	}
	if !strings.Contains(got.stdout, "not accepted: 4 times, as in: ") || strings.Contains(got.stdout, "throughput") || strings.Contains(got.stdout, "this end") || strings.Contains(got.stdout, "resident") {
		t.Errorf("the table is\n%s", got.stdout)
	}
}

// A server that refuses is told of once, before any load.
func TestBenchRefused(t *testing.T) {
	var requests atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		http.Error(w, "not today", http.StatusForbidden)
	}))
	defer srv.Close()
	got := runBench(t, "ws"+strings.TrimPrefix(srv.URL, "http"))
	if got.code != exitFailure || !strings.Contains(got.stderr, "the server answered 403 (Forbidden), not today") || got.stdout != "" || requests.Load() != 1 {
		t.Errorf("exit code %d, stderr %q, stdout %q, %d requests", got.code, got.stderr, got.stdout, requests.Load())
	}
	srv.Close()
	got = runBench(t, "ws"+strings.TrimPrefix(srv.URL, "http"))
	if got.code != exitFailure || !strings.Contains(got.stderr, "nothing listens there") {
		t.Errorf("exit code %d, stderr %q", got.code, got.stderr)
	}
}

func TestBenchCompress(t *testing.T) {
	_, url := startEcho(t)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--compress"}, "permessage-deflate"},
		{[]string{"--compress", "--window-bits", "9", "--no-takeover"}, "server_max_window_bits=9"},
	} {
		if got := runBench(t, url, append(test.args, "--size", "1KiB", "--max-errors", "0")...); got.code != exitOK || !strings.Contains(got.stdout, test.want) {
			t.Errorf("%q: exit code %d, stderr %q\n%s", test.args, got.code, got.stderr, got.stdout)
		}
	}
	for _, args := range [][]string{{"--window-bits", "9"}, {"--no-takeover"}, {"--compress", "--window-bits", "7"}, {"--compress", "--window-bits", "16"}} {
		if got := runBench(t, url, args...); got.code != exitUsage {
			t.Errorf("%q: exit code %d, stderr %q", args, got.code, got.stderr)
		}
	}
	plain := httptest.NewServer(&websocket.Handler{Message: func(c *websocket.Conn, kind websocket.MessageType, p []byte) {
		c.Write(context.Background(), kind, p)
	}})
	defer plain.Close()
	if got := runBench(t, "ws"+strings.TrimPrefix(plain.URL, "http"), "--compress"); got.code != exitOK || !strings.Contains(got.stdout, "does not compress") {
		t.Errorf("a server without compression: exit code %d, stderr %q\n%s", got.code, got.stderr, got.stdout)
	}
}

func TestBenchTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(echoHandler(1<<20, nil))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	url := "wss" + strings.TrimPrefix(srv.URL, "https")
	if got := runBench(t, url); got.code != exitFailure || !strings.Contains(got.stderr, "certificate is not trusted") {
		t.Errorf("exit code %d, stderr %q", got.code, got.stderr)
	}
	for _, args := range [][]string{{"--in-flight", "4"}, {"--rate", "200"}, {"--size", "300KiB", "--binary", "--duration", "2s"}} {
		if got := runBench(t, url, append(args, "--insecure", "--max-errors", "0")...); got.code != exitOK || !strings.Contains(got.stdout, "4 of 4 opened, 0 lost") {
			t.Errorf("%q: exit code %d, stderr %q\n%s", args, got.code, got.stderr, got.stdout)
		}
	}
}

// The request has what the flags say, on every connection.
func TestBenchRequest(t *testing.T) {
	var wrong atomic.Int64
	h := echoHandler(1<<20, nil)
	h.Subprotocols = []string{"two"}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer 1" || r.Host != "example.test" || r.Header.Get("Sec-WebSocket-Protocol") != "one, two" || r.RequestURI != "/a%20b?c=d" {
			wrong.Add(1)
		}
		h.ServeHTTP(w, r)
	}))
	defer srv.Close()
	got := runBench(t, "http"+strings.TrimPrefix(srv.URL, "http")+"/a%20b?c=d", "-H", "Authorization: Bearer 1", "-H", "Host: example.test", "--subprotocol", "one", "--subprotocol", "two")
	if got.code != exitOK || wrong.Load() > 0 {
		t.Errorf("exit code %d, stderr %q, %d wrong requests", got.code, got.stderr, wrong.Load())
	}
}

func TestBenchFile(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string]bool)
	srv := httptest.NewServer(&websocket.Handler{
		Message: func(c *websocket.Conn, kind websocket.MessageType, p []byte) {
			mu.Lock()
			seen[kind.String()+" "+string(p)] = true
			mu.Unlock()
			c.Write(context.Background(), kind, p)
		},
	})
	defer srv.Close()
	url := "ws" + strings.TrimPrefix(srv.URL, "http")
	file := filepath.Join(t.TempDir(), "messages")
	if err := os.WriteFile(file, []byte("one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := runBench(t, url, "--file", file); got.code != exitOK {
		t.Errorf("exit code %d, stderr %q", got.code, got.stderr)
	}
	if got := runBench(t, url, "--file", file, "--binary"); got.code != exitOK {
		t.Errorf("exit code %d, stderr %q", got.code, got.stderr)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 3 || !seen["text one"] || !seen["text two"] || !seen["binary one\ntwo\n"] {
		t.Errorf("the server got %v", seen)
	}
	for content, want := range map[string]string{"": "no line", "a\x00b": "--binary", "\xff": "not UTF-8"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := runBench(t, url, "--file", file); got.code != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("a file of %q: exit code %d, stderr %q", content, got.code, got.stderr)
		}
	}
}

func TestBenchBroadcast(t *testing.T) {
	var open websocket.Registry
	srv := httptest.NewServer(&websocket.Handler{
		AcceptOptions: websocket.AcceptOptions{Registry: &open},
		Message: func(c *websocket.Conn, kind websocket.MessageType, p []byte) {
			websocket.Broadcast(open.All(), websocket.Prepare(kind, p))
		},
	})
	defer srv.Close()
	got := runBench(t, "ws"+strings.TrimPrefix(srv.URL, "http"), "--mode", "broadcast", "--in-flight", "4", "--max-errors", "0")
	if got.code != exitOK || !strings.Contains(got.stdout, "deliveries a second") || !strings.Contains(got.stdout, "5 of 5 opened") {
		t.Errorf("exit code %d, stderr %q\n%s", got.code, got.stderr, got.stdout)
	}
}

func TestBenchIdle(t *testing.T) {
	_, url := startEcho(t)
	got := duplex(t, nil, "bench", url, "--mode", "idle", "-c", "200", "--duration", "50ms", "--warmup", "0s", "--pid", strconv.Itoa(os.Getpid()))
	if got.code != exitOK || !strings.Contains(got.stdout, "200 idle connections") || !strings.Contains(got.stdout, " with 20 of them before)") || strings.Contains(got.stdout, "throughput") {
		t.Errorf("exit code %d, stderr %q\n%s", got.code, got.stderr, got.stdout)
	}
}

// The first signal ends a run in order, with what was measured.
func TestBenchInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	srv := httptest.NewServer(&websocket.Handler{
		Message: func(c *websocket.Conn, kind websocket.MessageType, p []byte) {
			if strings.HasSuffix(string(p[:16]), "0020") {
				cancel()
			}
			c.Write(context.Background(), kind, p)
		},
	})
	defer srv.Close()
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"bench", "ws" + strings.TrimPrefix(srv.URL, "http"), "-c", "2", "--warmup", "0s", "--duration", patience.String()}, nil, &stdout, &stderr)
	if code != exitFailure || !strings.Contains(stderr.String(), "interrupted") || !strings.Contains(stdout.String(), "p99") {
		t.Errorf("exit code %d, stderr %q\n%s", code, &stderr, &stdout)
	}
}

func TestProgressText(t *testing.T) {
	for want, at := range map[string]load.Progress{
		"[                    ] opening, 0 of 5 open":                                 {Stage: load.Opening, Wanted: 5},
		"[##########          ] measuring, 4 of 5 open, 1 failed, 1,234,567 messages": {Stage: load.Measuring, Done: 0.5, Open: 4, Wanted: 5, Failed: 1, Received: 1234567},
		"[####################] warming up, 5 of 5 open":                              {Stage: load.WarmingUp, Done: 1, Open: 5, Wanted: 5},
	} {
		if got := progressText(at); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, n := range []int{9, 1 << 24} { // a line that wraps cannot be written over
		for _, stage := range []load.Stage{load.Opening, load.WarmingUp, load.Measuring, load.Draining} {
			if got := progressText(load.Progress{Stage: stage, Done: 1, Open: n, Wanted: n, Failed: n, Received: uint64(n) << 10}); len(got) > progressWidth {
				t.Errorf("%q has %d columns", got, len(got))
			}
		}
	}
	// At a terminal each line takes the place of the one before, and the last is gone.
	var out bytes.Buffer
	p := &progressLine{out: &out}
	p.update(load.Progress{Stage: load.Opening, Wanted: 5})
	p.update(load.Progress{Stage: load.Opening, Wanted: 5, Open: 1})
	p.clear()
	if got := out.String(); strings.Count(got, "\r\x1b[K") != 3 || !strings.HasSuffix(got, "1 of 5 open\r\x1b[K") {
		t.Errorf("a terminal gets %q", got)
	}
	out.Reset()
	p = newProgressLine(&out)
	p.update(load.Progress{Stage: load.Opening, Wanted: 5})
	p.clear()
	if out.Len() > 0 {
		t.Errorf("%q is written where there is no terminal", &out)
	}
}

func TestFigures(t *testing.T) {
	for seconds, want := range map[float64]string{
		0: "0", 5e-9: "5.00 ns", 999.6e-9: "1.00 µs", 12.34e-6: "12.3 µs", 0.9996e-3: "1.00 ms", 0.123: "123 ms", 0.9999: "1.00 s", 75: "75.0 s",
	} {
		if got := timeText(seconds); got != want {
			t.Errorf("%v s is %q, want %q", seconds, got, want)
		}
	}
	for n, want := range map[float64]string{0: "0 bytes", 1023: "1023 bytes", 1536: "1.50 KiB", -2048: "-2.00 KiB", 5 << 20: "5.00 MiB", 3 << 30: "3.00 GiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%v is %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int]string{0: "0 times", 1: "1 time", 1000: "1,000 times"} {
		if got := counted(n, "time"); got != want {
			t.Errorf("%d times is %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

// A time that is on the edge of what is drawn must not break the page.
func TestDraw(t *testing.T) {
	for _, all := range [][]time.Duration{{0}, {1}, {5 * time.Millisecond}, {1, time.Hour}, {3 * time.Millisecond}, {time.Millisecond, 2 * time.Millisecond, 2 * time.Second}} {
		var result load.Result
		for _, d := range all {
			result.Latency.Add(d)
		}
		b := &bench{mode: "echo", given: func(string) bool { return false }}
		u, err := socketURL("ws://h/")
		if err != nil {
			t.Fatal(err)
		}
		r := b.report(u, time.Now(), &result)
		var page bytes.Buffer
		if err := r.page(&page); err != nil || strings.Contains(page.String(), "NaN") || strings.Contains(page.String(), "Inf") {
			t.Errorf("%v: %v\n%s", all, err, &page)
		}
		p := draw(r)
		for _, bar := range p.Bars {
			if bar.X < 0 || bar.X+bar.W > 100 || bar.Y < 0 || bar.Y+bar.H > 100.001 || bar.W <= 0 || bar.H <= 0 {
				t.Errorf("%v: %+v is outside of the picture", all, bar)
			}
		}
		if len(p.Ticks) < 2 {
			t.Errorf("%v: the axis has the times %v", all, p.Ticks)
		}
		apart(t, p.Ticks, tickRoom)
		apart(t, p.Marks, markRoom)
	}
}

// apart checks that names which are on one line do not cover each other.
func apart(t *testing.T, all []label, room float64) {
	t.Helper()
	for i, a := range all {
		for _, b := range all[:i] {
			if a.Row == b.Row && math.Abs(a.X-b.X) < room {
				t.Errorf("%q at %.1f covers %q at %.1f", a.Text, a.X, b.Text, b.X)
			}
		}
		if a.X < 0 || a.X > 100 {
			t.Errorf("%q is outside of the picture, at %v", a.Text, a.X)
		}
	}
}
