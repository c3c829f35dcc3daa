package load

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/duplexgo/duplex/websocket/wire"
)

func TestCompressionAnswers(t *testing.T) {
	for _, test := range []struct {
		offer  *Compression
		answer string
		want   agreement // or none
		says   string
	}{
		{&Compression{}, "permessage-deflate", agreement{"", 15, 15, true, true}, ""},
		{&Compression{}, "Permessage-Deflate; server_max_window_bits=\"9\"; client_max_window_bits=10", agreement{"", 10, 9, true, true}, ""},
		{&Compression{}, "permessage-deflate;server_no_context_takeover;client_no_context_takeover", agreement{"", 15, 15, false, false}, ""},
		{&Compression{Bits: 12}, "permessage-deflate; server_max_window_bits=12", agreement{"", 12, 12, true, true}, ""},
		{&Compression{Bits: 12}, "permessage-deflate; server_max_window_bits=8; client_max_window_bits=15", agreement{"", 12, 8, true, true}, ""},
		{&Compression{Bits: 12}, "permessage-deflate; server_no_context_takeover", agreement{"", 12, 15, true, false}, ""},
		{&Compression{NoTakeover: true}, "permessage-deflate; server_no_context_takeover", agreement{"", 15, 15, false, false}, ""},
		{nil, "permessage-deflate", agreement{}, "none was offered"},
		{&Compression{}, "x-webkit-deflate-frame", agreement{}, "permessage-deflate was offered"},
		{&Compression{}, "permessage-deflate, permessage-deflate", agreement{}, "permessage-deflate was offered"},
		{&Compression{}, "permessage-deflate; server_max_window_bits", agreement{}, `"server_max_window_bits" is unknown`},
		{&Compression{}, "permessage-deflate; client_max_window_bits=16", agreement{}, "wrong value"},
		{&Compression{}, "permessage-deflate; client_max_window_bits=7", agreement{}, "wrong value"},
		{&Compression{}, "permessage-deflate; client_max_window_bits=010", agreement{}, "wrong value"},
		{&Compression{}, "permessage-deflate; server_no_context_takeover=1", agreement{}, "wrong value"},
		{&Compression{}, "permessage-deflate; server_no_context_takeover; server_no_context_takeover", agreement{}, "stands there twice"},
		{&Compression{}, "permessage-deflate; what", agreement{}, `"what" is unknown`},
		{&Compression{Bits: 12}, "permessage-deflate", agreement{}, "server_max_window_bits=12 was asked for"},
		{&Compression{Bits: 12}, "permessage-deflate; server_max_window_bits=13", agreement{}, "server_max_window_bits=12 was asked for"},
		{&Compression{NoTakeover: true}, "permessage-deflate", agreement{}, "server_no_context_takeover was asked for"},
	} {
		got, err := test.offer.confirm(test.answer)
		if test.says != "" {
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%+v, %q: %v, %v, want an error that says %q", test.offer, test.answer, got, err, test.says)
			}
			continue
		}
		if test.want.answer = test.answer; err != nil || *got != test.want {
			t.Errorf("%+v, %q: %+v, %v, want %+v", test.offer, test.answer, got, err, test.want)
		}
	}
	if a, err := new(Compression).confirm(""); a != nil || err != nil {
		t.Errorf("no answer: %v, %v", a, err)
	}
}

// inflate decompresses a message with the window that its receiver has.
func inflate(window, p []byte) ([]byte, error) {
	return io.ReadAll(flate.NewReaderDict(bytes.NewReader(append(bytes.Clone(p), ending...)), window))
}

// packedPayloads have messages shorter and longer than windows, and none at all.
func packedPayloads(t *testing.T) []*Payload {
	var text strings.Builder
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 7 {
		fmt.Fprintf(&text, `{"number":%d,"values":[`, i)
		for range random.IntN(200) {
			fmt.Fprintf(&text, `{"id":%d,"open":true},`, random.IntN(1000))
		}
		text.WriteString("]}\n")
	}
	lines, err := Lines([]byte(text.String() + "\n\nshort\n"))
	if err != nil {
		t.Fatal(err)
	}
	return append(payloads(t), lines, Whole(bytes.Repeat([]byte("0123456789abcde"), 5000)))
}

