package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// A collector takes spans by OTLP over HTTP. It is the client of an otlptrace.Exporter,
// which calls it from one goroutine.
//
// What cannot be sent is tried again for as long as the caller allows; meanwhile the
// caller's queue fills, and what does not fit into it is lost. Nobody waits for any of it
// but the goroutine of the exporter.
type collector struct {
	url    string // with a password, perhaps: for requests alone
	name   string // without: for the log
	header http.Header
	http   *http.Client
	log    *slog.Logger

	warned time.Time // when the log was last told that it does not work
	told   bool      // and not yet that it works again

	hurried context.Context // done: nothing is tried again
	hurry   context.CancelFunc
	ended   context.Context // done: nothing is sent any more
	end     context.CancelFunc
}

const (
	collectorTimeout = 10 * time.Second // of one request
	collectorFlush   = 3 * time.Second  // for what is left at the end
	collectorRetry   = time.Second      // the first wait before a repeat; each is twice the one before
	collectorQuiet   = 10 * time.Minute // between two warnings
	maxCollectorSays = 64 << 10         // bytes of an answer
)

// newCollector returns the collector at a URL, below which OTLP has a path for traces.
func newCollector(u *url.URL, header http.Header, log *slog.Logger) *collector {
	if !strings.HasSuffix(u.Path, "/v1/traces") {
		u = u.JoinPath("v1/traces")
	}
	named := *u
	named.User = nil
	c := &collector{url: u.String(), name: named.String(), header: header, log: log}
	c.header.Set("Content-Type", "application/x-protobuf")
	c.header.Set("User-Agent", "duplex/"+version())
	c.http = &http.Client{
		Transport: http.DefaultTransport.(*http.Transport).Clone(),
		Timeout:   collectorTimeout,
		// Else the spans, and what the header holds, would go wherever an answer says.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.hurried, c.hurry = context.WithCancel(context.Background())
	c.ended, c.end = context.WithCancel(context.Background())
	return c
}

// finish has what is left of spans sent by flush, and ends the connections. Nothing is
// tried again from now on, and nothing sent after a while: flush needs no limit.
func (c *collector) finish(flush func(context.Context) error) {
	c.hurry()
	defer time.AfterFunc(collectorFlush, c.end).Stop()
	flush(context.Background()) // what goes wrong, UploadTraces tells the log
	c.end()
	c.http.CloseIdleConnections()
}

// Start and Stop are for clients that have something to begin with.
func (c *collector) Start(context.Context) error { return nil }
func (c *collector) Stop(context.Context) error  { return nil }

// UploadTraces sends spans. It tells the log of errors, and returns none: package otel has
// one place for the errors of all in the process, and it is not ours to set.
func (c *collector) UploadTraces(ctx context.Context, some []*spans.ResourceSpans) error {
	// On the wire it is an ExportTraceServiceRequest, whose package imports gRPC.
	body, err := proto.Marshal(&spans.TracesData{ResourceSpans: some})
	if err != nil {
		c.tell(fmt.Errorf("spans cannot be encoded: %w", err))
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.ended, func() { cancel(errCollectorLate) })()
	for wait := collectorRetry; ; wait *= 2 {
		again, err := c.post(ctx, body)
		c.tell(err)
		if !again {
			return nil
		}
		select {
		case <-time.After(wait + rand.N(wait)): // by chance, so that not all servers come at once
		case <-c.hurried.Done():
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

var errCollectorLate = errors.New("no answer in the time that is left at the end")

// post sends a request; again says that the same may go well later.
func (c *collector) post(ctx context.Context, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("the URL makes no request")
	}
	req.Header = c.header
	resp, err := c.http.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL
		}
		return true, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxCollectorSays))
	switch resp.StatusCode {
	case http.StatusOK:
		if n, why := rejected(answer); err == nil && n > 0 {
			err = fmt.Errorf("the collector has refused %d spans: %.300q", n, why)
		}
		return false, err
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		again = true
	}
	return again, fmt.Errorf("the collector answered %s", resp.Status)
}

// tell tells the log when sending begins to fail, now and then while it goes on, and when
// it goes well again.
func (c *collector) tell(err error) {
	switch now := time.Now(); {
	case err != nil && now.Sub(c.warned) >= collectorQuiet:
		c.warned, c.told = now, true
		c.log.Warn("traces cannot be sent, and are lost if that goes on; all else goes on as it was: check --traces and the collector, whose port for OTLP over HTTP is 4318 mostly", "collector", c.name, "error", err)
	case err == nil && c.told:
		c.told = false
		c.log.Info("traces are sent again", "collector", c.name)
	}
}

// rejected returns how many spans of a request a collector has refused all the same, and
// why. The answer is an ExportTraceServiceResponse: its field 1 is a message, with the
// number in field 1 and the reason in field 2.
func rejected(answer []byte) (n uint64, why []byte) {
	_, partial := field(answer, 1)
	n, _ = field(partial, 1)
	_, why = field(partial, 2)
	return n, why
}

// field returns the field of a message of protobuf with a number, as the number or the
// bytes that it is; zero values if it is not there, or the message is none.
func field(message []byte, number protowire.Number) (v uint64, b []byte) {
	for len(message) > 0 {
		is, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return v, b
		}
		value := message[n:]
		n = protowire.ConsumeFieldValue(is, kind, value)
		if n < 0 {
			return v, b
		}
		if is == number {
			switch kind {
			case protowire.VarintType:
				v, _ = protowire.ConsumeVarint(value)
			case protowire.BytesType:
				b, _ = protowire.ConsumeBytes(value)
			}
		}
		message = value[n:]
	}
	return v, b
}
