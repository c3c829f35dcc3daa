package wstest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// echo is a handler like that of any user.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		t, p, err := c.Read(context.Background())
		if err != nil {
			return
		}
		if err := c.Write(context.Background(), t, p); err != nil {
			return
		}
	}
}

// hour is a handler that ends a session after an hour.
func hour(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	for {
		if _, _, err := c.Read(ctx); errors.Is(err, context.DeadlineExceeded) {
			c.Close(websocket.ClosePolicyViolation, "the hour is over")
			return
		} else if err != nil {
			return
		}
	}
}

func mux() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/hour", hour)
	mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "plain "+r.RemoteAddr) })
	return mux
}

// inAndOut runs a test in real time and in a bubble.
func inAndOut(t *testing.T, f func(t *testing.T)) {
	t.Run("real time", f)
	t.Run("fake time", func(t *testing.T) { synctest.Test(t, f) })
}

func TestServer(t *testing.T) {
	inAndOut(t, func(t *testing.T) {
		s := wstest.NewServer(mux())
		defer s.Close()
		c, resp, err := s.Dial(t.Context(), "/echo?room=7", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusSwitchingProtocols || resp.Request.URL.RawQuery != "room=7" {
			t.Errorf("status %d, URL %v", resp.StatusCode, resp.Request.URL)
		}
		for _, want := range []string{"hello", strings.Repeat("long", 50000)} {
			go c.Write(t.Context(), websocket.Text, []byte(want)) // more than the line holds
			typ, p, err := c.Read(t.Context())
			if typ != websocket.Text || string(p) != want || err != nil {
				t.Fatalf("Read = %v, %d bytes, %v", typ, len(p), err)
			}
		}
		if err := c.Close(websocket.CloseNormal, ""); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
}

func TestServerRefuses(t *testing.T) {
	inAndOut(t, func(t *testing.T) {
		s := wstest.NewServer(mux())
		defer s.Close()
		_, resp, err := s.Dial(t.Context(), "/nowhere", nil)
		var refused *websocket.HandshakeError
		if !errors.As(err, &refused) || refused.Status != http.StatusNotFound || resp.StatusCode != http.StatusNotFound {
			t.Errorf("Dial = %v, want a HandshakeError with 404", err)
		}
	})
}

// An hour of the server's takes no time at all.
func TestServerInFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := wstest.NewServer(mux())
		defer s.Close()
		c, _, err := s.Dial(t.Context(), "/hour", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		begun := time.Now()
		_, _, err = c.Read(t.Context())
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != websocket.ClosePolicyViolation || closed.Reason != "the hour is over" {
			t.Errorf("Read = %v", err)
		}
		if got := time.Since(begun); got != time.Hour {
			t.Errorf("after %v, want an hour", got)
		}
	})
}

// Timeouts of the http.Server run on the bubble's clock.
func TestServeConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := wstest.Serve(&http.Server{Handler: mux(), ReadHeaderTimeout: 10 * time.Second})
		defer s.Close()
		c, err := s.Listener.DialContext(t.Context(), "tcp", "server.test:80")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		begun := time.Now()
		io.WriteString(c, "GET /echo HT")
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("reading: %v", err)
		}
		if got := time.Since(begun); got != 10*time.Second {
			t.Errorf("cut after %v, want 10 s", got)
		}
	})
}

func TestServerClient(t *testing.T) {
	inAndOut(t, func(t *testing.T) {
		s := wstest.NewServer(mux())
		defer s.Close()
		resp, err := s.Client().Get("http://server.test/plain")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); string(body) != "plain 127.0.0.1:1024" || err != nil {
			t.Errorf("%q, %v", body, err)
		}
	})
}