// What leaves is what a receiver with just the window that was agreed on can read,
// message after message, and with takeover it is shorter.
func TestPacked(t *testing.T) {
	for _, p := range packedPayloads(t) {
		for bits := minBits; bits <= maxBits; bits++ {
			total := map[bool]int{}
			for _, takeover := range []bool{false, true} {
				k := new(packings).get(p, &agreement{send: bits, sendTakeover: takeover})
				var window []byte
				for number := range uint64(25) {
					const id = 5
					packed := make([]byte, k.size(id, number))
					for i := 0; i < len(packed); {
						i += k.put(packed[i:min(len(packed), i+1+int(number)*5)], id, number, i)
					}
					want := make([]byte, p.size(id, number))
					p.put(want, id, number, 0)
					got, err := inflate(window, packed)
					if err != nil || !bytes.Equal(got, want) {
						t.Fatalf("%d bits, takeover %v, message %d of %d bytes: %v, %.80q, want %.80q", bits, takeover, number, len(want), err, got, want)
					}
					if total[takeover] += len(packed); takeover {
						window = append(window, want...)
						window = window[max(0, len(window)-1<<bits):]
					}
				}
			}
			if len(p.given) > 4 && total[true] >= total[false] {
				t.Errorf("%d bits: %d bytes with takeover, and %d without", bits, total[true], total[false])
			}
		}
	}
}

// deflated compresses a message as a server might.
func deflated(level int, window, p []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriterDict(&b, level, window)
	w.Write(p)
	w.Flush()
	return b.Bytes()[:b.Len()-len(flushed)]
}

// A squeezer is a server that compresses what it echoes, by the standard library.
type squeezer struct {
	window []byte
	given  []byte
}

// echo returns the message that came.
func (s *squeezer) echo(t *testing.T, payload []byte) []byte {
	p, err := inflate(s.given, payload)
	if err != nil {
		t.Errorf("what the load has sent cannot be decompressed: %v", err)
	}
	s.given = append(s.given, p...)
	return p
}

const extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n"

func squeeze(p *peer) {
	if !p.accept(extension) {
		return
	}
	p.decoder.Rsv = wire.Rsv1
	s := new(squeezer)
	p.each(func(number int, h wire.Header, payload []byte) error {
		if h.Rsv != wire.Rsv1 {
			p.t.Errorf("message %d came with the bits %#x", number, h.Rsv)
		}
		plain := s.echo(p.t, payload)
		if number%4 == 3 { // one that is not compressed does not enter the window
			return p.send(h.Opcode, plain)
		}
		packed := deflated(number%10, s.window, plain)
		s.window = append(s.window, plain...)
		if number%4 == 1 {
			cut := len(packed) / 2
			p.sendFrame(wire.Header{Opcode: h.Opcode, Rsv: wire.Rsv1}, packed[:cut])
			p.send(wire.OpPing, []byte("between"))
			p.sendFrame(wire.Header{Opcode: wire.OpContinuation}, packed[cut:])
			return p.sendFrame(wire.Header{Fin: true, Opcode: wire.OpContinuation}, nil)
		}
		return p.sendFrame(wire.Header{Fin: true, Opcode: h.Opcode, Rsv: wire.Rsv1}, packed)
	})
}

func TestCompressedEcho(t *testing.T) {
	eachEngine(t, func(t *testing.T, goroutines bool) {
		for i, p := range packedPayloads(t) {
			for _, anything := range []bool{false, true} {
				j := jobFor(t, serve(t, squeeze), goroutines)
				j.Payload, j.Any, j.InFlight, j.Compression = p, anything, 1+i%3, new(Compression)
				r := do(t, j)
				well(t, r)
				// The peer leaves every fourth message as it is, and stores every tenth.
				const long, many = 65536, 20
				if r.Compression != "permessage-deflate" || p.size(1, 1) == long && r.Bytes >= many*long && r.Wire > r.Bytes*3/4 {
					t.Errorf("compression %q, %d bytes came as %d", r.Compression, r.Bytes, r.Wire)
				}
			}
		}
	})
}

