package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"testing"
)

// The examples of RFC 6455, 5.7, header by header.
var rfcExamples = []struct {
	name   string
	header Header
	bytes  []byte
}{
	{"unmasked text", Header{Fin: true, Opcode: OpText, Length: 5}, []byte{0x81, 0x05}},
	{"masked text", Header{Fin: true, Opcode: OpText, Masked: true, Key: 0x3d21fa37, Length: 5}, []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d}},
	{"first fragment", Header{Opcode: OpText, Length: 3}, []byte{0x01, 0x03}},
	{"last fragment", Header{Fin: true, Opcode: OpContinuation, Length: 2}, []byte{0x80, 0x02}},
	{"unmasked ping", Header{Fin: true, Opcode: OpPing, Length: 5}, []byte{0x89, 0x05}},
	{"masked pong", Header{Fin: true, Opcode: OpPong, Masked: true, Key: 0x3d21fa37, Length: 5}, []byte{0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d}},
	{"256 bytes", Header{Fin: true, Opcode: OpBinary, Length: 256}, []byte{0x82, 0x7E, 0x01, 0x00}},
	{"64 KiB", Header{Fin: true, Opcode: OpBinary, Length: 65536}, []byte{0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0}},
}

func TestHeaderExamples(t *testing.T) {
	for _, row := range rfcExamples {
		t.Run(row.name, func(t *testing.T) {
			if got := row.header.Append(nil); !bytes.Equal(got, row.bytes) {
				t.Errorf("Append = %x, want %x", got, row.bytes)
			}
			// What follows the header is payload and must not be looked at.
			h, n, err := ParseHeader(append(bytes.Clone(row.bytes), 0xFF, 0xFF))
			if err != nil || h != row.header || n != len(row.bytes) {
				t.Errorf("ParseHeader = %+v, %d, %v; want %+v, %d", h, n, err, row.header, len(row.bytes))
			}
		})
	}
}