// Close ends what waits: handlers in Read, clients in Read, requests that hang.
// It returns after the handlers.
func TestServerClose(t *testing.T) {
	inAndOut(t, func(t *testing.T) {
		began, over := make(chan struct{}, 2), make(chan struct{}, 2)
		mux := http.NewServeMux()
		mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
			defer func() { over <- struct{}{} }()
			began <- struct{}{}
			echo(w, r)
		})
		mux.HandleFunc("/hangs", func(w http.ResponseWriter, r *http.Request) {
			defer func() { over <- struct{}{} }()
			began <- struct{}{}
			<-r.Context().Done()
		})
		s := wstest.NewServer(mux)
		c, _, err := s.Dial(t.Context(), "/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		read, got := make(chan error, 1), make(chan error, 1)
		go func() {
			_, _, err := c.Read(t.Context())
			read <- err
		}()
		go func() {
			_, err := s.Client().Get("http://server.test/hangs")
			got <- err
		}()
		<-began
		<-began
		s.Close()
		if len(over) != 2 {
			t.Errorf("Close returned when %d of 2 handlers were over", len(over))
		}
		if err := <-read; err == nil {
			t.Error("the client's Read returned no error")
		}
		if err := <-got; err == nil {
			t.Error("the client's Get returned no error")
		}
		s.Close() // once more does no harm
		if _, _, err := s.Dial(t.Context(), "/ws", nil); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial after Close = %v, want ECONNREFUSED", err)
		}
	})
}

// A test can put its hand on the line below a Conn, at both ends.
func TestServerDialContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := wstest.NewServer(mux())
		defer s.Close()
		var line *wstest.Stream
		c, _, err := s.Dial(t.Context(), "/echo", &websocket.DialOptions{
			Options: websocket.Options{PingInterval: -1},
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if addr != "server.test:80" {
					t.Errorf("addr = %q", addr)
				}
				c, err := s.Listener.DialContext(ctx, network, addr)
				if err == nil {
					line = c.(*wstest.Stream)
				}
				return c, err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		line.SplitReads(1)
		line.Peer().SplitReads(1)
		before := line.Stats().Reads
		if err := c.Write(t.Context(), websocket.Text, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, p, err := c.Read(t.Context()); string(p) != "hello" || err != nil {
			t.Errorf("Read = %q, %v", p, err)
		}
		if n := line.Stats().Reads - before; n < 7 {
			t.Errorf("%d reads for a frame of 7 bytes, one by one", n)
		}
		line.Reset()
		if _, _, err := c.Read(t.Context()); err == nil {
			t.Error("Read after the line was cut: no error")
		}
	})
}

func TestListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := wstest.NewListener()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if c, err := l.DialContext(ctx, "tcp", "x"); c != nil || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without Accept: %v, %v", c, err)
		}
		accepted := make(chan net.Conn)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					if !errors.Is(err, net.ErrClosed) {
						t.Errorf("Accept after Close = %v", err)
					}
					close(accepted)
					return
				}
				accepted <- c
			}
		}()
		var addrs []string
		for range 2 {
			c, err := l.DialContext(t.Context(), "tcp", "x")
			if err != nil {
				t.Fatal(err)
			}
			s := <-accepted
			io.WriteString(c, "x")
			if n, err := s.Read(make([]byte, 2)); n != 1 || err != nil {
				t.Errorf("Read = %d, %v", n, err)
			}
			if s.RemoteAddr().String() != c.LocalAddr().String() || s.LocalAddr().String() != l.Addr().String() {
				t.Errorf("server's end %v-%v, client's %v", s.LocalAddr(), s.RemoteAddr(), c.LocalAddr())
			}
			addrs = append(addrs, c.LocalAddr().String())
			c.Close()
			s.Close()
		}
		if addrs[0] == addrs[1] {
			t.Errorf("both clients are %s", addrs[0])
		}
		waiting := make(chan error)
		full := wstest.NewListener()
		go func() {
			_, err := full.DialContext(t.Context(), "tcp", "x")
			waiting <- err
		}()
		synctest.Wait()
		full.Close()
		if err := <-waiting; !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("DialContext that waited for a listener that closed = %v", err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		<-accepted
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close = %v", err)
		}
		if _, err := l.DialContext(t.Context(), "tcp", "x"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("DialContext after Close = %v", err)
		}
	})
}
