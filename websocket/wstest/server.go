package wstest

import (
	"context"
	"net"
	"net/http"
	"sync"

	"github.com/duplexgo/duplex/websocket"
)

// A Server runs an http.Handler in memory: there are no ports, nothing else can
// connect, and in a bubble of testing/synctest its time is the bubble's.
type Server struct {
	// URL is the server's address in URLs without a path: ws://server.test. Any
	// other host leads to the server, too.
	URL string

	// Listener is what the server accepts from. Its DialContext serves clients
	// that are made otherwise than by Dial.
	Listener *Listener

	srv     *http.Server
	client  *http.Client
	serving chan struct{} // closed when Serve has returned

	mu       sync.Mutex
	changed  sync.Cond
	handlers int // that run
	closing  bool
}

// NewServer returns a running server for h; nil stands for http.DefaultServeMux.
// Call Close when the test is over.
func NewServer(h http.Handler) *Server {
	return Serve(&http.Server{Handler: h})
}

// Serve is NewServer for an http.Server of which more than its Handler matters:
// timeouts, ConnState, ErrorLog. From here on it is the Server's; its Handler is
// wrapped.
func Serve(srv *http.Server) *Server {
	s := &Server{
		URL:      "ws://server.test",
		Listener: NewListener(),
		srv:      srv,
		serving:  make(chan struct{}),
	}
	s.changed.L = &s.mu
	s.client = &http.Client{Transport: &http.Transport{DialContext: s.Listener.DialContext}}
	next := srv.Handler
	if next == nil {
		next = http.DefaultServeMux
	}
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.enter() {
			defer s.leave()
			next.ServeHTTP(w, r)
		}
	})
	go func() {
		defer close(s.serving)
		srv.Serve(s.Listener)
	}()
	return s
}

// Dial connects a WebSocket client to the server: path is the rest of the URL,
// "/chat?room=7" for example, and o is as for [websocket.Dial]. A DialContext in
// it is used, so that a test can put its hand on the [Stream]:
//
//	var line *wstest.Stream
//	o := &websocket.DialOptions{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
//		c, err := s.Listener.DialContext(ctx, network, addr)
//		if err == nil {
//			line = c.(*wstest.Stream)
//		}
//		return c, err
//	}}
func (s *Server) Dial(ctx context.Context, path string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	var v websocket.DialOptions
	if o != nil {
		v = *o
	}
	if v.DialContext == nil {
		v.DialContext = s.Listener.DialContext
	}
	return websocket.Dial(ctx, s.URL+path, &v)
}

// Client returns an HTTP client for what the server does besides WebSocket. Its
// requests come to the server whatever the host in their URL is: use
// http://server.test. Close closes its connections.
func (s *Server) Client() *http.Client { return s.client }

// Close cuts every connection, those of WebSockets too, waits until all calls of
// the handler have returned, and stops the server. To see a closing handshake, do
// it before, by Conn.Close or Registry.Shutdown. Close may be called twice.
func (s *Server) Close() {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.srv.Close()
	<-s.serving
	s.Listener.cut() // http.Server forgets connections that became WebSockets
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.handlers > 0 {
		s.changed.Wait()
	}
}

// enter counts a handler in. While the server closes it refuses: such a request's
// connection is cut already, and Close would not wait for it.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.handlers++
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers--
	s.changed.Broadcast()
}

var _ net.Listener = (*Listener)(nil)
