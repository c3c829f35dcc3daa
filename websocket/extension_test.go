package websocket_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// extended returns options with these extensions.
func extended(list ...websocket.Extension) websocket.Options {
	return websocket.Options{Extensions: list}
}

// Two extensions one after the other, in every way to send and however the stream
// cuts the bytes.
func TestExtensionsInARow(t *testing.T) {
	overDeflateWays(t, func(t *testing.T, w way) {
		for _, o := range []websocket.Options{
			extended(Checksum{}),
			extended(&websocket.Deflate{}, Checksum{}),
			extended(Checksum{}, &websocket.Deflate{}),
		} {
			e, client := w.pair(t, &o)
			rng := rand.New(rand.NewPCG(4, 4))
			other := &end{Conn: client, t: t, way: way{host: w.host}}
			for i := range 60 {
				text := prose(rng, rng.IntN(1+rng.IntN(20_000)))
				sent := async(func() error { return sendSomehow(other, i, text) })
				e.read(text)
				if err := sent(); err != nil {
					t.Fatal(err)
				}
				sent = async(func() error { return sendSomehow(e, i, text) })
				other.read(text)
				if err := sent(); err != nil {
					t.Fatal(err)
				}
			}
			client.CloseNow()
		}
	})
}

// What a peer sees of an extension: its bit, and its data before that of the
// application, cut in any way; and what becomes of one that is wrong.
func TestExtensionOnTheWire(t *testing.T) {
	overDeflateWays(t, func(t *testing.T, w way) {
		o := extended(Checksum{})
		e, s := w.serve(t, &o)
		s.offer = "x-checksum; sum=md5, x-checksum; sum=adler32"
		peer := s.peer(t)
		e.await()
		if got := e.Extensions(); got != "x-checksum; sum=adler32" {
			t.Fatalf("agreed on %q", got)
		}
		// Adler-32 of "Wikipedia" is 0x11E60398.
		sum := "\x11\xe6\x03\x98"
		frame := func(h wire.Header, payload string) []byte {
			h.Masked, h.Length = true, int64(len(payload))
			return peer.encode(h, payload)
		}
		e.split(peer, 3)
		peer.send(frame(wire.Header{Fin: true, Rsv: wire.Rsv2, Opcode: wire.OpText}, sum+"Wikipedia"))
		e.read("Wikipedia")
		peer.send(
			frame(wire.Header{Rsv: wire.Rsv2, Opcode: wire.OpText}, string(binary.BigEndian.AppendUint32(nil, adler32.Checksum([]byte("Wik"))))+"Wik"),
			peer.frame(true, wire.OpPing, "between"),
			frame(wire.Header{Fin: true}, sum+"ipedia"),
		)
		e.read("Wikipedia")
		peer.send(peer.text("plain")) // without the bit it does not concern the extension
		e.read("plain")
		if err := e.Write(bg, websocket.Text, []byte("Wikipedia")); err != nil {
			t.Fatal(err)
		}
		peer.want("pong between", "text rsv 0x20 "+sum+"Wikipedia")
		err := e.reading()
		peer.send(frame(wire.Header{Fin: true, Rsv: wire.Rsv2, Opcode: wire.OpText}, sum+"Wikipedio"))
		peer.want("close 1007 *", "end")
		peer.Close()
		wantError(t, err(), websocket.CloseInvalidPayload)
		if end := err(); !strings.Contains(end.Error(), "the checksum is wrong") {
			t.Errorf("the error does not say what the extension said: %v", end)
		}
	})
}

// A broken extension is one that does what it must not.
type broken struct {
	Checksum
	name  string
	agree websocket.Agreement
}

func (b broken) Name() string                         { return b.name }
func (b broken) Offers() [][]websocket.ExtensionParam { return [][]websocket.ExtensionParam{nil} }
func (b broken) Accept([]websocket.ExtensionParam) ([]websocket.ExtensionParam, *websocket.Agreement) {
	return nil, &b.agree
}
func (b broken) Confirm([]websocket.ExtensionParam) (*websocket.Agreement, error) {
	return &b.agree, nil
}

