package websocket_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// limited is an http.Server with the settings that the package recommends.
func limited() *http.Server {
	return &http.Server{
		Handler:           &websocket.Handler{},
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
}

// A client that does not finish its request is cut off when the time is over, and
// the application hears of it; one that ends otherwise is not reported.
func TestReportHandshakeTimeouts(t *testing.T) {
	const half = "GET /chat HTTP/1.1\r\nHost: server.test\r\nUpgra"
	type client func(t *testing.T, r *requester)
	read := func(t *testing.T, r *requester) { io.Copy(io.Discard, r) }
	tests := []struct {
		name   string
		client client
		ends   time.Duration // when the server closes
		late   bool
	}{
		{"sends nothing", read, 10 * time.Second, true},
		{"sends half a request", func(t *testing.T, r *requester) {
			r.Write([]byte(half))
			read(t, r)
		}, 10 * time.Second, true},
		{"sends a byte a second", func(t *testing.T, r *requester) {
			ended := make(chan struct{})
			go func() { read(t, r); close(ended) }()
			for i := range upgrade() {
				r.Write([]byte(upgrade()[i : i+1]))
				select {
				case <-ended:
					return
				case <-time.After(time.Second):
				}
			}
		}, 10 * time.Second, true},
		{"goes away early", func(t *testing.T, r *requester) {
			r.Write([]byte(half))
			time.Sleep(time.Second)
			r.Close()
		}, time.Second, false},
		{"sends something else", func(t *testing.T, r *requester) {
			time.Sleep(9 * time.Second)
			r.Write([]byte("\x16\x03\x01 hello\r\n\r\n"))
			read(t, r)
		}, 9 * time.Second, false},
		{"stays after an answer", func(t *testing.T, r *requester) {
			if resp, _ := r.ask(t, "GET / HTTP/1.1\r\nHost: server.test\r\n\r\n"); resp.StatusCode != 426 {
				t.Errorf("answer %v", resp)
			}
			time.Sleep(20 * time.Second)
			r.Close()
		}, 20 * time.Second, false},
		{"waits for a slow answer", func(t *testing.T, r *requester) {
			r.ask(t, "GET /slow HTTP/1.1\r\nHost: server.test\r\nConnection: close\r\n\r\n")
			read(t, r)
		}, 15 * time.Second, false},
		{"becomes a WebSocket", func(t *testing.T, r *requester) {
			if resp, _ := r.ask(t, upgrade()); resp.StatusCode != 101 {
				t.Errorf("answer %v", resp)
			}
			time.Sleep(20 * time.Second)
			r.Close()
		}, 20 * time.Second, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := limited()
				chat := srv.Handler
				srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/slow" {
						time.Sleep(15 * time.Second)
					}
					chat.ServeHTTP(w, r)
				})
				var reported []string
				websocket.ReportHandshakeTimeouts(srv, func(remote net.Addr) {
					reported = append(reported, remote.String())
				})
				s := wstest.Serve(srv)
				start := time.Now()
				r := connect(t, s)
				test.client(t, r)
				if d := time.Since(start); d != test.ends {
					t.Errorf("ended after %v, want %v", d, test.ends)
				}
				r.Close()
				synctest.Wait()
				s.Close()
				want := "[]"
				if test.late {
					want = fmt.Sprintf("[%v]", r.LocalAddr())
				}
				if got := fmt.Sprint(reported); got != want {
					t.Errorf("reported %v, want %v", got, want)
				}
			})
		})
	}
}

// What was set before goes on being called.
func TestReportHandshakeTimeoutsKeepsHooks(t *testing.T) {
	type key struct{}
	states := make(chan http.ConnState, 10)
	handled := make(chan any, 1)
	srv := &http.Server{
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context { return context.WithValue(ctx, key{}, "set") },
		ConnState:   func(_ net.Conn, s http.ConnState) { states <- s },
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			handled <- r.Context().Value(key{})
		}),
	}
	websocket.ReportHandshakeTimeouts(srv, func(net.Addr) { t.Error("reported") })
	s := wstest.Serve(srv)
	connect(t, s).ask(t, "GET / HTTP/1.1\r\nHost: server.test\r\nConnection: close\r\n\r\n")
	defer s.Close()
	if v := <-handled; v != "set" {
		t.Errorf("the handler's context has %v", v)
	}
	for _, want := range []http.ConnState{http.StateNew, http.StateActive, http.StateClosed} {
		if got := <-states; got != want {
			t.Errorf("ConnState saw %v, want %v", got, want)
		}
	}
}

