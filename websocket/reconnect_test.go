package websocket_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// A moody server treats each connection as the next of its moods says.
type moody []func(w http.ResponseWriter, r *http.Request)

func closes(code websocket.CloseCode, after time.Duration) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		if c, err := websocket.Accept(w, r, nil); err == nil {
			time.Sleep(after)
			c.Close(code, "")
		}
	}
}

func cuts(w http.ResponseWriter, r *http.Request) {
	if c, err := websocket.Accept(w, r, nil); err == nil {
		c.CloseNow()
	}
}

func refuses(status int, retryAfter string) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
	}
}

// run runs a Reconnect against the server, in fake time. It returns the error, and
// how many connections there were and which waits.
func (m moody) run(t *testing.T, ctx context.Context, r websocket.Reconnect) (conns int, waits []time.Duration, err error) {
	s := wstest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mood := m[0]
		m = m[1:]
		mood(w, r)
	}))
	defer s.Close()
	r.URL = s.URL
	r.Options = &websocket.DialOptions{DialContext: s.Listener.DialContext}
	failed := r.Failed
	r.Failed = func(err error, wait time.Duration) {
		waits = append(waits, wait)
		if failed != nil {
			failed(err, wait)
		}
	}
	err = r.Run(ctx, func(ctx context.Context, c *websocket.Conn) error {
		conns++
		for {
			if _, _, err := c.Read(ctx); err != nil {
				return err
			}
		}
	})
	return conns, waits, err
}

func TestReconnect(t *testing.T) {
	end := closes(websocket.CloseNormal, 0)
	tests := []struct {
		name  string
		moods moody
		conns int
		waits int
		code  websocket.CloseCode // of the end; 0: refused
		last  int                 // the status of that
	}{
		{name: "a normal end", moods: moody{end}, conns: 1, code: 1000},
		{name: "goes away", moods: moody{closes(1001, 0), closes(1012, 0), closes(1013, 0), closes(1011, 0), closes(1014, 0), end}, conns: 6, waits: 5, code: 1000},
		{name: "cut", moods: moody{cuts, cuts, end}, conns: 3, waits: 2, code: 1000},
		{name: "no status", moods: moody{closes(websocket.CloseNoStatus, 0), end}, conns: 2, waits: 1, code: 1000},
		{name: "codes of applications", moods: moody{closes(3000, 0), closes(4500, 0), closes(4999, 0), closes(4499, 0)}, conns: 4, waits: 3, code: 4499},
		{name: "not wanted", moods: moody{closes(1008, 0)}, conns: 1, code: 1008},
		{name: "broke the protocol", moods: moody{closes(1002, 0)}, conns: 1, code: 1002},
		{name: "too big", moods: moody{closes(1009, 0)}, conns: 1, code: 1009},
		{name: "4000", moods: moody{closes(4000, 0)}, conns: 1, code: 4000},
		{name: "busy", moods: moody{refuses(503, ""), refuses(429, "1"), refuses(500, ""), refuses(408, ""), end}, conns: 1, waits: 4, code: 1000},
		{name: "forbidden", moods: moody{cuts, refuses(403, "1")}, conns: 1, waits: 1, last: 403},
		{name: "gone", moods: moody{refuses(404, "")}, last: 404},
		{name: "not implemented", moods: moody{refuses(501, "")}, last: 501},
		{name: "an ordinary page", moods: moody{refuses(200, "")}, last: 200},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conns, waits, err := test.moods.run(t, t.Context(), websocket.Reconnect{})
				if conns != test.conns || len(waits) != test.waits {
					t.Errorf("%d connections and %d waits, want %d and %d", conns, len(waits), test.conns, test.waits)
				}
				var refused *websocket.HandshakeError
				if test.last != 0 {
					if !errors.As(err, &refused) || refused.Status != test.last {
						t.Errorf("ended with %v, want status %d", err, test.last)
					}
					return
				}
				wantClose(t, err, websocket.CloseError{Code: test.code})
			})
		})
	}
}

