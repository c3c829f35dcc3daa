package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// The echo server is held to RFC 6455 from outside, over TCP and as it is started
// without any option: for each row of the tables below a client sends frames,
// right ones and wrong ones, and what comes back must be these frames in this
// order, then the end of the stream, and nothing else.
func TestScript(t *testing.T) {
	echo, url := startEcho(t)
	host := strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/")
	t.Run("sections", func(t *testing.T) {
		for _, s := range sections() {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				for _, d := range s.dialogues {
					for _, w := range s.ways {
						t.Run(d.name+" (RFC 6455, "+d.rfc+")/"+w.name, func(t *testing.T) { d.hold(t, host, w) })
					}
				}
			})
		}
	})
	echo.cancel()
	if code := echo.wait(); code != exitOK || strings.Contains(echo.stderr.String(), "level=WARN") || strings.Contains(echo.stderr.String(), "level=ERROR") {
		t.Errorf("the server ended with exit code %d, stderr %q", code, echo.stderr)
	}
}

// A section is a table of dialogues, each of which is held in each of the ways.
type section struct {
	name      string
	ways      []way
	dialogues []dialogue
}

func sections() []section {
	const kib, mib = 1 << 10, 1 << 20
	small := []way{atOnce, frameWise, octetWise}
	return []section{
		{"framing", []way{atOnce, octetWise, chops(997), withRequest}, framing()},
		{"headers", small, headers()},
		{"pings", small, pings()},
		{"reserved bits", small, reservedBits()},
		{"opcodes", small, opcodes()},
		{"fragmentation", small, fragmentation()},
		{"valid UTF-8", []way{atOnce, octetWise}, validTexts()},
		{"invalid UTF-8", []way{atOnce, octetWise}, invalidTexts()},
		{"close", small, closes()},
		{"close codes", []way{atOnce, octetWise}, closeCodes()},
		{"after close", []way{atOnce, frameWise, chops(997)}, afterClose()},
		{"messages of a size", []way{atOnce}, messages(64*kib, 256*kib, mib, 4*mib, 8*mib, 16*mib)},
		{"messages in chops", []way{chops(64), chops(128), chops(256), chops(512), chops(1024), chops(2048)}, messages(mib)},
		{"longest messages in chops", []way{chops(997)}, messages(16 * mib)},
		{"messages in fragments", []way{frameWise}, fragmented(4*mib, 64, 256, kib, 4*kib, 16*kib, 64*kib, 256*kib, mib, 4*mib)},
		{"longest messages in fragments", []way{frameWise}, fragmented(16*mib, 4*mib)},
		{"messages in odd fragments", []way{atOnce, frameWise, chops(997)}, fragmented(64*kib, 1300)},
		{"many fragments", []way{atOnce, frameWise}, fragmented(64*kib, 1)},
		{"limits", []way{atOnce}, limits()},
		{"round trips", []way{inTurn, atOnce}, roundTrips(1000, 0, 16, 64, 256, 1024, 4096)},
	}
}

// A way is how the frames of a dialogue are put into writes.
type way struct {
	name     string
	together bool // all frames leave at once, else each by itself
	cut      int  // the longest write in bytes; 0: any
	early    bool // the first write is that of the request, and does not wait for the answer
	inTurn   bool // each frame waits for what comes back for the one before
}

var (
	atOnce      = way{name: "in one write", together: true}
	frameWise   = way{name: "frame by frame"}
	octetWise   = way{name: "octet by octet", together: true, cut: 1}
	withRequest = way{name: "with the request", together: true, early: true}
	inTurn      = way{name: "in turn", inTurn: true}
)

func chops(n int) way {
	return way{name: fmt.Sprintf("in chops of %d", n), together: true, cut: n}
}

// A dialogue is what a client sends and what must come back. Where that does not
// end with a close frame, the client adds one, code 1000, and awaits its answer:
// so nothing else has come, and the server has gone on in good health.
type dialogue struct {
	name string
	rfc  string // the section that rules it
	send []frame
	back []frame
}

// A frame is one to send or one to expect.
type frame struct {
	fin     bool
	rsv     uint8
	op      wire.Opcode
	payload string
	unsent  int            // bytes at the payload's end that are declared and never come
	raw     string         // is sent instead of all this
	failure wire.CloseCode // to expect: a close frame with this code and any reason
}

func whole(op wire.Opcode, payload string) frame { return frame{fin: true, op: op, payload: payload} }
func first(op wire.Opcode, payload string) frame { return frame{op: op, payload: payload} }
func more(payload string) frame                  { return first(wire.OpContinuation, payload) }
func last(payload string) frame                  { return whole(wire.OpContinuation, payload) }
func text(payload string) frame                  { return whole(wire.OpText, payload) }
func ping(payload string) frame                  { return whole(wire.OpPing, payload) }
func pong(payload string) frame                  { return whole(wire.OpPong, payload) }
func raw(bytes string) frame                     { return frame{raw: bytes} }
func fails(code wire.CloseCode) frame            { return frame{op: wire.OpClose, failure: code} }

func closing(code wire.CloseCode, reason string) frame {
	return whole(wire.OpClose, string(binary.BigEndian.AppendUint16(nil, uint16(code)))+reason)
}

// but is f with reserved bits.
func (f frame) but(rsv uint8) frame {
	f.rsv = rsv
	return f
}

