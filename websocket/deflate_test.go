package websocket_test

import (
	"bufio"
	"bytes"
	stdflate "compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/internal/slowflate"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// deflates returns options with compression.
func deflates(d websocket.Deflate) *websocket.Options {
	return &websocket.Options{Extensions: []websocket.Extension{&d}}
}

// What a server answers to offers. RFC 7692, 5.1, 7.1 and attack 14.
func TestDeflateAnswers(t *testing.T) {
	full := websocket.Deflate{SendBits: 15, ReceiveBits: 15}
	small := websocket.Deflate{}
	for _, test := range []struct {
		server websocket.Deflate
		offer  string
		answer string
	}{
		{full, "permessage-deflate", "permessage-deflate"},
		{full, "Permessage-DEFLATE", "permessage-deflate"},
		{full, "permessage-deflate; client_max_window_bits", "permessage-deflate"},
		{full, "permessage-deflate; client_max_window_bits=9", "permessage-deflate; client_max_window_bits=9"},
		{full, `permessage-deflate; client_max_window_bits="9"`, "permessage-deflate; client_max_window_bits=9"},
		{full, "permessage-deflate; client_max_window_bits=15", "permessage-deflate"},
		{full, "permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=8"},
		{full, "permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=15"},
		{full, "permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"},
		{full, "permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover"},
		{full, "permessage-deflate; client_max_window_bits; server_max_window_bits=10; server_no_context_takeover; client_no_context_takeover",
			"permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10"},

		// The default keeps memory small: what cannot be limited must be forgotten.
		{small, "permessage-deflate", "permessage-deflate; client_no_context_takeover; server_max_window_bits=12"},
		{small, "permessage-deflate; client_max_window_bits", "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"},
		{small, "permessage-deflate; client_max_window_bits=10; server_max_window_bits=14", "permessage-deflate; server_max_window_bits=12; client_max_window_bits=10"},
		{websocket.Deflate{SendNoTakeover: true, ReceiveNoTakeover: true}, "permessage-deflate; client_max_window_bits",
			"permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12; client_max_window_bits=12"},

		// Offers that are wrong are declined, one by one.
		{full, "permessage-deflate; unknown", ""},
		{full, "permessage-deflate; client_max_window_bits; client_max_window_bits", ""},
		{full, "permessage-deflate; server_no_context_takeover; server_no_context_takeover", ""},
		{full, "permessage-deflate; server_no_context_takeover=1", ""},
		{full, "permessage-deflate; client_no_context_takeover=true", ""},
		{full, "permessage-deflate; server_max_window_bits", ""},
		{full, "permessage-deflate; server_max_window_bits=7", ""},
		{full, "permessage-deflate; server_max_window_bits=16", ""},
		{full, "permessage-deflate; server_max_window_bits=08", ""},
		{full, "permessage-deflate; server_max_window_bits=+9", ""},
		{full, "permessage-deflate; server_max_window_bits=99999999999999999999", ""},
		{full, "permessage-deflate; client_max_window_bits=7", ""},
		{full, "permessage-deflate; client_max_window_bits=16", ""},
		{full, "permessage-deflate; Server_Max_Window_Bits=9", ""},
		{full, "x-webkit-deflate-frame", ""},
		{full, "permessage-deflate; server_max_window_bits=7, permessage-deflate; server_max_window_bits=9, permessage-deflate",
			"permessage-deflate; server_max_window_bits=9"},
		{full, "unknown; a=1, permessage-deflate; client_max_window_bits=8", "permessage-deflate; client_max_window_bits=8"},
	} {
		t.Run(test.offer, func(t *testing.T) {
			answer := make(chan string, 1)
			s := wstest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Options: *deflates(test.server)}); err == nil {
					answer <- c.Extensions()
					c.CloseNow()
				}
			}))
			defer s.Close()
			stream, err := s.Listener.DialContext(bg, "tcp", "")
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Close()
			request := strings.TrimSuffix(handshakeRequest, "\r\n") + "Sec-WebSocket-Extensions: " + test.offer + "\r\n\r\n"
			io.WriteString(stream, request)
			resp, err := http.ReadResponse(bufio.NewReader(stream), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := resp.Header.Get("Sec-WebSocket-Extensions"); got != test.answer {
				t.Errorf("the answer is %q, want %q", got, test.answer)
			}
			if got := <-answer; got != test.answer {
				t.Errorf("Extensions returns %q, want %q", got, test.answer)
			}
		})
	}
}

