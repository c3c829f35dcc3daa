package wire

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

// A frame of the tests is a header and as much of its payload as is given.
type frame struct {
	Header
	payload string
}

// whole is a frame with FIN and all of its payload.
func whole(o Opcode, payload string) frame {
	return frame{Header{Fin: true, Opcode: o, Length: int64(len(payload))}, payload}
}

// more is a frame without FIN.
func more(o Opcode, payload string) frame {
	f := whole(o, payload)
	f.Fin = false
	return f
}

// declared is the header of a frame whose payload does not come.
func declared(o Opcode, length int64) frame {
	return frame{Header{Fin: true, Opcode: o, Length: length}, ""}
}

func (f frame) rsv(bits uint8) frame {
	f.Rsv = bits
	return f
}

func (f frame) masked() frame {
	f.Masked, f.Key = true, testKey
	return f
}

// append adds the frame as it goes over the wire.
func (f frame) append(b []byte) []byte {
	b = f.Header.Append(b)
	n := len(b)
	b = append(b, f.payload...)
	if f.Masked {
		Mask(b[n:], f.Key)
	}
	return b
}

// take gives frames to d and returns the index of the one that was refused,
// whether that was at its header, and the error.
func take(d *Decoder, frames []frame) (i int, header bool, err error) {
	for i, f := range frames {
		if err := d.Frame(f.Header); err != nil {
			return i, true, err
		}
		b := f.append(nil)[f.Size():]
		if err := d.Payload(b); err != nil {
			return i, false, err
		}
	}
	return len(frames), false, nil
}

