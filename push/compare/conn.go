package compare

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// carried is what a TCP connection has carried since it began.
type carried struct{ received, sent, packetsIn, packetsOut uint64 }

// A conn is a connection on which requests come, one after the other. What it carries
// is charged to the way that its latest request belongs to: what is received, from
// the request's beginning to its end, for then the next may come at any time; what is
// sent, until the next request.
type conn struct {
	tcp *net.TCPConn

	mu     sync.Mutex
	seen   carried // has been charged, or belongs to nobody
	known  bool    // seen is right: nothing has come since that nobody has looked at
	active bool    // a request is being answered
	taken  bool    // the latest request goes on for as long as the connection does
	payer  *way    // of the latest request; nil: it belongs to no comparison
}

type connKey struct{}

// connOf returns the connection of a request that can be charged; nil where there is
// none, or several requests share one.
func connOf(r *http.Request) *conn {
	if r.ProtoMajor != 1 {
		return nil
	}
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// Watch lets the Meter see the connections of a server, for [Meter.Count]. It sets
// ConnContext and ConnState, after which those that were set before are called as
// ever, and must be called before the server serves.
func (m *Meter) Watch(srv *http.Server) {
	var conns sync.Map // net.Conn to *conn
	before := srv.ConnContext
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if before != nil {
			ctx = before(ctx, c)
		}
		tcp := tcpOf(c)
		if ctx == nil || tcp == nil {
			return ctx
		}
		if _, ok := readCarried(tcp); !ok {
			return ctx
		}
		known := &conn{tcp: tcp, known: true}
		conns.Store(c, known)
		return context.WithValue(ctx, connKey{}, known)
	}
	next := srv.ConnState
	srv.ConnState = func(c net.Conn, state http.ConnState) {
		if next != nil {
			next(c, state)
		}
		switch state {
		case http.StateIdle: // the answer has been written
			if known, ok := conns.Load(c); ok {
				known.(*conn).rest()
			}
		case http.StateClosed, http.StateHijacked:
			conns.Delete(c)
		}
	}
}

// tcpOf returns the TCP connection below c, or nil.
func tcpOf(c net.Conn) *net.TCPConn {
	for {
		above, ok := c.(interface{ NetConn() net.Conn }) // a tls.Conn, and what may be below it
		if !ok {
			tcp, _ := c.(*net.TCPConn)
			return tcp
		}
		c = above.NetConn()
	}
}

// begin is called when the head of a request has come, which is all that is new from
// the client; w may be nil. What was sent meanwhile belongs to the request before, or
// on a new connection, where it is the handshake of TLS, to this one.
func (c *conn) begin(w *way, r *http.Request, comparing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.payer
	if before == nil && !comparing {
		c.known = false
		return
	}
	now, ok := readCarried(c.tcp)
	if !ok {
		return
	}
	first := c.seen == carried{} && c.known
	if before != nil {
		before.charge(0, now.sent-c.seen.sent, now.packetsOut-c.seen.packetsOut)
	}
	switch {
	case w == nil:
	case first:
		w.charge(now.received, now.sent, now.packetsIn+now.packetsOut)
	case c.known:
		w.charge(now.received-c.seen.received, 0, now.packetsIn-c.seen.packetsIn)
	default: // other requests are in it, of when nothing was compared
		w.charge(requestSize(r), 0, 1)
	}
	c.seen, c.known, c.active, c.payer = now, true, true, w
	if before != nil && before != w {
		before.drop(c)
	}
	if w != nil {
		w.keep(c)
	}
}

// end is called when the handler is done with a request, and so with its body. The
// client has not got all of the answer yet, so nothing of a next request has come.
func (c *conn) end(comparing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.payer == nil && !comparing {
		c.known = false
		return
	}
	c.settle()
	c.active = c.taken
}

// take makes the connection that of a WebSocket: no request will follow.
func (c *conn) take() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken = true
}

// rest is called when the answer has been written.
func (c *conn) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.payer != nil {
		c.settle()
	}
}

// update charges what has been carried until now.
func (c *conn) update() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
}

// settle charges what is certain to belong to the latest request. The lock is held.
func (c *conn) settle() {
	now, ok := readCarried(c.tcp)
	if !ok {
		return
	}
	if !c.active {
		now.received, now.packetsIn = c.seen.received, c.seen.packetsIn
	}
	if c.payer != nil {
		c.payer.charge(now.received-c.seen.received, now.sent-c.seen.sent,
			now.packetsIn-c.seen.packetsIn+now.packetsOut-c.seen.packetsOut)
	}
	c.seen = now
}

// release ends the charging of a way that is no more.
func (c *conn) release(w *way) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.payer == w {
		c.payer, c.known = nil, false
	}
}
