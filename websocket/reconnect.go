package websocket

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// A Reconnect is a client that dials again when its connection has ended. Set URL;
// the zero value of everything else is good.
//
//	r := websocket.Reconnect{URL: "wss://example.com/feed"}
//	err := r.Run(ctx, func(ctx context.Context, c *websocket.Conn) error {
//		for {
//			_, p, err := c.Read(ctx)
//			if err != nil {
//				return err
//			}
//			...
//		}
//	})
//
// Before each attempt it waits for a random time between nothing and a limit that
// doubles from MinDelay to MaxDelay (exponential backoff with full jitter): else all
// clients of a server that was restarted would come back in the same moment.
type Reconnect struct {
	URL     string
	Options *DialOptions // for each Dial

	MinDelay time.Duration // limit of the first wait; default 500 ms
	MaxDelay time.Duration // limit of every wait; default 30 s

	// Steady is how long a connection must have been up for the waits to begin with
	// MinDelay again. Default 30 s.
	Steady time.Duration

	// MaxRetryAfter is the longest Retry-After of a server that is obeyed; a longer
	// one counts as this. The random time comes on top. Default 1 h; negative:
	// Retry-After is not obeyed.
	MaxRetryAfter time.Duration

	// Again decides whether an error is worth another attempt: that of a Dial, or
	// how a connection ended. Default [Temporary].
	Again func(err error) bool

	// Failed, if set, is called before each wait with what went wrong and how long
	// the wait is.
	Failed func(err error, wait time.Duration)
}

// Defaults of Reconnect.
const (
	defaultMinDelay      = 500 * time.Millisecond
	defaultMaxDelay      = 30 * time.Second
	defaultSteady        = 30 * time.Second
	defaultMaxRetryAfter = time.Hour
)

// Run dials and calls use with the connection, which use may keep until it returns;
// then, if the connection has ended, Run dials again. It returns
//
//   - what use has returned, if the connection was still there (it is closed then,
//     with 1000 if that was nil), or if this side has closed it;
//   - the error that Again says no to: that of Dial, or the connection's end;
//   - ctx.Err(), with the last failure, when ctx ends, which is for use to
//     notice while it runs;
//   - at once, what is wrong with URL or Options.
func (r *Reconnect) Run(ctx context.Context, use func(ctx context.Context, c *Conn) error) error {
	if err := r.check(); err != nil {
		return err
	}
	again := r.Again
	if again == nil {
		again = Temporary
	}
	for attempt := 0; ; attempt++ {
		c, _, err := Dial(ctx, r.URL, r.Options)
		if err == nil {
			up := time.Now()
			var over bool
			if err, over = r.lend(ctx, c, use); over {
				return err
			}
			if time.Since(up) >= setting(r.Steady, defaultSteady) {
				attempt = 0
			}
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("websocket: reconnect: %w; the last failure: %w", ctx.Err(), err)
		case !again(err):
			return err
		}
		if err := r.wait(ctx, attempt, err); err != nil {
			return err
		}
	}
}

// check finds what no other attempt would mend.
func (r *Reconnect) check() error {
	o := r.Options
	if o == nil {
		o = new(DialOptions)
	}
	if _, err := newDialing(r.URL, o); err != nil {
		return fmt.Errorf("websocket: dial: %w", err)
	}
	return nil
}

// lend calls use. It returns how the connection has ended or, with over, what Run
// is to return.
func (r *Reconnect) lend(ctx context.Context, c *Conn, use func(context.Context, *Conn) error) (err error, over bool) {
	defer c.CloseNow()
	used := use(ctx, c)
	var closed *CloseError
	switch end := c.ended(); {
	case end == nil && used == nil:
		return c.Close(CloseNormal, ""), true
	case end == nil, errors.As(end, &closed) && closed.Local:
		return used, true
	default:
		return end, false
	}
}

// ended returns how the connection has ended or is about to, nil if it lives.
func (c *Conn) ended() error {
	if err := c.ending.cause(); err != nil {
		return err
	}
	return c.out.over()
}

// wait waits before the next attempt.
func (r *Reconnect) wait(ctx context.Context, attempt int, failure error) error {
	low, high := setting(r.MinDelay, defaultMinDelay), setting(r.MaxDelay, defaultMaxDelay)
	limit := low
	for range attempt {
		if limit = min(2*limit, high); limit == high {
			break
		}
	}
	wait := time.Duration(0)
	if limit = min(limit, high); limit > 0 {
		wait = rand.N(limit)
	}
	var refused *HandshakeError
	if errors.As(failure, &refused) {
		wait += min(refused.RetryAfter(), setting(r.MaxRetryAfter, defaultMaxRetryAfter))
	}
	if r.Failed != nil {
		r.Failed(failure, wait)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("websocket: reconnect: %w; the last failure: %w", ctx.Err(), failure)
	}
}

// Temporary reports whether a client should come back after an error of [Dial], or
// after a connection that ended with it. It should not
//
//   - after a handshake that was refused with another status than 408, 425, 429
//     and 5xx without 501 and 505: the same request would be refused again;
//   - after a close by the peer with 1000 (a normal end), 1002, 1003 and 1007 to
//     1010 (this side broke a rule, or is not wanted), or 4000 to 4499, which an
//     application may use in this sense;
//   - after a close by this side.
//
// Everything else may pass: a network that fails, a server that goes away (1001),
// has failed or is busy (1011 to 1014).
func Temporary(err error) bool {
	var refused *HandshakeError
	var closed *CloseError
	switch {
	case err == nil:
		return false
	case errors.As(err, &refused):
		return temporaryStatus(refused.Status)
	case errors.As(err, &closed):
		return !closed.Local && temporaryCode(closed.Code)
	}
	return true
}

func temporaryStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return status >= 500
}

func temporaryCode(code CloseCode) bool {
	switch code {
	case CloseNormal, CloseProtocolError, CloseUnsupportedData, CloseInvalidPayload,
		ClosePolicyViolation, CloseMessageTooBig, CloseMandatoryExtension:
		return false
	}
	return code < 4000 || code > 4499
}

// RetryAfter returns for how long a server that refused wants to be left alone: its
// Retry-After (RFC 9110, 10.2.3), 0 if it had none.
func (e *HandshakeError) RetryAfter() time.Duration {
	v := e.header.Get("Retry-After")
	const most = 365 * 24 * time.Hour // and no overflow
	if n, err := strconv.ParseUint(v, 10, 63); err == nil {
		return time.Duration(min(n, uint64(most/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(time.Until(at), 0), most)
	}
	return 0
}
