package websocket_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// benchPeer returns a client without an opinion on what comes, and the connection at
// its other end, in the loop. b's peers end with it.
func benchPeer(b *testing.B, s *site, conns chan *websocket.Conn, d *websocket.Deflate) (*zipper, *websocket.Conn) {
	z := &zipper{sendBits: 15, level: 6}
	stream := s.stream()
	request := handshakeRequest
	if d != nil {
		request = request[:len(request)-2] + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
	}
	io.WriteString(stream, request)
	head := make([]byte, 1)
	for n := 0; n < 4; { // the answer ends with an empty line
		if _, err := stream.Read(head); err != nil {
			b.Fatal(err)
		}
		if n++; head[0] != "\r\n\r\n"[n-1] {
			n = 0
		}
	}
	z.raw = &raw{Peer: wstest.NewPeer(stream, true)}
	return z, <-conns
}

// What a message costs a server: the peer sends what it has compressed before, and
// does not decompress. The plain one is what to subtract.
func BenchmarkDeflateEcho(b *testing.B) {
	text := prose(rand.New(rand.NewPCG(1, 1)), 1024)
	for _, test := range []struct {
		name string
		d    *websocket.Deflate
	}{
		{"plain", nil},
		{"no takeover", &websocket.Deflate{SendNoTakeover: true, ReceiveNoTakeover: true}},
		{"12 bits", &websocket.Deflate{}},
		{"12 bits, kept", &websocket.Deflate{KeepCompressor: true}},
		{"15 bits", &websocket.Deflate{SendBits: 15, ReceiveBits: 15}},
		{"15 bits, kept", &websocket.Deflate{SendBits: 15, ReceiveBits: 15, KeepCompressor: true}},
	} {
		b.Run(test.name, func(b *testing.B) {
			z, _ := benchServer(b, test.d)(b)
			frame := z.frame(true, wire.OpText, text)
			if test.d != nil {
				frame = z.packed(wire.OpText, text)
			}
			b.ReportAllocs()
			for b.Loop() {
				z.Write(frame)
				if _, _, err := z.ReadFrame(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What a broadcast costs, for each receiver.
func BenchmarkDeflateBroadcast(b *testing.B) {
	for _, size := range []int{300, 1024, 16384} {
		text := []byte(prose(rand.New(rand.NewPCG(1, 1)), size))
		for _, test := range []struct {
			name string
			d    *websocket.Deflate
		}{
			{"plain", nil},
			{"no takeover", &websocket.Deflate{SendNoTakeover: true, ReceiveNoTakeover: true}},
			{"12 bits", &websocket.Deflate{}},
		} {
			b.Run(fmt.Sprint(size, " bytes, ", test.name), func(b *testing.B) {
				connect := benchServer(b, test.d)
				var conns []*websocket.Conn
				for range 100 {
					z, c := connect(b)
					conns = append(conns, c)
					go io.Copy(io.Discard, z)
				}
				for b.Loop() {
					m := websocket.Prepare(websocket.Text, text)
					for _, c := range conns {
						c.WritePrepared(bg, m)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/100, "µs/receiver")
			})
		}
	}
}

// benchServer serves echoes, and returns what connects a peer.
func benchServer(b *testing.B, d *websocket.Deflate) func(b *testing.B) (*zipper, *websocket.Conn) {
	conns := make(chan *websocket.Conn, 1)
	o := websocket.Options{PingInterval: -1}
	if d != nil {
		o.Extensions = []websocket.Extension{d}
	}
	s := overLoop.run(b, &websocket.Handler{
		AcceptOptions: websocket.AcceptOptions{Options: o},
		Message: func(c *websocket.Conn, t websocket.MessageType, p []byte) {
			c.Write(context.Background(), t, p)
		},
		Open: func(c *websocket.Conn, _ *http.Request) { conns <- c },
	})
	return func(b *testing.B) (*zipper, *websocket.Conn) { return benchPeer(b, s, conns, d) }
}