// A length has one form only: the shortest. Another one, and the top bit of 64,
// is refused as soon as the length is there, even without the masking key.
func TestHeaderLengths(t *testing.T) {
	tests := []struct {
		name   string
		bytes  []byte
		length int64
		err    error
	}{
		{"7 bits, 0", []byte{0x82, 0}, 0, nil},
		{"7 bits, 125", []byte{0x82, 125}, 125, nil},
		{"16 bits, 0", []byte{0x82, 126, 0, 0}, 0, errLengthForm},
		{"16 bits, 125", []byte{0x82, 126, 0, 125}, 0, errLengthForm},
		{"16 bits, 126", []byte{0x82, 126, 0, 126}, 126, nil},
		{"16 bits, 127", []byte{0x82, 126, 0, 127}, 127, nil},
		{"16 bits, 65535", []byte{0x82, 126, 0xFF, 0xFF}, 65535, nil},
		{"64 bits, 0", []byte{0x82, 127, 0, 0, 0, 0, 0, 0, 0, 0}, 0, errLengthForm},
		{"64 bits, 125", []byte{0x82, 127, 0, 0, 0, 0, 0, 0, 0, 125}, 0, errLengthForm},
		{"64 bits, 65535", []byte{0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF}, 0, errLengthForm},
		{"64 bits, 65536", []byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}, 65536, nil},
		{"64 bits, 2^32", []byte{0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0}, 1 << 32, nil},
		{"64 bits, 2^63-1", []byte{0x82, 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, math.MaxInt64, nil},
		{"64 bits, 2^63", []byte{0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, 0, errLengthSign},
		{"64 bits, 2^64-1", []byte{0x82, 127, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 0, errLengthSign},
		{"masked, 16 bits, 125", []byte{0x82, 0x80 | 126, 0, 125}, 0, errLengthForm},
		{"masked, 64 bits, 65535", []byte{0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF}, 0, errLengthForm},
		{"masked, 64 bits, 2^63", []byte{0x82, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, 0, errLengthSign},
	}
	for _, row := range tests {
		t.Run(row.name, func(t *testing.T) {
			h, n, err := ParseHeader(row.bytes)
			if err != row.err || h.Length != row.length {
				t.Fatalf("ParseHeader(%x) = length %d, error %v; want %d, %v", row.bytes, h.Length, err, row.length, row.err)
			}
			if err != nil {
				if n != 0 || h != (Header{}) {
					t.Errorf("with an error: %+v, %d; want zeros", h, n)
				}
				return
			}
			if n != len(row.bytes) {
				t.Errorf("size %d, want %d", n, len(row.bytes))
			}
			if got := h.Append(nil); !bytes.Equal(got, row.bytes) {
				t.Errorf("Append = %x, want %x", got, row.bytes)
			}
		})
	}
}

// Every header, cut anywhere, asks for more and for nothing else.
func TestHeaderTruncated(t *testing.T) {
	for _, length := range []int64{0, 125, 126, 65535, 65536, math.MaxInt64} {
		for _, masked := range []bool{false, true} {
			b := Header{Fin: true, Opcode: OpBinary, Masked: masked, Key: 0x01020304, Length: length}.Append(nil)
			for cut := range b {
				if h, n, err := ParseHeader(b[:cut]); err != io.ErrUnexpectedEOF || n != 0 || h != (Header{}) {
					t.Errorf("ParseHeader(%x of %x) = %+v, %d, %v; want io.ErrUnexpectedEOF", b[:cut], b, h, n, err)
				}
			}
		}
	}
}

// Each field has its own bits: with everything else clear and with everything
// else set.
func TestHeaderBits(t *testing.T) {
	for b0 := range 256 {
		for _, b1 := range []byte{0x00, 0x7D, 0x80, 0xFD} {
			h, _, err := ParseHeader([]byte{byte(b0), b1, 0x11, 0x22, 0x33, 0x44})
			want := Header{
				Fin:    b0 >= 0x80,
				Rsv:    uint8(b0 % 0x80 / 0x10 * 0x10),
				Opcode: Opcode(b0 % 0x10),
				Masked: b1 >= 0x80,
				Length: int64(b1 % 0x80),
			}
			if want.Masked {
				want.Key = 0x44332211
			}
			if err != nil || h != want {
				t.Fatalf("%02x %02x: %+v, %v; want %+v", b0, b1, h, err, want)
			}
		}
	}
	if Rsv1 != 0x40 || Rsv2 != 0x20 || Rsv3 != 0x10 {
		t.Error("RSV bits are not where RFC 6455, 5.2 has them")
	}
}

// Append must not let one field flow into another, whatever a caller puts in.
func TestHeaderAppendKeepsToItsBits(t *testing.T) {
	got := Header{Rsv: 0xFF, Opcode: 0xF2}.Append([]byte("kept"))
	if want := []byte("kept\x72\x00"); !bytes.Equal(got, want) {
		t.Errorf("Append = %q, want %q", got, want)
	}
}

// ParseHeader undoes Append: every form of length, every first byte.
func TestHeaderIdentity(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		h := Header{
			Fin:    r.IntN(2) == 0,
			Rsv:    uint8(r.IntN(8)) << 4,
			Opcode: Opcode(r.IntN(16)),
			Masked: r.IntN(2) == 0,
			// All magnitudes alike, not only the huge ones.
			Length: r.Int64() >> r.IntN(63),
		}
		if h.Masked {
			h.Key = r.Uint32()
		}
		checkIdentity(t, h)
	}
}

func checkIdentity(t *testing.T, h Header) {
	t.Helper()
	b := h.Append(nil)
	got, n, err := ParseHeader(b)
	if err != nil || got != h || n != len(b) || n != h.Size() || n > MaxHeader {
		t.Fatalf("%+v -> %x -> %+v, %d, %v; Size %d", h, b, got, n, err, h.Size())
	}
}

func TestOpcode(t *testing.T) {
	names := map[Opcode]string{
		OpContinuation: "continuation", OpText: "text", OpBinary: "binary",
		OpClose: "close", OpPing: "ping", OpPong: "pong",
	}
	for o := Opcode(0); o < 16; o++ {
		name, known := names[o]
		if !known {
			name = fmt.Sprintf("opcode 0x%x", int(o))
		}
		if o.String() != name {
			t.Errorf("String of 0x%x = %q, want %q", int(o), o.String(), name)
		}
		if o.IsReserved() == known {
			t.Errorf("%v: IsReserved = %v", o, o.IsReserved())
		}
		if o.IsControl() != (o >= 8) {
			t.Errorf("%v: IsControl = %v", o, o.IsControl())
		}
	}
}

func TestErrorIs(t *testing.T) {
	err := fmt.Errorf("read: %w", errRsv)
	tests := []struct {
		target error
		want   bool
	}{
		{&Error{Code: CloseProtocolError}, true},
		{&Error{Code: CloseProtocolError, Msg: errRsv.Msg}, true},
		{&Error{Code: CloseProtocolError, Msg: errReserved.Msg}, false},
		{&Error{Code: CloseMessageTooBig}, false},
		{io.EOF, false},
	}
	for _, row := range tests {
		if got := errors.Is(err, row.target); got != row.want {
			t.Errorf("Is(%v) = %v, want %v", row.target, got, row.want)
		}
	}
	if want := errRsv.Msg + ", answered with 1002 (protocol error)"; errRsv.Error() != want {
		t.Errorf("Error = %q, want %q", errRsv.Error(), want)
	}
}

// Every message goes into the reason of a close frame and must fit whole.
func TestErrorMessagesFitAReason(t *testing.T) {
	_, _, code := ParseClose([]byte{0xFF, 0xFF})
	for _, err := range []error{errLengthForm, errLengthSign, errRsv, errReserved, errUnmasked, errMasked,
		errControlFin, errControlLength, errCloseShort, errCloseReason, errContinuation, errInterleaved,
		errText, errFrameTooBig, errMessageTooBig, errFragments, code} {
		e := err.(*Error)
		if e.Msg == "" || len(e.Msg) > MaxReason || !e.Code.Sendable() {
			t.Errorf("%#v cannot stand in a close frame", e)
		}
	}
}

func FuzzHeader(f *testing.F) {
	for _, row := range rfcExamples {
		f.Add(row.bytes)
	}
	f.Add([]byte{})
	f.Add([]byte{0xFF, 0xFE, 0, 125, 1, 2, 3, 4})
	f.Add([]byte{0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 1, 2, 3, 4})
	f.Add([]byte{0x82, 0x7F, 0x80, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := ParseHeader(b)
		if err == nil {
			checkIdentity(t, h)
			if got := h.Append(nil); !bytes.Equal(got, b[:n]) {
				t.Fatalf("%x came back as %x", b[:n], got)
			}
		}
		// A shorter look at the same bytes says "more" or has the same answer.
		for cut := range b {
			h2, n2, err2 := ParseHeader(b[:cut])
			if err2 != io.ErrUnexpectedEOF && (h2 != h || n2 != n || err2 != err) {
				t.Fatalf("ParseHeader of %x: %+v, %d, %v; of %x: %+v, %d, %v", b, h, n, err, b[:cut], h2, n2, err2)
			}
		}
		if err == io.ErrUnexpectedEOF && len(b) >= MaxHeader {
			t.Fatalf("%x is as long as a header can be and not enough", b)
		}
		// What any 14 bytes hold, read by the oracle of the decoder.
		of, needs, code := oracleHeader(b)
		switch {
		case err == io.ErrUnexpectedEOF:
			if needs <= len(b) {
				t.Fatalf("%x: more is asked for; the oracle needs %d bytes", b, needs)
			}
		case err != nil:
			if e, ok := err.(*Error); !ok || e.Code != code {
				t.Fatalf("%x: %v, oracle %d", b, err, code)
			}
		case code != 0 || needs != n || of.length.Int64() != h.Length || of.fin != h.Fin || of.opcode != byte(h.Opcode) || of.rsv != h.Rsv || of.masked != h.Masked:
			t.Fatalf("%x: %+v, %d; oracle %+v, %d, %d", b, h, n, of, needs, code)
		}
	})
}
