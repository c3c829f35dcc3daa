package main

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// Each limit of serve has its row in docs/operations.md, with its default.
func TestServeLimitsInTheDocument(t *testing.T) {
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(doc), "\n") {
		cells := strings.Split(line, " | ")
		if len(cells) != 5 || !strings.HasPrefix(cells[1], "`--") {
			continue
		}
		name := strings.Trim(cells[1], "`-")
		f := newServe().Flags().Lookup(name)
		if f == nil {
			t.Errorf("the document has --%s, serve has not", name)
			continue
		}
		if f.DefValue != cells[3] {
			t.Errorf("--%s: the default is %s, the document says %s", name, f.DefValue, cells[3])
		}
	}
	newServe().Flags().VisitAll(func(f *pflag.Flag) {
		if limit := strings.HasPrefix(f.Name, "max-") || strings.HasSuffix(f.Name, "-rate") || strings.HasPrefix(f.Name, "history-"); limit && !strings.Contains(string(doc), "| `--"+f.Name+"` |") {
			t.Errorf("the document does not tell of --%s", f.Name)
		}
	})
}

func TestServeWrongLimits(t *testing.T) {
	for _, args := range [][]string{
		{"--max-lines", "0"}, {"--max-channels", "-1"}, {"--max-subscriptions", "0"}, {"--command-rate", "0"}, {"--publish-rate", "0"},
		{"--max-lines-per-address", "0"}, {"--handshake-rate", "0"}, {"--frame-rate", "-1"}, {"--shutdown-rate", "-1"}, {"--forwarded-header", "a b"},
		{"--max-depth", "0"}, {"--max-wait", "0s"}, {"--keep-alive", "-1s"}, {"--write-timeout", "0s"}, {"--shutdown-delay", "-1s"},
		{"--origin", "https://"}, {"--log-format", "xml"}, {"--log-level", "loud"},
	} {
		if got := duplex(t, nil, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...); got.code != exitUsage || strings.Count(got.stderr, "\n") != 1 || !strings.Contains(got.stderr, args[0]) {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

// The flags reach the server.
func TestServeSettings(t *testing.T) {
	r, url := startServe(t, "--max-lines", "1", "--origin", "https://app.test", "--max-wait", "10ms", "--publish-rate", "1", "--log-format", "json", "--shutdown-delay", "10ms")
	ask := func(method, path, origin string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	if resp := ask("GET", "/channels/a", "https://app.test"); resp.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("the origin is not let in: %s", resp.Status)
	}
	begin := time.Now()
	if resp := ask("GET", "/poll?channel=a&wait=1m", ""); resp.StatusCode != http.StatusOK || time.Since(begin) > 30*time.Second {
		t.Errorf("a poll: %s after %v", resp.Status, time.Since(begin))
	}
	if resp := ask("GET", "/metrics", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("/metrics: %s", resp.Status)
	}
	ask("GET", "/events?channel=a", "") // takes the only line
	if resp := ask("GET", "/poll?channel=a&wait=0", ""); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one line too many: %s", resp.Status)
	}
	var status int
	for range 20 {
		status = ask("POST", "/channels/a", "").StatusCode
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("the last of many messages: status %d", status)
	}
	r.cancel()
	if code := r.wait(); code != exitOK || !strings.Contains(r.stderr.String(), `"level":"INFO","msg":"shutting down`) {
		t.Errorf("exit code %d, stderr %s", code, r.stderr)
	}
	http.DefaultClient.CloseIdleConnections()
}
