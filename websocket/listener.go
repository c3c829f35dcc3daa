package websocket

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/duplexgo/duplex/websocket/internal/netpoll"
)

// NewListener returns a listener to speak TLS on, for which a [Handler]'s connections
// cost less: the loop reads them itself, as it reads plain ones, where it has to
// leave others to a goroutine for as long as they are busy. Those of [Accept] read and write
// at less cost, too.
//
//	l, err := net.Listen("tcp", ":443")
//	...
//	err = server.ServeTLS(websocket.NewListener(l), "cert.pem", "key.pem")
//
// It belongs below TLS: crypto/tls finds the TCP connection in a form in which it can
// be taken from package net, while its own state stays as it is. Plain connections
// need no such listener, and those of other kinds pass through it as they are. What it
// accepts has a method NetConn, which returns the TCP connection; it is closed, and no
// use to anybody, once a Handler has taken it.
func NewListener(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok && netpoll.Supported {
		return newTransport(tcp), nil
	}
	return c, err
}

// A transport is the connection that crypto/tls reads from and writes to, and keeps for
// good: at first one of package net, later a carrier, or a netpoll.Blocking. Others may
// have kept it too, and ask for its address while that changes.
type transport struct{ conn atomic.Pointer[net.Conn] }

func newTransport(c net.Conn) *transport {
	t := new(transport)
	t.become(c)
	return t
}

func (t *transport) become(c net.Conn) { t.conn.Store(&c) }

// below is the connection that it is now.
func (t *transport) below() net.Conn { return *t.conn.Load() }

// NetConn returns the connection of package net.
func (t *transport) NetConn() net.Conn {
	c := t.below()
	if b, ok := c.(*netpoll.Blocking); ok {
		return b.Conn
	}
	return c
}

func (t *transport) Read(p []byte) (int, error)          { return t.below().Read(p) }
func (t *transport) Write(p []byte) (int, error)         { return t.below().Write(p) }
func (t *transport) Close() error                        { return t.below().Close() }
func (t *transport) LocalAddr() net.Addr                 { return t.below().LocalAddr() }
func (t *transport) RemoteAddr() net.Addr                { return t.below().RemoteAddr() }
func (t *transport) SetDeadline(at time.Time) error      { return t.below().SetDeadline(at) }
func (t *transport) SetReadDeadline(at time.Time) error  { return t.below().SetReadDeadline(at) }
func (t *transport) SetWriteDeadline(at time.Time) error { return t.below().SetWriteDeadline(at) }

// SyscallConn returns the way to the descriptor.
func (t *transport) SyscallConn() (syscall.RawConn, error) {
	if c, ok := t.NetConn().(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// CloseWrite tells the peer that nothing more will be sent. Reading goes on.
func (t *transport) CloseWrite() error {
	if c, ok := t.below().(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}
