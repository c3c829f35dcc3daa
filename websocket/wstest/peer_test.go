package wstest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
)

func TestPeerWriteFrame(t *testing.T) {
	tests := []struct {
		name   string
		client bool
		header wire.Header
		want   []byte
	}{
		{"server", false, wire.Header{Fin: true, Opcode: wire.OpText}, []byte("\x81\x05hello")},
		{"server, fragment", false, wire.Header{Opcode: wire.OpBinary}, []byte("\x02\x05hello")},
		{"server, what is wrong stays", false, wire.Header{Rsv: wire.Rsv2, Opcode: 0xB}, []byte("\x2b\x05hello")},
		{"server, what is not its own is set right", false, wire.Header{Fin: true, Opcode: wire.OpPing, Length: 77, Masked: true, Key: 1}, []byte("\x89\x05hello")},
		{"client", true, wire.Header{Fin: true, Opcode: wire.OpText}, nil},
	}
	for _, row := range tests {
		t.Run(row.name, func(t *testing.T) {
			a, b := Streams()
			defer a.Close()
			peer := NewPeer(a, row.client)
			payload := []byte("hello")
			if err := peer.WriteFrame(row.header, payload); err != nil {
				t.Fatal(err)
			}
			if string(payload) != "hello" {
				t.Errorf("the payload was changed to %q", payload)
			}
			if n := a.Stats().Writes; n != 1 {
				t.Errorf("%d writes, want 1", n)
			}
			got := make([]byte, 100)
			n, _ := b.Read(got)
			if got = got[:n]; row.want != nil {
				if !bytes.Equal(got, row.want) {
					t.Errorf("sent %q, want %q", got, row.want)
				}
				return
			}
			h, n, err := wire.ParseHeader(got)
			wire.Mask(got[n:], h.Key)
			if err != nil || !h.Masked || h.Key == 0 || string(got[n:]) != "hello" {
				t.Errorf("sent %+v %q, %v; want hello, masked", h, got[n:], err)
			}
		})
	}
}

// A client's keys differ, and Masks can be turned round.
func TestPeerMasks(t *testing.T) {
	a, b := Streams()
	defer a.Close()
	sender, receiver := NewPeer(a, true), NewPeer(b, false)
	keys := map[uint32]bool{}
	for range 10 {
		sender.Send(t, wire.OpBinary, "x")
		h, p, err := receiver.ReadFrame()
		if err != nil || string(p) != "x" || !h.Masked || keys[h.Key] {
			t.Fatalf("%+v %q, %v", h, p, err)
		}
		keys[h.Key] = true
	}
	sender.Masks = false
	sender.Send(t, wire.OpBinary, "x")
	if h, _, err := receiver.ReadFrame(); err != nil || h.Masked {
		t.Errorf("%+v, %v; want no mask", h, err)
	}
}

func TestPeerReadFrame(t *testing.T) {
	masked := wire.Header{Fin: true, Opcode: wire.OpText, Masked: true, Key: 0x3d21fa37, Length: 5}
	long := strings.Repeat("x", 70000)
	tests := []struct {
		name    string
		bytes   string
		header  wire.Header
		payload string
		err     error
	}{
		{"text", "\x81\x05hello", wire.Header{Fin: true, Opcode: wire.OpText, Length: 5}, "hello", nil},
		{"masked text", "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", masked, "Hello", nil},
		{"empty", "\x89\x00", wire.Header{Fin: true, Opcode: wire.OpPing}, "", nil},
		{"16 bits", "\x82\x7e\x01\x00" + long[:256], wire.Header{Fin: true, Opcode: wire.OpBinary, Length: 256}, long[:256], nil},
		{"64 bits", "\x82\x7f\x00\x00\x00\x00\x00\x01\x11\x70" + long, wire.Header{Fin: true, Opcode: wire.OpBinary, Length: 70000}, long, nil},
		{"against the rules", "\x3b\x01x", wire.Header{Rsv: wire.Rsv2 | wire.Rsv3, Opcode: 0xB, Length: 1}, "x", nil},
		{"nothing", "", wire.Header{}, "", io.EOF},
		{"end in the header", "\x82\x7e\x01", wire.Header{}, "", io.ErrUnexpectedEOF},
		{"end before the payload", "\x81\x05", wire.Header{Fin: true, Opcode: wire.OpText, Length: 5}, "", io.ErrUnexpectedEOF},
		{"end in the payload", "\x81\x05hel", wire.Header{Fin: true, Opcode: wire.OpText, Length: 5}, "", io.ErrUnexpectedEOF},
		{"length in a long form", "\x82\x7e\x00\x01x", wire.Header{}, "", &wire.Error{Code: wire.CloseProtocolError}},
	}
	for _, row := range tests {
		t.Run(row.name, func(t *testing.T) {
			a, b := Streams()
			a.SetBuffer(1 << 20)
			a.Write([]byte(row.bytes))
			a.CloseWrite()
			h, p, err := NewPeer(b, true).ReadFrame()
			if h != row.header || string(p) != row.payload || !errors.Is(err, row.err) {
				t.Errorf("ReadFrame = %+v, %.50q, %v; want %+v, %.50q, %v", h, p, err, row.header, row.payload, row.err)
			}
		})
	}
}

// Frames that come together are taken one by one, and not a byte after them.
func TestPeerReadsNoFurther(t *testing.T) {
	a, b := Streams()
	a.Write([]byte("\x81\x01a\x81\x01brest"))
	peer := NewPeer(b, true)
	peer.Expect(t, wire.OpText, "a")
	peer.Expect(t, wire.OpText, "b")
	mustRead(t, b, "rest", nil)
}

