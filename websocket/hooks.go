package websocket

import (
	"errors"
	"net/http"
	"time"

	"github.com/duplexgo/duplex/websocket/wire"
)

// Hooks tell of what happens on connections, for metrics, traces and logs. Each may
// be nil, and costs nothing then. They are called by whatever goroutine it happens
// in, many at once, and hold that up: they should be short, and must not wait for
// the connection they are told of.
type Hooks struct {
	// Handshake is called at the end of each opening handshake.
	Handshake func(h HandshakeInfo)

	// Message is called for each message that the application gets or has sent: when
	// Read returns it, before a Handler's Message, at the end of a Reader; when Write
	// or Send has taken it, when a Writer is closed.
	Message func(c *Conn, m MessageInfo)

	// Control is called for each ping, pong and close frame that comes, when it has
	// been answered. payload is good until it returns. RFC 6455, 5.5.
	Control func(c *Conn, opcode wire.Opcode, payload []byte)

	// Close is called once for each connection, when its stream has been closed. err
	// is why it ended, as Read returns it; code is the one in it: of the side that
	// closed first, of the broken rule, or CloseAbnormal where there was no close
	// frame.
	Close func(c *Conn, code CloseCode, err error)
}

// HandshakeInfo is an opening handshake that has ended.
type HandshakeInfo struct {
	Conn     *Conn          // nil if Err is not
	Request  *http.Request  // what came, or what was sent: its URL has http for ws and https for wss
	Response *http.Response // of a server, as Dial returns it; nil in Accept
	Err      error          // nil, or what Accept or Dial returns; see HandshakeError
	Took     time.Duration  // from the call of Accept or Dial
}

// MessageInfo is a message that has gone one way or the other.
type MessageInfo struct {
	Sent bool // else received
	Type MessageType
	Size int64 // bytes as the application sees them
}

var errHandshakePanic = errors.New("websocket: the opening handshake has ended by a panic, of an Extension or of middleware")

// shaken tells of an opening handshake.
func (h *Hooks) shaken(c *Conn, r *http.Request, resp *http.Response, began time.Duration, err error) {
	if h != nil && h.Handshake != nil {
		if c == nil && err == nil {
			err = errHandshakePanic
		}
		h.Handshake(HandshakeInfo{Conn: c, Request: r, Response: resp, Err: err, Took: clock() - began})
	}
}

// controlled tells of a control frame that has come.
func (c *Conn) controlled(op wire.Opcode, payload []byte) {
	if h := c.settings.Hooks; h != nil && h.Control != nil {
		h.Control(c, op, payload)
	}
}

// received tells of a message that has come.
func (c *Conn) received(t MessageType, size int64) {
	if h := c.settings.Hooks; h != nil && h.Message != nil {
		h.Message(c, MessageInfo{Type: t, Size: size})
	}
}

// sent tells of a message that has been sent, if it has.
func (c *Conn) sent(t MessageType, size int64, err error) error {
	if h := c.settings.Hooks; h != nil && h.Message != nil && err == nil {
		h.Message(c, MessageInfo{Sent: true, Type: t.base(), Size: size})
	}
	return err
}

// closed tells of the end of the connection.
func (c *Conn) closed(err error) {
	if h := c.settings.Hooks; h != nil && h.Close != nil {
		h.Close(c, codeOf(err), err)
	}
}

// codeOf returns the close code that an end of a connection has.
func codeOf(err error) CloseCode {
	var closed *CloseError
	var broken *Error
	var panicked *PanicError
	switch {
	case errors.As(err, &closed):
		return closed.Code
	case errors.As(err, &broken):
		return broken.Code
	case errors.As(err, &panicked):
		return CloseInternalError
	}
	return CloseAbnormal
}