// What a client makes of answers. RFC 7692, 7.1 and attack 14.
func TestDeflateConfirms(t *testing.T) {
	for _, test := range []struct {
		client websocket.Deflate
		offer  string
		answer string
		err    string
	}{
		{websocket.Deflate{}, "permessage-deflate; client_max_window_bits=12", "", ""},
		{websocket.Deflate{}, "", "permessage-deflate", ""},
		{websocket.Deflate{}, "", "Permessage-Deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8; client_max_window_bits=8", ""},
		{websocket.Deflate{}, "", `permessage-deflate; server_max_window_bits="10"`, ""},
		{websocket.Deflate{SendBits: 15}, "permessage-deflate; client_max_window_bits", "permessage-deflate", ""},
		{websocket.Deflate{ReceiveBits: 10}, "permessage-deflate; server_max_window_bits=10; client_max_window_bits=12, permessage-deflate; server_no_context_takeover; client_max_window_bits=12",
			"permessage-deflate; server_max_window_bits=9", ""},
		{websocket.Deflate{ReceiveBits: 10}, "", "permessage-deflate; server_no_context_takeover", ""},
		{websocket.Deflate{ReceiveBits: 10}, "", "permessage-deflate", "were asked for"},
		{websocket.Deflate{ReceiveBits: 10}, "", "permessage-deflate; server_max_window_bits=11", "were asked for"},
		{websocket.Deflate{ReceiveNoTakeover: true, SendNoTakeover: true}, "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=12",
			"permessage-deflate", "was asked for"},
		{websocket.Deflate{}, "", "permessage-deflate; client_max_window_bits", "out of its range"},
		{websocket.Deflate{}, "", "permessage-deflate; server_max_window_bits", "out of its range"},
		{websocket.Deflate{}, "", "permessage-deflate; server_max_window_bits=16", "out of its range"},
		{websocket.Deflate{}, "", "permessage-deflate; client_max_window_bits=7", "out of its range"},
		{websocket.Deflate{}, "", "permessage-deflate; other=1", "unknown"},
		{websocket.Deflate{}, "", "permessage-deflate; server_no_context_takeover; server_no_context_takeover", "twice"},
		{websocket.Deflate{}, "", "permessage-deflate, permessage-deflate", "twice"},
		{websocket.Deflate{}, "", "permessage-deflate, other", "not asked for"},
		{websocket.Deflate{}, "", "other", "not asked for"},
		{websocket.Deflate{}, "", "permessage-deflate; =", "without a parameter"},
		{websocket.Deflate{SendBits: 7}, "", "", "8 to 15"},
		{websocket.Deflate{ReceiveBits: 16}, "", "", "8 to 15"},
	} {
		t.Run(test.answer, func(t *testing.T) {
			s := wstest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Sec-WebSocket-Extensions"); test.offer != "" && got != test.offer {
					t.Errorf("the offer is %q, want %q", got, test.offer)
				}
				stream, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer stream.Close()
				c, err := answerWith(stream, r, test.answer)
				if err == nil {
					c.Read(bg)
				}
			}))
			defer s.Close()
			c, _, err := s.Dial(bg, "/", &websocket.DialOptions{Options: *deflates(test.client)})
			if err == nil {
				defer c.CloseNow()
				if !strings.EqualFold(strings.ReplaceAll(test.answer, `"`, ""), c.Extensions()) {
					t.Errorf("Extensions returns %q", c.Extensions())
				}
			}
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %v, want %q", err, test.err)
			}
		})
	}
}

// answerWith does a server's part of the handshake by hand.
func answerWith(stream io.ReadWriteCloser, r *http.Request, extensions string) (*websocket.Conn, error) {
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + acceptFor(r.Header.Get("Sec-WebSocket-Key")) + "\r\n"
	if extensions != "" {
		answer += "Sec-WebSocket-Extensions: " + extensions + "\r\n"
	}
	_, err := io.WriteString(stream, answer+"\r\n")
	return websocket.Server(stream, nil), err
}

// A zipper is a peer that compresses and decompresses by the standard library and
// by hand, and looks at the distance of every match. RFC 7692, 7.2.
type zipper struct {
	*raw
	sendBits, receiveBits         int
	sendTakeover, receiveTakeover bool
	level                         int
	sent, received                []byte // plain, compressed messages alone
	compressed                    int    // messages received that were
}

