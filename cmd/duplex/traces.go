package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/tracing"
)

// traces are the settings of serve that say where spans go.
type traces struct {
	url   string
	ratio float64
}

// envHeaders holds what a collector wants to see of who sends, keys say: pairs as in
// a=b,c=d. The name is OpenTelemetry's.
const envHeaders = "OTEL_EXPORTER_OTLP_HEADERS"

func (t *traces) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.url, "traces", "", "send traces to the OpenTelemetry collector at `URL`, as in http://127.0.0.1:4318")
	cmd.Flags().Float64Var(&t.ratio, "traces-ratio", 1, "record this `SHARE`, 0 to 1, of the traces that begin here; of others, who began them decides")
}

// check returns what is wrong with a setting.
func (t *traces) check() error {
	if !(t.ratio >= 0 && t.ratio <= 1) { // also NaN is wrong
		return wrongUse("--traces-ratio must be from 0 to 1, as in 0.1")
	}
	_, err := t.collector(nil)
	return err
}

// collector returns where spans go, nil if they are not wanted. Its errors do not
// repeat the URL and the header, in which there may be passwords.
func (t *traces) collector(log *slog.Logger) (*collector, error) {
	if t.url == "" {
		return nil, nil
	}
	u, err := url.Parse(t.url)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, wrongUse("--traces is not the URL of a collector, as in http://127.0.0.1:4318")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, wrongUse("--traces has a query or a fragment, which the URL of a collector has not: leave it away; keys go into the environment variable %s", envHeaders)
	}
	header, ok := parseHeaders(os.Getenv(envHeaders))
	if !ok {
		return nil, wrongUse("the environment variable %s is not a list of headers as name=value,other=value, in which %%2C stands for a comma", envHeaders)
	}
	return newCollector(u, header, log), nil
}

// parseHeaders reads a list of pairs; the values are escaped as in URLs.
func parseHeaders(list string) (h http.Header, ok bool) {
	h = http.Header{}
	for pair := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !found || err != nil || !isToken(name) || strings.ContainsFunc(value, unicode.IsControl) {
			return nil, false
		}
		h.Add(name, value)
	}
	return h, true
}

// attach has traces made of what a server does, if they are wanted, until stop is
// called, which sends what is left.
func (t *traces) attach(ctx context.Context, srv *push.Server, log *slog.Logger) (stop func()) {
	c, _ := t.collector(log) // check has seen the error
	if c == nil {
		return func() {}
	}
	about, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithHost(),
		resource.WithAttributes(semconv.ServiceName("duplex"), semconv.ServiceVersion(version())),
		resource.WithFromEnv())
	if err != nil {
		log.Warn("traces do not tell all of this server that they could", "error", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(otlptrace.NewUnstarted(c)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(t.ratio))),
		sdktrace.WithResource(about))
	tracing.Attach(srv, provider)
	return func() { c.finish(provider.Shutdown) }
}
