package wstest

import "github.com/duplexgo/duplex/websocket"

// Pipe returns both ends of a WebSocket connection in memory, its opening
// handshake done, over a stream of kind [TCP]. Options may be nil.
//
// Close both ends, or one with CloseNow, when the test is over: a goroutine that
// waits in Read would stay.
func Pipe(client, server *websocket.Options) (c, s *websocket.Conn) {
	return TCP.Pipe(client, server)
}

// Pipe is the function [Pipe] over streams of this kind.
func (k Kind) Pipe(client, server *websocket.Options) (c, s *websocket.Conn) {
	a, b := Streams()
	return websocket.Client(a.As(k), client), websocket.Server(b.As(k), server)
}

// Server returns the server's end of a WebSocket connection over a stream of this
// kind, and a peer that plays the client by hand.
func (k Kind) Server(o *websocket.Options) (*websocket.Conn, *Peer) {
	a, b := Streams()
	return websocket.Server(b.As(k), o), NewPeer(a, true)
}

// Client returns the client's end of a WebSocket connection over a stream of this
// kind, and a peer that plays the server by hand.
func (k Kind) Client(o *websocket.Options) (*websocket.Conn, *Peer) {
	a, b := Streams()
	return websocket.Client(a.As(k), o), NewPeer(b, false)
}
