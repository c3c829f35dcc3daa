package wstest

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
)

// A Peer is the other end of a WebSocket connection, played by a test: it sends
// frames and bytes by hand, right ones and wrong ones, and returns what comes
// without an opinion on it. It answers nothing by itself, neither a ping nor a
// close.
//
//	conn, peer := wstest.TCP.Server(nil)
//	go echo(conn)
//	peer.Send(t, wire.OpText, "hello")
//	peer.Expect(t, wire.OpText, "hello")
//	peer.Send(t, wire.OpClose, "\x03\xe8")
//	peer.ExpectClose(t, wire.CloseNormal)
//	peer.ExpectEnd(t)
//
// One goroutine may send and one receive.
type Peer struct {
	// Stream is what the peer speaks over. To send bytes that are no frame, write
	// to it; to end it, close it.
	websocket.Stream

	// Masks is whether frames are sent masked, as a client does. A test of what
	// becomes of a wrong mask changes it.
	Masks bool

	key uint32 // of the last masked frame
}

// NewPeer returns a Peer over the stream of a connection whose opening handshake
// is done. It may be of any sort; where it is one of this package, [Peer.Line]
// has its script.
func NewPeer(s websocket.Stream, client bool) *Peer {
	return &Peer{Stream: s, Masks: client}
}

// Line returns the Stream of this package that the peer speaks over, or nil. The
// tested end is its Peer: peer.Line().Peer().SplitReads(1), for example.
func (p *Peer) Line() *Stream {
	s, _ := p.Stream.(*Stream)
	return s
}

// WriteFrame sends one frame with one Write. Length, Masked and Key of the header
// are set as is right; the rest goes out as it is. payload is not changed. For a
// header that lies write h.Append(nil) and what is to follow.
func (p *Peer) WriteFrame(h wire.Header, payload []byte) error {
	h.Length, h.Masked, h.Key = int64(len(payload)), p.Masks, 0
	if p.Masks {
		p.key = p.key*0x9E3779B1 + 0x7F4A7C15 // another one each time, the same in each run
		h.Key = p.key
	}
	b := h.Append(make([]byte, 0, wire.MaxHeader+len(payload)))
	n := len(b)
	b = append(b, payload...)
	wire.Mask(b[n:], h.Key)
	_, err := p.Write(b)
	return err
}

// ReadFrame waits for the next frame and returns its header as it came and its
// payload unmasked. The only thing that it does not take is a malformed length,
// which is a [*wire.Error]. The error is io.EOF where the stream ends between
// frames, and io.ErrUnexpectedEOF where it ends within one. A frame that is
// stopped by a deadline is lost. It reads no byte more than the frame has.
func (p *Peer) ReadFrame() (wire.Header, []byte, error) {
	var b [wire.MaxHeader]byte
	for n := 0; ; n++ {
		h, _, err := wire.ParseHeader(b[:n])
		if err == nil {
			payload, err := p.readPayload(h)
			return h, payload, err
		}
		if err != io.ErrUnexpectedEOF {
			return wire.Header{}, nil, err
		}
		if _, err := io.ReadFull(p, b[n:n+1]); err != nil {
			if err == io.EOF && n > 0 {
				err = io.ErrUnexpectedEOF
			}
			return wire.Header{}, nil, err
		}
	}
}

func (p *Peer) readPayload(h wire.Header) ([]byte, error) {
	var payload bytes.Buffer // grows with what comes, not with what was declared
	if _, err := io.CopyN(&payload, p, h.Length); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if h.Masked {
		wire.Mask(payload.Bytes(), h.Key)
	}
	return payload.Bytes(), nil
}

// Send sends a whole frame, with FIN and without RSV bits. Like the methods below
// it ends the test where that fails, so it must be called by the test's goroutine.
func (p *Peer) Send(t testing.TB, op wire.Opcode, payload string) {
	t.Helper()
	if err := p.WriteFrame(wire.Header{Fin: true, Opcode: op}, []byte(payload)); err != nil {
		t.Fatalf("peer: sending %v %s: %v", op, clip(payload), err)
	}
}

// Expect waits for the next frame, which must be whole, without RSV bits, masked
// if this peer does not mask, and have this opcode and payload.
func (p *Peer) Expect(t testing.TB, op wire.Opcode, payload string) {
	t.Helper()
	h, got, err := p.ReadFrame()
	if err != nil {
		t.Fatalf("peer: %v; want %v %s", err, op, clip(payload))
	}
	if h.Opcode != op || string(got) != payload {
		t.Fatalf("peer: received %v %s; want %v %s", h.Opcode, clip(string(got)), op, clip(payload))
	}
	p.checkForm(t, h)
}

// ExpectClose waits for the next frame, which must be a close frame with this
// code, and returns its reason.
func (p *Peer) ExpectClose(t testing.TB, code websocket.CloseCode) (reason string) {
	t.Helper()
	h, payload, err := p.ReadFrame()
	if err != nil {
		t.Fatalf("peer: %v; want a close frame with %v", err, code)
	}
	if h.Opcode != wire.OpClose {
		t.Fatalf("peer: received %v %s; want a close frame with %v", h.Opcode, clip(string(payload)), code)
	}
	got, reason, err := wire.ParseClose(payload)
	if err != nil || got != code {
		t.Fatalf("peer: received a close frame with payload %s; want %v", clip(string(payload)), code)
	}
	p.checkForm(t, h)
	return reason
}

// ExpectEnd waits for the end of the stream, before which nothing must come.
func (p *Peer) ExpectEnd(t testing.TB) {
	t.Helper()
	b := make([]byte, 512)
	if n, err := p.Read(b); err != io.EOF {
		t.Fatalf("peer: read %q, %v; want the end", b[:n], err)
	}
}

// checkForm checks what is right of every whole frame.
func (p *Peer) checkForm(t testing.TB, h wire.Header) {
	t.Helper()
	if !h.Fin || h.Rsv != 0 || h.Masked == p.Masks {
		t.Fatalf("peer: received a frame with header %+v; want FIN, no RSV bits, masked %v", h, !p.Masks)
	}
}

// clip quotes a payload, in a length that one can read.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q... (%d bytes)", s[:most], len(s))
	}
	return fmt.Sprintf("%q", s)
}