// The waits double up to their limit, are spread over all of the time below it, and
// begin anew after a connection that was up for a while.
func TestReconnectWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rounds = 40
		limits := []time.Duration{1, 2, 4, 8, 8, 8} // seconds
		sums := make([]time.Duration, len(limits))
		for range rounds {
			moods := moody{cuts, cuts, cuts, cuts, cuts, cuts, closes(websocket.CloseNormal, 0)}
			_, waits, _ := moods.run(t, t.Context(), websocket.Reconnect{MinDelay: time.Second, MaxDelay: 8 * time.Second})
			for i, w := range waits {
				sums[i] += w
				if w < 0 || w >= limits[i]*time.Second {
					t.Fatalf("wait %d was %v, want less than %v s", i, w, int(limits[i]))
				}
			}
		}
		for i, sum := range sums {
			// The mean of so many deviates from the half by a tenth of the limit once in 30.
			if mean := sum / rounds; mean < limits[i]*time.Second/4 || mean > limits[i]*time.Second*3/4 {
				t.Errorf("the mean of wait %d is %v", i, mean)
			}
		}
		moods := moody{cuts, cuts, cuts, cuts, closes(1001, 29*time.Second), closes(1001, 30*time.Second), cuts, closes(websocket.CloseNormal, 0)}
		for range 20 {
			_, waits, _ := append(moody(nil), moods...).run(t, t.Context(), websocket.Reconnect{MinDelay: time.Nanosecond, MaxDelay: time.Hour})
			for i, limit := range []time.Duration{1, 2, 4, 8, 16, 1, 2} {
				if waits[i] >= limit {
					t.Errorf("wait %d was %v, want less than %v", i, waits[i], limit)
				}
			}
		}
	})
}

func TestReconnectRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := closes(websocket.CloseNormal, 0)
		tests := []struct {
			value string
			max   time.Duration
			want  time.Duration
		}{
			{"7", 0, 7 * time.Second},
			{"0", 0, 0},
			{time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat), 0, 90 * time.Second},
			{time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), 0, 0},
			{"99999999999999999", 0, time.Hour},
			{"100", time.Minute, time.Minute},
			{"100", -1, 0},
			{"-5", 0, 0},
			{"soon", 0, 0},
		}
		for _, test := range tests {
			_, waits, err := moody{refuses(503, test.value), end}.run(t, t.Context(), websocket.Reconnect{MinDelay: time.Nanosecond, MaxRetryAfter: test.max})
			wantClose(t, err, websocket.CloseError{Code: 1000})
			// An absolute time is some rounds of this test ago.
			if len(waits) != 1 || waits[0] > test.want || waits[0] < test.want-test.want/2 {
				t.Errorf("Retry-After %q: waited %v, want %v", test.value, waits, test.want)
			}
		}
	})
}

func TestReconnectEnds(t *testing.T) {
	t.Run("its context, while it waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			_, _, err := moody{refuses(503, "60")}.run(t, ctx, websocket.Reconnect{Failed: func(error, time.Duration) { time.AfterFunc(time.Second, cancel) }})
			var refused *websocket.HandshakeError
			if !errors.Is(err, context.Canceled) || !errors.As(err, &refused) {
				t.Errorf("%v, want the context's error and the last failure", err)
			}
		})
	})
	t.Run("its context, while it is up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, waits, err := moody{closes(1000, time.Minute)}.run(t, ctx, websocket.Reconnect{})
			if err != context.DeadlineExceeded || len(waits) != 0 {
				t.Errorf("%v after %v, want what the function returned", err, waits)
			}
		})
	})
	t.Run("the function, with the connection up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ended := make(chan error, 1)
			s := wstest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := websocket.Accept(w, r, nil)
				if err == nil {
					_, _, err = c.Read(bg)
				}
				ended <- err
			}))
			defer s.Close()
			r := websocket.Reconnect{URL: s.URL, Options: &websocket.DialOptions{DialContext: s.Listener.DialContext}}
			if err := r.Run(t.Context(), func(context.Context, *websocket.Conn) error { return nil }); err != nil {
				t.Error(err)
			}
			wantClose(t, <-ended, websocket.CloseError{Code: websocket.CloseNormal})
			if err := r.Run(t.Context(), func(context.Context, *websocket.Conn) error { return io.ErrShortBuffer }); err != io.ErrShortBuffer {
				t.Error(err)
			}
			if err := <-ended; !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the server saw %v", err)
			}
			if err := r.Run(t.Context(), func(_ context.Context, c *websocket.Conn) error { return c.Close(4000, "") }); err != nil {
				t.Error(err)
			}
			<-ended
		})
	})
	t.Run("wrong options", func(t *testing.T) {
		r := websocket.Reconnect{URL: "http://server.test", Failed: func(error, time.Duration) { t.Error("it waits") }}
		if err := r.Run(t.Context(), nil); err == nil {
			t.Error("no error")
		}
	})
	t.Run("nobody listens", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			r := websocket.Reconnect{
				URL: "ws://server.test",
				Options: &websocket.DialOptions{DialContext: func(context.Context, string, string) (net.Conn, error) {
					n++
					return nil, syscall.ECONNREFUSED
				}},
				Again: func(err error) bool { return websocket.Temporary(err) && n < 5 },
			}
			if err := r.Run(t.Context(), nil); !errors.Is(err, syscall.ECONNREFUSED) || n != 5 {
				t.Errorf("%v after %d attempts", err, n)
			}
		})
	})
}
