package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/duplexgo/duplex/websocket/wire"
)

// newConn returns an open connection of an Echo without a network.
func newConn(p *Payload) *conn {
	s := new(shard)
	s.init(newWork(Job{Mode: Echo, Payload: p, InFlight: 3}))
	c := new(conn)
	c.init(s, 77)
	return c
}

// payloads are the sizes around which headers and stamps change.
func payloads(t *testing.T) (all []*Payload) {
	for _, size := range []int{0, 1, 15, 16, 17, 125, 126, 300, 65536} {
		all = append(all, generate(t, size, size%2 == 0))
	}
	lines, err := Lines([]byte("one\n\nthree\r\n" + string(bytes.Repeat([]byte("x"), 200))))
	if err != nil {
		t.Fatal(err)
	}
	return append(all, lines, Whole([]byte("\xff\x00")))
}

// message returns the payload of message number.
func (c *conn) message(number uint64) []byte {
	b := make([]byte, c.s.w.job.Payload.size(c.stream(), number))
	c.s.w.job.Payload.put(b, c.stream(), number, 0)
	return b
}

// However little of the frames leaves at once, and however small the buffer, what
// leaves is the messages in masked frames, one after the other.
func TestFramesInPieces(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, p := range payloads(t) {
		for _, room := range []int{1, 7, 64, 100000} {
			if room < 64 && p.size(77, 0) > 1000 {
				continue
			}
			c := newConn(p)
			var stream []byte
			for number := uint64(0); number < 5 || c.hasOutput(); {
				if number < 5 {
					c.begin(1)
					number++
				}
				if number == 3 && len(c.control) == 0 && c.sent < 3 {
					c.ping()
				}
				b := c.fill(make([]byte, 0, room))
				n := random.IntN(len(b) + 1)
				stream = append(stream, b[:n]...)
				c.wrote(n)
			}
			d := wire.Decoder{Server: true}
			messages := uint64(0)
			for len(stream) > 0 {
				h, n, err := wire.ParseHeader(stream)
				if err == nil {
					err = d.Frame(h)
				}
				if err != nil {
					t.Fatalf("after %d messages in a buffer of %d: %v: % .20x", messages, room, err, stream)
				}
				payload := stream[n : n+int(h.Length)]
				if err := d.Payload(payload); err != nil {
					t.Fatal(err)
				}
				stream = stream[n+int(h.Length):]
				if h.Opcode == wire.OpPing {
					continue
				}
				if h.Opcode != p.opcode || !bytes.Equal(payload, c.message(messages)) {
					t.Fatalf("message %d is %v of %.50q, want %.50q", messages, h.Opcode, payload, c.message(messages))
				}
				messages++
			}
			if messages != 5 {
				t.Errorf("%d messages left", messages)
			}
		}
	}
}

// However the stream is cut, the same messages come.
func TestFeedTakesAllCuts(t *testing.T) {
	p := generate(t, 20, false)
	var stream []byte
	whole := newConn(p)
	frame := func(fin bool, op wire.Opcode, payload []byte) {
		h := wire.Header{Fin: fin, Opcode: op, Length: int64(len(payload))}
		stream = append(h.Append(stream), payload...)
	}
	for number := range uint64(3) {
		m := whole.message(number)
		frame(true, wire.OpPing, []byte("hi"))
		frame(false, wire.OpText, m[:number*7])
		frame(true, wire.OpPong, nil)
		frame(true, wire.OpContinuation, m[number*7:])
	}
	for i := range len(stream) + 1 {
		for j := i; j <= len(stream); j++ {
			c := newConn(p)
			for range 3 {
				c.begin(1)
			}
			for _, part := range [][]byte{stream[:i], stream[i:j], stream[j:]} {
				if err := c.feed(bytes.Clone(part), 2); err != nil {
					t.Fatalf("cut at %d and %d: %v", i, j, err)
				}
			}
			if c.next != 3 || c.at != 0 || c.inFrame || c.kept != 0 || c.times.n != 0 {
				t.Fatalf("cut at %d and %d: %d messages and %d bytes of another", i, j, c.next, c.at)
			}
			if got := c.s.greeted.Load(); got != 3 {
				t.Fatalf("cut at %d and %d: %d pongs", i, j, got)
			}
			if pings := len(c.control); pings != 3*(2+4+2) {
				t.Fatalf("cut at %d and %d: % x answers three pings", i, j, c.control)
			}
		}
	}
}