// A length that was only declared costs no memory.
func TestPeerReadFrameBelievesNothing(t *testing.T) {
	a, b := Streams()
	a.Write(wire.Header{Opcode: wire.OpBinary, Length: 1<<63 - 1}.Append(nil))
	a.Close()
	if _, _, err := NewPeer(b, true).ReadFrame(); err != io.ErrUnexpectedEOF {
		t.Errorf("error %v, want io.ErrUnexpectedEOF", err)
	}
}

func TestPeerLine(t *testing.T) {
	a, b := Streams()
	if NewPeer(a, true).Line() != a {
		t.Error("Line is not the stream")
	}
	if NewPeer(b.As(Bare), true).Line() != nil {
		t.Error("Line of another stream is not nil")
	}
}

// A recorder is a testing.TB whose Fatalf can be looked at.
type recorder struct {
	testing.TB
	failed string
}

func (r *recorder) Helper() {}
func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure returns what a helper says when it ends the test, "" if it does not.
func failure(f func(t testing.TB)) string {
	r := new(recorder)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r.failed
}

// The helpers see what is wrong: else tests that use them could not fail.
func TestPeerExpect(t *testing.T) {
	text := func(p *Peer) func(testing.TB) {
		return func(t testing.TB) { p.Expect(t, wire.OpText, "hello") }
	}
	ends := func(p *Peer) func(testing.TB) { return p.ExpectEnd }
	closes := func(p *Peer) func(testing.TB) {
		return func(t testing.TB) {
			if reason := p.ExpectClose(t, wire.CloseGoingAway); reason != "bye" {
				t.Fatalf("reason %q", reason)
			}
		}
	}
	tests := []struct {
		name   string
		bytes  string
		expect func(*Peer) func(testing.TB)
		says   string // part of the failure; "": none
	}{
		{"right text", "\x81\x05hello", text, ""},
		{"another text", "\x81\x05hallo", text, `received text "hallo"; want text "hello"`},
		{"another opcode", "\x82\x05hello", text, `received binary "hello"`},
		{"a long one", "\x81\x7e\x01\x00" + strings.Repeat("x", 256), text, `(256 bytes)`},
		{"a fragment", "\x01\x05hello", text, "Fin:false"},
		{"an RSV bit", "\xc1\x05hello", text, "Rsv:64"},
		{"masked by a server", "\x81\x85\x00\x00\x00\x00hello", text, "want FIN, no RSV bits, masked false"},
		{"no frame", "", text, "EOF"},
		{"right close", "\x88\x05\x03\xe9bye", closes, ""},
		{"another code", "\x88\x02\x03\xe8", closes, `close frame with payload "\x03\xe8"; want 1001`},
		{"a wrong close", "\x88\x01\x03", closes, `close frame with payload "\x03"`},
		{"text before the close", "\x81\x05hello\x88\x05\x03\xe9bye", closes, `received text "hello"; want a close frame`},
		{"close without FIN", "\x08\x05\x03\xe9bye", closes, "Fin:false"},
		{"no close", "", closes, "EOF; want a close frame with 1001"},
		{"end", "", ends, ""},
		{"something before the end", "x", ends, `read "x"`},
	}
	for _, row := range tests {
		t.Run(row.name, func(t *testing.T) {
			a, b := Streams()
			a.Write([]byte(row.bytes))
			a.CloseWrite()
			got := failure(row.expect(NewPeer(b, true)))
			if row.says == "" && got != "" || !strings.Contains(got, row.says) {
				t.Errorf("failure %q, want %q", got, row.says)
			}
			a.Close()
		})
	}
	a, b := Streams()
	b.Close()
	if got := failure(func(t testing.TB) { NewPeer(a, true).Send(t, wire.OpText, "x") }); !strings.Contains(got, "sending text") {
		t.Errorf("Send to nobody: failure %q", got)
	}
}

// A Peer as client and as server against the real thing, over both kinds.
func TestPeerSpeaksWithConn(t *testing.T) {
	for _, kind := range Kinds {
		for name, start := range map[string]func(*websocket.Options) (*websocket.Conn, *Peer){"Server": kind.Server, "Client": kind.Client} {
			t.Run(kind.String()+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					conn, peer := start(nil)
					defer conn.CloseNow()
					peer.Send(t, wire.OpText, "to the Conn")
					typ, p, err := conn.Read(t.Context())
					if err != nil || typ != websocket.Text || string(p) != "to the Conn" {
						t.Fatalf("Read = %v, %q, %v", typ, p, err)
					}
					if err := conn.Write(t.Context(), websocket.Binary, []byte("from it")); err != nil {
						t.Fatal(err)
					}
					peer.Expect(t, wire.OpBinary, "from it")

					closed := make(chan error, 1)
					go func() { closed <- conn.Close(websocket.CloseGoingAway, "bye") }()
					if reason := peer.ExpectClose(t, websocket.CloseGoingAway); reason != "bye" {
						t.Errorf("reason %q", reason)
					}
					peer.Send(t, wire.OpClose, string(wire.AppendClose(nil, websocket.CloseGoingAway, "")))
					if peer.Masks {
						peer.ExpectEnd(t) // the server ends TCP
					}
					peer.Close()
					if err := <-closed; err != nil {
						t.Errorf("Close = %v", err)
					}
				})
			})
		}
	}
}