// pack compresses a message. The standard library knows no small windows, so it gets
// what is within the window for every byte of the message.
func (z *zipper) pack(p string) string {
	window := []byte{}
	if room := 1<<z.sendBits - len(p); z.sendTakeover && room > 0 {
		window = z.sent[max(0, len(z.sent)-room):]
	}
	var b bytes.Buffer
	for rest := p; ; {
		// A longer message than the window is compressed in parts, so that no match lies
		// farther back.
		part := rest[:min(len(rest), 1<<z.sendBits)]
		w, err := stdflate.NewWriterDict(&b, z.level, window)
		if err != nil {
			z.t.Fatal(err)
		}
		io.WriteString(w, part)
		w.Flush()
		window = nil
		if rest = rest[len(part):]; rest == "" {
			break
		}
	}
	z.sent = append(z.sent, p...)
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// packed returns a compressed message as frames.
func (z *zipper) packed(op wire.Opcode, p string, cuts ...int) []byte {
	return z.marked(op, z.pack(p), cuts...)
}

// marked returns a message with RSV1 as frames.
func (z *zipper) marked(op wire.Opcode, payload string, cuts ...int) (frames []byte) {
	rsv := wire.Rsv1
	for _, cut := range cuts {
		h := wire.Header{Rsv: rsv, Opcode: op, Masked: z.Masks, Key: 0x12345678, Length: int64(cut)}
		frames = append(frames, z.encode(h, payload[:cut])...)
		payload, op, rsv = payload[cut:], wire.OpContinuation, 0
	}
	h := wire.Header{Fin: true, Rsv: rsv, Opcode: op, Masked: z.Masks, Key: 0x87654321, Length: int64(len(payload))}
	return append(frames, z.encode(h, payload)...)
}

// receive returns the next message, and checks its frames and its matches.
func (z *zipper) receive() string {
	z.t.Helper()
	var payload []byte
	rsv, frames := uint8(0), 0
	for {
		h, p, err := z.ReadFrame()
		if err != nil {
			z.t.Fatalf("the peer got %v", err)
		}
		if h.Opcode.IsControl() {
			continue
		}
		if frames++; frames == 1 {
			rsv = h.Rsv
		} else if h.Rsv != 0 {
			z.t.Fatalf("a continuation with RSV bits %#x", h.Rsv)
		}
		if payload = append(payload, p...); h.Fin {
			break
		}
	}
	if rsv == 0 {
		return string(payload)
	}
	z.compressed++
	known := z.received
	if !z.receiveTakeover {
		known = nil
	}
	p, err := slowflate.Inflate(append(payload, 0, 0, 0xff, 0xff), known, 1<<z.receiveBits)
	if err != nil {
		z.t.Fatalf("message %d, of %d bytes: %v", z.compressed, len(payload), err)
	}
	z.received = append(z.received, p...)
	return string(p)
}

// zipped returns an end that has agreed on these parameters, and its peer.
func (w way) zipped(t *testing.T, d websocket.Deflate, o websocket.Options, offer string) (*end, *zipper) {
	t.Helper()
	o.Extensions = []websocket.Extension{&d}
	w.deflate = false
	e, s := w.serve(t, &o)
	s.offer = offer
	peer := s.peer(t)
	e.await()
	z := &zipper{raw: peer, sendBits: 15, receiveBits: 15, sendTakeover: true, receiveTakeover: true, level: 6}
	answer := e.Extensions()
	if !strings.HasPrefix(answer, "permessage-deflate") {
		t.Fatalf("agreed on %q", answer)
	}
	for param := range strings.SplitSeq(answer, "; ") {
		switch name, value, _ := strings.Cut(param, "="); name {
		case "server_no_context_takeover":
			z.receiveTakeover = false
		case "client_no_context_takeover":
			z.sendTakeover = false
		case "server_max_window_bits":
			fmt.Sscan(value, &z.receiveBits)
		case "client_max_window_bits":
			fmt.Sscan(value, &z.sendBits)
		}
	}
	return e.end, z
}

// deflateWays are those in which compression is tried: with deadlines in memory, in
// the loop, and beside it.
var deflateWays = []way{
	{host{name: "Conn", memory: true}, wstest.TCP, false, false},
	{host{name: "loop"}, wstest.TCP, true, false},
	{host{name: "TLS", tls: true}, wstest.TCP, true, false},
}

func overDeflateWays(t *testing.T, test func(t *testing.T, w way)) {
	for _, w := range deflateWays {
		t.Run(w.name, func(t *testing.T) { inTime(t, w.memory, func(t *testing.T) { test(t, w) }) })
	}
}

// prose is text in which matches lie at all distances.
func prose(rng *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, `{"id":%d,"user":"user%d","text":"grüße %x"},`, rng.IntN(1000), rng.IntN(30), rng.IntN(1<<20))
	}
	return strings.ToValidUTF8(b.String()[:n], "")
}

// Every window, with and without takeover, both ways: attack 15 among them. The
// messages are sent in each of the ways that there are, some of them uncompressed
// (attack 16), and the peer checks every distance.
func TestDeflateWindows(t *testing.T) {
	overDeflateWays(t, func(t *testing.T, w way) {
		for bits := 8; bits <= 15; bits++ {
			for _, takeover := range []bool{true, false} {
				for _, keep := range []bool{false, true} {
					if keep && (w.handler || !takeover || bits%3 != 0) {
						continue
					}
					offer := fmt.Sprintf("permessage-deflate; server_max_window_bits=%d; client_max_window_bits=%d", bits, bits)
					if !takeover {
						offer += "; server_no_context_takeover; client_no_context_takeover"
					}
					e, z := w.zipped(t, websocket.Deflate{SendBits: 15, ReceiveBits: 15, KeepCompressor: keep}, websocket.Options{}, offer)
					if z.sendBits != bits || z.receiveBits != bits || z.sendTakeover != takeover || z.receiveTakeover != takeover {
						t.Fatalf("offered %q, agreed on %q", offer, e.Extensions())
					}
					checkBothWays(t, e, z, 24)
					e.CloseNow()
				}
			}
		}
	})
}