// The rules, one a row: what is refused is the last frame, at its header unless
// inPayload says otherwise. Rows without an error are the border's other side.
var rules = []struct {
	name      string
	decoder   Decoder
	frames    []frame
	err       *Error
	inPayload bool
}{
	// 5.1: masks, both ways, on every kind of frame.
	{"server takes masked text", Decoder{Server: true}, []frame{whole(OpText, "a").masked()}, nil, false},
	{"server takes masked ping", Decoder{Server: true}, []frame{whole(OpPing, "a").masked()}, nil, false},
	{"server refuses unmasked text", Decoder{Server: true}, []frame{whole(OpText, "a")}, errUnmasked, false},
	{"server refuses unmasked empty text", Decoder{Server: true}, []frame{whole(OpText, "")}, errUnmasked, false},
	{"server refuses unmasked ping", Decoder{Server: true}, []frame{whole(OpPing, "")}, errUnmasked, false},
	{"server refuses unmasked close", Decoder{Server: true}, []frame{whole(OpClose, "")}, errUnmasked, false},
	{"server refuses unmasked continuation", Decoder{Server: true}, []frame{more(OpText, "a").masked(), whole(OpContinuation, "b")}, errUnmasked, false},
	{"client takes unmasked text", Decoder{}, []frame{whole(OpText, "a")}, nil, false},
	{"client refuses masked text", Decoder{}, []frame{whole(OpText, "a").masked()}, errMasked, false},
	{"client refuses masked pong", Decoder{}, []frame{whole(OpPong, "").masked()}, errMasked, false},
	{"client refuses masked close", Decoder{}, []frame{whole(OpClose, "").masked()}, errMasked, false},
	{"client refuses masked continuation", Decoder{}, []frame{more(OpText, "a"), whole(OpContinuation, "b").masked()}, errMasked, false},

	// 5.2: RSV bits without an extension.
	{"RSV1", Decoder{}, []frame{whole(OpText, "a").rsv(Rsv1)}, errRsv, false},
	{"RSV2", Decoder{}, []frame{whole(OpText, "a").rsv(Rsv2)}, errRsv, false},
	{"RSV3", Decoder{}, []frame{whole(OpBinary, "a").rsv(Rsv3)}, errRsv, false},
	{"RSV1 on a ping", Decoder{}, []frame{whole(OpPing, "").rsv(Rsv1)}, errRsv, false},
	{"RSV3 on a close", Decoder{}, []frame{whole(OpClose, "").rsv(Rsv3)}, errRsv, false},
	// RFC 7692, 6: a claimed bit stands on the first frame of a message.
	{"claimed RSV1 on text", Decoder{Rsv: Rsv1}, []frame{whole(OpText, "a").rsv(Rsv1)}, nil, false},
	{"claimed RSV1 on binary", Decoder{Rsv: Rsv1}, []frame{whole(OpBinary, "a").rsv(Rsv1)}, nil, false},
	{"claimed RSV1 left clear", Decoder{Rsv: Rsv1}, []frame{whole(OpText, "a")}, nil, false},
	{"claimed RSV1, clear on the continuation", Decoder{Rsv: Rsv1}, []frame{more(OpText, "a").rsv(Rsv1), whole(OpContinuation, "b")}, nil, false},
	{"claimed RSV1 on a continuation", Decoder{Rsv: Rsv1}, []frame{more(OpText, "a").rsv(Rsv1), whole(OpContinuation, "b").rsv(Rsv1)}, errRsv, false},
	{"claimed RSV1 on a continuation alone", Decoder{Rsv: Rsv1}, []frame{more(OpText, "a"), whole(OpContinuation, "b").rsv(Rsv1)}, errRsv, false},
	{"claimed RSV1 on a ping", Decoder{Rsv: Rsv1}, []frame{whole(OpPing, "").rsv(Rsv1)}, errRsv, false},
	{"claimed RSV1 on a close", Decoder{Rsv: Rsv1}, []frame{whole(OpClose, "").rsv(Rsv1)}, errRsv, false},
	{"RSV2 beside a claimed RSV1", Decoder{Rsv: Rsv1}, []frame{whole(OpText, "a").rsv(Rsv1 | Rsv2)}, errRsv, false},
	{"RSV3 where RSV1 is claimed", Decoder{Rsv: Rsv1}, []frame{whole(OpText, "a").rsv(Rsv3)}, errRsv, false},
	{"all claimed", Decoder{Rsv: Rsv1 | Rsv2 | Rsv3}, []frame{whole(OpText, "a").rsv(Rsv1 | Rsv2 | Rsv3)}, nil, false},

	// 5.2: reserved opcodes, at the header, however much they declare.
	{"opcode 3", Decoder{}, []frame{whole(3, "")}, errReserved, false},
	{"opcode 4, huge", Decoder{}, []frame{declared(4, math.MaxInt64)}, errReserved, false},
	{"opcode 7, huge, masked", Decoder{Server: true}, []frame{declared(7, 1<<40).masked()}, errReserved, false},
	{"opcode 7 within a message", Decoder{}, []frame{more(OpText, "a"), whole(7, "b")}, errReserved, false},
	{"opcode 0xB", Decoder{}, []frame{whole(0xB, "")}, errReserved, false},
	{"opcode 0xF within a message", Decoder{}, []frame{more(OpText, "a"), whole(0xF, "")}, errReserved, false},
	{"opcode 0xF, huge", Decoder{}, []frame{declared(0xF, math.MaxInt64)}, errReserved, false},
	{"opcode 3 over the limits", Decoder{MaxFrame: 1, MaxMessage: 1}, []frame{declared(3, 1<<40)}, errReserved, false},

	// 5.5: control frames are short and whole.
	{"ping of 125", Decoder{}, []frame{whole(OpPing, strings.Repeat("p", 125))}, nil, false},
	{"ping of 126", Decoder{}, []frame{declared(OpPing, 126)}, errControlLength, false},
	{"pong of 126", Decoder{}, []frame{declared(OpPong, 126)}, errControlLength, false},
	{"close of 125", Decoder{}, []frame{whole(OpClose, strings.Repeat("c", 125))}, nil, false},
	{"close of 126", Decoder{}, []frame{declared(OpClose, 126)}, errControlLength, false},
	{"ping of 2^63-1", Decoder{}, []frame{declared(OpPing, math.MaxInt64)}, errControlLength, false},
	{"ping without FIN", Decoder{}, []frame{more(OpPing, "")}, errControlFin, false},
	{"pong without FIN", Decoder{}, []frame{more(OpPong, "a")}, errControlFin, false},
	{"close without FIN", Decoder{}, []frame{more(OpClose, "")}, errControlFin, false},
	{"unasked pong", Decoder{}, []frame{whole(OpPong, "nobody asked"), whole(OpText, "a")}, nil, false},
	{"control frames within a text, within a character", Decoder{}, []frame{more(OpText, "\xe2"), whole(OpPing, "\xff"), more(OpContinuation, "\x82"), whole(OpPong, "\x80"), whole(OpContinuation, "\xac")}, nil, false},
	{"binary control payload is no text", Decoder{}, []frame{whole(OpPing, "\xff\xfe")}, nil, false},
	{"control frames are not held to a message's limits", Decoder{MaxFrame: 1, MaxMessage: 1, MaxFragments: 1}, []frame{more(OpText, "a"), whole(OpPing, "longer"), whole(OpPong, "longer")}, nil, false},

	// 5.4: fragments.
	{"continuation of nothing", Decoder{}, []frame{whole(OpContinuation, "a")}, errContinuation, false},
	{"continuation of nothing, empty, without FIN", Decoder{}, []frame{more(OpContinuation, "")}, errContinuation, false},
	{"continuation after a whole message", Decoder{}, []frame{whole(OpText, "a"), whole(OpContinuation, "b")}, errContinuation, false},
	{"continuation after an empty message", Decoder{}, []frame{whole(OpText, ""), whole(OpContinuation, "b")}, errContinuation, false},
	{"continuation after the last one", Decoder{}, []frame{more(OpText, "a"), whole(OpContinuation, "b"), whole(OpContinuation, "c")}, errContinuation, false},
	{"continuation after an empty last one", Decoder{}, []frame{more(OpText, "a"), whole(OpContinuation, ""), more(OpContinuation, "c")}, errContinuation, false},
	{"text in a text", Decoder{}, []frame{more(OpText, "a"), whole(OpText, "b")}, errInterleaved, false},
	{"binary in a text", Decoder{}, []frame{more(OpText, ""), more(OpBinary, "")}, errInterleaved, false},
	{"text in a binary, after a ping", Decoder{}, []frame{more(OpBinary, "a"), whole(OpPing, ""), whole(OpText, "b")}, errInterleaved, false},
	{"message after message", Decoder{}, []frame{whole(OpText, "a"), whole(OpBinary, "\xff"), more(OpText, "b"), whole(OpContinuation, ""), whole(OpText, "c")}, nil, false},

	// Limits, at the border, by what is declared.
	{"frame at the limit", Decoder{MaxFrame: 10}, []frame{whole(OpBinary, "0123456789")}, nil, false},
	{"frame over the limit", Decoder{MaxFrame: 10}, []frame{declared(OpBinary, 11)}, errFrameTooBig, false},
	{"second frame over the limit", Decoder{MaxFrame: 10}, []frame{more(OpBinary, "0123456789"), declared(OpContinuation, 11)}, errFrameTooBig, false},
	{"frame of 2^63-1 over the limit", Decoder{MaxFrame: 10}, []frame{declared(OpBinary, math.MaxInt64)}, errFrameTooBig, false},
	{"frame of 2^63-1 without limits", Decoder{}, []frame{declared(OpBinary, math.MaxInt64)}, nil, false},
	{"message at the limit", Decoder{MaxMessage: 10}, []frame{whole(OpBinary, "0123456789")}, nil, false},
	{"message over the limit", Decoder{MaxMessage: 10}, []frame{declared(OpBinary, 11)}, errMessageTooBig, false},
	{"fragments at the limit", Decoder{MaxMessage: 10}, []frame{more(OpBinary, "01234"), more(OpContinuation, "56789"), whole(OpContinuation, "")}, nil, false},
	{"fragments over the limit", Decoder{MaxMessage: 10}, []frame{more(OpBinary, "01234"), more(OpContinuation, "56789"), declared(OpContinuation, 1)}, errMessageTooBig, false},
	{"fragments whose sum overflows, limit set", Decoder{MaxMessage: 10}, []frame{more(OpBinary, "01234"), declared(OpContinuation, math.MaxInt64)}, errMessageTooBig, false},
	{"limit of 2^63-1 and a sum that overflows", Decoder{MaxMessage: math.MaxInt64}, []frame{more(OpBinary, "01234"), declared(OpContinuation, math.MaxInt64)}, errMessageTooBig, false},
	{"no limit and a sum that overflows", Decoder{}, []frame{more(OpBinary, "01234"), declared(OpContinuation, math.MaxInt64)}, errMessageTooBig, false},
	{"no limit and a sum of 2^63-1", Decoder{}, []frame{more(OpBinary, "01234"), declared(OpContinuation, math.MaxInt64-5)}, nil, false},
	{"sizes begin anew with each message", Decoder{MaxMessage: 10}, []frame{whole(OpBinary, "0123456789"), whole(OpBinary, "0123456789"), more(OpBinary, "0123456789"), whole(OpContinuation, "")}, nil, false},
	{"pings do not count", Decoder{MaxMessage: 10}, []frame{more(OpBinary, "01234"), whole(OpPing, "01234567890"), whole(OpContinuation, "56789")}, nil, false},
	{"fragments as many as allowed", Decoder{MaxFragments: 3}, []frame{more(OpBinary, ""), more(OpContinuation, ""), whole(OpContinuation, "")}, nil, false},
	{"one fragment too many", Decoder{MaxFragments: 3}, []frame{more(OpBinary, ""), more(OpContinuation, ""), more(OpContinuation, ""), whole(OpContinuation, "")}, errFragments, false},
	{"one fragment allowed, two come", Decoder{MaxFragments: 1}, []frame{whole(OpBinary, "a"), more(OpBinary, "a"), whole(OpContinuation, "b")}, errFragments, false},
	{"fragments begin anew with each message", Decoder{MaxFragments: 2}, []frame{more(OpBinary, ""), whole(OpContinuation, ""), more(OpBinary, ""), whole(OpContinuation, "")}, nil, false},
	{"fragments, pings do not count", Decoder{MaxFragments: 2}, []frame{more(OpBinary, ""), whole(OpPing, ""), whole(OpPong, ""), whole(OpContinuation, "")}, nil, false},

	// 5.6 and 8.1: text.
	{"text with a wrong byte", Decoder{}, []frame{whole(OpText, "a\xff")}, errText, true},
	{"masked text with a wrong byte", Decoder{Server: true}, []frame{whole(OpText, "a\xff").masked()}, errText, true},
	{"RSV2 claimed for every frame", Decoder{Rsv: Rsv1, FrameRsv: Rsv2}, []frame{more(OpText, "a").rsv(Rsv1 | Rsv2), whole(OpContinuation, "b").rsv(Rsv2), whole(OpText, "c")}, nil, false},
	{"RSV2 claimed for every frame, on a ping", Decoder{FrameRsv: Rsv2}, []frame{whole(OpPing, "").rsv(Rsv2)}, errRsv, false},
	{"RSV2 claimed for every frame, RSV1 on a continuation", Decoder{Rsv: Rsv1, FrameRsv: Rsv2}, []frame{more(OpText, "a"), whole(OpContinuation, "b").rsv(Rsv1 | Rsv2)}, errRsv, false},
	{"text that ends within a character", Decoder{}, []frame{whole(OpText, "\xe2\x82")}, errText, true},
	{"fragmented text, wrong byte before its end", Decoder{}, []frame{more(OpText, "a"), more(OpContinuation, "\xff")}, errText, true},
	{"fragmented text, wrong across fragments", Decoder{}, []frame{more(OpText, "\xe2"), more(OpContinuation, "(")}, errText, true},
	{"fragmented text that ends within a character", Decoder{}, []frame{more(OpText, "\xe2"), whole(OpContinuation, "\x82")}, errText, true},
	{"fragmented text that ends within a character, empty frame", Decoder{}, []frame{more(OpText, "\xe2\x82"), whole(OpContinuation, "")}, errText, false},
	{"character over three frames", Decoder{}, []frame{more(OpText, "\xe2"), more(OpContinuation, "\x82"), whole(OpContinuation, "\xac")}, nil, false},
	{"next text begins anew", Decoder{Rsv: Rsv1}, []frame{whole(OpText, "\xe2\x82").rsv(Rsv1), whole(OpText, "a")}, nil, false},
	{"unfinished binary does not touch a text", Decoder{}, []frame{whole(OpBinary, "\xe2"), whole(OpText, "a")}, nil, false},
	{"binary is any bytes", Decoder{}, []frame{whole(OpBinary, "\xff"), more(OpBinary, "\xe2"), whole(OpContinuation, "\xff")}, nil, false},
	{"text may be any bytes", Decoder{AnyText: true}, []frame{whole(OpText, "\xff"), whole(OpText, "\xe2")}, nil, false},
	{"text that an extension changed", Decoder{Rsv: Rsv1}, []frame{more(OpText, "\xff").rsv(Rsv1), whole(OpContinuation, "\xe2")}, nil, false},
	{"text that an extension left alone", Decoder{Rsv: Rsv1}, []frame{whole(OpText, "\xff").rsv(Rsv1), whole(OpText, "\xff")}, errText, true},
}

