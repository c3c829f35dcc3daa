package push

import (
	"cmp"
	"context"
	"net/http"

	"github.com/duplexgo/duplex/push/protocol"
)

// A Tracer is told of a piece of work when it begins. The work goes on in the context
// that it returns, which an [Authorizer] gets with its request, and calls the function
// that it returns when it has ended, once. Package push/tracing has one for
// OpenTelemetry.
//
// It is called within the work, by many goroutines: it must return at once.
type Tracer func(context.Context, *Work) (context.Context, func())

// The kinds of Work.
const (
	Opening         = "open"          // a line: until it is there, not what it brings
	Publishing      = "publish"       // a message
	PublishingBatch = "publish batch" // the messages of a POST to /channels
)

// Work is a piece of what a Server does, as a Tracer sees it. Nothing in it is secret,
// but for the Request.
type Work struct {
	// What is known at the beginning.
	Kind      string        // Opening, Publishing, PublishingBatch
	Transport string        // WebSocket, SSE, Poll, HTTP; "": by Server.Publish
	Request   *http.Request // nil where it has none of its own; there may be tokens in its query and header

	// What is known at the end.
	Channels []string      // the message's; those of a stream or a poll. As the client wrote them: they may break every rule
	Messages int           // of a batch
	Refused  int           // of a batch
	Bytes    int           // of the data of a message
	Status   int           // of the answer to Request; 0 where none was sent: the client has gone, or the server has panicked
	Code     protocol.Code // of the error; of a batch, of its first; 0: there is none, or it has no number
	Gone     bool          // the client has gone before it could be served
}

// Of what is not traced there is no Work: these methods do nothing then.

func (k *Work) reads(channels []string) {
	if k != nil {
		k.Channels = channels
	}
}

func (k *Work) holds(messages, bytes int) {
	if k != nil {
		k.Messages, k.Bytes = messages, bytes
	}
}

// answered notes the number of the problem in an answer.
func (k *Work) answered(code protocol.Code) {
	if k != nil {
		k.Code = code
	}
}

// refused notes that a message of a batch has an error.
func (k *Work) refused(err error) {
	if k != nil {
		k.Refused++
		k.Code = cmp.Or(k.Code, toError(err).Code)
	}
}

// traced has the requests of a handler followed by the Tracer. Without one it is the
// handler itself.
func (s *Server) traced(kind, transport string, next http.HandlerFunc) http.HandlerFunc {
	if s.Trace == nil {
		return next
	}
	return func(w http.ResponseWriter, r *http.Request) {
		t := &tracedWriter{ResponseWriter: w, work: Work{Kind: kind, Transport: transport, Request: r}}
		if channel := r.PathValue("channel"); channel != "" {
			t.work.Channels = []string{channel}
		}
		ctx, end := s.Trace(r.Context(), &t.work)
		t.end = end
		defer func() {
			if t.end != nil { // else it is a line that was opened
				served := kind != Opening && t.work.Status == http.StatusOK
				t.work.Gone = !served && r.Context().Err() != nil
				end()
			}
		}()
		next(t, r.WithContext(ctx))
	}
}

// A tracedWriter is the ResponseWriter of a request that is traced.
type tracedWriter struct {
	http.ResponseWriter
	work Work
	end  func() // nil once it has been called
}

func (t *tracedWriter) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func (t *tracedWriter) WriteHeader(status int) {
	if status >= http.StatusOK { // others are not the answer yet
		t.work.Status = cmp.Or(t.work.Status, status)
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracedWriter) Write(p []byte) (int, error) {
	t.work.Status = cmp.Or(t.work.Status, http.StatusOK)
	return t.ResponseWriter.Write(p)
}

// workOf returns the work that w answers, nil if it is not traced.
func workOf(w http.ResponseWriter) *Work {
	if t, ok := w.(*tracedWriter); ok {
		return &t.work
	}
	return nil
}

// traceOpened ends the work of opening a line, which is there now and goes on. status
// is that of an answer which does not pass through w, or not yet.
func traceOpened(w http.ResponseWriter, status int) {
	if t, ok := w.(*tracedWriter); ok {
		t.work.Status = cmp.Or(t.work.Status, status)
		t.end()
		t.end = nil
	}
}

// tracePublish tells the Tracer, which there must be, of a message that comes without a
// request of its own. end is to be called with what became of it.
func (c *core) tracePublish(ctx context.Context, transport, channel string, bytes int) (_ context.Context, end func(error)) {
	k := &Work{Kind: Publishing, Transport: transport, Channels: []string{channel}, Bytes: bytes}
	ctx, ended := c.trace(ctx, k)
	return ctx, func(err error) {
		if err != nil {
			k.Code = toError(err).Code
		}
		ended()
	}
}
