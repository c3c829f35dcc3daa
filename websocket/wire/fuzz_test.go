package wire

import (
	"math/rand/v2"
	"testing"
)

// compare holds the Decoder against the oracle: in one piece, byte by byte, where
// the violation must show with the very byte that the oracle names, and in the
// pieces that r cuts.
func compare(t *testing.T, d Decoder, b []byte, r *rand.Rand) outcome {
	t.Helper()
	want := oracle(d, b)
	check := func(how string, next func() int) {
		t.Helper()
		got, from := drive(d, b, next)
		if !got.equal(want) {
			t.Fatalf("%s: %x\nwith %+v\ngot    %v\noracle %v", how, b, d, got, want)
		}
		if got.code != 0 && (want.at <= from || want.at > got.at) {
			t.Fatalf("%s: %x\nwith %+v\nviolation shows in bytes %d to %d; oracle: with byte %d", how, b, d, from, got.at, want.at)
		}
	}
	check("whole", func() int { return len(b) })
	check("byte by byte", func() int { return 1 })
	check("in pieces", func() int { return r.IntN(9) })
	return want
}

// decoderOf makes a Decoder of a few bits: every setting, small limits.
func decoderOf(bits uint32) Decoder {
	return Decoder{
		Server:       bits&1 != 0,
		AnyText:      bits&2 != 0,
		Rsv:          uint8(bits & 0x70),
		MaxFrame:     int64(bits >> 8 & 0x1F),
		MaxMessage:   int64(bits >> 13 & 0x3F),
		MaxFragments: int(bits >> 19 & 0x7),
	}
}

// stream returns frames of a peer that mostly keeps to the rules: bytes at random
// alone would hardly ever get past the second frame.
func stream(r *rand.Rand, d Decoder) (b []byte) {
	open := false
	for range 1 + r.IntN(12) {
		f := frame{Header: Header{Fin: r.IntN(3) > 0, Opcode: OpText + Opcode(r.IntN(2))}}
		switch {
		case r.IntN(4) == 0:
			f.Fin, f.Opcode = true, OpClose+Opcode(r.IntN(3))
		case open:
			f.Opcode = OpContinuation
		case r.IntN(2) == 0:
			f.Rsv = d.Rsv
		}
		f.payload = scraps(r)
		if f.Length = int64(len(f.payload)); d.Server {
			f.Masked, f.Key = true, r.Uint32()
		}
		if !f.Opcode.IsControl() {
			open = !f.Fin
		}
		misbehave(r, &f)
		b = f.append(b)
	}
	return b[:len(b)-r.IntN(min(len(b), 4))]
}

// scraps returns pieces of texts: of wrong ones, too, and cut within characters.
func scraps(r *rand.Rand) (s string) {
	for range r.IntN(3) {
		row := texts[r.IntN(len(texts))]
		if row.wrong >= 0 && r.IntN(4) > 0 || len(row.bytes) > 20 && r.IntN(8) > 0 {
			continue
		}
		s += row.bytes[min(r.IntN(40), len(row.bytes))*r.IntN(2):]
	}
	return s[:len(s)-min(r.IntN(20)/17, len(s))]
}

// misbehave breaks a rule now and then.
func misbehave(r *rand.Rand, f *frame) {
	switch r.IntN(60) {
	case 0:
		f.Opcode = Opcode(r.IntN(16))
	case 1:
		f.Rsv = uint8(r.IntN(8)) << 4
	case 2:
		f.Masked = !f.Masked
	case 3:
		f.Fin = !f.Fin
	case 4:
		f.Length = r.Int64() >> r.IntN(63)
	}
}

// The same bytes in any cut are the same messages, the same control frames and
// the same violation at the same byte, and the slow oracle sees them too.
func TestDecoderCuts(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	codes := map[CloseCode]int{}
	messages := 0
	for range 20000 {
		d := decoderOf(r.Uint32())
		if r.IntN(2) == 0 {
			d.MaxFrame, d.MaxMessage, d.MaxFragments = 0, 0, 0
		}
		o := compare(t, d, stream(r, d), r)
		codes[o.code]++
		messages += len(o.events)
	}
	// A generator that no longer reaches the interesting places tests nothing.
	for _, code := range []CloseCode{0, CloseProtocolError, CloseInvalidPayload, CloseMessageTooBig, ClosePolicyViolation} {
		if codes[code] < 100 {
			t.Errorf("only %d streams ended with code %d", codes[code], code)
		}
	}
	if messages < 20000 {
		t.Errorf("only %d messages", messages)
	}
}

// Two cuts at every place of a long stream that has it all.
func TestDecoderEveryCut(t *testing.T) {
	var b []byte
	for _, f := range []frame{
		more(OpText, "κόσ"), whole(OpPing, "\xff"), more(OpContinuation, "\xe2\x82"), whole(OpContinuation, "\xac"),
		whole(OpBinary, "\xff\xfe"), whole(OpPong, ""), whole(OpText, ""), whole(OpText, "last \xf0\x9f\x98\x80"),
		whole(OpClose, "\x03\xe8bye"), whole(OpText, "\xf0\x9f\x98("),
	} {
		b = f.masked().append(b)
	}
	d := Decoder{Server: true}
	want := oracle(d, b)
	if len(want.events) != 7 || want.code != CloseInvalidPayload {
		t.Fatalf("the stream is not what it should be: %v", want)
	}
	for i := range b {
		for j := i; j < len(b); j++ {
			cuts := []int{i, j - i, len(b)}
			got, from := drive(d, b, func() int {
				n := cuts[0]
				cuts = cuts[1:]
				return n
			})
			if !got.equal(want) || want.at <= from || want.at > got.at {
				t.Fatalf("cut at %d and %d: %v after %d; want %v", i, j, got, from, want)
			}
		}
	}
}

func FuzzDecoder(f *testing.F) {
	for i, row := range rules {
		var b []byte
		for _, f := range row.frames {
			b = f.append(b)
		}
		bits := uint32(row.decoder.Rsv)
		if row.decoder.Server {
			bits |= 1
		}
		if row.decoder.AnyText {
			bits |= 2
		}
		bits |= uint32(row.decoder.MaxFrame)&0x1F<<8 | uint32(row.decoder.MaxMessage)&0x3F<<13 | uint32(row.decoder.MaxFragments)&7<<19
		f.Add(b, bits, uint64(i))
	}
	r := rand.New(rand.NewPCG(7, 8))
	for i := range 50 {
		bits := r.Uint32()
		f.Add(stream(r, decoderOf(bits)), bits, uint64(i))
	}
	f.Fuzz(func(t *testing.T, b []byte, bits uint32, cuts uint64) {
		if len(b) > 1<<12 {
			return // the oracle is slow
		}
		compare(t, decoderOf(bits), b, rand.New(rand.NewPCG(cuts, 0)))
	})
}
