package websocket

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"
)

// A Registry knows the connections of a server, so that they can be ended
// together: an http.Server forgets those that became WebSockets. The zero value
// is ready; name it in [AcceptOptions.Registry].
//
//	var lines websocket.Registry
//	...
//	lines.Shutdown(ctx) // closes the WebSockets, and refuses new ones
//	srv.Shutdown(ctx)   // waits for the other requests
//
// (Called by http.Server.RegisterOnShutdown it would not be waited for.)
type Registry struct {
	// ShutdownRate is how many connections a second Shutdown closes: clients that are
	// told at once come back at once. Default: all of them at once.
	ShutdownRate int

	mu         sync.Mutex
	conns      map[*Conn]struct{}
	handshakes int // opening handshakes that may still bring a connection
	shut       bool
	empty      chan struct{} // closed when shut and the last connection has gone
}

// Len returns the number of connections.
func (g *Registry) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.conns)
}

// All returns the connections that there are at the call, in no order. A [Handler]'s
// are there before Open is called, and so before Open can have set [Conn.Data].
func (g *Registry) All() iter.Seq[*Conn] {
	return slices.Values(g.snapshot())
}

func (g *Registry) snapshot() []*Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Keys(g.conns))
}

// Shutdown refuses new connections with 503, closes every connection with 1001
// (going away) and waits until they have ended; those of a [Handler] until their
// Close callback has returned. When ctx ends before that, the rest is cut and
// Shutdown returns ctx.Err(); over TLS that may take up to 5 s more. It may be
// called more than once, but by no callback of a Handler: it would wait for that one
// itself.
func (g *Registry) Shutdown(ctx context.Context) error {
	empty := g.refuse()
	g.closeAll(ctx, empty)
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	}
	var cut sync.WaitGroup
	for c := range g.All() {
		cut.Go(func() { c.CloseNow() }) // a TLS connection may take its time to close
	}
	cut.Wait()
	return ctx.Err()
}

// closeAll begins to close the connections, at most ShutdownRate a second, until
// ctx ends.
func (g *Registry) closeAll(ctx context.Context, empty <-chan struct{}) {
	const step = 10 * time.Millisecond // more often is no gentler
	began, n := time.Now(), 0
	for c := range g.All() {
		if g.ShutdownRate > 0 {
			due := time.Duration(float64(n) / float64(g.ShutdownRate) * float64(time.Second))
			if wait := due - time.Since(began); wait >= step {
				select {
				case <-time.After(wait):
				case <-empty:
					return
				case <-ctx.Done():
					return
				}
			}
		}
		n++
		go c.Close(CloseGoingAway, "")
	}
}

// refuse takes no more connections and returns a channel that is closed when
// there are none left.
func (g *Registry) refuse() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	if g.empty == nil {
		g.empty = make(chan struct{})
		g.tell()
	}
	return g.empty
}

// tell closes empty when it is time for that, once: nothing is added any more.
func (g *Registry) tell() {
	if g.empty != nil && len(g.conns) == 0 && g.handshakes == 0 {
		select {
		case <-g.empty:
		default:
			close(g.empty)
		}
	}
}

// enter is called when an opening handshake begins, and reports whether it may;
// leave when it is over and add has been called for the connection, if there is
// one. Between the two a Shutdown waits: the peer may have its 101 already. Like
// add and remove, they may be called on a nil Registry, which takes every
// connection and keeps none.
func (g *Registry) enter() bool {
	if g == nil {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.handshakes++
	return true
}

func (g *Registry) leave() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.handshakes--
	g.tell()
}

// add takes a connection and reports whether it may live; otherwise it is to be
// closed.
func (g *Registry) add(c *Conn) bool {
	if g == nil {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conns == nil {
		g.conns = make(map[*Conn]struct{})
	}
	g.conns[c] = struct{}{}
	return !g.shut
}

func (g *Registry) remove(c *Conn) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
	g.tell()
}
