package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/duplexgo/duplex/websocket"
)

// echo sends every message back.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // the request has been answered
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

// A server that echoes, with the settings that a server on a network needs.
func ExampleAccept() {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
			Origins: []string{"https://*.example.com"}, // besides this host's own pages
		})
		if err != nil {
			return // the request has been answered
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
	})
	srv := &http.Server{
		Addr:              "127.0.0.1:8080",
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second, // the opening handshake, until the handler runs
		MaxHeaderBytes:    16 << 10,
	}
	websocket.ReportHandshakeTimeouts(srv, func(remote net.Addr) {
		log.Printf("%v did not finish its request in time", remote)
	})
	log.Fatal(srv.ListenAndServe())
}

// A client that sends a message, gets the answer and closes.
func ExampleDial() {
	srv := httptest.NewServer(http.HandlerFunc(echo))
	defer srv.Close()
	url := "ws" + strings.TrimPrefix(srv.URL, "http")

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(ctx, websocket.Text, []byte("hello")); err != nil {
		log.Fatal(err)
	}
	t, p, err := c.Read(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%v: %s\n", t, p)
	fmt.Println(c.Close(websocket.CloseNormal, ""))
	// Output:
	// text: hello
	// <nil>
}

// A server with callbacks that sends every message to all, and closes every
// connection in order when it ends.
func ExampleHandler() {
	var lines websocket.Registry
	room := &websocket.Handler{
		AcceptOptions: websocket.AcceptOptions{Registry: &lines},
		Open: func(c *websocket.Conn, r *http.Request) {
			c.Write(context.Background(), websocket.Text, []byte("welcome"))
		},
		Message: func(_ *websocket.Conn, t websocket.MessageType, p []byte) {
			websocket.Broadcast(lines.All(), websocket.Prepare(t, p))
		},
		Close: func(c *websocket.Conn, err error) {
			fmt.Println(err)
		},
	}
	srv := httptest.NewServer(room)
	defer srv.Close()

	ctx := context.Background()
	var guests []*websocket.Conn
	for range 2 {
		c, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(srv.URL, "http"), nil)
		if err != nil {
			log.Fatal(err)
		}
		defer c.CloseNow()
		c.Read(ctx) // the welcome: from now on this guest is one of all
		guests = append(guests, c)
	}
	guests[0].Write(ctx, websocket.Text, []byte("hello, all"))
	for _, c := range guests {
		_, p, err := c.Read(ctx)
		fmt.Printf("%s %v\n", p, err)
	}
	for _, c := range guests {
		go c.Read(ctx) // answers the close frame
	}
	lines.Shutdown(ctx)
	// Output:
	// hello, all <nil>
	// hello, all <nil>
	// websocket: closed by this side: 1001 (going away)
	// websocket: closed by this side: 1001 (going away)
}

// A backend sends what it has to everybody who is connected. It waits for nobody:
// who is too slow for all prices gets the newest.
func ExampleBroadcast() {
	var guests websocket.Registry
	srv := httptest.NewServer(&websocket.Handler{
		AcceptOptions: websocket.AcceptOptions{
			Registry: &guests,
			Options:  websocket.Options{SendLimit: 16 << 10, SlowPolicy: websocket.SlowDropOldest},
		},
		Open: func(c *websocket.Conn, r *http.Request) {
			c.Send(websocket.Prepare(websocket.Text, []byte("welcome")))
		},
	})
	defer srv.Close()

	ctx := context.Background()
	var clients []*websocket.Conn
	for range 3 {
		c, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(srv.URL, "http"), nil)
		if err != nil {
			log.Fatal(err)
		}
		defer c.CloseNow()
		c.Read(ctx) // the welcome: from now on this client is one of all
		clients = append(clients, c)
	}

	go func() { // the backend
		for _, price := range []string{"99.5", "99.8"} {
			websocket.Broadcast(guests.All(), websocket.Prepare(websocket.Text, []byte(price)))
		}
	}()

	for _, c := range clients {
		_, first, _ := c.Read(ctx)
		_, second, err := c.Read(ctx)
		fmt.Printf("%s %s %v\n", first, second, err)
	}
	// Output:
	// 99.5 99.8 <nil>
	// 99.5 99.8 <nil>
	// 99.5 99.8 <nil>
}

// A file of any size as one message, in constant memory on both sides.
func ExampleConn_Writer() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
			Options: websocket.Options{MaxMessage: 1 << 30}, // the default is 1 MiB
		})
		if err != nil {
			return
		}
		defer c.CloseNow()
		_, body, err := c.Reader(context.Background())
		if err != nil {
			return
		}
		n, err := io.Copy(io.Discard, body)
		fmt.Println("received", n, "bytes,", err)
		c.Close(websocket.CloseNormal, "")
	}))
	defer srv.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(srv.URL, "http"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	file, err := os.Open("example_test.go")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	w, err := c.Writer(ctx, websocket.Binary)
	if err != nil {
		log.Fatal(err)
	}
	// 10 MiB out of the file's beginning, for the example's sake.
	if _, err := io.Copy(w, io.MultiReader(io.LimitReader(file, 100), strings.NewReader(strings.Repeat("-", 10<<20-100)))); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil { // ends the message
		log.Fatal(err)
	}
	_, _, err = c.Read(ctx)
	fmt.Println(err)
	// Output:
	// received 10485760 bytes, <nil>
	// websocket: closed by the peer: 1000 (normal closure)
}

// How a connection ended.
func ExampleCloseError() {
	report := func(err error) {
		var closed *websocket.CloseError
		var broken *websocket.Error
		switch {
		case errors.As(err, &closed):
			fmt.Println("code", closed.Code, "by this side:", closed.Local)
		case errors.Is(err, websocket.ErrMessageTooBig):
			fmt.Println("a message was over the limit")
		case errors.As(err, &broken):
			fmt.Println("the peer broke a rule:", broken.Msg)
		case errors.Is(err, websocket.ErrPongTimeout):
			fmt.Println("the peer fell silent")
		default:
			fmt.Println("the stream broke:", err)
		}
	}
	report(&websocket.CloseError{Code: websocket.CloseGoingAway})
	// Output:
	// code 1001 (going away) by this side: false
}
