package websocket_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

func prefixes(ss ...string) (pp []netip.Prefix) {
	for _, s := range ss {
		pp = append(pp, netip.MustParsePrefix(s))
	}
	return pp
}

// silent is a log that nobody reads.
var silent = slog.New(slog.DiscardHandler)

// A door is a server with limits, whose clients come by a trusted proxy: so each
// may say what its address is.
type door struct {
	t *testing.T
	s *wstest.Server
}

func newDoor(t *testing.T, l *websocket.Limits) *door {
	l.TrustedProxies = prefixes("127.0.0.0/8")
	if l.Logger == nil {
		l.Logger = silent
	}
	s := wstest.NewServer(&websocket.Handler{AcceptOptions: websocket.AcceptOptions{Limits: l}})
	t.Cleanup(s.Close)
	return &door{t, s}
}

// enter connects from an address and returns the connection, or the status and
// Retry-After of the refusal.
func (d *door) enter(addr string) (*websocket.Conn, int, string) {
	d.t.Helper()
	c, resp, err := d.s.Dial(bg, "/", &websocket.DialOptions{Header: http.Header{"X-Forwarded-For": {addr}}})
	var refused *websocket.HandshakeError
	switch {
	case err == nil:
		d.t.Cleanup(func() { c.CloseNow() })
		return c, 101, ""
	case !errors.As(err, &refused):
		d.t.Fatal(err)
	case resp.Header.Get("Connection") != "close" && !resp.Close:
		d.t.Errorf("the refused connection is kept: %v", resp.Header)
	}
	return nil, refused.Status, resp.Header.Get("Retry-After")
}

func (d *door) want(addr string, status int, retryAfter string) *websocket.Conn {
	d.t.Helper()
	c, got, after := d.enter(addr)
	if got != status || after != retryAfter {
		d.t.Errorf("%s got %d with Retry-After %q, want %d with %q", addr, got, after, status, retryAfter)
	}
	return c
}

func TestLimits(t *testing.T) {
	t.Run("MaxConns", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDoor(t, &websocket.Limits{MaxConns: 2})
			c := d.want("1.0.0.1", 101, "")
			d.want("10.0.0.1", 101, "") // a private one counts here
			d.want("1.0.0.2", 503, "10")
			c.CloseNow()
			synctest.Wait()
			d.want("1.0.0.2", 101, "")
		})
	})
	t.Run("MaxConnsPerAddr", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDoor(t, &websocket.Limits{MaxConnsPerAddr: 2})
			c := d.want("1.0.0.1", 101, "")
			d.want("::ffff:1.0.0.1", 101, "")
			d.want("1.0.0.1", 429, "10")
			d.want("1.0.0.2", 101, "")
			d.want("2001:db8::1", 101, "")
			d.want("2001:db8::ffff:1", 101, "")
			d.want("2001:db8::2", 429, "10") // the same /64
			d.want("2001:db8:0:1::1", 101, "")
			for range 5 { // not counted
				d.want("127.0.0.1", 101, "")
				d.want("192.168.1.1", 101, "")
				d.want("fd00::1", 101, "")
				d.want("fe80::1", 101, "")
			}
			if err := c.Close(websocket.CloseNormal, ""); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			d.want("1.0.0.1", 101, "")
			d.want("1.0.0.1", 429, "10")
		})
	})
	t.Run("CountPrivate", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDoor(t, &websocket.Limits{MaxConnsPerAddr: 1, CountPrivate: true})
			for _, addr := range []string{"127.0.0.1", "192.168.1.1", "fd00::1", "fe80::1"} {
				d.want(addr, 101, "")
				d.want(addr, 429, "10")
			}
		})
	})
	t.Run("HandshakeRate", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDoor(t, &websocket.Limits{HandshakeRate: 2})
			for range 20 {
				d.want("1.0.0.1", 101, "").CloseNow()
			}
			d.want("1.0.0.1", 429, "1")
			d.want("1.0.0.2", 101, "")
			time.Sleep(time.Second)
			d.want("1.0.0.1", 101, "")
			d.want("1.0.0.1", 101, "")
			d.want("1.0.0.1", 429, "1")
		})
	})
	t.Run("a handshake that fails holds no seat", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDoor(t, &websocket.Limits{MaxConns: 1, CountPrivate: true})
			for range 3 {
				_, _, err := d.s.Dial(bg, "/", &websocket.DialOptions{Header: http.Header{"Origin": {"https://evil.test"}}})
				wantRefusal(t, err, 403, "origin")
			}
			d.want("1.0.0.1", 101, "")
		})
	})
}

