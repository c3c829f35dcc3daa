package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/duplexgo/duplex/websocket"
)

// An echo takes what a client offers: it is there to try clients.
func TestEchoCompresses(t *testing.T) {
	_, url := startEcho(t)
	for _, test := range []struct {
		d    websocket.Deflate
		want string
	}{
		{websocket.Deflate{SendBits: 15}, "permessage-deflate"},
		{websocket.Deflate{SendBits: 8, ReceiveBits: 9}, "permessage-deflate; server_max_window_bits=9; client_max_window_bits=8"},
		{websocket.Deflate{SendBits: 15, SendNoTakeover: true, ReceiveNoTakeover: true}, "permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
	} {
		c := dial(t, url, &websocket.DialOptions{Options: websocket.Options{Extensions: []websocket.Extension{&test.d}}})
		if got := c.Extensions(); got != test.want {
			t.Errorf("%+v: agreed on %q, want %q", test.d, got, test.want)
		}
		text := strings.Repeat("all work and no play, ", 1000)
		for range 3 {
			if err := c.Write(t.Context(), websocket.Text, []byte(text)); err != nil {
				t.Fatal(err)
			}
			if _, p, err := c.Read(t.Context()); err != nil || string(p) != text {
				t.Fatalf("%d bytes came back, %v", len(p), err)
			}
		}
	}
}

func TestConnectCompresses(t *testing.T) {
	agreed := make(chan string, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Options: websocket.Options{Extensions: []websocket.Extension{&websocket.Deflate{}}}})
		if err != nil {
			return
		}
		defer c.CloseNow()
		agreed <- c.Extensions()
		for {
			kind, p, err := c.Read(context.Background())
			if err != nil {
				return
			}
			c.Write(context.Background(), kind, p)
		}
	}))
	defer srv.Close()
	line := strings.Repeat("all work and no play, ", 20) + "\n"
	for _, test := range []struct{ flag, want string }{
		{"--compress", "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"},
		{"--compress=false", ""},
	} {
		got := duplex(t, strings.NewReader(line+line), "connect", srv.URL, test.flag)
		if got != (result{exitOK, line + line, ""}) {
			t.Errorf("%s: %+v", test.flag, got)
		}
		if got := <-agreed; got != test.want {
			t.Errorf("%s: agreed on %q, want %q", test.flag, got, test.want)
		}
	}
}
