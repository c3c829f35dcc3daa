package wire

import (
	"encoding/binary"
	"io"
	"strconv"
)

// An Opcode says what a frame is. RFC 6455, 5.2 and 11.8.
type Opcode uint8

const (
	OpContinuation Opcode = 0x0 // RFC 6455, 5.4
	OpText         Opcode = 0x1 // RFC 6455, 5.6
	OpBinary       Opcode = 0x2 // RFC 6455, 5.6
	OpClose        Opcode = 0x8 // RFC 6455, 5.5.1
	OpPing         Opcode = 0x9 // RFC 6455, 5.5.2
	OpPong         Opcode = 0xA // RFC 6455, 5.5.3
)

// IsControl reports whether o is one of the control opcodes, 0x8 to 0xF,
// reserved ones included. RFC 6455, 5.5.
func (o Opcode) IsControl() bool { return o&0x8 != 0 }

// IsReserved reports whether no meaning is defined for o: 0x3 to 0x7 and 0xB to
// 0xF.
func (o Opcode) IsReserved() bool { return o&0x7 > 2 }

// String returns the opcode's name, or its number for a reserved one.
func (o Opcode) String() string {
	switch o {
	case OpContinuation:
		return "continuation"
	case OpText:
		return "text"
	case OpBinary:
		return "binary"
	case OpClose:
		return "close"
	case OpPing:
		return "ping"
	case OpPong:
		return "pong"
	}
	return "opcode 0x" + strconv.FormatUint(uint64(o), 16)
}

// Bits of Header.Rsv. RFC 6455, 5.2.
const (
	Rsv1 uint8 = 0x40
	Rsv2 uint8 = 0x20
	Rsv3 uint8 = 0x10
)

// MaxHeader is the size of the longest header: 2 bytes, 8 of extended payload
// length and 4 of masking key. RFC 6455, 5.2.
const MaxHeader = 14

// MaxControl is the longest payload of a control frame. RFC 6455, 5.5.
const MaxControl = 125

// A Header is what stands before a frame's payload. RFC 6455, 5.2:
//
//	 byte 0     byte 1       0, 2 or 8 bytes           0 or 4 bytes
//	+--------+-------------+-------------------------+-------------+
//	| F RRR  | M           | extended payload length | masking key |
//	| I SSS  | A  payload  |  if payload length is   |  if MASK is |
//	| N VVV  | S  length   |  126 (2) or 127 (8)     |  set        |
//	|   123 opcode          |                         |             |
//	+--------+-------------+-------------------------+-------------+
type Header struct {
	Fin    bool   // the last frame of its message
	Rsv    uint8  // Rsv1, Rsv2 and Rsv3, or 0
	Opcode Opcode // 0x0 to 0xF
	Masked bool   // the payload is masked with Key
	Key    uint32 // the masking key; see Mask
	Length int64  // the payload's length in bytes, not negative
}

// ParseHeader reads the header at the start of b and returns it with its size in
// bytes, 2 to 14. The error is io.ErrUnexpectedEOF where b ends before the
// header does, and an *Error where the length is not in its shortest form or has
// its top bit set. Everything that depends on the connection is left to
// [Decoder.Frame].
func ParseHeader(b []byte) (h Header, n int, err error) {
	if len(b) < 2 {
		return Header{}, 0, io.ErrUnexpectedEOF
	}
	h = Header{
		Fin:    b[0]&0x80 != 0,
		Rsv:    b[0] & 0x70,
		Opcode: Opcode(b[0] & 0x0F),
		Masked: b[1]&0x80 != 0,
		Length: int64(b[1] & 0x7F),
	}
	n = 2
	switch h.Length {
	case 126:
		if len(b) < 4 {
			return Header{}, 0, io.ErrUnexpectedEOF
		}
		h.Length = int64(binary.BigEndian.Uint16(b[2:]))
		if h.Length < 126 {
			return Header{}, 0, errLengthForm
		}
		n = 4
	case 127:
		if len(b) < 10 {
			return Header{}, 0, io.ErrUnexpectedEOF
		}
		length := binary.BigEndian.Uint64(b[2:])
		if length>>63 != 0 {
			return Header{}, 0, errLengthSign
		}
		if length <= 0xFFFF {
			return Header{}, 0, errLengthForm
		}
		h.Length = int64(length)
		n = 10
	}
	if h.Masked {
		if len(b) < n+4 {
			return Header{}, 0, io.ErrUnexpectedEOF
		}
		h.Key = binary.LittleEndian.Uint32(b[n:])
		n += 4
	}
	return h, n, nil
}

// Size returns the number of bytes that Append adds.
func (h Header) Size() int {
	n := 2
	switch {
	case h.Length > 0xFFFF:
		n += 8
	case h.Length > 125:
		n += 2
	}
	if h.Masked {
		n += 4
	}
	return n
}

// Append appends the header as it goes over the wire, the length in its shortest
// form, and returns the extended slice. It checks nothing: it can write what
// ParseHeader or a Decoder would refuse, which tests need.
func (h Header) Append(b []byte) []byte {
	b0 := h.Rsv&0x70 | byte(h.Opcode)&0x0F
	if h.Fin {
		b0 |= 0x80
	}
	var mask byte
	if h.Masked {
		mask = 0x80
	}
	switch {
	case h.Length > 0xFFFF:
		b = append(b, b0, mask|127)
		b = binary.BigEndian.AppendUint64(b, uint64(h.Length))
	case h.Length > 125:
		b = append(b, b0, mask|126)
		b = binary.BigEndian.AppendUint16(b, uint16(h.Length))
	default:
		b = append(b, b0, mask|byte(h.Length))
	}
	if h.Masked {
		b = binary.LittleEndian.AppendUint32(b, h.Key)
	}
	return b
}