// checkBothWays sends n messages each way.
func checkBothWays(t *testing.T, e *end, z *zipper, n int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(z.sendBits), 5))
	var texts []string
	for range n {
		texts = append(texts, prose(rng, rng.IntN(1+rng.IntN(2000))))
	}
	noise := make([]byte, 300)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	texts[n/2] = string(noise) // does not compress, and what follows must not refer to it
	texts[n/2+1] = string(noise) + "!"
	texts[n/3] = prose(rng, 20_000)
	sent := async(func() error {
		for i, text := range texts {
			if err := sendSomehow(e, i, text); err != nil {
				return err
			}
		}
		return nil
	})
	for i, text := range texts {
		if got := z.receive(); got != text {
			t.Fatalf("%d bits: message %d came as %d bytes %.60q, want %d bytes %.60q", z.receiveBits, i, len(got), got, len(text), text)
		}
	}
	if err := sent(); err != nil {
		t.Fatal(err)
	}
	if z.compressed < n/3 {
		t.Errorf("%d messages of %d were compressed", z.compressed, n)
	}
	failed := async(func() error {
		for i, text := range texts {
			var frames []byte
			switch i % 4 {
			case 0:
				frames = z.packed(wire.OpBinary, text)
			case 1:
				payload := z.pack(text)
				frames = z.marked(wire.OpBinary, payload, 0, len(payload)/2, 1, 0)
			case 2:
				frames = z.frame(true, wire.OpBinary, text) // not compressed: not in the window
			case 3:
				z.level = 1 + i%9
				frames = append(z.packed(wire.OpBinary, text), z.frame(true, wire.OpPing, "")...)
			}
			if err := z.trySend(frames); err != nil {
				return err
			}
		}
		return nil
	})
	for _, text := range texts {
		e.read(text)
	}
	if err := failed(); err != nil {
		t.Fatal(err)
	}
}

// sendSomehow sends a message in one of the ways that there are.
func sendSomehow(e *end, i int, text string) error {
	switch i % 6 {
	case 0:
		return e.Send(websocket.Prepare(websocket.Binary, []byte(text)))
	case 1:
		return e.WritePrepared(bg, websocket.Prepare(websocket.Binary, []byte(text)))
	case 2:
		return e.Write(bg, websocket.Binary|websocket.Uncompressed, []byte(text))
	case 3:
		w, err := e.Writer(bg, websocket.Binary)
		if err != nil {
			return err
		}
		for len(text) > 0 {
			n := min(len(text), 700)
			if _, err := io.WriteString(w, text[:n]); err != nil {
				return err
			}
			text = text[n:]
		}
		return w.Close()
	}
	return e.Write(bg, websocket.Binary, []byte(text))
}

// A client's end, and a peer that plays the server.
func TestDeflateClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, answer := range []string{
			"permessage-deflate",
			"permessage-deflate; server_max_window_bits=8; client_max_window_bits=8",
			"permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=10",
		} {
			streams := make(chan io.ReadWriteCloser)
			s := wstest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				stream, _, _ := http.NewResponseController(w).Hijack()
				answerWith(struct{ io.ReadWriteCloser }{stream}, r, answer)
				streams <- stream
			}))
			dialed := async(func() *websocket.Conn {
				c, _, err := s.Dial(bg, "/", &websocket.DialOptions{Options: *deflates(websocket.Deflate{SendBits: 15})})
				if err != nil {
					t.Error(err)
				}
				return c
			})
			z := &zipper{sendBits: 15, receiveBits: 15, sendTakeover: true, receiveTakeover: true, level: 6}
			z.raw = &raw{Peer: wstest.NewPeer(<-streams, false), t: t}
			e := &end{Conn: dialed(), t: t, way: way{host: inMemory}}
			if strings.Contains(answer, "=8") {
				z.sendBits, z.receiveBits = 8, 8
			}
			if strings.Contains(answer, "no_context") {
				z.sendTakeover, z.receiveTakeover, z.receiveBits = false, false, 10
			}
			checkBothWays(t, e, z, 30)
			e.CloseNow()
			z.Close()
			s.Close()
		}
	})
}

