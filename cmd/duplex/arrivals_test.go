package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket/wstest"
)

// ending starts a server, has a client connect and say nothing yet, and then begins to
// end the server. ended tells how long that took.
func ending(t *testing.T) (client net.Conn, ended <-chan time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ln := wstest.NewListener()
	done := make(chan struct{})
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	nothing := func(context.Context) error { return nil }
	go func() {
		defer close(done)
		serveUntil(ctx, ln, hello, 0, nothing, slog.New(slog.DiscardHandler))
	}()
	client, err := ln.DialContext(t.Context(), "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	began, took := time.Now(), make(chan time.Duration, 1)
	cancel()
	synctest.Wait()
	go func() {
		<-done
		took <- time.Since(began)
	}()
	return client, took
}

// Who has connected before the end is answered.
func TestRequestWhileEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ended := ending(t)
		defer client.Close()
		fmt.Fprint(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "hello" {
			t.Errorf("the answer is %q, %v", text, err)
		}
		if took := <-ended; took >= arrivalTime {
			t.Errorf("it ends after %v", took)
		}
	})
}

// Who says nothing holds the end up for a moment only.
func TestSilenceWhileEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ended := ending(t)
		defer client.Close()
		if took := <-ended; took < arrivalTime || took > arrivalTime+2*time.Second {
			t.Errorf("it ends after %v", took)
		}
	})
}
