package compare

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// carried is what a TCP connection has carried since it began.
type carried struct{ received, sent, packetsIn, packetsOut uint64 }

// A conn is a connection on which requests come, one after the other. What it
// carries is charged to the way that its latest request belongs to.
type conn struct {
	tcp *net.TCPConn

	mu    sync.Mutex
	seen  carried // has been charged, or belongs to nobody
	fresh bool    // seen is up to date: nothing else has come since
	payer *way    // nil: the latest request belongs to no comparison
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
		known := &conn{tcp: tcp, fresh: true}
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
				known.(*conn).rest(m.running.Load() > 0)
			}
		case http.StateClosed, http.StateHijacked:
			conns.Delete(c)
		}
	}
}

// tcpOf returns the TCP connection below c, or nil.
func tcpOf(c net.Conn) *net.TCPConn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	tcp, _ := c.(*net.TCPConn)
	return tcp
}

// begin charges the connection to w from a request on that has just come, whose bytes
// are all there is new from the client. What was sent meanwhile belongs to the request
// before. w may be nil.
func (c *conn) begin(w *way, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.payer
	if before == nil && w == nil {
		c.fresh = false
		return
	}
	now, ok := readCarried(c.tcp)
	if !ok {
		return
	}
	if before != nil {
		before.charge(0, now.sent-c.seen.sent, now.packetsOut-c.seen.packetsOut)
	}
	if w != nil {
		received, packets := now.received-c.seen.received, now.packetsIn-c.seen.packetsIn
		if !c.fresh { // other requests are in it
			received, packets = requestSize(r), 1
		}
		w.charge(received, 0, packets)
	}
	c.seen, c.fresh, c.payer = now, true, w
	if before != nil && before != w {
		before.drop(c)
	}
	if w != nil {
		w.keep(c)
	}
}

// settle charges what has been carried since the last time.
func (c *conn) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settleLocked()
}

func (c *conn) settleLocked() {
	now, ok := readCarried(c.tcp)
	if !ok || c.payer == nil {
		return
	}
	c.payer.charge(now.received-c.seen.received, now.sent-c.seen.sent,
		now.packetsIn-c.seen.packetsIn+now.packetsOut-c.seen.packetsOut)
	c.seen = now
}

// rest is called when an answer is done and no request has come yet. While nothing is
// compared, nothing is asked of the kernel.
func (c *conn) rest(comparing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.payer != nil:
		c.settleLocked()
	case comparing:
		if now, ok := readCarried(c.tcp); ok {
			c.seen, c.fresh = now, true
		}
	default:
		c.fresh = false
	}
}

// release ends the charging of a way that is no more.
func (c *conn) release(w *way) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.payer == w {
		c.payer, c.fresh = nil, false
	}
}