// Attack 9, and what else is wrong of a compressed message.
func TestDeflateViolations(t *testing.T) {
	header := func(h wire.Header) []byte { h.Masked = true; return h.Append(nil) }
	for _, test := range []struct {
		name string
		send func(z *zipper) []byte
		code websocket.CloseCode
	}{
		{"RSV1 on a ping", func(*zipper) []byte { return header(wire.Header{Fin: true, Rsv: wire.Rsv1, Opcode: wire.OpPing}) }, 1002},
		{"RSV1 on a close", func(*zipper) []byte { return header(wire.Header{Fin: true, Rsv: wire.Rsv1, Opcode: wire.OpClose}) }, 1002},
		{"RSV1 on a continuation", func(z *zipper) []byte {
			return append(z.frame(false, wire.OpText, "a"), header(wire.Header{Fin: true, Rsv: wire.Rsv1})...)
		}, 1002},
		{"RSV1 on a continuation of a compressed message", func(z *zipper) []byte {
			first := z.encode(wire.Header{Rsv: wire.Rsv1, Opcode: wire.OpText, Masked: true, Length: 1}, "\xf2")
			return append(first, header(wire.Header{Fin: true, Rsv: wire.Rsv1})...)
		}, 1002},
		{"RSV2", func(*zipper) []byte { return header(wire.Header{Fin: true, Rsv: wire.Rsv2, Opcode: wire.OpText}) }, 1002},
		{"RSV3 beside RSV1", func(*zipper) []byte {
			return header(wire.Header{Fin: true, Rsv: wire.Rsv1 | wire.Rsv3, Opcode: wire.OpText})
		}, 1002},
		{"not compressed", func(z *zipper) []byte { return z.marked(wire.OpText, "this is plain text") }, 1007},
		{"cut within a block", func(z *zipper) []byte { p := z.pack(message(500)); return z.marked(wire.OpText, p[:len(p)/2]) }, 1007},
		{"a match before the beginning", func(z *zipper) []byte {
			z.sent = []byte(message(400))
			return z.packed(wire.OpText, message(300))
		}, 1007},
		{"wrong UTF-8", func(z *zipper) []byte { return z.packed(wire.OpText, message(300)+"\xff") }, 1007},
		{"wrong UTF-8, of which the end never comes", func(z *zipper) []byte {
			p := z.pack(message(300) + "\xff" + message(30_000))
			return z.marked(wire.OpText, p)[:len(p)/2]
		}, 1007},
		{"UTF-8 across frames", func(z *zipper) []byte {
			p := z.pack("aaaaaaaaaaaaaaaaa\xc3(")
			return z.marked(wire.OpText, p, len(p)/2)
		}, 1007},
		{"UTF-8 across blocks", func(z *zipper) []byte {
			return z.marked(wire.OpText, z.pack("a\xe2\x82")+"\x00\x00\xff\xff"+z.pack("("))
		}, 1007},
		{"text that ends in a character", func(z *zipper) []byte { return z.packed(wire.OpText, message(300)+"\xe2\x82") }, 1007},
		{"wrong UTF-8, not compressed", func(z *zipper) []byte { return z.frame(true, wire.OpText, "\xff") }, 1007},
		{"a long message, not compressed", func(z *zipper) []byte {
			return header(wire.Header{Fin: true, Opcode: wire.OpText, Length: 1<<20 + 1})
		}, 1009},
		{"a long message, compressed", func(z *zipper) []byte { return z.packed(wire.OpText, message(1<<20+1)) }, 1009},
		{"a long message, compressed in fragments", func(z *zipper) []byte {
			return z.marked(wire.OpText, z.pack(message(1<<20+1)), 10, 10, 1000)
		}, 1009},
	} {
		t.Run(test.name, func(t *testing.T) {
			overDeflateWays(t, func(t *testing.T, w way) {
				e, z := w.zipped(t, websocket.Deflate{}, websocket.Options{}, "permessage-deflate; client_max_window_bits=15")
				z.sendBits, z.sendTakeover = 12, true
				z.send(z.frame(true, wire.OpPing, "before"), z.packed(wire.OpText, "before"))
				e.read("before")
				z.sendTakeover = strings.Contains(test.name, "match")
				z.send(test.send(z))
				err := e.reading()
				z.want("pong before", fmt.Sprintf("close %d *", test.code), "end")
				z.Close()
				wantError(t, err(), test.code)
			})
		})
	}
}

// What must be taken. RFC 7692, 7.2.3.
func TestDeflateAccepts(t *testing.T) {
	overDeflateWays(t, func(t *testing.T, w way) {
		e, z := w.zipped(t, websocket.Deflate{}, websocket.Options{}, "permessage-deflate; client_max_window_bits")
		for name, test := range map[string]struct{ payload, text string }{
			"7.2.3.1":                           {"\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello"},
			"7.2.3.2, refers to the one before": {"\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello"},
			"7.2.3.3, not compressed":           {"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello"},
			"7.2.3.4, BFINAL":                   {"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello"},
			"BFINAL in the middle":              {"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00", "HelloHello"},
			"BFINAL at the end":                 {"\xf3\x48\xcd\xc9\xc9\x07\x00", "Hello"},
			"7.2.3.5, two blocks":               {"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello"},
			"7.2.3.6, empty":                    {"\x00", ""},
			"empty, nothing at all":             {"", ""},
		} {
			z.send(z.marked(wire.OpText, test.payload))
			e.read(test.text)
			if n := len(test.payload); n > 2 {
				z.send(z.marked(wire.OpText, test.payload, 1, n-2))
				e.read(test.text)
			}
			if t.Failed() {
				t.Fatal(name)
			}
		}
		z.send(z.marked(wire.OpText, "\xf2\x00\x11\x00\x00")) // RFC 7692, 7.2.3.2: all of it is a match
		e.read("Hello")
	})
}

