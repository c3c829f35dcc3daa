package load

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// A listener is a client of a push server: a connection that subscribes to one
// channel, and then checks that every message of it comes, once and in order.
type listener struct {
	fd      int
	stage   stage
	channel int    // which of the crowd's
	next    uint64 // place in the channel's order of the message that is to come
	rest    []byte // the beginning of a frame that is not whole
}

type stage uint8

const (
	opening stage = iota // no answer to the handshake yet
	joining              // not subscribed yet
	live
)

// A publication's data is a JSON string: what stands here, and the tail that all have.
//
//	"  channel, 8 hex digits  number, 12 hex digits  tail  "
const dataStamp = 20

// dataBegins is before the data in the texts of all dialects, and nowhere else.
const dataBegins = `"data":"`

// dataTail returns what is the same in the data of all messages of a size.
func dataTail(size int) (string, error) {
	if size < dataStamp+2 {
		return "", fmt.Errorf("data of %d bytes are too short: %d are needed to tell messages apart", size, dataStamp+2)
	}
	return strings.Repeat("abcdefghijklmnopqrstuvwxyz", size/26+1)[:size-dataStamp-2], nil
}

// appendStamp appends the first 20 bytes in the string.
func appendStamp(b []byte, channel int, number uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, digits[channel>>shift&15])
	}
	for shift := 44; shift >= 0; shift -= 4 {
		b = append(b, digits[number>>shift&15])
	}
	return b
}

// A received frame is an opcode and a payload that is good until the next read.
type received struct {
	opcode  byte
	payload []byte
}

// cut returns the first frame of p, one of a server that does not split messages, and
// its length; 0 if there is not a whole one.
func cut(p []byte) (f received, n int, err error) {
	if len(p) < 2 {
		return f, 0, nil
	}
	if p[0]&0xf0 != 0x80 || p[1]&0x80 != 0 {
		return f, 0, fmt.Errorf("a frame begins with % x: it is part of a message, or compressed, or masked, or bytes before it were too few or too many", p[:2])
	}
	head, size := 2, uint64(p[1])
	switch {
	case size == 126 && len(p) < 4, size == 127 && len(p) < 10:
		return f, 0, nil
	case size == 126:
		head, size = 4, uint64(binary.BigEndian.Uint16(p[2:]))
	case size == 127:
		head, size = 10, binary.BigEndian.Uint64(p[2:])
	}
	if size > 64<<20 {
		return f, 0, fmt.Errorf("a frame of %d bytes", size)
	}
	if n = head + int(size); len(p) < n {
		return f, 0, nil
	}
	return received{p[0] & 15, p[head:n]}, n, nil
}

// text takes a text with messages of the listener's channel and returns how many.
func (l *listener) text(p []byte, tail string, ch *channel) (messages int, err error) {
	whole := p
	for {
		i := bytes.Index(p, []byte(dataBegins))
		if i < 0 {
			break
		}
		p = p[i+len(dataBegins):]
		size := dataStamp + len(tail)
		if len(p) <= size || p[size] != '"' || string(p[dataStamp:size]) != tail {
			return messages, fmt.Errorf("the data of message %d of channel %d are not what was published: %.200q", l.next, l.channel, p)
		}
		if err := ch.check(l.channel, l.next, p[:dataStamp]); err != nil {
			return messages, err
		}
		l.next++
		messages++
		p = p[size:]
	}
	if messages == 0 {
		return 0, fmt.Errorf("a text without a message: %.300q", whole)
	}
	return messages, nil
}

// appendText appends a client's frame, masked with the key zero.
func appendText(b []byte, opcode byte, text []byte) []byte {
	switch n := len(text); {
	case n < 126:
		b = append(b, 0x80|opcode, 0x80|byte(n))
	default:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|opcode, 0x80|126), uint16(n))
	}
	return append(append(b, 0, 0, 0, 0), text...)
}
