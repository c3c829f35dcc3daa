package websocket

import (
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// A Handler is an http.Handler that accepts WebSocket connections and calls back
// for what happens on them. It does the opening and the closing handshake,
// answers pings, and holds every connection to its limits; the application gets
// messages. Use it by pointer; its fields must not be changed once it serves.
//
// Connections that wait cost next to nothing. For that a plain TCP connection is
// taken over for good: the net.Conn that a listener has made is closed, and whoever
// has kept it can do nothing with it any more. Name a [Registry] to find the
// connections again, and to end them together: a Handler keeps no list.
//
// Callbacks of one connection never run at once: Open returns before the first
// Message, messages come in order, and Close is called once, at the end, for
// every connection that Open was called for. They may block; short ones are
// cheapest. Callbacks of different connections run at the same time.
//
// In a Handler's Conn the Handler reads: Read and Reader return an error. Close
// queues the close frame and returns; Ping does not wait. Write may return before
// the bytes have left the process, and an error then shows in the Close callback;
// a peer that takes nothing is not read from either, up to
// [Options.WriteTimeout].
//
// A callback that panics ends its connection with 1011, and no other; the panic
// is logged and given to Close as a [*PanicError]. A panic with
// http.ErrAbortHandler is not logged.
type Handler struct {
	AcceptOptions

	// Open is called when the opening handshake is done. The request is good
	// until Open returns; its context ends then.
	Open func(c *Conn, r *http.Request)

	// Message is called for each message. p is the callback's until it returns,
	// and is overwritten later. Write and Prepare copy what they keep of it.
	Message func(c *Conn, t MessageType, p []byte)

	// Close is called when the connection has ended. err is what Read would have
	// returned: a [*CloseError] after a closing handshake.
	Close func(c *Conn, err error)

	// Logger gets the panics of callbacks; nil: slog.Default().
	Logger *slog.Logger

	handling
}

// handling is what a Handler has beside its settings.
type handling struct {
	once     sync.Once
	settings *settings
	extended map[string]*settings // those of connections with extensions, by their answer
	wheel    wheel
	temper   temper

	mu    sync.Mutex // also of extended
	loops []*loop    // nil: no connection is parked there
	next  int        // the number of the next connection
}

// keepMessage is the largest buffer for messages that is kept between them.
const keepMessage = 64 << 10

// ServeHTTP accepts the connection and returns when Open has returned.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Within accept the connection changes hands. net/http gives up its net.Conn, and
	// park makes a netpoll.Socket of a plain TCP one: that duplicates the descriptor
	// and closes the net.Conn. From then on the Socket is the descriptor's only owner,
	// and the loop knows the connection by a token, never by the descriptor. Any other
	// net.Conn goes on owning its own. Both are closed by Conn.cut alone, once.
	c, err := accept(w, r, &h.AcceptOptions, h.shared)
	if err != nil {
		return // the request has been answered
	}
	if !h.call(c, func() {
		if h.Open != nil {
			h.Open(c, r)
		}
	}) {
		return
	}
	switch {
	case c.socket() == nil:
		go h.attend(c)
	case c.in != nil || !c.parking.release():
		c.parking.loop.crew.work(c, true) // something has come already
	}
}

// shared returns the settings of all connections.
func (h *Handler) shared() *settings {
	h.once.Do(func() {
		h.settings = &settings{
			Options:  h.AcceptOptions.Options.withDefaults(),
			server:   true,
			handler:  h,
			registry: h.AcceptOptions.Registry,
		}
	})
	return h.settings
}

// join returns the loop for a new connection, nil where the system has none.
func (h *Handler) join() *loop {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.loops == nil {
		// Half of the processors: callbacks' own goroutines, and the system's part of
		// the work, have the other half.
		h.loops = make([]*loop, max(1, runtime.GOMAXPROCS(0)/2))
	}
	i := h.next % len(h.loops)
	h.next++
	l := h.loops[i]
	if l == nil {
		var err error
		if l, err = newLoop(h); err != nil {
			return nil // no descriptors are left, say: a goroutine does it
		}
		h.loops[i] = l
	}
	l.conns++
	return l
}

// moment is how long a goroutine stays with a connection that could be parked.
const moment = 250 * time.Millisecond

// attend reads from a connection that the caller owns and that no loop reads, and
// calls back for its messages, until it can be parked or has ended.
func (h *Handler) attend(c *Conn) {
	if c.in == nil {
		c.in = newIn(c, nil)
	}
	var buf []byte
	for busy := c.stay(); ; {
		t, p, err := c.in.message(buf[:0])
		if err != nil {
			if c.parking.loop == nil || !isTimeout(err) || c.ending.ended() {
				c.depart(err)
				return
			}
			if !busy && c.repark() {
				return
			}
			busy = c.stay()
			continue
		}
		busy = true
		if c.over() {
			continue
		}
		if buf = p; cap(buf) > keepMessage {
			buf = nil
		}
		c.in.pause()
		if !h.message(c, t, p) {
			return
		}
	}
}

// leave brings a connection to its end, calls Close and forgets it. The caller owns
// the connection.
func (h *Handler) leave(c *Conn, err error) {
	defer func() { // after a runtime.Goexit, too
		c.settings.registry.remove(c)
		if l := c.parking.loop; l != nil {
			l.leave()
		}
	}()
	c.linger()
	c.end(err)
	h.call(c, func() {
		if h.Close != nil {
			h.Close(c, c.ending.cause())
		}
	})
}

func (h *Handler) message(c *Conn, t MessageType, p []byte) bool {
	return h.call(c, func() {
		c.received(t, int64(len(p)))
		if h.Message != nil {
			h.Message(c, t, p)
		}
	})
}

// call runs a callback and reports whether it returned. One that panics ends the
// connection, and another goroutine is its owner when call returns.
func (h *Handler) call(c *Conn, callback func()) (returned bool) {
	defer func() {
		if returned {
			return
		}
		// Without a value it is runtime.Goexit, by a test's FailNow say: it goes on.
		err := &PanicError{Value: recover(), Stack: debug.Stack()}
		h.report(c, err)
		c.depart(err)
	}()
	callback()
	return true
}

func (h *Handler) report(c *Conn, err *PanicError) {
	if err.Value == nil || err.Value == http.ErrAbortHandler {
		return
	}
	logger := h.Logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.Error("websocket: panic in a callback", "remote", c.RemoteAddr(), "panic", err.Value, "stack", string(err.Stack))
}