// Attacks 3 and 4: a bomb costs no more than the limit, nor do many of them.
func TestDeflateBombs(t *testing.T) {
	overDeflateWays(t, func(t *testing.T, w way) {
		const limit = 100_000
		e, z := w.zipped(t, websocket.Deflate{}, websocket.Options{MaxMessage: limit}, "permessage-deflate; client_max_window_bits")
		whole := strings.Repeat("a", limit)
		z.sendTakeover, z.sendBits = false, 30 // all matches are short
		bomb := z.pack(whole)
		if len(bomb) > limit/500 {
			t.Fatalf("the bomb has %d bytes", len(bomb))
		}
		for range 50 {
			z.send(z.marked(wire.OpText, bomb))
			e.read(whole)
		}
		z.send(z.marked(wire.OpText, z.pack(strings.Repeat("a", 4<<20))))
		_, err := e.next()
		wantError(t, err, websocket.CloseMessageTooBig)
		if !errors.Is(err, websocket.ErrMessageTooBig) {
			t.Errorf("%v is not ErrMessageTooBig", err)
		}
	})
}

// A call that a context stops, in the middle of a block even, loses nothing.
func TestDeflateEveryCutAndCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := deflateWays[0]
		for seed := range uint64(8) {
			rng := rand.New(rand.NewPCG(seed, 7))
			e, z := w.zipped(t, websocket.Deflate{}, websocket.Options{}, "permessage-deflate; client_max_window_bits")
			z.s.Peer().SplitReads(1 + rng.IntN(9))
			var texts []string
			for range 12 {
				texts = append(texts, prose(rng, rng.IntN(1+rng.IntN(30_000))))
			}
			go func() {
				for i, text := range texts {
					payload := z.pack(text)
					for _, b := range z.marked(wire.OpText, payload, len(payload)/3, 0) {
						if i%3 == 0 {
							time.Sleep(100 * time.Microsecond) // fake
						}
						z.s.Write([]byte{b})
					}
				}
			}()
			go io.Copy(io.Discard, z.s)
			for _, text := range texts {
				if got, stops := readStopped(t, e.Conn, rng); got != text {
					t.Fatalf("seed %d: %d bytes, want %d (%d stops)", seed, len(got), len(text), stops)
				}
			}
			e.CloseNow()
			z.Close()
		}
	})
}

// A Reader gives what has come, and what it leaves is decompressed all the same.
func TestDeflateReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, z := deflateWays[0].zipped(t, websocket.Deflate{}, websocket.Options{}, "permessage-deflate; client_max_window_bits")
		rng := rand.New(rand.NewPCG(1, 1))
		texts := []string{prose(rng, 20_000), prose(rng, 3000), prose(rng, 100)}
		go func() {
			for _, text := range texts {
				z.trySend(z.packed(wire.OpText, text, 5))
			}
		}()
		ctx, cancel := context.WithTimeout(bg, time.Minute)
		defer cancel()
		_, r, err := e.Reader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		some := make([]byte, 10)
		if _, err := io.ReadFull(r, some); err != nil || string(some) != texts[0][:10] {
			t.Fatalf("%q, %v", some, err)
		}
		_, r, err = e.Reader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if all, err := io.ReadAll(r); err != nil || string(all) != texts[1] {
			t.Fatalf("%d bytes, %v", len(all), err)
		}
		e.read(texts[2])
	})
}

// Broadcast compresses once for each size of window, and what follows is right on
// each connection.
func TestDeflateBroadcast(t *testing.T) {
	overDeflateWays(t, func(t *testing.T, w way) {
		var ends []*websocket.Conn
		var peers []*zipper
		var last *end
		for _, offer := range []string{
			"permessage-deflate; client_max_window_bits",
			"permessage-deflate; server_max_window_bits=9",
			"permessage-deflate; server_no_context_takeover",
			"permessage-deflate; client_max_window_bits",
		} {
			e, z := w.zipped(t, websocket.Deflate{KeepCompressor: len(ends) == 3}, websocket.Options{}, offer)
			ends, peers, last = append(ends, e.Conn), append(peers, z), e
		}
		_ = last
		rng := rand.New(rand.NewPCG(9, 9))
		for round := range 20 {
			text := prose(rng, 900)
			m := websocket.Prepare(websocket.Text, []byte(text))
			if n := websocket.Broadcast(values(ends), m); n != len(ends) {
				t.Fatalf("sent to %d", n)
			}
			for i, z := range peers {
				if got := z.receive(); got != text {
					t.Fatalf("round %d, peer %d: %.60q", round, i, got)
				}
			}
			if got := m.Packed(); got != 2 {
				t.Errorf("compressed for %d windows, want 2", got)
			}
			for i, e := range ends {
				own := prose(rng, 600)
				if err := e.Write(bg, websocket.Text, []byte(own)); err != nil {
					t.Fatal(err)
				}
				if got := peers[i].receive(); got != own {
					t.Fatalf("round %d, peer %d after the broadcast: %.60q", round, i, got)
				}
			}
		}
		for i, z := range peers {
			if z.compressed != 40 {
				t.Errorf("peer %d got %d compressed messages, want 40", i, z.compressed)
			}
		}
	})
}