func TestReportHandshakeTimeoutsOfAServerWithoutHandler(t *testing.T) {
	srv := &http.Server{}
	websocket.ReportHandshakeTimeouts(srv, func(net.Addr) { t.Error("reported") })
	s := wstest.Serve(srv)
	defer s.Close()
	resp, _ := connect(t, s).ask(t, "GET /nothing-is-registered-here HTTP/1.1\r\nHost: server.test\r\n\r\n")
	if resp.StatusCode != 404 {
		t.Errorf("answer %v", resp)
	}
}

// A server without limits has no timeouts.
func TestReportHandshakeTimeoutsWithoutLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &http.Server{}
		websocket.ReportHandshakeTimeouts(srv, func(net.Addr) { t.Error("reported") })
		s := wstest.Serve(srv)
		r := connect(t, s)
		time.Sleep(time.Hour)
		r.Close()
		synctest.Wait()
		s.Close()
	})
}

// A listener may give out connections that cannot be keys of a map.
func TestReportHandshakeTimeoutsOfAnyConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := limited()
		websocket.ReportHandshakeTimeouts(srv, func(net.Addr) {})
		l := wstest.NewListener()
		served := async(func() error { return srv.Serve(oddListener{l}) })
		c, err := l.DialContext(t.Context(), "tcp", "")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, c)
		c.Close()
		srv.Close()
		served()
	})
}

type oddListener struct{ net.Listener }

type oddConn struct {
	net.Conn
	_ []byte
}

func (l oddListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return oddConn{Conn: c}, err
}

// A TLS handshake that is not finished is reported too; ReadTimeout stands in for
// ReadHeaderTimeout.
func TestReportTLSHandshakeTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cert, _ := certificate(t, "server.test")
		srv := &http.Server{ReadTimeout: 5 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
		var late int
		websocket.ReportHandshakeTimeouts(srv, func(net.Addr) { late++ })
		l := wstest.NewListener()
		served := async(func() error {
			return srv.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}}))
		})
		start := time.Now()
		c, err := l.DialContext(t.Context(), "tcp", "")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, c)
		synctest.Wait() // for ConnState
		if d := time.Since(start); d != 5*time.Second || late != 1 {
			t.Errorf("%d reported after %v", late, d)
		}
		c.Close()
		srv.Close()
		served()
	})
}

// Headers that are too many or too long are refused while they come.
func TestHugeRequestHeaders(t *testing.T) {
	s := wstest.Serve(limited())
	defer s.Close()
	for name, lines := range map[string]string{
		"10,000 fields":       strings.Repeat("X-Y: z\r\n", 10_000),
		"a megabyte":          "X-Y: " + strings.Repeat("z", 1<<20) + "\r\n",
		"20,000 subprotocols": "Sec-WebSocket-Protocol: " + strings.Repeat("a,", 20_000) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := connect(t, s)
			go r.Write([]byte(strings.TrimSuffix(upgrade(), "\r\n") + lines + "\r\n"))
			resp, _ := r.ask(t, "")
			if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("answer %v", resp)
			}
			if n := r.Peer().Stats().BytesRead; n > 32<<10 {
				t.Errorf("the server read %d bytes", n)
			}
		})
	}
}

// A server without MaxHeaderBytes gets them; Accept must not take long.
func TestManySubprotocols(t *testing.T) {
	s, errs := accepting(t, &websocket.AcceptOptions{Subprotocols: []string{"none"}})
	var list strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&list, "%d,", i)
	}
	start := time.Now()
	resp, _ := connect(t, s).ask(t, upgrade("+Sec-WebSocket-Protocol: "+list.String()))
	if err := <-errs; err != nil || resp.StatusCode != 101 {
		t.Errorf("%v, %v", resp, err)
	}
	if d := time.Since(start); d > 10*time.Second { // with a loop in a loop it is minutes
		t.Errorf("it took %v", d)
	}
}