func TestDecoderRules(t *testing.T) {
	for _, row := range rules {
		t.Run(row.name, func(t *testing.T) {
			d := row.decoder
			i, header, err := take(&d, row.frames)
			if row.err == nil {
				if err != nil {
					t.Fatalf("frame %d refused: %v", i, err)
				}
				return
			}
			if err != error(row.err) || i != len(row.frames)-1 || header == row.inPayload {
				t.Fatalf("frame %d (of %d), header %v: %v; want %v at the last, header %v",
					i, len(row.frames), header, err, row.err, !row.inPayload)
			}
		})
	}
}

// The table above is written by hand as the rules of wire are; the oracle reads
// each row's bytes by the RFC alone.
func TestDecoderRulesByOracle(t *testing.T) {
	for _, row := range rules {
		var b []byte
		for _, f := range row.frames {
			b = f.append(b)
		}
		var want CloseCode
		if row.err != nil {
			want = row.err.Code
		}
		if o := oracle(row.decoder, b); o.code != want {
			t.Errorf("%s: %v, want code %d", row.name, o, want)
		}
	}
}

// 5.7, example by example, with what comes out of it.
func TestDecoderExamples(t *testing.T) {
	kilobytes := func(n int, head ...byte) []byte { return append(head, make([]byte, n)...) }
	tests := []struct {
		name    string
		decoder Decoder
		bytes   []byte
		want    []event
	}{
		{"unmasked text", Decoder{}, []byte{0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f}, []event{{OpText, "Hello"}}},
		{"masked text", Decoder{Server: true}, []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}, []event{{OpText, "Hello"}}},
		{"fragmented text", Decoder{}, []byte{0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f}, []event{{OpText, "Hello"}}},
		{"ping", Decoder{}, []byte{0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f}, []event{{OpPing, "Hello"}}},
		{"masked pong", Decoder{Server: true}, []byte{0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}, []event{{OpPong, "Hello"}}},
		{"256 bytes", Decoder{}, kilobytes(256, 0x82, 0x7E, 0x01, 0x00), []event{{OpBinary, strings.Repeat("\x00", 256)}}},
		{"64 KiB", Decoder{}, kilobytes(65536, 0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0), []event{{OpBinary, strings.Repeat("\x00", 65536)}}},
	}
	for _, row := range tests {
		t.Run(row.name, func(t *testing.T) {
			for _, step := range []int{1, 2, 3, 7, 1 << 20} {
				got, _ := drive(row.decoder, row.bytes, func() int { return step })
				if want := (outcome{events: row.want}); !got.equal(want) {
					t.Fatalf("in pieces of %d: %v, want %v", step, got, want)
				}
			}
		})
	}
}