func values[T any](list []T) func(yield func(T) bool) {
	return func(yield func(T) bool) {
		for _, v := range list {
			if !yield(v) {
				return
			}
		}
	}
}

// What is short, or not to be compressed, goes out as it is.
func TestDeflateThreshold(t *testing.T) {
	overDeflateWays(t, func(t *testing.T, w way) {
		e, z := w.zipped(t, websocket.Deflate{Threshold: 200}, websocket.Options{}, "permessage-deflate")
		for _, test := range []struct {
			typ        websocket.MessageType
			size       int
			compressed bool
		}{
			{websocket.Text, 199, false},
			{websocket.Text, 200, true},
			{websocket.Binary, 200, true},
			{websocket.Text | websocket.Uncompressed, 5000, false},
			{websocket.Binary | websocket.Uncompressed, 5000, false},
		} {
			for _, send := range []func() error{
				func() error { return e.Write(bg, test.typ, []byte(message(test.size))) },
				func() error { return e.Send(websocket.Prepare(test.typ, []byte(message(test.size)))) },
				func() error {
					wr, err := e.Writer(bg, test.typ)
					if err == nil {
						io.WriteString(wr, message(test.size))
						err = wr.Close()
					}
					return err
				},
			} {
				before := z.compressed
				sent := async(send)
				if got := z.receive(); got != message(test.size) || (z.compressed > before) != test.compressed {
					t.Errorf("%v of %d bytes: compressed %v", test.typ, test.size, z.compressed > before)
				}
				if err := sent(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// Messages of many goroutines, long ones among them, which are compressed beside the
// others: the windows are those of the order on the wire.
func TestDeflateManyWriters(t *testing.T) {
	overDeflateWays(t, func(t *testing.T, w way) {
		e, z := w.zipped(t, websocket.Deflate{SendBits: 15}, websocket.Options{PingInterval: -1}, "permessage-deflate")
		const writers, each = 6, 30
		want := make(map[string]int)
		var texts [writers][]string
		for i := range texts {
			rng := rand.New(rand.NewPCG(uint64(i), 3))
			for j := range each {
				size := rng.IntN(1000)
				if j%10 == i {
					size = 60_000
				}
				text := fmt.Sprintf("%d.%d ", i, j) + prose(rng, size)
				texts[i] = append(texts[i], text)
				want[text]++
			}
			go func() {
				for j, text := range texts[i] {
					if err := sendSomehow(e, i+j, text); err != nil {
						t.Errorf("writer %d: %v", i, err)
					}
				}
			}()
		}
		z.send(z.frame(true, wire.OpPing, "meanwhile"))
		e.reading()
		for range writers * each {
			got := z.receive()
			if want[got]--; want[got] < 0 {
				t.Fatalf("a message of %d bytes that was not sent, or not so often: %.60q", len(got), got)
			}
		}
	})
}

// The window of an idle connection is given back, and the peer finds no fault.
func TestDeflateIdle(t *testing.T) {
	for _, handler := range []bool{false, true} {
		for _, keep := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := way{host: inMemory, kind: wstest.TCP, handler: handler}
				e, z := w.zipped(t, websocket.Deflate{IdleTimeout: time.Minute, KeepCompressor: keep}, websocket.Options{PingInterval: -1}, "permessage-deflate")
				text := prose(rand.New(rand.NewPCG(2, 2)), 800)
				exchange := func() {
					t.Helper()
					if err := e.Write(bg, websocket.Text, []byte(text)); err != nil {
						t.Fatal(err)
					}
					if got := z.receive(); got != text {
						t.Fatalf("got %.60q", got)
					}
				}
				for range 4 {
					exchange()
					time.Sleep(50 * time.Second)
					if e.WindowIdle() {
						t.Fatal("the window of a connection that sends was given back")
					}
				}
				time.Sleep(3 * time.Minute)
				if !e.WindowIdle() {
					t.Fatal("the window was not given back")
				}
				exchange()
				exchange()
			})
		}
	}
}

// Nothing but the windows stays, and before the first compressed message nothing.
func TestDeflateMemory(t *testing.T) {
	e, z := deflateWays[1].zipped(t, websocket.Deflate{}, websocket.Options{PingInterval: -1}, "permessage-deflate; client_max_window_bits")
	e.Write(bg, websocket.Text, []byte("short"))
	z.receive()
	z.send(z.text("short"))
	e.read("short")
	if n := e.CodecBytes(); n != 0 {
		t.Errorf("%d bytes before the first compressed message", n)
	}
	rng := rand.New(rand.NewPCG(2, 2))
	for range 20 {
		text := prose(rng, 1000)
		e.Write(bg, websocket.Text, []byte(text))
		z.receive()
		z.send(z.packed(wire.OpText, text))
		e.read(text)
	}
	eventually(t, e.host, "parking", e.IsBare)
	if n := e.CodecBytes(); n < 8192 || n > 10<<10 {
		t.Errorf("%d bytes after compressed messages both ways, want at most 10 KiB", n)
	}
}

// A peer that stops in the middle of messages holds no decompressor.
func TestDeflateStoppedPeer(t *testing.T) {
	overDeflateWays(t, func(t *testing.T, w way) {
		if w.memory {
			return // its Read waits with a buffer
		}
		e, z := w.zipped(t, websocket.Deflate{}, websocket.Options{PingInterval: -1}, "permessage-deflate; client_max_window_bits")
		text := prose(rand.New(rand.NewPCG(3, 3)), 3000)
		frames := z.packed(wire.OpText, text)
		for _, piece := range [][]byte{frames[:60], frames[60:400], frames[400:]} {
			z.send(piece)
			eventually(t, e.host, "parking", e.IsParked)
		}
		e.read(text)
		z.send(z.packed(wire.OpText, text)[:200])
		eventually(t, e.host, "suspending", func() bool { return e.IsParked() && e.Suspended() })
	})
}

func TestDeflateNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	w := way{host: host{name: "loopback"}, kind: wstest.TCP}
	for _, d := range []websocket.Deflate{{}, {KeepCompressor: true}, {SendNoTakeover: true, ReceiveNoTakeover: true}} {
		o := deflates(d)
		o.PingInterval = -1
		server, client := w.pair(t, o)
		text := []byte(prose(rand.New(rand.NewPCG(2, 2)), 1000))
		var in, back []byte
		round := func() {
			var err error
			if err = client.Write(bg, websocket.Text, text); err != nil {
				t.Fatal(err)
			}
			if _, in, err = server.AppendRead(bg, in[:0]); err != nil {
				t.Fatal(err)
			}
			if err = server.Write(bg, websocket.Text, in); err != nil {
				t.Fatal(err)
			}
			if _, back, err = client.AppendRead(bg, back[:0]); err != nil || !bytes.Equal(back, text) {
				t.Fatal(err)
			}
		}
		for range 100 {
			round()
		}
		// A garbage collection within the run empties the pools.
		if n := testing.AllocsPerRun(300, round); n >= 1 {
			t.Errorf("%+v: %v allocations for an echo", d, n)
		}
	}
}

// FuzzDeflateOffers: whatever is offered, the answer is one that a client which made
// that offer can take, and a malformed header is refused.
func FuzzDeflateOffers(f *testing.F) {
	f.Add("server_max_window_bits", "10", "client_max_window_bits", "", 12, 12, false)
	f.Add("server_no_context_takeover", "", "client_no_context_takeover", "", 15, 8, true)
	f.Fuzz(func(t *testing.T, a, av, b, bv string, send, receive int, forget bool) {
		d := &websocket.Deflate{SendBits: 8 + send&7, ReceiveBits: 8 + receive&7, SendNoTakeover: forget}
		offer := []websocket.ExtensionParam{{Name: a, Value: av}, {Name: b, Value: bv}}
		answer, agreed := d.Accept(offer)
		if agreed == nil {
			return
		}
		if agreed.Rsv != wire.Rsv1 || agreed.FrameRsv != 0 {
			t.Errorf("claims %#x and %#x", agreed.Rsv, agreed.FrameRsv)
		}
		given := map[string]string{}
		for _, p := range answer {
			if _, twice := given[p.Name]; twice {
				t.Errorf("%q stands twice in %v", p.Name, answer)
			}
			given[p.Name] = p.Value
		}
		for _, p := range offer {
			value, ok := given[p.Name]
			switch p.Name {
			case "server_no_context_takeover", "client_no_context_takeover":
				if !ok || value != "" {
					t.Errorf("%v is answered by %v", offer, answer)
				}
			case "server_max_window_bits":
				var asked, got int
				fmt.Sscan(p.Value, &asked)
				fmt.Sscan(value, &got)
				if !ok || got < 8 || got > asked {
					t.Errorf("%v is answered by %v", offer, answer)
				}
			case "client_max_window_bits":
			default:
				t.Errorf("%v was accepted", offer)
			}
		}
		if _, ok := given["client_max_window_bits"]; ok && a != "client_max_window_bits" && b != "client_max_window_bits" {
			t.Errorf("%v is answered by %v", offer, answer)
		}
		if _, err := new(websocket.Deflate).Confirm(answer); err != nil {
			t.Errorf("a client does not take %v: %v", answer, err)
		}
	})
}
