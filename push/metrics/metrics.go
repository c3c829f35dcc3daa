// Package metrics counts what a push.Server does, for Prometheus. All names begin with
// duplex_.
//
//	srv := &push.Server{}
//	metrics.Attach(srv) // before it serves: /metrics is there
package metrics

import (
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/protocol"
)

// Attach counts what the server does and makes it serve that at /metrics, together
// with the metrics of the Go runtime and the process. It sets the server's Hooks and
// Metrics, and must be called before the server serves.
func Attach(srv *push.Server) {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := Register(srv, r); err != nil {
		panic(err) // the registry is empty but for those above
	}
	srv.Metrics = promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// Register counts what the server does in a registry of the caller's. It sets the
// server's Hooks, and must be called before the server serves. The error is that of
// the registry, which has the same names already: for several servers in one process, wrap
// it for each, with another value of the same label.
func Register(srv *push.Server, r prometheus.Registerer) error {
	c := newCounters()
	for _, collector := range append(c.all(), gauges{srv}) {
		if err := r.Register(collector); err != nil {
			return fmt.Errorf("push/metrics: registering: %w", err)
		}
	}
	srv.Hooks = c.hooks()
	return nil
}

// counters are what only grows.
type counters struct {
	opened, closed                   *prometheus.CounterVec
	published, publishedBytes        prometheus.Counter
	notPublished                     *prometheus.CounterVec
	delivered, deliveredBytes, texts *prometheus.CounterVec
	resumed                          prometheus.Counter
	resets                           *prometheus.CounterVec
	refused                          *prometheus.CounterVec
}

func newCounters() *counters {
	plain := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	by := func(label, name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	c := &counters{
		opened:         by("transport", "duplex_lines_opened_total", "Lines that have begun."),
		closed:         by("transport", "duplex_lines_closed_total", "Lines that have ended."),
		published:      plain("duplex_messages_published_total", "Messages that were stored."),
		publishedBytes: plain("duplex_bytes_published_total", "Bytes of the data of messages that were stored."),
		notPublished:   by("code", "duplex_messages_refused_total", "Messages that were not stored, by the error's code."),
		delivered:      by("transport", "duplex_messages_delivered_total", "Messages given to connections."),
		deliveredBytes: by("transport", "duplex_bytes_delivered_total", "Bytes of the texts with messages given to connections."),
		texts:          by("transport", "duplex_texts_delivered_total", "Texts with messages given to connections; one holds all that is new."),
		resumed:        plain("duplex_resumes_total", "Subscriptions that began at a position."),
		resets:         by("reason", "duplex_resets_total", "Times that a client was told that messages may be missing."),
		refused:        by("code", "duplex_refusals_total", "Lines and requests that were refused, by the error's code."),
	}
	c.begin()
	return c
}

// begin has what alarms watch begin at zero. A counter that is not there before its first
// event shows the first scrape as many as there are by then, and a rate of none.
func (c *counters) begin() {
	for _, transport := range []string{push.WebSocket, push.SSE, push.Poll} {
		c.closed.WithLabelValues(transport)
	}
	for _, reason := range []string{protocol.TooOld, protocol.Recreated} {
		c.resets.WithLabelValues(reason)
	}
	for _, code := range []protocol.Code{protocol.Internal, protocol.TooManyLines} {
		c.refused.WithLabelValues(number(code))
	}
}

func number(code protocol.Code) string { return strconv.Itoa(int(code)) }

func (c *counters) all() []prometheus.Collector {
	return []prometheus.Collector{c.opened, c.closed, c.published, c.publishedBytes, c.notPublished, c.delivered, c.deliveredBytes, c.texts, c.resumed, c.resets, c.refused}
}

func (c *counters) hooks() push.Hooks {
	return push.Hooks{
		Opened: func(transport string) { c.opened.WithLabelValues(transport).Inc() },
		Closed: func(transport string) { c.closed.WithLabelValues(transport).Inc() },
		Published: func(bytes int) {
			c.published.Inc()
			c.publishedBytes.Add(float64(bytes))
		},
		NotPublished: func(code protocol.Code) { c.notPublished.WithLabelValues(number(code)).Inc() },
		Delivered: func(transport string, messages, bytes int) {
			c.delivered.WithLabelValues(transport).Add(float64(messages))
			c.deliveredBytes.WithLabelValues(transport).Add(float64(bytes))
			c.texts.WithLabelValues(transport).Inc()
		},
		Resumed: c.resumed.Inc,
		Reset:   func(reason string) { c.resets.WithLabelValues(reason).Inc() },
		Refused: func(code protocol.Code) { c.refused.WithLabelValues(number(code)).Inc() },
	}
}

// gauges are what there is now: the server is asked for it by each scrape.
type gauges struct{ server *push.Server }

var (
	lines         = prometheus.NewDesc("duplex_lines", "Lines that are open.", []string{"transport"}, nil)
	channels      = prometheus.NewDesc("duplex_channels", "Channels in memory.", nil, nil)
	subscriptions = prometheus.NewDesc("duplex_subscriptions", "Subscriptions of all lines.", nil, nil)
	messages      = prometheus.NewDesc("duplex_messages", "Messages kept.", nil, nil)
	bytes         = prometheus.NewDesc("duplex_bytes", "What the messages kept count against the limit, in bytes.", nil, nil)
)

// Describe implements prometheus.Collector.
func (g gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{lines, channels, subscriptions, messages, bytes} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g gauges) Collect(ch chan<- prometheus.Metric) {
	s := g.server.Stats()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, transport := range []string{push.WebSocket, push.SSE, push.Poll} {
		gauge(lines, float64(s.Lines[transport]), transport)
	}
	gauge(channels, float64(s.Channels))
	gauge(subscriptions, float64(s.Subscriptions))
	gauge(messages, float64(s.Messages))
	gauge(bytes, float64(s.Bytes))
}