// without is f as far as it gets when the last n bytes of its payload do not come.
func (f frame) without(n int) frame {
	f.unsent = n
	return f
}

// declared is a frame of which only the header comes.
func declared(fin bool, op wire.Opcode, length int64) frame {
	return raw(string(wire.Header{Fin: fin, Opcode: op, Masked: true, Key: 0x2A, Length: length}.Append(nil)))
}

// inFragments cuts a message into frames of size bytes.
func inFragments(op wire.Opcode, message string, size int) []frame {
	var frames []frame
	for len(message) > size {
		frames = append(frames, first(op, message[:size]))
		op, message = wire.OpContinuation, message[size:]
	}
	return append(frames, whole(op, message))
}

// A line is the client's end of the connection. What is written is held until
// flush.
type line struct {
	net.Conn
	in   *bufio.Reader
	held []byte
}

func (l *line) Read(p []byte) (int, error) { return l.in.Read(p) }

func (l *line) Write(p []byte) (int, error) {
	l.held = append(l.held, p...)
	return len(p), nil
}

// flush sends what is held, in writes of at most cut bytes.
func (l *line) flush(cut int) error {
	for rest := l.held; len(rest) > 0; {
		n := len(rest)
		if cut > 0 {
			n = min(n, cut)
		}
		if _, err := l.Conn.Write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	l.held = l.held[:0]
	return nil
}

// promptly is how soon the stream ends behind the server's close frame. A server
// that waited for the client to be first would do so for its CloseTimeout, 5 s.
const promptly = 4 * time.Second

// hold holds a dialogue on a connection of its own.
func (d dialogue) hold(t *testing.T, host string, w way) {
	send, back := d.send, d.back
	if len(back) == 0 || back[len(back)-1].op != wire.OpClose {
		goodbye := closing(wire.CloseNormal, "")
		send, back = append(slices.Clip(send), goodbye), append(slices.Clip(back), goodbye)
	}
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	l := &line{Conn: conn, in: bufio.NewReader(conn)}
	peer := wstest.NewPeer(l, true)

	l.request(t, host, w)
	sent := make(chan error, 1)
	if w.inTurn {
		for i := range send {
			if err := deliver(l, peer, w, send[i:i+1]); err != nil {
				t.Fatalf("sending frame %d: %v", i, err)
			}
			expect(t, peer, back[i])
		}
		sent <- nil
	} else {
		go func() { sent <- deliver(l, peer, w, send) }()
		if w.early {
			l.answer(t)
		}
		for _, f := range back {
			expect(t, peer, f)
		}
	}
	// The end and not a reset. This end is still open, so the server is the first.
	if err := conn.SetReadDeadline(time.Now().Add(promptly)); err != nil {
		t.Fatal(err)
	}
	peer.ExpectEnd(t)
	if err := <-sent; err != nil {
		t.Errorf("sending: %v", err)
	}
}

// request does the opening handshake by hand, with the example key of RFC 6455,
// 1.3. An early client leaves the sending to the first frames, and the answer too.
func (l *line) request(t *testing.T, host string, w way) {
	t.Helper()
	fmt.Fprintf(l, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", host)
	if w.early {
		return
	}
	if err := l.flush(0); err != nil {
		t.Fatal(err)
	}
	l.answer(t)
}

// answer reads the server's part of the opening handshake.
func (l *line) answer(t *testing.T) {
	t.Helper()
	resp, err := http.ReadResponse(l.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if key := resp.Header.Get("Sec-WebSocket-Accept"); resp.StatusCode != http.StatusSwitchingProtocols || key != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("the opening handshake was answered with %s and the key %q", resp.Status, key)
	}
}

// deliver sends frames in a way.
func deliver(l *line, peer *wstest.Peer, w way, frames []frame) error {
	for _, f := range frames {
		if f.raw != "" {
			io.WriteString(l, f.raw)
		} else {
			peer.WriteFrame(wire.Header{Fin: f.fin, Rsv: f.rsv, Opcode: f.op}, []byte(f.payload))
			l.held = l.held[:len(l.held)-f.unsent]
		}
		if !w.together {
			if err := l.flush(w.cut); err != nil {
				return err
			}
		}
	}
	return l.flush(w.cut)
}

func expect(t *testing.T, peer *wstest.Peer, f frame) {
	t.Helper()
	if f.failure != 0 {
		peer.ExpectClose(t, f.failure)
	} else {
		peer.Expect(t, f.op, f.payload)
	}
}

// longest is the longest message that the server takes by default.
const longest = 16 << 20

var kinds = []wire.Opcode{wire.OpText, wire.OpBinary}

// message returns a message of n bytes in which no two places look alike, so that
// bytes which are lost or change places are noticed.
func message(op wire.Opcode, n int) string {
	if op == wire.OpBinary {
		return noise()[:n]
	}
	return prose()[:n-n%16] + strings.Repeat("x", n%16)
}

// noise is any bytes.
var noise = sync.OnceValue(func() string {
	b := make([]byte, longest+1)
	rand.NewChaCha8([32]byte{}).Read(b)
	return string(b)
})

// prose is characters of every length, 16 bytes and then 16 others.
var prose = sync.OnceValue(func() string {
	b := make([]byte, 0, longest+16)
	for i := 0; len(b) <= longest; i++ {
		b = strconv.AppendInt(b, int64(i+1_000_000), 10)
		b = append(b, "ß€😀"...)
	}
	return string(b)
})
