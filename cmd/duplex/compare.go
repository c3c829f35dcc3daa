package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/duplexgo/duplex/push/compare"
)

// A comparing is one run of the command.
type comparing struct {
	client
	rate     float64
	size     size
	interval time.Duration
	lasts    time.Duration
	json     bool

	server  *url.URL
	channel string
	http    *http.Client // for what is not compared
	sides   []*side
}

func newCompare() *cobra.Command {
	c := &comparing{rate: 2, size: 128, interval: time.Second, lasts: 10 * time.Second}
	cmd := &cobra.Command{
		Use:   "compare URL",
		Short: "Receive a channel in four ways at once and print what each costs",
		Long: `Receive one channel of a push server by polling, long polling, server-sent events
and WebSocket at the same time, and print what each way costs: requests, bytes and
packets on the wire as the server counts them, and the delay of the messages, from when
they are posted until they are here.

URL is that of 'duplex serve'. The messages are published by this command, to a
channel that is made for it.
A server that has keys wants an API key in the environment variable DUPLEX_TOKEN.

The exit code is 1 if a message does not come in all four ways. SIGINT and SIGTERM end it
with the figures until then.`,
		Example: `  duplex compare http://127.0.0.1:8080
  duplex compare http://127.0.0.1:8080 --rate 0.2 --for 1m --poll-every 5s
  duplex compare http://127.0.0.1:8080 --json | jq .ways.websocket`,
		Args: positional([]string{"URL"}, false),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if c.server, err = serverURL(args[0]); err != nil {
				return err
			}
			if err := c.check(); err != nil {
				return err
			}
			return c.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	c.flags(cmd)
	cmd.Flags().Float64Var(&c.rate, "rate", c.rate, "publish `N` messages a second")
	cmd.Flags().Var(&c.size, "size", "data of a message")
	cmd.Flags().DurationVar(&c.interval, "poll-every", c.interval, "`TIME` between two polls of the plain kind")
	cmd.Flags().DurationVar(&c.lasts, "for", c.lasts, "publish for this `TIME`")
	cmd.Flags().BoolVar(&c.json, "json", false, "print the figures as JSON")
	return cmd
}

func (c *comparing) check() error {
	switch {
	case !(c.rate > 0 && c.rate <= 1000):
		return wrongUse("--rate must be more than 0 and at most 1000")
	case c.size > 1<<20:
		return wrongUse("--size must be at most 1MiB")
	case c.interval <= 0:
		return wrongUse("--poll-every must be more than zero, as in 1s")
	case c.lasts <= 0:
		return wrongUse("--for must be more than zero, as in 10s")
	case c.rate*c.lasts.Seconds() > 1e6:
		return wrongUse("--rate and --for make more than 1,000,000 messages: take less of one")
	}
	return nil
}

func (c *comparing) run(ctx context.Context, out io.Writer) error {
	if _, _, err := c.pushHeader(); err != nil {
		return err
	}
	c.http = c.newHTTPClient()
	defer c.http.CloseIdleConnections()
	var begun struct{ Channel string }
	if err := c.call(ctx, http.MethodPost, "console/api/comparisons", nil, &begun); err != nil {
		return err
	}
	c.channel = begun.Channel
	// What ends the run must not keep the last figures from coming.
	last, cancelLast := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelLast()
	path := "console/api/comparisons/" + c.channel
	defer c.call(last, http.MethodDelete, path, nil, nil)
	position, err := c.post(ctx, []byte(`"begin"`))
	if err != nil {
		return err
	}
	began := time.Now()
	published, err := c.receiveAll(ctx, position, path)
	if err != nil {
		return err
	}
	lasted, interrupted := time.Since(began), ctx.Err() != nil
	figures, err := c.figures(last, path)
	if err != nil {
		return err
	}
	r := c.report(figures, published, lasted)
	r.Interrupted = interrupted
	if err := r.print(out, c.json); err != nil {
		return &outputError{err}
	}
	return r.missing()
}

// receiveAll receives in all ways while it publishes, and returns how many messages
// there were. That ctx ends is no error: then there were fewer.
func (c *comparing) receiveAll(ctx context.Context, position, path string) (published int, err error) {
	work, stop := context.WithCancelCause(ctx)
	begin := time.Now()
	done := make(chan struct{})
	for _, way := range compare.Ways {
		s := &side{of: c, way: way, position: position, begin: begin, http: c.newHTTPClient(), changed: make(chan struct{}, 1)}
		c.sides = append(c.sides, s)
		go func() {
			defer func() { done <- struct{}{} }()
			defer s.http.CloseIdleConnections()
			if err := s.receive(work); err != nil && work.Err() == nil {
				stop(fmt.Errorf("by %s: %w", way, err))
			}
		}()
	}
	defer func() {
		stop(nil)
		for range c.sides {
			<-done
		}
	}()
	go c.renew(work, path)
	published, err = c.publishAll(work, begin)
	for _, s := range c.sides {
		s.await(work, published, 2*c.interval+5*time.Second)
	}
	if cause := context.Cause(work); cause != nil && ctx.Err() == nil {
		return published, cause
	}
	if ctx.Err() != nil {
		err = nil
	}
	return published, err
}

// figures returns what the server has counted when nothing more comes: the lines end
// in their own time, and an acknowledgement may wait for 40 ms.
func (c *comparing) figures(ctx context.Context, path string) (map[string]compare.Figures, error) {
	var before map[string]compare.Figures
	for range 20 {
		var counted struct{ Ways map[string]compare.Figures }
		if err := c.call(ctx, http.MethodGet, path, nil, &counted); err != nil {
			return nil, err
		}
		if maps.Equal(before, counted.Ways) {
			break
		}
		before = counted.Ways
		time.Sleep(50 * time.Millisecond)
	}
	return before, nil
}

// renew keeps the comparison alive.
func (c *comparing) renew(ctx context.Context, path string) {
	tick := time.NewTicker(compare.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.call(ctx, http.MethodGet, path, nil, nil) // if this fails, so does the last
		}
	}
}

