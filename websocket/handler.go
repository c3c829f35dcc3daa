package websocket

import (
	"log/slog"
	"net/http"
	"runtime/debug"
)

// A Handler is an http.Handler that accepts WebSocket connections and calls back
// for what happens on them. It does the opening and the closing handshake,
// answers pings, and holds every connection to its limits; the application gets
// messages. Use it by pointer; its fields must not be changed once it serves.
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
	// and is overwritten later.
	Message func(c *Conn, t MessageType, p []byte)

	// Close is called when the connection has ended. err is what Read would have
	// returned: a [*CloseError] after a closing handshake.
	Close func(c *Conn, err error)

	// Logger gets the panics of callbacks; nil: slog.Default().
	Logger *slog.Logger
}

// keepMessage is the largest buffer for messages that is kept between them.
const keepMessage = 64 << 10

// ServeHTTP accepts the connection and returns when Open has returned.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := accept(w, r, &h.AcceptOptions, true)
	if err != nil {
		return // the request has been answered
	}
	opened := false
	defer func() { go h.serve(c, opened) }() // after a runtime.Goexit, too
	opened = h.call(c, func() {
		if h.Open != nil {
			h.Open(c, r)
		}
	})
}

// serve is a connection's life after Open.
func (h *Handler) serve(c *Conn, opened bool) {
	defer c.registry.remove(c)
	defer h.closed(c) // after a runtime.Goexit, too
	var buf []byte
	for opened {
		t, p, err := c.in.message(buf[:0])
		if err != nil {
			c.in.fail(err)
			break
		}
		if c.out.over() != nil {
			continue // closed by the application: no Message follows
		}
		if buf = p; cap(buf) > keepMessage {
			buf = nil
		}
		opened = h.call(c, func() {
			if h.Message != nil {
				h.Message(c, t, p)
			}
		})
	}
}

func (h *Handler) closed(c *Conn) {
	h.call(c, func() {
		if h.Close != nil {
			h.Close(c, c.ending.cause())
		}
	})
}

// call runs a callback and reports whether it returned. One that panics has ended
// the connection when call returns.
func (h *Handler) call(c *Conn, callback func()) (returned bool) {
	defer func() {
		if returned {
			return
		}
		// Without a value it is runtime.Goexit, by a test's FailNow say: it goes on.
		err := &PanicError{Value: recover(), Stack: debug.Stack()}
		h.report(c, err)
		c.abort(CloseInternalError, "", err)
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