// A message that nobody has asked for is an error.
func TestUnasked(t *testing.T) {
	c := newConn(generate(t, 20, false))
	err := c.feed([]byte("\x81\x07welcome"), 1)
	if f, ok := err.(*Failure); !ok || f.Kind != Unasked || !strings.Contains(f.Text, "7 bytes") {
		t.Errorf("%v", err)
	}
}

// A server that sends pings and reads nothing does not fill this end's memory.
func TestPongsAreBounded(t *testing.T) {
	c := newConn(generate(t, 20, false))
	ping := append(wire.Header{Fin: true, Opcode: wire.OpPing, Length: 125}.Append(nil), make([]byte, 125)...)
	for range 1000 {
		if err := c.feed(bytes.Clone(ping), 1); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.control) > mostControl+131 {
		t.Errorf("%d bytes of pongs wait", len(c.control))
	}
}

// What is compared is compared everywhere.
func TestPayloadHolds(t *testing.T) {
	for _, p := range payloads(t) {
		for number := range uint64(5) {
			b := make([]byte, p.size(3, number))
			for i := 0; i < len(b); { // in pieces, as it is made for the socket
				i += p.put(b[i:min(len(b), i+11)], 3, number, i)
			}
			if !p.holds(b, 3, number, 0) {
				t.Errorf("%.40q is not message %d", b, number)
			}
			for i := range min(len(b), 200) {
				b[i] ^= 4
				if p.holds(b, 3, number, 0) || p.holds(b[i:i+1], 3, number, i) {
					t.Errorf("message %d may have another byte %d", number, i)
				}
				b[i] ^= 4
			}
			if p.holds(append(b, 'x'), 3, number, 0) {
				t.Errorf("message %d may be longer", number)
			}
		}
	}
	p := generate(t, 16, false)
	seen := make(map[string]bool)
	for id := range uint32(50) {
		for number := range uint64(50) {
			b := make([]byte, 16)
			p.put(b, id, number, 0)
			seen[string(b)] = true
		}
	}
	if len(seen) != 2500 {
		t.Errorf("2500 messages of 16 bytes are %d different ones", len(seen))
	}
}

func TestWrongPayloads(t *testing.T) {
	if _, err := Lines([]byte("a\xff")); err == nil {
		t.Error("lines need not be UTF-8")
	}
	if _, err := Lines(nil); err == nil {
		t.Error("there need be no line")
	}
	for _, size := range []int{-1, MaxPayload + 1} {
		if _, err := Generate(size, false); err == nil {
			t.Errorf("a message of %d bytes was made", size)
		}
	}
}

func TestQueue(t *testing.T) {
	var q queue
	next, oldest := int64(0), int64(0)
	random := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		if random.IntN(5) < 3 {
			q.push(next)
			next++
		} else if q.n > 0 {
			if got := q.pop(); got != oldest {
				t.Fatalf("%d came, and %d was the oldest", got, oldest)
			}
			oldest++
		}
		if int64(q.n) != next-oldest {
			t.Fatalf("%d are in it, not %d", q.n, next-oldest)
		}
	}
}

// The accept key of RFC 6455, 1.3.
func TestAccept(t *testing.T) {
	if got := accept("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Error(got)
	}
}

func TestTally(t *testing.T) {
	a, b := make(tally), make(tally)
	a.add(failure(Reset, "first"))
	for i := range 3 {
		b.add(failure(Ended, "ended %d", i))
	}
	b.add(failure(Reset, "second"))
	a.merge(b)
	if got, want := fmt.Sprint(a.list()), "[{ended 3 ended 0} {reset 2 first}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