// Text fails in the Payload call with its first wrong byte, not at the frame's
// end: a peer must not make us take a gigabyte of rubbish.
func TestDecoderFailsAtTheFirstWrongByte(t *testing.T) {
	d := Decoder{Server: true}
	h := declared(OpText, 1<<40).masked().Header
	if err := d.Frame(h); err != nil {
		t.Fatal(err)
	}
	text := []byte("all good\xffnot looked at")
	Mask(text, testKey)
	for i := range text {
		err := d.Payload(text[i : i+1])
		if want := i == 8; (err != nil) != want {
			t.Fatalf("byte %d: %v", i, err)
		}
		if err != nil {
			return
		}
	}
}

func TestDecoderProgress(t *testing.T) {
	var d Decoder
	step := func(what string, err error, remaining int64, inMessage bool) {
		t.Helper()
		if err != nil || d.Remaining() != remaining || d.InMessage() != inMessage {
			t.Fatalf("%s: %v, Remaining %d, InMessage %v; want %d, %v", what, err, d.Remaining(), d.InMessage(), remaining, inMessage)
		}
	}
	step("at first", nil, 0, false)
	step("text header", d.Frame(more(OpText, "abc").Header), 3, true)
	step("a piece", d.Payload([]byte("ab")), 1, true)
	step("an empty piece", d.Payload(nil), 1, true)
	step("the rest", d.Payload([]byte("c")), 0, true)
	step("ping header", d.Frame(whole(OpPing, "xy").Header), 2, true)
	step("its payload", d.Payload([]byte("xy")), 0, true)
	step("last header", d.Frame(whole(OpContinuation, "de").Header), 2, true)
	step("a piece", d.Payload([]byte("d")), 1, true)
	step("the end", d.Payload([]byte("e")), 0, false)
	step("empty ping", d.Frame(whole(OpPing, "").Header), 0, false)
	step("empty message", d.Frame(whole(OpText, "").Header), 0, false)
	step("empty first frame", d.Frame(more(OpBinary, "").Header), 0, true)
	step("empty last frame", d.Frame(whole(OpContinuation, "").Header), 0, false)
}

