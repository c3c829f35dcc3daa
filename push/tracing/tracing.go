// Package tracing makes spans of OpenTelemetry of what a push.Server does: of the opening
// of lines, and of what is published.
//
//	srv := &push.Server{}
//	tracing.Attach(srv, provider) // before it serves
//
// A request's header traceparent (W3C Trace Context) names the parent of its span, unless
// there is a span in the request's context already, as behind a middleware that traces.
// docs/operations.md says what each span holds. Tokens, data of messages and texts of
// errors, which may quote them, are in none.
package tracing

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/duplexgo/duplex/push"
)

// Attach has spans of a provider made of what the server does. It sets the server's Trace,
// and must be called before the server serves.
func Attach(srv *push.Server, provider trace.TracerProvider) {
	tracer := provider.Tracer("github.com/duplexgo/duplex/push/tracing", trace.WithSchemaURL(semconv.SchemaURL))
	srv.Trace = func(ctx context.Context, w *push.Work) (context.Context, func()) {
		if w.Request != nil && !trace.SpanContextFromContext(ctx).IsValid() {
			ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(w.Request.Header))
		}
		ctx, span := tracer.Start(ctx, name(w), trace.WithSpanKind(kind(ctx, w)), trace.WithAttributes(beginning(w)...))
		return ctx, func() {
			if span.IsRecording() {
				span.SetAttributes(outcome(w)...)
				fail(span, w)
			}
			span.End()
		}
	}
}

// name returns the span's name, one of few.
func name(w *push.Work) string {
	if w.Kind == push.Opening {
		return "connect " + w.Transport
	}
	return w.Kind
}

// kind says whether the work is the server's part of something that began elsewhere.
func kind(ctx context.Context, w *push.Work) trace.SpanKind {
	parent := trace.SpanContextFromContext(ctx)
	if w.Transport == "" || parent.IsValid() && !parent.IsRemote() {
		return trace.SpanKindInternal
	}
	return trace.SpanKindServer
}

// The attributes that no convention has.
const (
	transportKey = attribute.Key("duplex.transport")
	channelsKey  = attribute.Key("duplex.channels")
	refusedKey   = attribute.Key("duplex.refused")
	codeKey      = attribute.Key("duplex.error.code")
)

// beginning returns what is known when the work begins, which a sampler can see.
func beginning(w *push.Work) (a []attribute.KeyValue) {
	if w.Transport != "" {
		a = append(a, transportKey.String(w.Transport))
	}
	if r := w.Request; r != nil {
		a = append(a,
			semconv.HTTPRequestMethodKey.String(r.Method), // of those that a path has
			semconv.HTTPRoute(route(w)),
			semconv.NetworkProtocolVersion(version(r)))
	}
	if w.Kind != push.Opening {
		a = append(a, semconv.MessagingSystemKey.String("duplex"), semconv.MessagingOperationName("publish"), semconv.MessagingOperationTypeSend)
	}
	return a
}

func route(w *push.Work) string {
	switch {
	case w.Kind == push.Publishing:
		return "/channels/{channel}"
	case w.Kind == push.PublishingBatch:
		return "/channels"
	case w.Transport == push.SSE:
		return "/events"
	case w.Transport == push.Poll:
		return "/poll"
	}
	return "/connect"
}

func version(r *http.Request) string {
	if r.ProtoMajor == 1 {
		return "1." + strconv.Itoa(r.ProtoMinor)
	}
	return strconv.Itoa(r.ProtoMajor)
}

// outcome returns what is known when the work has ended.
func outcome(w *push.Work) (a []attribute.KeyValue) {
	var channels []string
	for _, channel := range w.Channels {
		channels = append(channels, harmless(channel))
	}
	switch {
	case w.Kind == push.Publishing:
		a = append(a, semconv.MessagingDestinationName(strings.Join(channels, "")), semconv.MessagingMessageBodySize(w.Bytes))
	case w.Kind == push.PublishingBatch:
		a = append(a, semconv.MessagingBatchMessageCount(w.Messages), refusedKey.Int(w.Refused))
	case len(channels) > 0:
		a = append(a, channelsKey.StringSlice(channels))
	}
	if w.Status != 0 {
		a = append(a, semconv.HTTPResponseStatusCode(w.Status))
	}
	if w.Code != 0 {
		a = append(a, codeKey.Int(int(w.Code)))
	}
	return a
}

// maxChannel is how much of the name of a channel a span has, in bytes: of all that are
// allowed the whole.
const maxChannel = 255

// harmless returns the name of a channel as spans can have it: one text that is not
// UTF-8 would have all that are sent with it refused.
func harmless(channel string) string {
	return strings.ToValidUTF8(channel[:min(len(channel), maxChannel)], "\uFFFD")
}

// fail sets the span's status if the work has failed. A client's mistake is no failure
// of the server.
func fail(span trace.Span, w *push.Work) {
	failed := func(kind, text string) {
		span.SetAttributes(semconv.ErrorTypeKey.String(kind))
		span.SetStatus(codes.Error, text)
	}
	switch {
	case w.Gone:
		failed("client_gone", "the client has gone before the answer")
	case w.Request != nil && w.Status == 0:
		failed(semconv.ErrorTypeOther.Value.AsString(), "no answer was sent")
	case w.Status >= http.StatusInternalServerError:
		failed(strconv.Itoa(w.Status), http.StatusText(w.Status))
	case w.Request == nil && (w.Code.Temporary() || w.Transport == "" && w.Code != 0):
		failed(strconv.Itoa(int(w.Code)), "")
	}
}
