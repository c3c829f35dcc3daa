package metrics_test

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/metrics"
)

func ask(srv *push.Server, method, path, body string) string {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if strings.HasPrefix(body, "[") {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	answer, _ := io.ReadAll(w.Result().Body)
	return string(answer)
}

// What the server does shows at /metrics.
func TestAttach(t *testing.T) {
	srv := &push.Server{MaxMessage: 5, HistoryMessages: 1}
	metrics.Attach(srv)
	ask(srv, "POST", "/channels/a", "12345")
	ask(srv, "POST", "/channels/a", "1234")
	ask(srv, "POST", "/channels", `[{"channel":"a","data":1,"key":"k"},{"channel":"a","data":1,"key":"k"}]`)
	ask(srv, "POST", "/channels/a", "123456")
	ask(srv, "POST", "/channels/%01", "1")
	ask(srv, "GET", "/poll?channel=a&wait=0", "")
	ask(srv, "GET", "/poll?channel=a&wait=0&since=1.1", "")
	ask(srv, "GET", "/poll?channel=a&wait=0&since=garbage", "")
	got := ask(srv, "GET", "/metrics", "")
	for _, want := range []string{
		"duplex_messages_published_total 3\n",
		"duplex_bytes_published_total 14\n", // as JSON
		"duplex_messages_refused_total{code=\"102\"} 1\n",
		"duplex_messages_refused_total{code=\"105\"} 1\n",
		"duplex_messages_delivered_total{transport=\"poll\"} 2\n",
		"duplex_texts_delivered_total{transport=\"poll\"} 2\n",
		"duplex_lines_opened_total{transport=\"poll\"} 2\n",
		"duplex_lines_closed_total{transport=\"poll\"} 2\n",
		"duplex_lines{transport=\"poll\"} 0\n",
		"duplex_lines{transport=\"websocket\"} 0\n",
		"duplex_resumes_total 1\n",
		"duplex_resets_total{reason=\"recreated\"} 1\n",
		"duplex_channels 1\n",
		"duplex_messages 1\n",
		"duplex_subscriptions 0\n",
		"go_goroutines ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// What alarms watch is there before it happens: else the first burst of it has no rate.
func TestBeginAtZero(t *testing.T) {
	srv := new(push.Server)
	metrics.Attach(srv)
	got := ask(srv, "GET", "/metrics", "")
	for _, want := range []string{
		"duplex_lines_closed_total{transport=\"websocket\"} 0\n",
		"duplex_resets_total{reason=\"too old\"} 0\n",
		"duplex_refusals_total{code=\"200\"} 0\n",
		"duplex_refusals_total{code=\"205\"} 0\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestRegisterTwice(t *testing.T) {
	r := prometheus.NewRegistry()
	if err := metrics.Register(new(push.Server), r); err != nil {
		t.Fatal(err)
	}
	if err := metrics.Register(new(push.Server), r); err == nil {
		t.Error("two servers have the same names")
	}
	r = prometheus.NewRegistry()
	for _, name := range []string{"a", "b"} {
		if err := metrics.Register(new(push.Server), prometheus.WrapRegistererWith(prometheus.Labels{"server": name}, r)); err != nil {
			t.Error(err)
		}
	}
}
