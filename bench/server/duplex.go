package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"

	"github.com/duplexgo/duplex/websocket"
)

// serveDuplex is the library with callbacks.
func serveDuplex(ln net.Listener) error {
	mux := http.NewServeMux()
	for path, pause := range echoPaths {
		mux.Handle(path, &websocket.Handler{
			Message: func(c *websocket.Conn, t websocket.MessageType, p []byte) {
				pause(len(p))
				c.Write(context.Background(), t, p) // an error shows in Close
			},
		})
	}
	var members room[*websocket.Conn]
	mux.Handle(broadcastPath, &websocket.Handler{
		Open: func(c *websocket.Conn, _ *http.Request) { members.join(c) },
		Message: func(_ *websocket.Conn, t websocket.MessageType, p []byte) {
			duplexBroadcast(members.all(), t, p)
		},
		Close: func(c *websocket.Conn, _ error) { members.leave(c) },
	})
	return serveHTTP(ln, mux)
}

// duplexTLS is a server over TLS, with the listener that the library has for that.
func duplexTLS(serve func(net.Listener) error) func(net.Listener, tls.Certificate) error {
	return func(ln net.Listener, cert tls.Certificate) error {
		return serve(tls.NewListener(websocket.NewListener(ln), &tls.Config{Certificates: []tls.Certificate{cert}}))
	}
}

// serveDuplexConn is the library with a goroutine for each connection.
func serveDuplexConn(ln net.Listener) error {
	mux := http.NewServeMux()
	for path, pause := range echoPaths {
		mux.HandleFunc(path, duplexAccept(func(c *websocket.Conn) {
			duplexRead(c, func(t websocket.MessageType, p []byte) {
				pause(len(p))
				c.Write(context.Background(), t, p) // an error shows in the next read
			})
		}))
	}
	var members room[*websocket.Conn]
	mux.HandleFunc(broadcastPath, duplexAccept(func(c *websocket.Conn) {
		members.join(c)
		defer members.leave(c)
		duplexRead(c, func(t websocket.MessageType, p []byte) {
			duplexBroadcast(members.all(), t, p)
		})
	}))
	return serveHTTP(ln, mux)
}

// duplexAccept hands each connection to a goroutine, so that net/http can drop
// what it holds for a request that is being handled.
func duplexAccept(serve func(*websocket.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		go func() {
			defer c.CloseNow()
			serve(c)
		}()
	}
}

// duplexRead calls back for each message until the connection has ended. They
// share one slice.
func duplexRead(c *websocket.Conn, message func(websocket.MessageType, []byte)) {
	var p []byte
	for {
		var t websocket.MessageType
		var err error
		t, p, err = c.AppendRead(context.Background(), p[:0])
		if err != nil {
			return
		}
		message(t, p)
	}
}

// duplexBroadcast sends one message to many.
func duplexBroadcast(to []*websocket.Conn, t websocket.MessageType, p []byte) {
	websocket.Broadcast(slices.Values(to), websocket.Prepare(t, p))
}