// Attack 14: of two extensions that claim the same bit a server takes the first, and
// a client fails.
func TestExtensionConflicts(t *testing.T) {
	claim := func(name string, rsv, frame uint8) broken {
		return broken{name: name, agree: websocket.Agreement{Rsv: rsv, FrameRsv: frame}}
	}
	for _, test := range []struct {
		list []websocket.Extension
		want string
	}{
		{[]websocket.Extension{claim("a", wire.Rsv1, 0), &websocket.Deflate{}}, "a"},
		{[]websocket.Extension{claim("a", wire.Rsv1, 0), claim("b", 0, wire.Rsv1)}, "a"},
		{[]websocket.Extension{claim("a", 0, wire.Rsv1), claim("b", wire.Rsv1|wire.Rsv2, 0), claim("c", wire.Rsv2, 0)}, "a, c"},
		{[]websocket.Extension{claim("a", wire.Rsv3, wire.Rsv3), claim("b", wire.Rsv3, 0)}, "b"},
		{[]websocket.Extension{claim("a", 1, 0), claim("b", 0, 0), claim("c", 0, 0)}, "b, c"},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := extended(test.list...)
			s := wstest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Options: o}); err == nil {
					defer c.CloseNow()
					c.Read(bg)
				}
			}))
			defer s.Close()
			c, _, err := s.Dial(bg, "/", &websocket.DialOptions{Options: o})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			if got := c.Extensions(); got != test.want {
				t.Errorf("agreed on %q, want %q", got, test.want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := wstest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			stream, _, _ := http.NewResponseController(w).Hijack()
			answerWith(stream, r, "a, b")
			stream.Close()
		}))
		defer s.Close()
		o := extended(claim("a", wire.Rsv1, 0), claim("b", wire.Rsv1, 0))
		if _, _, err := s.Dial(bg, "/", &websocket.DialOptions{Options: o}); err == nil || !strings.Contains(err.Error(), "same RSV bits") {
			t.Errorf("a client takes two extensions with one bit: %v", err)
		}
	})
}

// badDecoder returns whatever it was made with.
type badDecoder struct {
	nDst, nSrc int
	err        error
}

func (d badDecoder) Decode(_, _ []byte, _ websocket.Frame, _ bool) (int, int, error) {
	return d.nDst, d.nSrc, d.err
}

// A Decoder that breaks its contract ends its connection, and hangs nothing.
func TestBadDecoders(t *testing.T) {
	for _, test := range []struct {
		d    badDecoder
		code websocket.CloseCode
	}{
		{badDecoder{0, 0, nil}, 1011},
		{badDecoder{0, 0, io.EOF}, 1011},
		{badDecoder{-1, 0, nil}, 1011},
		{badDecoder{0, 1 << 20, nil}, 1011},
		{badDecoder{1 << 30, 0, nil}, 1011},
		{badDecoder{0, 0, errors.New("no")}, 1007},
		{badDecoder{0, 0, &websocket.Error{Code: 4321, Msg: "mine"}}, 4321},
	} {
		for _, second := range []bool{false, true} {
			overDeflateWays(t, func(t *testing.T, w way) {
				x := broken{name: "bad", agree: websocket.Agreement{NewDecoder: func() websocket.Decoder { return test.d }}}
				o := extended(x)
				offer := "bad"
				if second {
					pass := broken{name: "pass", agree: websocket.Agreement{NewDecoder: func() websocket.Decoder { return through{} }}}
					o, offer = extended(x, pass), "bad, pass"
				}
				e, s := w.serve(t, &o)
				s.offer = offer
				peer := s.peer(t)
				e.await()
				err := e.reading()
				peer.send(peer.text("hello"))
				peer.want(fmt.Sprintf("close %d*", test.code), "end")
				peer.Close()
				wantError(t, err(), test.code)
			})
		}
	}
}

// through changes nothing.
type through struct{}

func (through) Decode(dst, src []byte, _ websocket.Frame, end bool) (nDst, nSrc int, err error) {
	n := copy(dst, src)
	if end && n == len(src) {
		err = io.EOF
	}
	return n, n, err
}

func TestExtensionOptionsThatAreWrong(t *testing.T) {
	many := make([]websocket.Extension, 17)
	for i := range many {
		many[i] = broken{name: fmt.Sprint("x", i)}
	}
	for _, test := range []struct {
		list []websocket.Extension
		want string
	}{
		{[]websocket.Extension{broken{name: "a b"}}, "not a token"},
		{[]websocket.Extension{broken{name: ""}}, "not a token"},
		{[]websocket.Extension{nil}, "nil"},
		{[]websocket.Extension{&websocket.Deflate{}, &websocket.Deflate{}}, "twice"},
		{[]websocket.Extension{broken{name: "a"}, broken{name: "A"}}, "twice"},
		{[]websocket.Extension{&websocket.Deflate{SendBits: 16}}, "8 to 15"},
		{many, "at most 16"},
	} {
		_, _, err := websocket.Dial(bg, "ws://127.0.0.1:1/", &websocket.DialOptions{Options: extended(test.list...)})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "Options.Extensions") {
			t.Errorf("Dial: %v, want %q", err, test.want)
		}
		failed := make(chan error, 1)
		s := wstest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := websocket.Accept(w, r, &websocket.AcceptOptions{Options: extended(test.list...)})
			failed <- err
		}))
		if _, _, err := s.Dial(bg, "/", nil); err == nil || !strings.Contains(err.Error(), "500") {
			t.Errorf("the client got %v", err)
		}
		if err := <-failed; err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Accept: %v, want %q", err, test.want)
		}
		s.Close()
	}
}
