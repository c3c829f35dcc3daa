package websocket

import (
	"crypto/tls"
	"io"
	"net"
	"time"

	"github.com/duplexgo/duplex/websocket/internal/netpoll"
	"github.com/duplexgo/duplex/websocket/wire"
)

// A MessageType says what a message is: text or binary. RFC 6455, 5.6.
type MessageType uint8

const (
	Text   = MessageType(wire.OpText)   // UTF-8
	Binary = MessageType(wire.OpBinary) // any bytes

	// Uncompressed is a flag: a message of the type Text|Uncompressed is a text that
	// is not to be compressed, because it holds a secret beside what others have
	// written, or because it is compressed already. Messages that come never have it.
	// See [Deflate].
	Uncompressed MessageType = 0x80
)

// String returns "text" or "binary".
func (t MessageType) String() string { return t.opcode().String() }

func (t MessageType) base() MessageType   { return t &^ Uncompressed }
func (t MessageType) uncompressed() bool  { return t&Uncompressed != 0 }
func (t MessageType) opcode() wire.Opcode { return wire.Opcode(t.base()) }

// valid reports whether messages of this type can be sent.
func (t MessageType) valid() bool { return t.base() == Text || t.base() == Binary }

// frame returns a frame of a message of this type.
func (t MessageType) frame(first, last bool) Frame {
	return Frame{Type: t.base(), First: first, Last: last, Uncompressed: t.uncompressed()}
}

// A Stream is what a connection runs over once its opening handshake is done:
// bytes in order, both ways. A [net.Conn] is one; so is anything that reads,
// writes and closes, if Close does not wait and makes a waiting Read and Write
// return. A TLS connection must have done its own handshake.
//
// Where a Stream has more of net.Conn's methods they are used: with
// SetReadDeadline, waiting for a message can be cancelled without a goroutine
// (unless it returns an error, and with errors that are os.ErrDeadlineExceeded);
// with CloseWrite, the last close frame cannot be lost to a reset; with LocalAddr and
// RemoteAddr, addresses are known.
type Stream interface {
	io.Reader
	io.Writer
	io.Closer
}

// Options are the settings of a connection that servers and clients share. A nil
// *Options and the zero value are good: every limit is on.
type Options struct {
	// Extensions are those that are negotiated, [Deflate] for example. A client
	// offers them in this order; a server takes those that are offered, in the
	// client's order. [Conn.Extensions] tells what came of it. Without an opening
	// handshake, as in [Server] and [Client], there are none. RFC 6455, 9.
	Extensions []Extension

	// MaxMessage is the longest message that is received, in bytes. A longer one
	// ends the connection with 1009 as soon as a header declares it, or once it has
	// been decompressed so far, and Read returns [ErrMessageTooBig]. Default 1 MiB; negative: no limit, which lets
	// the peer fill memory unless messages are taken by [Conn.Reader].
	MaxMessage int64

	// MaxFrame is the longest payload of a single frame that is received, in
	// bytes. Default: as MaxMessage; negative: no limit.
	MaxFrame int64

	// MaxFragments is the largest number of frames that a received message may
	// have; one more ends the connection with 1008. It bounds the work that empty
	// fragments cost. Default 131,072; negative: no limit.
	MaxFragments int

	// AnyText turns off the check that text messages are UTF-8. Text that is
	// not, relayed to a browser, ends the browser's connection.
	AnyText bool

	// WriteTimeout is how long the peer may take nothing of what is written to
	// it; then it is cut off. Over anything but a plain socket it limits each
	// 32 KiB. Default 10 s; negative: no limit.
	WriteTimeout time.Duration

	// SendLimit is how many bytes of messages wait for a slow peer when they are
	// sent by [Conn.Send] or [Broadcast], beside what is being written. A single
	// message may always wait, however large. Default 1 MiB; negative: no limit.
	SendLimit int

	// SlowPolicy says what Send does beyond SendLimit. Default SlowRefuse.
	SlowPolicy SlowPolicy

	// MessageRate is how many messages and control frames a second the peer may send
	// on the average, with ten seconds' worth at once; one more ends the connection
	// with 1008. Default and negative: no limit.
	MessageRate int

	// ByteRate is how many bytes a second the peer may send on the average, as frames,
	// with ten seconds' worth at once; a frame that begins after that ends the
	// connection with 1008. Default and negative: no limit.
	ByteRate int

	// CloseTimeout limits the closing handshake, from the sending of the close
	// frame to the end of the stream. Default 5 s; negative: no limit.
	CloseTimeout time.Duration

	// PingInterval is the time between automatic pings. They keep proxies from
	// ending an idle connection, find dead peers, and measure [Conn.RTT].
	// Default 30 s; negative: no automatic pings.
	PingInterval time.Duration

	// PongTimeout is how long the connection may stay silent, once an automatic
	// ping has been handed to the stream and while something reads; then it ends
	// with [ErrPongTimeout]. A line that takes longer to carry what the system has
	// buffered before the ping needs more. Default 10 s; negative: pings are not
	// waited for.
	PongTimeout time.Duration

	// Hooks tell of what happens; nil: nobody is told.
	Hooks *Hooks
}

// Defaults of Options.
const (
	defaultMaxMessage   = 1 << 20
	defaultMaxFragments = 131072
	defaultSendLimit    = 1 << 20
	defaultWriteTimeout = 10 * time.Second
	defaultCloseTimeout = 5 * time.Second
	defaultPingInterval = 30 * time.Second
	defaultPongTimeout  = 10 * time.Second
)

