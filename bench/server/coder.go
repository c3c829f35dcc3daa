package server

import (
	"context"
	"net"
	"net/http"

	"github.com/coder/websocket"
)

// serveCoder is coder/websocket with its defaults, which its documents leave alone:
// no compression, and the limit of a message raised to what is measured.
func serveCoder(ln net.Listener) error {
	mux := http.NewServeMux()
	for path, pause := range echoPaths {
		mux.HandleFunc(path, coderAccept(func(c *websocket.Conn) {
			coderRead(c, func(t websocket.MessageType, p []byte) error {
				pause(len(p))
				return c.Write(context.Background(), t, p)
			})
		}))
	}
	var members room[*websocket.Conn]
	mux.HandleFunc(broadcastPath, coderAccept(func(c *websocket.Conn) {
		members.join(c)
		defer members.leave(c)
		coderRead(c, func(t websocket.MessageType, p []byte) error {
			for _, to := range members.all() { // it has no message that is encoded once for many
				to.Write(context.Background(), t, p)
			}
			return nil
		})
	}))
	return serveHTTP(ln, mux)
}

// coderAccept hands each connection to a goroutine, so that net/http can drop what
// it holds for a request that is being handled.
func coderAccept(serve func(*websocket.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		c.SetReadLimit(1 << 20)
		go func() {
			defer c.CloseNow()
			serve(c)
		}()
	}
}

// coderRead calls back for each message until one of them fails. They share one
// slice: Read makes another for each message, which Reader leaves to its caller. The
// context has no end, since each that has one costs a timer or a goroutine.
func coderRead(c *websocket.Conn, message func(websocket.MessageType, []byte) error) error {
	var p []byte
	for {
		t, r, err := c.Reader(context.Background())
		if err != nil {
			return err
		}
		if p, err = appendAll(p[:0], r); err != nil {
			return err
		}
		if err := message(t, p); err != nil {
			return err
		}
	}
}
