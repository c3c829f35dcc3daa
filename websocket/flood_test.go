package websocket_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/duplexgo/duplex/websocket"
)

const (
	floodClient = "WEBSOCKET_TEST_FLOOD" // set in the flood's process: what to connect to
	floodConns  = 10_000
	floodLimit  = 100
	floodHalf   = 1000 // connections that never finish their request
)

// A script on one address opens ten thousand connections to a server that takes a
// hundred of an address. Each of the others is told so, half a request ends at its
// limit, other addresses are served all the while, and memory stays small. The script
// is a process of its own, for its descriptors.
func TestFlood(t *testing.T) {
	if to := os.Getenv(floodClient); to != "" {
		runFlood(t, to)
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("other systems have only one address of loopback")
	}
	if testing.Short() {
		t.Skip("takes seconds")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var g websocket.Registry
	limits := &websocket.Limits{MaxConnsPerAddr: floodLimit, CountPrivate: true, Logger: silent}
	var late atomic.Int64
	srv := &http.Server{
		ReadHeaderTimeout: 2 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          quiet,
		Handler: &websocket.Handler{
			AcceptOptions: websocket.AcceptOptions{Registry: &g, Limits: limits},
			Message:       func(c *websocket.Conn, typ websocket.MessageType, p []byte) { c.Write(bg, typ, p) },
		},
	}
	websocket.ReportHandshakeTimeouts(srv, func(net.Addr) { late.Add(1) })
	served := async(func() error { return srv.Serve(l) })
	defer func() { g.Shutdown(bg); srv.Close(); served() }()

	url := "ws://" + l.Addr().String()
	friend := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 3)}}).DialContext
	old, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{DialContext: friend})
	if err != nil {
		t.Fatal(err)
	}
	defer old.CloseNow()

	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	flood := async(func() error {
		out, err := again(t, "TestFlood", floodClient, l.Addr().String()).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
		return err
	})
	ended := make(chan struct{})
	go func() { flood(); close(ended) }()
	var peak uint64
	friends := 0
	for done := false; !done; {
		select {
		case <-ended:
			done = true
		case <-time.After(100 * time.Millisecond):
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{DialContext: friend})
		if err != nil {
			t.Errorf("another address, after %d that were served: %v", friends, err)
			done = true
		} else {
			echoed(t, c, "hello")
			c.CloseNow()
			friends++
		}
		echoed(t, old, "still here")
		cancel()
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapInuse+now.StackInuse)
	}
	if err := flood(); err != nil {
		t.Error(err)
	}
	if grown := int64(peak) - int64(before.HeapInuse+before.StackInuse); grown > 100<<20 {
		t.Errorf("memory grew by %d bytes", grown)
	}
	eventually(t, overLoop, "the end of those that never finished their request", func() bool { return late.Load() >= floodHalf })
	eventually(t, overLoop, "the end of the flood", func() bool { return g.Len() <= 1 })
	t.Logf("%d connections of another address were served meanwhile", friends)
}

// runFlood is the script.
func runFlood(t *testing.T, to string) {
	dial := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial
	var half []net.Conn
	for range floodHalf {
		c, err := dial("tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: server.test\r\nUpgrade: webs")
		half = append(half, c)
	}
	var taken, refused atomic.Int64
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			for range floodConns / 100 {
				c, err := dial("tcp", to)
				if err != nil {
					t.Error(err)
					return
				}
				io.WriteString(c, handshakeRequest)
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				switch {
				case err != nil:
					t.Errorf("no answer: %v", err)
					c.Close()
				case resp.StatusCode == 101:
					taken.Add(1)
					t.Cleanup(func() { c.Close() }) // it is kept
				case resp.StatusCode == 429 && resp.Header.Get("Retry-After") == "10":
					body, _ := io.ReadAll(resp.Body)
					if !strings.Contains(string(body), "too many connections from this address") {
						t.Errorf("refused with %q", body)
					}
					refused.Add(1)
					c.Close()
				default:
					t.Errorf("answered with %v", resp)
					c.Close()
				}
			}
		})
	}
	all.Wait()
	for _, c := range half {
		c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("half a request is still waited for")
		}
	}
	if taken.Load() != floodLimit || refused.Load() != floodConns-floodLimit {
		t.Errorf("%d were taken and %d refused", taken.Load(), refused.Load())
	}
}
