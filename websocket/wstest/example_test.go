package wstest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// A handler is tested with a real handshake and without a port. In a test, take
// t.Context() and t.Fatal; for what takes time, put the same into synctest.Test.
func Example() {
	ctx := context.Background()
	s := wstest.NewServer(&websocket.Handler{
		Message: func(c *websocket.Conn, t websocket.MessageType, p []byte) {
			c.Write(ctx, t, append([]byte("you said: "), p...))
		},
	})
	defer s.Close()

	c, _, err := s.Dial(ctx, "/", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	c.Write(ctx, websocket.Text, []byte("hello"))
	_, p, err := c.Read(ctx)
	fmt.Println(string(p), err)
	fmt.Println(c.Close(websocket.CloseNormal, ""))
	// Output:
	// you said: hello <nil>
	// <nil>
}

// Code that has a Conn, whoever made it, gets one end of a pipe.
func ExamplePipe() {
	ctx := context.Background()
	client, server := wstest.Pipe(nil, nil)
	defer client.CloseNow()
	defer server.CloseNow()

	client.Write(ctx, websocket.Binary, []byte{1, 2, 3})
	t, p, err := server.Read(ctx)
	fmt.Println(t, p, err)
	// Output: binary [1 2 3] <nil>
}

// A peer that breaks the rules: text that is not UTF-8.
func ExampleKind_Server() {
	conn, peer := wstest.TCP.Server(nil)
	defer conn.CloseNow()
	defer peer.Close()

	peer.WriteFrame(wire.Header{Fin: true, Opcode: wire.OpText}, []byte("caf\xe9"))
	go conn.Read(context.Background())
	h, payload, _ := peer.ReadFrame()
	code, reason, _ := wire.ParseClose(payload)
	fmt.Println(h.Opcode, code, reason)
	// Output: close 1007 (invalid payload) text that is not UTF-8
}

// A line that breaks in the middle of a frame.
func ExampleStream() {
	a, b := wstest.Streams()
	conn := websocket.Server(b, nil)
	peer := wstest.NewPeer(a, true)
	b.FailRead(8, errors.New("the cable is cut"))

	peer.WriteFrame(wire.Header{Fin: true, Opcode: wire.OpText}, []byte("hello"))
	_, _, err := conn.Read(context.Background())
	fmt.Println(err)
	// Output: websocket: reading: read tcp 127.0.0.1:80->127.0.0.1:1024: the cable is cut
}
