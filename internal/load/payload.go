package load

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/duplexgo/duplex/websocket/wire"
)

// A Payload is what the messages of a run hold. It is made by Generate, Lines or
// Whole and not changed any more.
type Payload struct {
	opcode wire.Opcode
	fill   []byte   // of generated messages: what their stamp is laid over
	given  [][]byte // or the messages themselves, used in turn
}

// MaxPayload is the longest message that can be generated or given, in bytes.
const MaxPayload = 1 << 30

// Generate returns messages of size bytes, 0 to MaxPayload, text or binary. They
// begin with a stamp of up to 16 hexadecimal digits, which tells connections and
// messages apart as far as it has room, and are printable ASCII.
func Generate(size int, binary bool) (*Payload, error) {
	if size < 0 || size > MaxPayload {
		return nil, fmt.Errorf("a message of %d bytes cannot be made: it has 0 to %d", size, MaxPayload)
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-/+:" // 57: no power of two, so that a shift shows
	return &Payload{opcode: opcode(binary), fill: bytes.Repeat([]byte(letters), size/len(letters)+1)[:size]}, nil
}

// Lines returns the lines of a text as text messages, without their line ends. Each
// connection begins with another one. It keeps text.
func Lines(text []byte) (*Payload, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("the text is not UTF-8")
	}
	p := &Payload{opcode: wire.OpText}
	for line := range bytes.Lines(text) {
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		p.given = append(p.given, line)
	}
	if len(p.given) == 0 {
		return nil, errors.New("there is no line in it")
	}
	return p, nil
}

// Whole returns data as the one binary message that is sent again and again. It
// keeps data.
func Whole(data []byte) *Payload {
	return &Payload{opcode: wire.OpBinary, given: [][]byte{data}}
}

func opcode(binary bool) wire.Opcode {
	if binary {
		return wire.OpBinary
	}
	return wire.OpText
}

// base returns a message without its stamp. id is whose it is: a connection's.
func (p *Payload) base(id uint32, number uint64) []byte {
	if p.given == nil {
		return p.fill
	}
	return p.given[(number+uint64(id))%uint64(len(p.given))]
}

func (p *Payload) size(id uint32, number uint64) int { return len(p.base(id, number)) }

const stampSize = 16

// stamp writes that of a message and returns as much of its end as there is room
// for: the low digits of the number are what differs first.
func (p *Payload) stamp(b *[stampSize]byte, id uint32, number uint64) []byte {
	if p.given != nil {
		return nil
	}
	const digits = "0123456789abcdef"
	v := uint64(id)<<40 | number&(1<<40-1)
	for i := range b {
		b[stampSize-1-i] = digits[v&15]
		v >>= 4
	}
	return b[stampSize-min(stampSize, len(p.fill)):]
}

// put copies a message from an offset on into b and returns how much.
func (p *Payload) put(b []byte, id uint32, number uint64, offset int) int {
	base := p.base(id, number)
	n := copy(b, base[offset:])
	var room [stampSize]byte
	if stamp := p.stamp(&room, id, number); offset < len(stamp) {
		copy(b[:n], stamp[offset:])
	}
	return n
}

// holds reports whether a message has piece at an offset.
func (p *Payload) holds(piece []byte, id uint32, number uint64, offset int) bool {
	base := p.base(id, number)
	if offset+len(piece) > len(base) {
		return false
	}
	var room [stampSize]byte
	if stamp := p.stamp(&room, id, number); offset < len(stamp) {
		n := min(len(piece), len(stamp)-offset)
		if !bytes.Equal(piece[:n], stamp[offset:offset+n]) {
			return false
		}
		piece, offset = piece[n:], offset+n
	}
	return bytes.Equal(piece, base[offset:offset+len(piece)])
}
