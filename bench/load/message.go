package load

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// A pattern is what all frames of a run have in common. They differ only in their
// stamp, so a frame need not be made to be sent, nor kept to be compared:
//
//	header   2, 4 or 10 bytes, and 4 of masking key
//	stamp    16 bytes: the message's number on its connection, the connection's id
//	tail     the rest of the payload, always the same
type pattern struct {
	size int // of the payload
	key  uint64

	sent, got side
}

// A side is the frames of one direction.
type side struct {
	header []byte
	masked bool
	tail   []byte
}

const stampSize = 16

// length is that of a whole frame.
func (s *side) length() int { return len(s.header) + stampSize + len(s.tail) }

// maskKey is that of all frames. One key for all spares the generator time; for a
// server they are all the same, as long as it is not zero.
const maskKey = 0x9d41e67b

// newPattern returns the pattern of binary messages of one frame each. With mirror
// the frames that come back are those that were sent, masked still.
func newPattern(size int, mirror bool) (*pattern, error) {
	if size < stampSize {
		return nil, fmt.Errorf("a message of %d bytes is too short: %d are needed to tell messages apart", size, stampSize)
	}
	p := &pattern{size: size, key: maskKey<<32 | maskKey}
	plain := make([]byte, size-stampSize)
	for i := range plain {
		plain[i] = byte(i*167 + i>>8)
	}
	masked := bytes.Clone(plain)
	for i := range masked {
		masked[i] ^= byte(p.key >> (56 - i%8*8)) // the stamp before it is a multiple of the key
	}
	p.sent = side{appendHeader(nil, size, true), true, masked}
	p.got = side{appendHeader(nil, size, false), false, plain}
	if mirror {
		p.got = p.sent
	}
	return p, nil
}

// appendHeader appends that of a binary message of one frame. RFC 6455, 5.2.
func appendHeader(b []byte, size int, masked bool) []byte {
	bit := byte(0)
	if masked {
		bit = 0x80
	}
	b = append(b, 0x82)
	switch {
	case size < 126:
		b = append(b, bit|byte(size))
	case size < 1<<16:
		b = append(b, bit|126)
		b = binary.BigEndian.AppendUint16(b, uint16(size))
	default:
		b = append(b, bit|127)
		b = binary.BigEndian.AppendUint64(b, uint64(size))
	}
	if masked {
		b = binary.BigEndian.AppendUint32(b, maskKey)
	}
	return b
}

// appendHead appends the part of a frame that is its own: header and stamp.
func (p *pattern) appendHead(b []byte, s *side, number, id uint64) []byte {
	if s.masked {
		number ^= p.key
		id ^= p.key
	}
	b = append(b, s.header...)
	b = binary.BigEndian.AppendUint64(b, number)
	return binary.BigEndian.AppendUint64(b, id)
}

// A checker holds what a connection receives against what it must: every message
// once, in order, at its length. Headers and stamps are compared always, tails of
// long messages now and then: comparing them all would make the generator the one
// that is measured.
type checker struct {
	pattern *pattern
	id      uint64 // whose messages come on this connection
	next    uint64 // the number of the message that is coming, or comes next
	at      int    // how much of it has come
	head    []byte // what it must begin with, made when it begins
	control []byte // a control frame that is coming
	pongs   int    // that came
	pong    []byte // the frame that answers the newest ping, until it is sent
}

// alwaysCompared is the longest payload whose every byte is compared in every
// message; of longer ones it is one message in sampled.
const (
	alwaysCompared = 4 << 10
	sampled        = 16
)

// feed takes the next bytes of the connection and returns how many messages they
// complete.
func (c *checker) feed(p []byte) (messages int, err error) {
	for len(p) > 0 {
		if c.at == 0 && (len(c.control) > 0 || p[0]&0x08 != 0) {
			n, err := c.feedControl(p)
			if err != nil {
				return messages, err
			}
			p = p[n:]
			continue
		}
		n, err := c.feedMessage(p)
		if err != nil {
			return messages, err
		}
		p = p[n:]
		if c.at == c.pattern.got.length() {
			c.at = 0
			c.next++
			messages++
		}
	}
	return messages, nil
}

// feedMessage takes the bytes of one message.
func (c *checker) feedMessage(p []byte) (n int, err error) {
	got := &c.pattern.got
	if c.at == 0 {
		c.head = c.pattern.appendHead(c.head[:0], got, c.next, c.id)
	}
	if c.at < len(c.head) {
		n = min(len(p), len(c.head)-c.at)
		if !bytes.Equal(p[:n], c.head[c.at:c.at+n]) {
			return 0, c.wrongHead(p[:n])
		}
		c.at += n
		return n, nil
	}
	from := c.at - len(c.head)
	n = min(len(p), len(got.tail)-from)
	if c.pattern.size <= alwaysCompared || c.next%sampled == 0 {
		if want := got.tail[from : from+n]; !bytes.Equal(p[:n], want) {
			return 0, fmt.Errorf("connection %d: message %d differs in bytes %d to %d of its payload",
				c.id, c.next, stampSize+from, stampSize+from+n-1)
		}
	}
	c.at += n
	return n, nil
}

// wrongHead says what is wrong with a frame's beginning, of which p has come last.
func (c *checker) wrongHead(p []byte) error {
	got := append(bytes.Clone(c.head[:c.at]), p...)
	want := c.head
	h := len(c.pattern.got.header)
	if !bytes.HasPrefix(got, want[:min(h, len(got))]) {
		return fmt.Errorf("connection %d: message %d begins with the bytes % x, not % x: another length or kind of frame, or the bytes before it were too few or too many",
			c.id, c.next, got[:min(h, len(got))], want[:h])
	}
	if len(got) < len(want) {
		return fmt.Errorf("connection %d: another message than number %d came", c.id, c.next)
	}
	stamp := got[h:]
	number, id := binary.BigEndian.Uint64(stamp), binary.BigEndian.Uint64(stamp[8:])
	if c.pattern.got.masked {
		number, id = number^c.pattern.key, id^c.pattern.key
	}
	return fmt.Errorf("connection %d: message %d of connection %d came, not message %d", c.id, number, id, c.next)
}

// feedControl takes the bytes of one control frame: pings are to be answered, a
// close is the end of the run.
func (c *checker) feedControl(p []byte) (n int, err error) {
	for n < len(p) {
		c.control = append(c.control, p[n])
		n++
		if len(c.control) < 2 || len(c.control) < 2+int(c.control[1]&0x7f) {
			continue
		}
		frame := c.control
		c.control = c.control[:0]
		switch frame[0] {
		case 0x89:
			c.pong = append(c.pong[:0], 0x8a, 0x80|frame[1], 0, 0, 0, 0) // masked with the key zero
			c.pong = append(c.pong, frame[2:]...)
		case 0x8a:
			c.pongs++
		case 0x88:
			return n, fmt.Errorf("connection %d: the server closed it instead of sending message %d: % x", c.id, c.next, frame[2:])
		default:
			return n, fmt.Errorf("connection %d: a frame of the reserved kind % x", c.id, frame[:2])
		}
		return n, nil
	}
	return n, nil
}