// A flood of addresses is forgotten when its rate no longer matters.
func TestLimitsForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &websocket.Limits{HandshakeRate: 1, MaxConnsPerAddr: 1}
		d := newDoor(t, l)
		for i := range 1100 {
			d.want(fmt.Sprintf("1.0.%d.%d", i/256, i%256), 101, "").CloseNow()
		}
		synctest.Wait()
		if n := l.Addrs(); n < 1000 {
			t.Errorf("%d addresses are known, want all of them", n)
		}
		time.Sleep(10 * time.Second)
		for i := range 1100 {
			d.want(fmt.Sprintf("2.0.%d.%d", i/256, i%256), 101, "").CloseNow()
		}
		synctest.Wait()
		if n := l.Addrs(); n > 1100 {
			t.Errorf("%d addresses are known, want those of the last seconds", n)
		}
	})
}

func TestLimitsRules(t *testing.T) {
	tests := []struct {
		allow, deny []netip.Prefix
		in, out     []string
	}{
		{in: []string{"1.1.1.1", "::1"}},
		{deny: prefixes("1.0.0.0/8"), in: []string{"2.0.0.1", "2001:db8::1"}, out: []string{"1.2.3.4", "::ffff:1.2.3.4"}},
		{allow: prefixes("1.0.0.0/8"), in: []string{"1.2.3.4"}, out: []string{"2.0.0.1", "2001:db8::1", "unknown"}},
		{allow: prefixes("1.2.0.0/16"), deny: prefixes("1.0.0.0/8"), in: []string{"1.2.3.4"}, out: []string{"1.3.0.1", "9.9.9.9"}},
		{allow: prefixes("1.0.0.0/8"), deny: prefixes("1.2.0.0/16"), in: []string{"1.3.0.1"}, out: []string{"1.2.3.4"}},
		{allow: prefixes("1.0.0.0/8"), deny: prefixes("1.0.0.0/8"), out: []string{"1.2.3.4"}},
		{allow: prefixes("::ffff:1.0.0.0/104", "2001:db8::/32"), in: []string{"1.2.3.4", "2001:db8::9"}, out: []string{"2001:db9::9"}},
		{deny: prefixes("0.0.0.0/0"), in: []string{"2001:db8::1"}, out: []string{"1.2.3.4"}},
	}
	for _, test := range tests {
		d := newDoor(t, &websocket.Limits{Allow: test.allow, Deny: test.deny})
		for _, addr := range test.in {
			d.want(addr, 101, "")
		}
		for _, addr := range test.out {
			if addr == "unknown" { // then it is the proxy's
				addr = "_hidden"
			}
			d.want(addr, 403, "")
		}
	}
}