// withDefaults returns the options in force: zero where there is no limit.
func (o *Options) withDefaults() Options {
	var v Options
	if o != nil {
		v = *o
	}
	v.MaxMessage = setting(v.MaxMessage, defaultMaxMessage)
	v.MaxFrame = setting(v.MaxFrame, v.MaxMessage)
	v.MaxFragments = setting(v.MaxFragments, defaultMaxFragments)
	v.SendLimit = setting(v.SendLimit, defaultSendLimit)
	v.WriteTimeout = setting(v.WriteTimeout, defaultWriteTimeout)
	v.CloseTimeout = setting(v.CloseTimeout, defaultCloseTimeout)
	v.PingInterval = setting(v.PingInterval, defaultPingInterval)
	v.PongTimeout = setting(v.PongTimeout, defaultPongTimeout)
	return v
}

// setting returns the value in force of a limit that was set to v: fallback for
// zero, zero (no limit) for a negative one.
func setting[T int | int64 | time.Duration](v, fallback T) T {
	switch {
	case v == 0:
		return fallback
	case v < 0:
		return 0
	}
	return v
}

// A Conn is a WebSocket connection, the server's end or the client's.
//
// Its methods may be called from any goroutine at any time: writes of several
// goroutines are joined, reads wait for each other. Something must read for the
// connection to notice pings, pongs and the peer's close; an application that
// expects no messages keeps a Read waiting all the same.
//
// After an error that ends the connection, every call returns that error; where a
// write fails because the peer is gone, reads still return what it had sent, and
// perhaps why it went. The end of a context does not end the connection.
type Conn struct {
	// Data is for the application: who the peer is, say. The library does not
	// touch it and does not guard it.
	Data any

	stream      Stream
	settings    *settings
	subprotocol string
	parking     parking // of a Handler's connection

	in     *in // nil: a parked connection that waits between two messages
	out    out
	pinger pinger
	ending ending
}

// settings are what does not change in a connection's life. The connections of a
// Handler share them, and those without options.
type settings struct {
	Options  // in force: zero where there is no limit
	server   bool
	handler  *Handler // whose callbacks get the messages; nil: the application reads
	registry *Registry
	agreed   *agreed // nil: no extensions
	pingless bool    // the stream carries no pings
}

var (
	serverDefaults = &settings{Options: new(Options).withDefaults(), server: true}
	clientDefaults = &settings{Options: new(Options).withDefaults()}
)

// settingsOf returns the settings of a connection with these options.
func settingsOf(o *Options, server bool) *settings {
	switch {
	case o != nil:
		return &settings{Options: o.withDefaults(), server: server}
	case server:
		return serverDefaults
	}
	return clientDefaults
}

// Server returns the server's end of a connection whose opening handshake is
// done. Most programs call [Accept] instead, which does it.
func Server(s Stream, o *Options) *Conn {
	return newConn(s, settingsOf(o, true), "", nil)
}

// Client returns the client's end of a connection whose opening handshake is
// done. Most programs call [Dial] instead, which does it.
func Client(s Stream, o *Options) *Conn {
	return newConn(s, settingsOf(o, false), "", nil)
}

// newConn makes a connection over a stream on which the opening handshake is done
// and has found a subprotocol and first bytes of frames, which are copied.
func newConn(s Stream, v *settings, subprotocol string, buffered []byte) *Conn {
	if t, ok := s.(*transport); ok {
		s = t.NetConn() // without TLS it is of no use
	}
	c := &Conn{stream: s, settings: v, subprotocol: subprotocol}
	if v.handler == nil {
		c.ending.done = make(chan struct{})
		c.stream = patient(s)
		c.in = newIn(c, buffered)
	} else {
		c.park(buffered)
	}
	c.out.init(c)
	err := c.register()
	c.pinger.init(c)
	if err != nil {
		c.cut(&opError{"parking", err})
	}
	if !v.registry.add(c) {
		go c.Close(CloseGoingAway, "") // shut down while the handshake was under way
	}
	return c
}

// patient returns a stream that waits for bytes without a buffer, if the stream
// is of a kind that can; below TLS it is one that costs less than package net's.
func patient(s Stream) Stream {
	switch c := s.(type) {
	case *tls.Conn:
		if t, ok := c.NetConn().(*transport); ok {
			if b := netpoll.NewBlocking(t.NetConn()); b != nil {
				t.become(b)
			}
		}
	case net.Conn:
		if b := netpoll.NewBlocking(c); b != nil {
			return b
		}
	}
	return s
}

// Subprotocol returns the subprotocol that the opening handshake settled on, or
// "". RFC 6455, 1.9.
func (c *Conn) Subprotocol() string { return c.subprotocol }

// LocalAddr returns the stream's local address, or nil where it has none.
func (c *Conn) LocalAddr() net.Addr {
	if s, ok := c.stream.(interface{ LocalAddr() net.Addr }); ok {
		return s.LocalAddr()
	}
	return nil
}

// RemoteAddr returns the address of the stream's other end, or nil where it has
// none. Behind a proxy that is the proxy's.
func (c *Conn) RemoteAddr() net.Addr {
	if s, ok := c.stream.(interface{ RemoteAddr() net.Addr }); ok {
		return s.RemoteAddr()
	}
	return nil
}
