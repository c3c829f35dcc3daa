package load

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/duplexgo/duplex/websocket/wire"
)

// hasOutput reports whether there is something to be sent.
func (c *conn) hasOutput() bool { return c.sent < c.due || len(c.control) > 0 }

// fill appends what is to be sent next to b, as far as b has capacity.
func (c *conn) fill(b []byte) []byte {
	number, offset := c.sent, c.offset
	if offset == 0 && len(c.control) > 0 {
		b = append(b, c.control...)
	}
	for number < c.due && len(b) < cap(b) {
		before := len(b)
		b = c.appendFrame(b, number, offset)
		if offset += len(b) - before; offset < c.frameSize(number) {
			break
		}
		number, offset = number+1, 0
	}
	return b
}

// wrote notes that n bytes have left of what fill returned.
func (c *conn) wrote(n int) {
	if c.offset == 0 && len(c.control) > 0 {
		k := min(n, len(c.control))
		if c.control = c.control[k:]; len(c.control) == 0 {
			c.control = nil
		}
		n -= k
	}
	for n > 0 {
		left := c.frameSize(c.sent) - c.offset
		if n < left {
			c.offset += n
			return
		}
		n -= left
		c.sent++
		c.offset = 0
	}
}

// frameHeader is that of a message. Its key is as random as the run's secret, and
// the same whenever the frame must be made again because only part of it has left.
// RFC 6455, 5.3.
func (c *conn) frameHeader(number uint64) wire.Header {
	p := c.s.w.job.Payload
	h := wire.Header{
		Fin:    true,
		Opcode: p.opcode,
		Masked: true,
		Key:    uint32(mix(secret^uint64(c.id)<<40^number) >> 32),
		Length: int64(c.wireSize(number)),
	}
	if c.flow != nil {
		h.Rsv = wire.Rsv1
	}
	return h
}

// wireSize is how long a message is as it is sent.
func (c *conn) wireSize(number uint64) int {
	if c.flow != nil {
		return c.flow.out.size(c.id, number)
	}
	return c.s.w.job.Payload.size(c.id, number)
}

var secret = rand.Uint64()

// mix is a hash of a number (the end of splitmix64).
func mix(v uint64) uint64 {
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}

func (c *conn) frameSize(number uint64) int {
	h := wire.Header{Masked: true, Length: int64(c.wireSize(number))}
	return h.Size() + int(h.Length)
}

// appendFrame appends a message's frame from an offset on, as far as b has capacity.
func (c *conn) appendFrame(b []byte, number uint64, offset int) []byte {
	h := c.frameHeader(number)
	var room [wire.MaxHeader]byte
	header := h.Append(room[:0])
	if offset < len(header) {
		rest := header[offset:]
		rest = rest[:min(len(rest), cap(b)-len(b))]
		b = append(b, rest...)
		offset = len(header)
	}
	from := offset - len(header)
	space := b[len(b):cap(b)]
	n := 0
	if c.flow != nil {
		n = c.flow.out.put(space, c.id, number, from)
	} else {
		n = c.s.w.job.Payload.put(space, c.id, number, from)
	}
	wire.Mask(space[:n], turned(h.Key, from))
	return b[:len(b)+n]
}

// turned returns a masking key as it stands at an offset of the payload.
func turned(key uint32, offset int) uint32 {
	var b [8]byte
	binary.LittleEndian.PutUint32(b[:], key)
	binary.LittleEndian.PutUint32(b[4:], key)
	return binary.LittleEndian.Uint32(b[offset&3:])
}
