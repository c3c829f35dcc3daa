package compare

import (
	"context"
	"net"
	"net/http"
	"os"
	"sync"
)

// carried is what a TCP connection has carried since it began. A segment without data
// acknowledges what has come from the other side, and belongs to that.
type carried struct {
	asked, answered half
	closed          bool // nothing more will be carried
}

// A half is the data of one side: its bytes, the segments that they were in, and
// those that acknowledge them.
type half struct{ bytes, packets uint64 }

func (h half) since(before half) half {
	return half{h.bytes - before.bytes, h.packets - before.packets}
}

// A conn is a connection on which requests come, one after the other. What it carries
// is charged to the way that its latest request belongs to: what is asked, from
// the request's beginning to its end, for then the next may come at any time; what is
// answered, until the next request.
type conn struct {
	tcp   *net.TCPConn
	meter *Meter

	mu     sync.Mutex
	seen   carried // has been charged, or belongs to nobody; right only while something is compared
	used   bool    // a request has come
	active bool    // a request is being answered
	taken  bool    // the latest request goes on for as long as the connection does
	payer  *way    // of the latest request; nil: it belongs to no comparison

	// A second descriptor while somebody pays. It can be asked when the server has closed
	// the first, and what it says then is the cost of closing.
	held *os.File
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
		known := &conn{tcp: tcp, meter: m}
		m.conns.Store(c, known)
		return context.WithValue(ctx, connKey{}, known)
	}
	next := srv.ConnState
	srv.ConnState = func(c net.Conn, state http.ConnState) {
		if next != nil {
			next(c, state)
		}
		known, ok := m.conns.Load(c)
		if !ok {
			return
		}
		switch state {
		case http.StateIdle: // the answer has been written
			known.(*conn).rest()
		case http.StateClosed:
			m.conns.Delete(c)
			known.(*conn).close()
		case http.StateHijacked:
			m.conns.Delete(c)
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

// look is called for all connections when a comparison begins and there was none:
// what they have carried until now is nobody's. One that is being used looks for
// itself, at the end of its request; all that a new one has carried is of its first.
func (c *conn) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now, ok := c.read(); ok && c.used && !c.active {
		c.seen = now
	}
}

// begin is called when the head of a request has come, which is all that is new from
// the client; w may be nil. What was answered meanwhile belongs to the request before,
// or on a new connection, where it is the handshake of TLS, to this one.
func (c *conn) begin(w *way) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.payer
	answered := before
	if !c.used {
		answered = w
	}
	c.used, c.active = true, true
	if before == nil && !c.meter.comparing() {
		return
	}
	now, ok := c.read()
	if !ok {
		return
	}
	answered.charge(half{}, now.answered.since(c.seen.answered))
	w.charge(now.asked.since(c.seen.asked), half{})
	c.seen, c.payer = now, w
	if before != w {
		before.drop(c)
		w.keep(c)
	}
	if w == nil {
		c.letGo()
	} else if c.held == nil {
		c.held, _ = c.tcp.File() // without it the closing is not counted
	}
}

// end is called when the handler is done with a request, and so with its body. The
// client has not got all of the answer yet, so nothing of a next request has come.
func (c *conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.payer != nil || c.meter.comparing() {
		c.settle()
	}
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
	now, ok := c.read()
	if !ok {
		return
	}
	if !c.active {
		now.asked = c.seen.asked
	}
	c.payer.charge(now.asked.since(c.seen.asked), now.answered.since(c.seen.answered))
	c.seen = now
	if now.closed {
		c.forget()
	}
}

// read returns what has been carried until now. The lock is held.
func (c *conn) read() (carried, bool) {
	if c.held != nil {
		return readCarried(c.held)
	}
	return readCarried(c.tcp)
}

// close is called when the server has closed the connection, which is done now: while
// there is a second descriptor nothing was said to the client.
func (c *conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.forget()
		return
	}
	shutdown(c.held)
	c.active = true // for ever: no request will follow
	c.settle()
}

// release ends the charging of a way that is no more.
func (c *conn) release(w *way) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.payer == w {
		c.forget()
	}
}

// forget ends the charging. The lock is held.
func (c *conn) forget() {
	c.payer.drop(c)
	c.payer = nil
	c.letGo()
}

// letGo closes the second descriptor. The lock is held.
func (c *conn) letGo() {
	if c.held != nil {
		c.held.Close()
		c.held = nil
	}
}
