package wstest

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// A Listener accepts connections in memory: what DialContext gives to one side,
// Accept gives to the other. Make one with [NewListener].
type Listener struct {
	addr    net.Addr
	backlog chan *Stream
	closed  chan struct{}

	mu      sync.Mutex
	port    int                  // of the last client
	streams map[*Stream]struct{} // the server's ends that are open
}

// NewListener returns a listener that is open. Within a bubble of testing/synctest
// it is for that bubble.
func NewListener() *Listener {
	return &Listener{
		addr:    &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80},
		backlog: make(chan *Stream),
		closed:  make(chan struct{}),
		port:    1023,
		streams: make(map[*Stream]struct{}),
	}
}

// DialContext connects to the listener, whatever network and addr are, once
// Accept is called; after Close it returns [syscall.ECONNREFUSED]. The connection
// is a *Stream. It fits [websocket.DialOptions] and http.Transport.
func (l *Listener) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	client, server := l.connect()
	var err error
	select {
	case <-l.closed:
		err = syscall.ECONNREFUSED
	default:
		select {
		case l.backlog <- server:
			return client, nil
		case <-l.closed:
			err = syscall.ECONNREFUSED
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	server.Close()
	return nil, &net.OpError{Op: "dial", Net: "tcp", Source: client.local, Addr: l.addr, Err: err}
}

// connect makes a pair of streams, each with a port of its own for the client.
func (l *Listener) connect() (client, server *Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.port++
	client, server = newStreams(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: l.port}, l.addr)
	l.streams[server] = struct{}{}
	server.closed = func() { l.forget(server) }
	return client, server
}

func (l *Listener) forget(server *Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, server)
}

// Accept waits for the next DialContext and returns the server's end, a *Stream.
// After Close it returns [net.ErrClosed].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case server := <-l.backlog:
		return server, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
}

// Close ends Accept and DialContext. Connections go on.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.closed:
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	default:
		close(l.closed)
		return nil
	}
}

// Addr returns the server's address, a *net.TCPAddr that nothing listens on.
func (l *Listener) Addr() net.Addr { return l.addr }

// cut closes the server's end of every connection.
func (l *Listener) cut() {
	l.mu.Lock()
	var streams []*Stream
	for s := range l.streams {
		streams = append(streams, s)
	}
	l.mu.Unlock()
	for _, s := range streams {
		s.Close()
	}
}
