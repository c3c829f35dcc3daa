package websocket

import (
	"net"
	"testing"

	"github.com/duplexgo/duplex/websocket/internal/netpoll"
)

// A connection with nothing but frames for which there is no callback gives way to
// others, too: when its time is up it is read from no more.
func TestDrainerGivesWay(t *testing.T) {
	if !netpoll.Supported {
		t.Skip("connections are not parked on this system")
	}
	socket, peer := socketPair(t)
	if _, err := peer.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	l := new(loop)
	turn := newTurn(l)
	d := drainer{turn: turn, socket: socket, all: true, begin: turn.tick()}
	l.ticks.Add(5) // as after a long time with other connections
	read := func(want int, wantErr error) {
		t.Helper()
		if n, err := d.Read(make([]byte, 10)); n != want || err != wantErr {
			t.Errorf("Read returned %d, %v, want %d, %v", n, err, want, wantErr)
		}
	}
	read(10, nil) // something is read in any case
	read(0, netpoll.ErrWouldBlock)
	if !d.later {
		t.Error("the socket counts as empty")
	}
	d = drainer{turn: turn, socket: socket, all: true, begin: turn.tick()}
	for range 9 {
		read(10, nil)
	}
	read(0, netpoll.ErrWouldBlock)
	if d.later {
		t.Error("the socket, which is empty, counts as one to be read from later")
	}
}

// socketPair returns the two ends of a TCP connection.
func socketPair(t *testing.T) (*netpoll.Socket, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	socket, err := netpoll.Take(c.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket, peer
}
