package websocket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// bg is the context of calls that nothing stops.
var bg = context.Background()

// overKinds runs a test in fake time over streams with deadlines and without. A
// goroutine that the test leaves behind fails it.
func overKinds(t *testing.T, test func(t *testing.T, kind wstest.Kind)) {
	for _, kind := range wstest.Kinds {
		t.Run(kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, kind) })
		})
	}
}

// pair returns the two ends of a connection.
func pair(t *testing.T, kind wstest.Kind, o *websocket.Options) (client, server *websocket.Conn) {
	client, server = kind.Pipe(o, o)
	t.Cleanup(func() { client.CloseNow(); server.CloseNow() })
	return client, server
}

// A raw is a peer that a test plays by hand, with frames built as bytes: tests
// here send several at once, or half of one.
type raw struct {
	*wstest.Peer
	t *testing.T
	s *wstest.Stream // what it speaks over in memory
}

// against returns a connection and the peer that the test plays: a client to a
// server's connection and the reverse.
func against(t *testing.T, kind wstest.Kind, server bool, o *websocket.Options) (*websocket.Conn, *raw) {
	end := kind.Client
	if server {
		end = kind.Server
	}
	c, peer := end(o)
	t.Cleanup(func() { peer.Close(); c.CloseNow() })
	return c, &raw{Peer: peer, t: t, s: peer.Line()}
}

// frame returns a frame as this peer sends it.
func (r *raw) frame(fin bool, op wire.Opcode, payload string) []byte {
	return r.encode(wire.Header{Fin: fin, Opcode: op, Masked: r.Masks, Key: 0x9a3c51e7, Length: int64(len(payload))}, payload)
}

func (r *raw) encode(h wire.Header, payload string) []byte {
	b := h.Append(nil)
	n := len(b)
	b = append(b, payload...)
	if h.Masked {
		wire.Mask(b[n:], h.Key)
	}
	return b
}

// send sends frames, or any bytes, with one write.
func (r *raw) send(bb ...[]byte) {
	r.t.Helper()
	if err := r.trySend(bb...); err != nil {
		r.t.Fatalf("peer: sending: %v", err)
	}
}

// trySend is send for other goroutines than the test's.
func (r *raw) trySend(bb ...[]byte) error {
	_, err := r.Write(slices.Concat(bb...))
	return err
}

func (r *raw) text(s string) []byte { return r.frame(true, wire.OpText, s) }
func (r *raw) close(code websocket.CloseCode, reason string) []byte {
	return r.frame(true, wire.OpClose, string(wire.AppendClose(nil, code, reason)))
}

// next returns the next frame that comes, like "pong hi", "text… the first
// fragment", "close 1000 the reason", or "end" at the end of the stream.
func (r *raw) next() string {
	r.t.Helper()
	h, p, err := r.ReadFrame()
	switch {
	case err == io.EOF:
		return "end"
	case err != nil:
		return "error " + err.Error()
	case h.Masked == r.Masks:
		r.t.Errorf("frame %v: masked is %v", h.Opcode, h.Masked)
	}
	return describe(h, p)
}

func describe(h wire.Header, p []byte) string {
	s := h.Opcode.String()
	if !h.Fin {
		s += "…"
	}
	if h.Rsv != 0 {
		s += fmt.Sprintf(" rsv %#x", h.Rsv)
	}
	switch {
	case h.Opcode == wire.OpClose:
		code, reason, err := wire.ParseClose(p)
		if err != nil {
			return fmt.Sprintf("%s malformed %x", s, p)
		}
		return strings.TrimSpace(fmt.Sprintf("%s %d %s", s, code, reason))
	case len(p) > 64:
		return fmt.Sprintf("%s %d bytes", s, len(p))
	}
	return strings.TrimSpace(s + " " + string(p))
}

// want fails unless these frames come, in this order.
func (r *raw) want(frames ...string) {
	r.t.Helper()
	for _, want := range frames {
		got := r.next()
		if got != want && !(strings.HasSuffix(want, "*") && strings.HasPrefix(got, strings.TrimSuffix(want, "*"))) {
			r.t.Fatalf("the peer got %q, want %q", got, want)
		}
	}
}

// read fails unless the next message is this one.
func read(t *testing.T, c *websocket.Conn, want string) {
	t.Helper()
	_, p, err := c.Read(bg)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	if string(p) != want {
		t.Fatalf("Read: got %d bytes %.40q, want %d bytes %.40q", len(p), p, len(want), want)
	}
}

// wantClose fails unless err is a CloseError like this one.
func wantClose(t *testing.T, err error, want websocket.CloseError) {
	t.Helper()
	var ce *websocket.CloseError
	if !errors.As(err, &ce) || *ce != want {
		t.Fatalf("got error %v (%T), want %v", err, err, &want)
	}
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v is not net.ErrClosed", err)
	}
}

// wantError fails unless err is an Error of this code.
func wantError(t *testing.T, err error, code websocket.CloseCode) {
	t.Helper()
	var e *websocket.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got error %v (%T), want a websocket.Error with %v", err, err, code)
	}
}

// async runs f and returns a function that waits for its result, and can be called
// again.
func async[T any](f func() T) func() T {
	ch := make(chan T, 1)
	go func() { ch <- f() }()
	return sync.OnceValue(func() T { return <-ch })
}

// reading reads one message in the background and returns how that ended.
func reading(c *websocket.Conn) func() error {
	return async(func() error { _, _, err := c.Read(bg); return err })
}

// echoing sends back every message until the connection ends, and returns a
// function that waits for that.
func echoing(c *websocket.Conn) func() error {
	return async(func() error {
		var buf []byte
		for {
			t, p, err := c.AppendRead(bg, buf[:0])
			if err == nil {
				err = c.Write(bg, t, p)
			}
			if err != nil {
				return err
			}
			buf = p
		}
	})
}

func message(n int) string { return strings.Repeat("0123456789abcdef", n/16+1)[:n] }

const handshakeRequest = "GET / HTTP/1.1\r\nHost: server.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

// handshaking returns a raw client that has sent its handshake, and together with
// it the first bytes of frames.
func handshaking(t *testing.T, stream net.Conn, first ...[]byte) *raw {
	t.Helper()
	return offering(t, "", stream, first...)
}

// offering is handshaking with an offer of extensions.
func offering(t *testing.T, offer string, stream net.Conn, first ...[]byte) *raw {
	t.Helper()
	request := handshakeRequest
	if offer != "" {
		request = strings.TrimSuffix(request, "\r\n") + "Sec-WebSocket-Extensions: " + offer + "\r\n\r\n"
	}
	if _, err := stream.Write(append([]byte(request), slices.Concat(first...)...)); err != nil {
		t.Fatal(err)
	}
	line, _ := stream.(*wstest.Stream)
	return &raw{Peer: wstest.NewPeer(stream, true), t: t, s: line}
}

// open waits for the server's answer, which must be a 101.
func (r *raw) open(t *testing.T) {
	t.Helper()
	var head []byte
	for b := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, b[0]) {
		if _, err := r.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		t.Fatalf("the server answered %q", head)
	}
}