// publishAll publishes until the time is over, and returns how many messages it was.
func (c *comparing) publishAll(ctx context.Context, begin time.Time) (n int, err error) {
	for due := begin.Add(c.pause()); due.Sub(begin) < c.lasts; due = due.Add(c.pause()) {
		select {
		case <-ctx.Done():
			return n, nil
		case <-time.After(time.Until(due)):
		}
		// The time in it is that of this machine, which reads it again. What ends the run
		// must not leave it open whether this one was published.
		if _, err := c.post(context.WithoutCancel(ctx), c.data(n+1, time.Since(begin))); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// pause returns the time until the next message: about that of the rate, but not just
// that. Else polling at the same pace would be late by the same time always.
func (c *comparing) pause() time.Duration {
	return time.Duration((0.5 + rand.Float64()) / c.rate * float64(time.Second))
}

// data makes the data of a message. What fills it cannot be compressed by much.
func (c *comparing) data(n int, at time.Duration) []byte {
	head := fmt.Sprintf(`{"n":%d,"at":%d,"pad":"`, n, at)
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	var b strings.Builder
	b.WriteString(head)
	for b.Len()+len(`"}`) < int(c.size) {
		b.WriteByte(letters[rand.IntN(len(letters))])
	}
	b.WriteString(`"}`)
	return []byte(b.String())
}

func (c *comparing) post(ctx context.Context, data []byte) (position string, err error) {
	var answer struct{ Position string }
	err = c.call(ctx, http.MethodPost, "channels/"+c.channel, data, &answer)
	return answer.Position, err
}

// newHTTPClient returns a client with connections of its own, and no more than it
// needs.
func (c *comparing) newHTTPClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = c.tls()
	transport.ForceAttemptHTTP2 = false // requests that share a connection cannot be counted
	transport.DisableCompression = true
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// request makes a request to the server.
func (c *comparing) request(ctx context.Context, method, path string, query url.Values, body []byte) (*http.Request, error) {
	u := c.server.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header, req.Host, err = c.pushHeader()
	return req, err
}

// call asks the server for something that is not compared.
func (c *comparing) call(ctx context.Context, method, path string, body []byte, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := c.request(ctx, method, path, nil, body)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return unreached(c.server.Redacted(), nil, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound && strings.HasPrefix(path, "console/"):
		return fmt.Errorf("%s: the server does not compare: it is none of 'duplex serve', or an older one", c.server.Redacted())
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return refusal(c.server.Redacted(), resp)
	case answer == nil:
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(answer); err != nil {
		return fmt.Errorf("%s: the answer is not that of a push server: check the URL", c.server.Redacted())
	}
	return nil
}

var errStreamEnded = errors.New("the stream of events has ended")