// drive gives b to a copy of d as a connection would: pieces of the lengths that
// next returns come in, headers are parsed when they are whole, payload is given
// as it comes. at is the end of the piece with which a violation showed, from its
// start.
func drive(d Decoder, b []byte, next func() int) (o outcome, from int) {
	var (
		unread  []byte // came in, not taken yet
		current Header
		message []byte
		control []byte
		opcode  Opcode
	)
	finish := func() {
		switch {
		case d.Remaining() > 0:
		case current.Opcode.IsControl():
			o.events = append(o.events, event{current.Opcode, string(control)})
		case !d.InMessage():
			o.events = append(o.events, event{opcode, string(message)})
		}
	}
	fail := func(err error) bool {
		var broken *Error
		if !errors.As(err, &broken) {
			return false
		}
		o.code, o.at = broken.Code, len(b)
		return true
	}
	all := b
	for len(all) > 0 {
		n := min(max(next(), 0), len(all))
		from = len(b) - len(all)
		unread = append(unread, all[:n]...)
		all = all[n:]
		for {
			if n := min(d.Remaining(), int64(len(unread))); d.Remaining() > 0 {
				p := unread[:n]
				if fail(d.Payload(p)) {
					o.at = len(b) - len(all)
					return o, from
				}
				if current.Opcode.IsControl() {
					control = append(control, p...)
				} else {
					message = append(message, p...)
				}
				unread = unread[n:]
				if d.Remaining() > 0 {
					break
				}
				finish()
				continue
			}
			h, n, err := ParseHeader(unread)
			if err == io.ErrUnexpectedEOF {
				break
			}
			if err == nil {
				err = d.Frame(h)
			}
			if fail(err) {
				o.at = len(b) - len(all)
				return o, from
			}
			unread, current = unread[n:], h
			if h.Opcode.IsControl() {
				control = control[:0]
			} else if h.Opcode != OpContinuation {
				message, opcode = message[:0], h.Opcode
			}
			if h.Length == 0 {
				finish()
			}
		}
	}
	return o, from
}