func TestClientAddr(t *testing.T) {
	trusted := prefixes("10.0.0.0/8", "fd00::/8")
	tests := []struct {
		remote, header string
		values         []string
		trusted        []netip.Prefix
		want           string
	}{
		{remote: "1.2.3.4:5", want: "1.2.3.4"},
		{remote: "[2001:db8::1]:5", want: "2001:db8::1"},
		{remote: "[::ffff:1.2.3.4]:5", want: "1.2.3.4"},
		{remote: "[fe80::1%eth0]:5", want: "fe80::1"},
		{remote: "@", want: "invalid IP"},
		{remote: "1.2.3.4:5", values: []string{"9.9.9.9"}, want: "1.2.3.4"},
		{remote: "1.2.3.4:5", values: []string{"9.9.9.9"}, trusted: trusted, want: "1.2.3.4"},
		{remote: "10.0.0.1:5", trusted: trusted, want: "10.0.0.1"},
		{remote: "10.0.0.1:5", values: []string{"9.9.9.9"}, trusted: trusted, want: "9.9.9.9"},
		// What the client has sent stands on the left.
		{remote: "10.0.0.1:5", values: []string{"6.6.6.6, 9.9.9.9"}, trusted: trusted, want: "9.9.9.9"},
		{remote: "10.0.0.1:5", values: []string{"6.6.6.6", "9.9.9.9"}, trusted: trusted, want: "9.9.9.9"},
		{remote: "10.0.0.1:5", values: []string{"10.6.6.6, 9.9.9.9,10.0.0.2"}, trusted: trusted, want: "9.9.9.9"},
		{remote: "10.0.0.1:5", values: []string{"10.0.0.3, 10.0.0.2"}, trusted: trusted, want: "10.0.0.3"},
		{remote: "10.0.0.1:5", values: []string{"9.9.9.9, nonsense, 10.0.0.2"}, trusted: trusted, want: "10.0.0.2"},
		{remote: "10.0.0.1:5", values: []string{"9.9.9.9, , 10.0.0.2"}, trusted: trusted, want: "10.0.0.2"},
		{remote: "10.0.0.1:5", values: []string{"9.9.9.9,"}, trusted: trusted, want: "10.0.0.1"},
		{remote: "10.0.0.1:5", values: []string{"9.9.9.9:8080"}, trusted: trusted, want: "9.9.9.9"},
		{remote: "10.0.0.1:5", values: []string{"[2001:db8::1]:8080"}, trusted: trusted, want: "2001:db8::1"},
		{remote: "[fd00::1]:5", values: []string{"[2001:db8::1]"}, trusted: trusted, want: "2001:db8::1"},
		{remote: "@", values: []string{"9.9.9.9"}, trusted: trusted, want: "9.9.9.9"},
		{remote: "@", values: []string{"9.9.9.9"}, want: "invalid IP"},
		{remote: "10.0.0.1:5", header: "X-Real-Ip", values: []string{"9.9.9.9"}, trusted: trusted, want: "9.9.9.9"},
		{remote: "10.0.0.1:5", header: "Forwarded", values: []string{"for=9.9.9.9;proto=https"}, trusted: trusted, want: "9.9.9.9"},
		{remote: "10.0.0.1:5", header: "forwarded", values: []string{`for="6.6.6.6", proto=https;For="[2001:db8::1]:4711";by=10.0.0.1, for=10.0.0.2`}, trusted: trusted, want: "2001:db8::1"},
		{remote: "10.0.0.1:5", header: "Forwarded", values: []string{`for=9.9.9.9;host="a,b\",for=6.6.6.6;c"`}, trusted: trusted, want: "9.9.9.9"},
		{remote: "10.0.0.1:5", header: "Forwarded", values: []string{"for=9.9.9.9, for=unknown, for=10.0.0.2"}, trusted: trusted, want: "10.0.0.2"},
		{remote: "10.0.0.1:5", header: "Forwarded", values: []string{"for=9.9.9.9, proto=http"}, trusted: trusted, want: "10.0.0.1"},
		// A quote that the client never closes does not swallow what the proxy adds.
		{remote: "10.0.0.1:5", values: []string{`", 9.9.9.9`}, trusted: trusted, want: "9.9.9.9"},
		{remote: "10.0.0.1:5", values: []string{`6.6.6.6, "`, "9.9.9.9"}, trusted: trusted, want: "9.9.9.9"},
		{remote: "10.0.0.1:5", header: "Forwarded", values: []string{`for=", for=9.9.9.9`}, trusted: trusted, want: "9.9.9.9"},
		{remote: "10.0.0.1:5", header: "Forwarded", values: []string{`for=6.6.6.6;a=", for=9.9.9.9`}, trusted: trusted, want: "9.9.9.9"},
		{remote: "10.0.0.1:5", header: "Forwarded", values: []string{`for=6.6.6.6;a="\`, `for="9.9.9.9:1";host="\\"`}, trusted: trusted, want: "9.9.9.9"},
	}
	for _, test := range tests {
		l := &websocket.Limits{TrustedProxies: test.trusted, ForwardedHeader: test.header}
		r := &http.Request{RemoteAddr: test.remote, Header: http.Header{}}
		name := test.header
		if name == "" {
			name = "X-Forwarded-For"
			r.Header.Set("Forwarded", "for=7.7.7.7") // not the one that is read
		} else {
			r.Header.Set("X-Forwarded-For", "7.7.7.7")
		}
		for _, v := range test.values {
			r.Header.Add(name, v)
		}
		if got := l.ClientAddr(r).String(); got != test.want {
			t.Errorf("from %s with %s %q: %s, want %s", test.remote, name, test.values, got, test.want)
		}
	}
	if got := (*websocket.Limits)(nil).ClientAddr(&http.Request{RemoteAddr: "1.2.3.4:5"}); got.String() != "1.2.3.4" {
		t.Errorf("without limits: %v", got)
	}
}

// Whatever form an address is asked about in, a rule means it.
func TestLimitsAllowsForms(t *testing.T) {
	l := &websocket.Limits{Deny: prefixes("9.0.0.0/8", "fe80::/10")}
	for _, addr := range []string{"9.9.9.9", "::ffff:9.9.9.9", "fe80::1%eth0"} {
		if l.Allows(netip.MustParseAddr(addr)) {
			t.Errorf("%s is let in", addr)
		}
	}
}

// panicking is an Extension whose Accept panics.
type panicking struct{ websocket.Extension }

func (panicking) Name() string                         { return "panicking" }
func (panicking) Offers() [][]websocket.ExtensionParam { return [][]websocket.ExtensionParam{{}} }
func (panicking) Accept([]websocket.ExtensionParam) ([]websocket.ExtensionParam, *websocket.Agreement) {
	panic(http.ErrAbortHandler)
}

// A handshake that panics does not keep its place.
func TestLimitsPanic(t *testing.T) {
	o := websocket.Options{Extensions: []websocket.Extension{panicking{}}}
	s := wstest.NewServer(&websocket.Handler{AcceptOptions: websocket.AcceptOptions{Options: o, Limits: &websocket.Limits{MaxConns: 1, Logger: silent}}})
	t.Cleanup(s.Close)
	if _, _, err := s.Dial(bg, "/", &websocket.DialOptions{Options: o}); err == nil {
		t.Fatal("connected in spite of the panic")
	}
	c, _, err := s.Dial(bg, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.CloseNow()
}

func TestLimitsLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d := newDoor(t, &websocket.Limits{MaxConns: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		d.want("1.0.0.1", 101, "")
		lines := func() int { synctest.Wait(); return strings.Count(log.String(), "refused") }
		for range 5 {
			d.want("1.0.0.2", 503, "10")
		}
		if lines() != 1 {
			t.Errorf("the log has %q", log.String())
		}
		time.Sleep(10 * time.Second)
		d.want("1.0.0.3", 503, "10")
		if lines() != 2 || !strings.Contains(log.String(), "count=5") || !strings.Contains(log.String(), "1.0.0.3") {
			t.Errorf("the log has %q", log.String())
		}
	})
	var log bytes.Buffer
	s := wstest.NewServer(&websocket.Handler{AcceptOptions: websocket.AcceptOptions{Limits: &websocket.Limits{Logger: slog.New(slog.NewTextHandler(&log, nil))}}})
	for range 3 {
		c, _, err := s.Dial(bg, "/", &websocket.DialOptions{Header: http.Header{"X-Forwarded-For": {"1.2.3.4"}}})
		if err != nil {
			t.Fatal(err)
		}
		c.CloseNow()
	}
	s.Close()
	if strings.Count(log.String(), "trusted proxies") != 1 {
		t.Errorf("the log has %q", log.String())
	}
}

// A peer that sends more than it may loses the connection, whoever reads.
func TestReceiveRates(t *testing.T) {
	tests := []struct {
		name    string
		options websocket.Options
		send    func(r *raw) // up to the limit
		more    func(r *raw) []byte
		says    string
	}{
		{"messages", websocket.Options{MessageRate: 2}, func(r *raw) {
			for range 20 {
				r.send(r.text("x"))
			}
		}, func(r *raw) []byte { return r.text("x") }, "2 messages a second"},
		{"pings", websocket.Options{MessageRate: 2}, func(r *raw) {
			for range 20 {
				r.send(r.frame(true, wire.OpPing, "x"))
				r.want("pong x")
			}
		}, func(r *raw) []byte { return r.frame(true, wire.OpPing, "x") }, "2 messages a second"},
		{"fragments are one message", websocket.Options{MessageRate: 1}, func(r *raw) {
			for range 10 {
				r.send(r.frame(false, wire.OpText, "x"))
				for range 20 {
					r.send(r.frame(false, wire.OpContinuation, "x"))
				}
				r.send(r.frame(true, wire.OpContinuation, "x"))
			}
		}, func(r *raw) []byte { return r.text("x") }, "1 messages a second"},
		{"bytes", websocket.Options{ByteRate: 1000}, func(r *raw) {
			r.send(r.text(message(5000)))
			r.send(r.text(message(9000))) // one may pass the limit
		}, func(r *raw) []byte { return r.text("x") }, "1000 bytes a second"},
		{"empty fragments", websocket.Options{ByteRate: 100}, func(r *raw) {
			r.send(r.frame(false, wire.OpText, ""))
			for range 165 {
				r.send(r.frame(false, wire.OpContinuation, ""))
			}
			r.send(r.frame(true, wire.OpContinuation, ""))
		}, func(r *raw) []byte { return r.text("x") }, "100 bytes a second"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			overKinds(t, func(t *testing.T, kind wstest.Kind) {
				o := test.options
				o.PingInterval = -1
				c, peer := against(t, kind, true, &o)
				end := async(func() error {
					for {
						if _, _, err := c.Read(bg); err != nil {
							return err
						}
					}
				})
				for range 2 { // and again after ten seconds' rest
					test.send(peer)
					synctest.Wait()
					time.Sleep(15 * time.Second)
				}
				test.send(peer)
				synctest.Wait()
				peer.send(test.more(peer))
				peer.want("close 1008*")
				peer.Close()
				wantError(t, end(), websocket.ClosePolicyViolation)
				if !strings.Contains(end().Error(), test.says) {
					t.Errorf("%v, want %q", end(), test.says)
				}
			})
		})
	}
}

// The same in a parked connection.
func TestReceiveRatesParked(t *testing.T) {
	ended := make(chan error, 1)
	s := overLoop.run(t, &websocket.Handler{
		AcceptOptions: websocket.AcceptOptions{Options: websocket.Options{MessageRate: 1}},
		Close:         func(_ *websocket.Conn, err error) { ended <- err },
	})
	c := dial(t, s, nil)
	for range 11 {
		c.Write(bg, websocket.Text, []byte("x"))
	}
	_, _, err := c.Read(bg)
	wantClose(t, err, websocket.CloseError{Code: websocket.ClosePolicyViolation, Reason: "more than 1 messages a second"})
	wantError(t, within(t, overLoop, "the end", ended), websocket.ClosePolicyViolation)
}

func TestShutdownRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &websocket.Registry{ShutdownRate: 4}
		s := wstest.NewServer(&websocket.Handler{AcceptOptions: websocket.AcceptOptions{Registry: g}})
		defer s.Close()
		start := time.Now()
		ends := make(chan time.Duration, 10)
		for range 10 {
			c, _, err := s.Dial(bg, "/", nil)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				c.Read(bg)
				ends <- time.Since(start)
			}()
		}
		synctest.Wait() // the server has them all
		if err := g.Shutdown(bg); err != nil {
			t.Error(err)
		}
		for i := range 10 {
			if d := <-ends; d != time.Duration(i)*time.Second/4 {
				t.Errorf("connection %d was closed after %v", i, d)
			}
		}
	})
	t.Run("its context ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := &websocket.Registry{ShutdownRate: 1}
			s := wstest.NewServer(&websocket.Handler{AcceptOptions: websocket.AcceptOptions{Registry: g}})
			defer s.Close()
			for range 10 {
				c, _, err := s.Dial(bg, "/", nil)
				if err != nil {
					t.Fatal(err)
				}
				go c.Read(bg)
			}
			start := time.Now()
			ctx, cancel := contextWithTimeout(2500 * time.Millisecond)
			defer cancel()
			if err := g.Shutdown(ctx); err == nil || time.Since(start) != 2500*time.Millisecond {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			synctest.Wait()
			if g.Len() != 0 {
				t.Errorf("%d connections are left", g.Len())
			}
		})
	})
}
