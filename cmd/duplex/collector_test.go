package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	collected "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// A roundTrip is a collector without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answers makes a collector of some answers: statuses, 0 for none, the last one for ever.
func answers(statuses ...int) roundTrip {
	return func(*http.Request) (*http.Response, error) {
		status := statuses[0]
		if len(statuses) > 1 {
			statuses = statuses[1:]
		}
		if status == 0 {
			return nil, errors.New("connection refused")
		}
		return answer(status, nil), nil
	}
}

func answer(status int, body []byte) *http.Response {
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(bytes.NewReader(body))}
}

// hanging takes every request and answers none.
func hanging(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}

// newTestCollector returns a collector and its log.
func newTestCollector(t *testing.T, behind roundTrip) (*collector, *lockedBuffer) {
	t.Helper()
	u, err := url.Parse("https://user:secret@collector.test/otlp")
	if err != nil {
		t.Fatal(err)
	}
	log := new(lockedBuffer)
	c := newCollector(u, http.Header{"Authorization": {"secret"}}, slog.New(slog.NewTextHandler(log, nil)))
	c.http.Transport = behind
	return c, log
}

// upload sends a span. The time is fake.
func (c *collector) upload(t *testing.T) (took time.Duration) {
	t.Helper()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := c.UploadTraces(ctx, []*collected.ResourceSpans{{}}); err != nil {
		t.Errorf("an error that would be told to all of the process: %v", err)
	}
	return time.Since(begin)
}

// What may go well later is tried again, with longer and longer waits, until the caller's
// time is over; all else is not.
func TestCollectorRetry(t *testing.T) {
	for _, test := range []struct {
		answers    []int
		least, max time.Duration
		log        []string
	}{
		{[]int{200}, 0, 0, nil},
		{[]int{503, 429, 502, 200}, 7 * time.Second, 14 * time.Second, []string{"WARN", "INFO"}},
		{[]int{0, 200}, time.Second, 2 * time.Second, []string{"WARN", "INFO"}},
		{[]int{504}, 30 * time.Second, 30 * time.Second, []string{"WARN"}},
		{[]int{400}, 0, 0, []string{"WARN"}},
		{[]int{401}, 0, 0, []string{"WARN"}},
		{[]int{301}, 0, 0, []string{"WARN"}},
		{[]int{500}, 0, 0, []string{"WARN"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, log := newTestCollector(t, answers(test.answers...))
			defer c.end()
			if took := c.upload(t); took < test.least || took > test.max {
				t.Errorf("%v: took %v, want %v to %v", test.answers, took, test.least, test.max)
			}
			if got := levels(log); !slices.Equal(got, test.log) {
				t.Errorf("%v: the log is %s", test.answers, log)
			}
		})
	}
}

// levels returns the levels of the lines of a log.
func levels(log *lockedBuffer) (all []string) {
	for _, word := range strings.Fields(log.String()) {
		if level, ok := strings.CutPrefix(word, "level="); ok {
			all = append(all, level)
		}
	}
	return all
}

// The log is told once, and after ten minutes again, however often it fails, and however
// often it works between; and never what is secret.
func TestCollectorQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := 0
		c, log := newTestCollector(t, func(r *http.Request) (*http.Response, error) { return answers(status)(r) })
		defer c.end()
		for range 10 {
			c.upload(t) // half a minute each
		}
		if got := levels(log); !slices.Equal(got, []string{"WARN"}) {
			t.Errorf("after five minutes the log is %s", log)
		}
		for range 3 {
			status = 200
			c.upload(t)
			status = 0
			c.upload(t)
		}
		if got := levels(log); !slices.Equal(got, []string{"WARN", "INFO"}) {
			t.Errorf("when it works now and then the log is %s", log)
		}
		for range 10 {
			c.upload(t)
		}
		if got := levels(log); !slices.Equal(got, []string{"WARN", "INFO", "WARN"}) {
			t.Errorf("after ten minutes the log is %s", log)
		}
		if text := log.String(); strings.Contains(text, "secret") || !strings.Contains(text, "collector=https://collector.test/otlp/v1/traces") {
			t.Errorf("the log is %s", text)
		}
	})
}

// A collector that has taken a request and refuses spans of it says so in its answer.
func TestCollectorRejects(t *testing.T) {
	partial := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7)
	partial = protowire.AppendString(protowire.AppendTag(partial, 2, protowire.BytesType), "too old")
	whole := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), partial)
	for _, test := range []struct {
		answer []byte
		want   string
	}{
		{whole, "the collector has refused 7 spans"},
		{nil, ""},
		{protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), nil), ""},
		{[]byte("{}"), ""}, // JSON, from one that is wrong
		{whole[:len(whole)-1], ""},
		{bytes.Repeat([]byte{0xFF}, 100), ""},
	} {
		c, log := newTestCollector(t, func(*http.Request) (*http.Response, error) { return answer(200, test.answer), nil })
		c.upload(t)
		c.end()
		if got := log.String(); test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%x: the log is %q, want %q", test.answer, got, test.want)
		}
	}
}

// FuzzRejected: whatever a collector answers, it can be read.
func FuzzRejected(f *testing.F) {
	f.Add([]byte{0x0A, 0x02, 0x08, 0x07})
	f.Fuzz(func(t *testing.T, answer []byte) {
		if _, why := rejected(answer); len(why) > len(answer) {
			t.Errorf("%d bytes of %d", len(why), len(answer))
		}
	})
}

// newTestProvider returns what makes spans for a collector.
func newTestProvider(c *collector) *sdktrace.TracerProvider {
	return sdktrace.NewTracerProvider(sdktrace.WithBatcher(otlptrace.NewUnstarted(c)))
}

// A collector that answers nothing holds up neither those who make spans nor, for longer
// than it may, the end.
func TestCollectorHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, log := newTestCollector(t, hanging)
		provider := newTestProvider(c)
		begin := time.Now()
		for range 10_000 {
			_, span := provider.Tracer("").Start(t.Context(), "x")
			span.End()
		}
		if took := time.Since(begin); took > 0 {
			t.Errorf("making spans took %v", took)
		}
		time.Sleep(time.Second)
		begin = time.Now()
		c.finish(provider.Shutdown)
		if took := time.Since(begin); took != collectorFlush {
			t.Errorf("the end took %v", took)
		}
		if got := levels(log); !slices.Equal(got, []string{"WARN"}) || !strings.Contains(log.String(), errCollectorLate.Error()) {
			t.Errorf("the log is %s", log)
		}
	})
}

// At the end what is left is sent, at once, and what fails then is not tried again.
func TestCollectorFinish(t *testing.T) {
	for _, status := range []int{200, 503} {
		synctest.Test(t, func(t *testing.T) {
			spans := 0
			c, log := newTestCollector(t, func(r *http.Request) (*http.Response, error) {
				spans += len(spansOf(t, r))
				return answer(status, nil), nil
			})
			provider := newTestProvider(c)
			for range 1500 {
				_, span := provider.Tracer("").Start(t.Context(), "x")
				span.End()
			}
			begin := time.Now()
			c.finish(provider.Shutdown)
			if took := time.Since(begin); took > 0 || spans != 1500 {
				t.Errorf("%d: %d spans in %v; the log is %s", status, spans, took, log)
			}
		})
	}
}

// spansOf returns the spans in a request to a collector.
func spansOf(t *testing.T, r *http.Request) (all []*collected.Span) {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	var data collected.TracesData
	if err := proto.Unmarshal(body, &data); err != nil {
		t.Error(err)
	}
	for _, resource := range data.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			all = append(all, scope.Spans...)
		}
	}
	return all
}