// A server that declines gets plain messages.
func TestCompressionDeclined(t *testing.T) {
	j := jobFor(t, serve(t, echo), false)
	j.Compression = new(Compression)
	r := do(t, j)
	well(t, r)
	if r.Compression != "" || r.Wire != r.Bytes || r.Wire == 0 {
		t.Errorf("compression %q, %d bytes came as %d", r.Compression, r.Bytes, r.Wire)
	}
}

// A broadcast comes to all as its sender has compressed it.
func TestCompressedBroadcast(t *testing.T) {
	eachEngine(t, func(t *testing.T, goroutines bool) {
		h := &hall{
			more: "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n",
			send: func(_ *hall, to, _ *peer, op wire.Opcode, _ int, payload []byte) {
				to.sendFrame(wire.Header{Fin: true, Opcode: op, Rsv: wire.Rsv1}, payload)
			},
		}
		j := jobFor(t, serve(t, h.script), goroutines)
		j.Mode, j.Conns, j.Payload, j.Compression = Broadcast, 5, generate(t, 1000, false), &Compression{NoTakeover: true}
		r := do(t, j)
		well(t, r)
		if r.Received == 0 || r.Wire == 0 || r.Wire > r.Bytes/5 {
			t.Errorf("%d messages, %d bytes, %d as they came", r.Received, r.Bytes, r.Wire)
		}
	})
}

func TestCompressedFailures(t *testing.T) {
	long := bytes.Repeat([]byte("a"), 1<<20)
	for _, test := range []struct {
		name string
		kind Kind
		says string
		send func(plain []byte) (packed []byte)
	}{
		{"other bytes", Wrong, "message 0 came with ", func(p []byte) []byte { return deflated(9, nil, append([]byte("x"), p[1:]...)) }},
		{"too short", Wrong, "came with 31 bytes, and was sent with 32", func(p []byte) []byte { return deflated(9, nil, p[:31]) }},
		{"a bomb", Wrong, "message 0 came with ", func(p []byte) []byte { return deflated(9, nil, append(p, long...)) }},
		{"a long way to say it", Wrong, "bytes compressed and more", func(p []byte) []byte {
			return append(bytes.Repeat([]byte("\x00\x00\x00\xff\xff"), 300), deflated(9, nil, p)...)
		}},
		{"rubbish", Protocol, "message 0 cannot be decompressed", func(p []byte) []byte { return []byte("\xff\xff\xff") }},
		{"nothing", Wrong, "came with 0 bytes, and was sent with 32", func(p []byte) []byte { return nil }},
		{"a window that is not there", Protocol, "cannot be decompressed", func(p []byte) []byte { return deflated(9, p, p) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := jobFor(t, serve(t, func(p *peer) {
				if !p.accept(extension) {
					return
				}
				p.decoder.Rsv = wire.Rsv1
				s := new(squeezer)
				p.each(func(_ int, h wire.Header, payload []byte) error {
					return p.sendFrame(wire.Header{Fin: true, Opcode: h.Opcode, Rsv: wire.Rsv1}, test.send(s.echo(t, payload)))
				})
			}), false)
			j.Compression = new(Compression)
			r := do(t, j)
			if len(r.Failures) != 1 || r.Failures[0].Kind != test.kind || r.Failures[0].Count != 3 || !strings.Contains(r.Failures[0].Example, test.says) {
				t.Errorf("%+v, want 3 of %q that say %q", r.Failures, test.kind, test.says)
			}
		})
	}
}

// Blocks that say they are the last may stand anywhere in a message. RFC 7692, 7.2.3.4.
func TestLastBlocksAnywhere(t *testing.T) {
	var u unpacker
	final := func(window, p []byte) []byte {
		var b bytes.Buffer
		w, _ := flate.NewWriterDict(&b, 9, window)
		w.Write(p)
		w.Close()
		return b.Bytes()
	}
	one, two := []byte("one and one and one"), []byte("two and one and one")
	for name, packed := range map[string][]byte{
		"in the middle":           append(final(nil, one), deflated(9, one, two)...),
		"at the end":              append(deflated(9, nil, one), append([]byte(flushed), final(one, two)...)...),
		"at the end, with its 00": append(append(final(nil, one), final(one, two)...), 0),
	} {
		var got []byte
		err := u.run(nil, packed, func(p []byte) error {
			got = append(got, p...)
			return nil
		})
		if want := string(one) + string(two); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
}