// equal compares what came out and the code, not the place.
func (o outcome) equal(p outcome) bool {
	if len(o.events) != len(p.events) || o.code != p.code {
		return false
	}
	for i := range o.events {
		if o.events[i] != p.events[i] {
			return false
		}
	}
	return true
}

// Nothing on the way of a frame may allocate: a server does this for every frame
// of every connection.
func TestNoAllocations(t *testing.T) {
	h := whole(OpText, strings.Repeat("κόσμε ", 100)).masked().Header
	payload := []byte(strings.Repeat("κόσμε ", 100))
	Mask(payload, testKey)
	scratch, frame := make([]byte, len(payload)), make([]byte, 0, MaxHeader)
	head := h.Append(nil)
	reason := strings.Repeat("r", 200)
	for name, f := range map[string]func(){
		"ParseHeader":        func() { ParseHeader(head) },
		"ParseHeader, short": func() { ParseHeader(head[:3]) },
		"ParseHeader, wrong": func() { ParseHeader([]byte{0x82, 126, 0, 1}) },
		"Append":             func() { h.Append(frame) },
		"AppendClose":        func() { AppendClose(scratch[:0], CloseNormal, reason) },
		"Decoder": func() {
			d := Decoder{Server: true, MaxMessage: 1 << 20}
			copy(scratch, payload)
			if d.Frame(h) != nil || d.Payload(scratch[:7]) != nil || d.Payload(scratch[7:]) != nil {
				t.Error("refused")
			}
		},
		"Decoder, wrong": func() {
			var d Decoder
			if d.Frame(h) == nil {
				t.Error("not refused")
			}
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// Append writes into the capacity that is there and after what is there.
func TestAppendUsesTheSlice(t *testing.T) {
	b := append(make([]byte, 0, 100), "before"...)
	got := whole(OpText, "").masked().Append(b)
	if &got[0] != &b[0] || !bytes.HasPrefix(got, []byte("before\x81\x80")) {
		t.Errorf("Append = %q, in another array or place", got)
	}
}
