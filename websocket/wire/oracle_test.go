package wire

import (
	"fmt"
	"math/big"
	"slices"
)

// This file reads RFC 6455 a second time, without a look at the Decoder: slowly,
// with all bytes at hand, with numbers that cannot overflow and with a grammar in
// place of package utf8. Tests hold the Decoder against it.

// oracleFrame is a header with its fields as the figure of 5.2 shows them.
type oracleFrame struct {
	fin    bool
	rsv    byte
	opcode byte
	masked bool
	length *big.Int
	key    []byte
}

// oracleHeader reads the header at the start of b. needs is how many bytes must
// be there to answer; where they are more than b has, the rest means nothing. A
// code other than 0 is the answer to a malformed length.
func oracleHeader(b []byte) (f oracleFrame, needs int, code CloseCode) {
	needs = 2
	if len(b) < needs {
		return f, needs, 0
	}
	bit := func(i int) bool { return b[i/8]>>(7-i%8)&1 == 1 }
	f.fin = bit(0)
	for i, value := range []byte{Rsv1, Rsv2, Rsv3} {
		if bit(1 + i) {
			f.rsv |= value
		}
	}
	for i := 4; i < 8; i++ {
		f.opcode *= 2
		if bit(i) {
			f.opcode++
		}
	}
	f.masked = bit(8)
	number := func(from, to int) *big.Int {
		v := new(big.Int)
		for i := from; i < to; i++ {
			v.Lsh(v, 1)
			if bit(i) {
				v.Add(v, big.NewInt(1))
			}
		}
		return v
	}
	f.length = number(9, 16)
	shortest := big.NewInt(0)
	switch f.length.Int64() {
	case 126:
		needs, shortest = 4, big.NewInt(126)
	case 127:
		needs, shortest = 10, big.NewInt(65536)
	}
	if len(b) < needs {
		return f, needs, 0
	}
	if needs > 2 {
		f.length = number(16, 8*needs)
	}
	// 5.2: "the most significant bit MUST be 0", "the minimal number of bytes
	// MUST be used".
	if f.length.Cmp(shortest) < 0 || f.length.BitLen() > 63 {
		return f, needs, CloseProtocolError
	}
	if f.masked {
		if needs += 4; len(b) < needs {
			return f, needs, 0
		}
		f.key = b[needs-4 : needs]
	}
	return f, needs, 0
}

// An event is a message or a control frame, in the order in which they end.
type event struct {
	opcode  Opcode
	payload string
}

// An outcome is what a sequence of bytes amounts to.
type outcome struct {
	events []event
	code   CloseCode // that answers the violation; 0: there is none
	at     int       // bytes up to and with the one that shows the violation
}

func (o outcome) String() string {
	return fmt.Sprintf("%d events %+v, code %d at %d", len(o.events), o.events, o.code, o.at)
}

// oracle returns what b amounts to under the rules of d, whose exported fields
// alone are looked at.
func oracle(d Decoder, b []byte) (o outcome) {
	var (
		open     bool // a message has begun
		text     bool
		touched  bool // by an extension
		message  []byte
		declared = new(big.Int)
		frames   int
		position int
	)
	fail := func(code CloseCode, at int) outcome {
		o.code, o.at = code, at
		return o
	}
	over := func(v *big.Int, limit int64) bool { return limit > 0 && v.Cmp(big.NewInt(limit)) > 0 }
	for {
		f, needs, code := oracleHeader(b[position:])
		if needs > len(b)-position {
			return o
		}
		position += needs
		if code != 0 {
			return fail(code, position)
		}

		// 5.1, 5.2 and RFC 7692, 6
		if f.masked != d.Server {
			return fail(CloseProtocolError, position)
		}
		if !slices.Contains([]byte{0, 1, 2, 8, 9, 10}, f.opcode) {
			return fail(CloseProtocolError, position)
		}
		allowed := byte(0)
		switch f.opcode {
		case 1, 2:
			allowed = (d.Rsv | d.FrameRsv) & 0x70
		case 0:
			allowed = d.FrameRsv & 0x70
		}
		if f.rsv|allowed != allowed {
			return fail(CloseProtocolError, position)
		}

		control := f.opcode >= 8
		if control { // 5.5
			if !f.fin || f.length.Cmp(big.NewInt(125)) > 0 {
				return fail(CloseProtocolError, position)
			}
		} else { // 5.4 and the limits
			if open != (f.opcode == 0) {
				return fail(CloseProtocolError, position)
			}
			if !open {
				open, text, touched, message, frames = true, f.opcode == 1, f.rsv != 0, nil, 0
				declared.SetInt64(0)
			}
			if over(f.length, d.MaxFrame) {
				return fail(CloseMessageTooBig, position)
			}
			declared.Add(declared, f.length)
			if over(declared, d.MaxMessage) || declared.BitLen() > 63 {
				return fail(CloseMessageTooBig, position)
			}
			if frames++; d.MaxFragments > 0 && frames > d.MaxFragments {
				return fail(ClosePolicyViolation, position)
			}
		}

		// 5.3: the payload, as far as it is there.
		whole := f.length.Cmp(big.NewInt(int64(len(b)-position))) <= 0
		end := len(b)
		if whole {
			end = position + int(f.length.Int64())
		}
		payload := slices.Clone(b[position:end])
		for i := range payload {
			if f.masked {
				payload[i] ^= f.key[i%4]
			}
		}
		position = end
		if control {
			if !whole {
				return o
			}
			o.events = append(o.events, event{Opcode(f.opcode), string(payload)})
			continue
		}

		// 5.6, 8.1: the bytes of the message up to here must be the start of a
		// text; at the message's end a whole one.
		before := len(message)
		message = append(message, payload...)
		if text && !touched && !d.AnyText {
			good, complete := oracleText(message)
			if good < len(message) {
				return fail(CloseInvalidPayload, position-len(payload)+(good-before)+1)
			}
			if whole && f.fin && !complete {
				return fail(CloseInvalidPayload, position)
			}
		}
		if !whole {
			return o
		}
		if f.fin {
			opcode := OpBinary
			if text {
				opcode = OpText
			}
			o.events = append(o.events, event{opcode, string(message)})
			open = false
		}
	}
}

// characters is the grammar of RFC 3629, 4: the ranges of each byte.
var characters = [][][2]byte{
	{{0x00, 0x7F}},
	{{0xC2, 0xDF}, {0x80, 0xBF}},
	{{0xE0, 0xE0}, {0xA0, 0xBF}, {0x80, 0xBF}},
	{{0xE1, 0xEC}, {0x80, 0xBF}, {0x80, 0xBF}},
	{{0xED, 0xED}, {0x80, 0x9F}, {0x80, 0xBF}},
	{{0xEE, 0xEF}, {0x80, 0xBF}, {0x80, 0xBF}},
	{{0xF0, 0xF0}, {0x90, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}},
	{{0xF1, 0xF3}, {0x80, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}},
	{{0xF4, 0xF4}, {0x80, 0x8F}, {0x80, 0xBF}, {0x80, 0xBF}},
}

// oracleText returns how many bytes of b can be the start of a text, len(b) if
// all, and whether a text can end after them.
func oracleText(b []byte) (good int, complete bool) {
	start := 0
	for start < len(b) {
		longest, whole := 0, false
		for _, character := range characters {
			n := 0
			for n < len(character) && start+n < len(b) && character[n][0] <= b[start+n] && b[start+n] <= character[n][1] {
				n++
			}
			if n > longest {
				longest, whole = n, n == len(character)
			}
		}
		if !whole {
			return start + longest, start+longest == start
		}
		start += longest
	}
	return len(b), true
}
