package load

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A peer is the test's server at one connection. It gets the messages one by one.
type peer struct {
	io.Writer
	id int
	// message handles the message of a number, counted from 0 on this connection;
	// raw is its frame as it came.
	message func(p *peer, number int, payload, raw []byte) error
}

// send sends one frame of a server, with its first byte.
func (p *peer) send(first byte, payload []byte) error {
	h := appendHeader(nil, len(payload), false)
	h[0] = first
	_, err := p.Write(append(h, payload...))
	return err
}

func echo(p *peer, _ int, payload, _ []byte) error { return p.send(0x82, payload) }

// serve runs a server until the test ends and returns its address. accept gets
// every connection once its handshake is done.
func serve(t *testing.T, accept func(p *peer)) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() {
		ln.Close()
		running.Wait() // the generator has closed its connections
	})
	running.Go(func() {
		for id := 0; ; id++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				r := bufio.NewReader(c)
				request, err := http.ReadRequest(r)
				if err != nil {
					t.Errorf("request: %v", err)
					return
				}
				sum := sha1.Sum([]byte(request.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
				fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
					base64.StdEncoding.EncodeToString(sum[:]))
				p := &peer{Writer: c, id: id}
				accept(p)
				p.read(r)
			})
		}
	})
	return ln.Addr().String()
}

// read calls back for each frame until one fails or the client has gone.
func (p *peer) read(r io.Reader) {
	var raw bytes.Buffer
	r = io.TeeReader(r, &raw)
	for number := 0; ; number++ {
		raw.Reset()
		payload, err := readMasked(r)
		if err != nil {
			return
		}
		if p.message(p, number, payload, raw.Bytes()) != nil {
			return
		}
	}
}

// readMasked reads a client's frame and returns its payload.
func readMasked(r io.Reader) ([]byte, error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	size := uint64(head[1] & 0x7f)
	more := 0
	switch size {
	case 126:
		more = 2
	case 127:
		more = 8
	}
	rest := make([]byte, 8+4)
	if _, err := io.ReadFull(r, rest[8-more:]); err != nil {
		return nil, err
	}
	if more > 0 {
		size = binary.BigEndian.Uint64(rest)
	}
	payload := make([]byte, size)
	_, err := io.ReadFull(r, payload)
	subtle.XORBytes(payload, payload, bytes.Repeat(rest[8:], len(payload)/4+1))
	return payload, err
}

// Every connection sends so many messages in the tests, this many at once.
const (
	testMessages = 40
	testWindow   = 4
)

// faults are servers that do something wrong with message 21 of their second
// connection. want is a part of what the generator must say.
var faults = []struct {
	name, want string
	do         func(p *peer, payload []byte) error
}{
	{"drops it", "21", func(*peer, []byte) error { return nil }},
	{"drops its last byte", "length", func(p *peer, m []byte) error { return p.send(0x82, m[:len(m)-1]) }},
	{"adds a byte", "length", func(p *peer, m []byte) error { return p.send(0x82, append(m, 0)) }},
	{"stops in the middle", "21", func(p *peer, m []byte) error {
		p.message = func(*peer, int, []byte, []byte) error { return nil } // and stays silent
		_, err := p.Write(append(appendHeader(nil, len(m), false), m[:len(m)/2]...))
		return err
	}},
	{"leaves out its first half", "connection 1: ", func(p *peer, m []byte) error {
		_, err := p.Write(m[len(m)/2:])
		return err
	}},
	{"sends it twice", "message 21 of connection 1 came, not message 22", func(p *peer, m []byte) error {
		return errors.Join(p.send(0x82, m), p.send(0x82, m))
	}},
	{"sends what belongs to another", "of connection 0 came", func(p *peer, m []byte) error {
		binary.BigEndian.PutUint64(m[8:], 0)
		return p.send(0x82, m)
	}},
	{"sends an older one", "message 20 of connection 1 came", func(p *peer, m []byte) error {
		binary.BigEndian.PutUint64(m, 20)
		return p.send(0x82, m)
	}},
	{"alters a byte", "differs in bytes", func(p *peer, m []byte) error {
		m[len(m)-1] ^= 1
		return p.send(0x82, m)
	}},
	{"leaves the mask on", "differs in bytes", func(p *peer, m []byte) error {
		for i := range m[stampSize:] {
			m[stampSize+i] ^= byte(uint32(maskKey) >> (24 - i%4*8))
		}
		return p.send(0x82, m)
	}},
	{"sends text", "kind of frame", func(p *peer, m []byte) error { return p.send(0x81, m) }},
	{"sends a fragment", "kind of frame", func(p *peer, m []byte) error { return p.send(0x02, m) }},
	{"sets a reserved bit", "kind of frame", func(p *peer, m []byte) error { return p.send(0xc2, m) }},
	{"sends a reserved control frame", "reserved", func(p *peer, m []byte) error { return p.send(0x8b, nil) }},
	{"sends a close frame", "closed", func(p *peer, m []byte) error { return p.send(0x88, []byte{0x03, 0xe8}) }},
	{"cuts the connection", "21", func(*peer, []byte) error { return io.EOF }},
}

// generators are the two ways to make connections work.
var generators = []struct {
	name string
	make func(Job) (generator, error)
}{
	{"epoll", func(j Job) (generator, error) { return newCrowd(j) }},
	{"blocking", func(j Job) (generator, error) { return newStaff(j) }},
}

// exchange sends testMessages on each connection of a job, fewer if they are long.
func exchange(t *testing.T, make func(Job) (generator, error), j Job) error {
	t.Helper()
	g, err := make(j)
	if err != nil {
		return err
	}
	defer g.close()
	messages := uint64(testMessages)
	if j.Size > 1<<16 {
		messages /= 10
	}
	g.limit(messages)
	if err := g.drain(); err != nil {
		return err
	}
	if want := uint64(j.Conns) * messages; g.messages() != want {
		t.Errorf("%d messages came, not %d", g.messages(), want)
	}
	return nil
}

func echoJob(addr string) Job {
	return Job{Kind: Echo, Addr: addr, Path: "/", Conns: 3, Size: 40, Window: testWindow, Patience: 10 * time.Second, PID: os.Getpid()}
}

func TestFaultsAreFound(t *testing.T) {
	for _, g := range generators {
		for _, fault := range faults {
			t.Run(g.name+"/"+fault.name, func(t *testing.T) {
				t.Parallel()
				addr := serve(t, func(p *peer) {
					p.message = func(p *peer, number int, payload, raw []byte) error {
						if number == 21 && binary.BigEndian.Uint64(payload[8:]) == 1 {
							return fault.do(p, payload)
						}
						return echo(p, number, payload, raw)
					}
				})
				j := echoJob(addr)
				j.Patience = 500 * time.Millisecond
				err := exchange(t, g.make, j)
				if err == nil {
					t.Fatal("the fault was not noticed")
				}
				if !strings.Contains(err.Error(), fault.want) {
					t.Errorf("%q does not contain %q", err, fault.want)
				}
			})
		}
	}
}

// Two messages that change places are both there, whole.
func TestReorderIsFound(t *testing.T) {
	for _, g := range generators {
		t.Run(g.name, func(t *testing.T) {
			var held []byte
			addr := serve(t, func(p *peer) {
				p.message = func(p *peer, number int, payload, raw []byte) error {
					switch {
					case p.id != 1 || number != 21 && number != 22:
						return echo(p, number, payload, raw)
					case number == 21:
						held = payload
						return nil
					}
					return errors.Join(p.send(0x82, payload), p.send(0x82, held))
				}
			})
			j := echoJob(addr)
			j.Patience = 500 * time.Millisecond
			err := exchange(t, g.make, j)
			if err == nil || !strings.Contains(err.Error(), "came, not message 21") {
				t.Errorf("%v", err)
			}
		})
	}
}

// After the last message nothing may come, even if it is what came before.
func TestExcessIsFound(t *testing.T) {
	addr := serve(t, func(p *peer) {
		p.message = func(p *peer, number int, payload, raw []byte) error {
			if number == testMessages-1 {
				twice := new(bytes.Buffer)
				both := &peer{Writer: twice}
				both.send(0x82, payload)
				both.send(0x82, payload)
				_, err := p.Write(twice.Bytes())
				return err
			}
			return echo(p, number, payload, raw)
		}
	})
	if err := exchange(t, generators[0].make, echoJob(addr)); err == nil {
		t.Error("the fault was not noticed")
	}
}

// Of long messages a sample is compared, at every byte.
func TestLongMessagesAreSampled(t *testing.T) {
	for _, at := range []int{stampSize, 9000, 19999} {
		var altered atomic.Int64
		addr := serve(t, func(p *peer) {
			p.message = func(p *peer, number int, payload, raw []byte) error {
				if number > 20 {
					payload[at] ^= 0x80
					altered.Add(1)
				}
				return echo(p, number, payload, raw)
			}
		})
		j := echoJob(addr)
		j.Conns, j.Size = 1, 20000
		if err := exchange(t, generators[0].make, j); err == nil || !strings.Contains(err.Error(), "differs") {
			t.Errorf("byte %d altered in message 21 and all later ones: %v", at, err)
		}
		if n := altered.Load(); n > sampled+testWindow {
			t.Errorf("%d altered messages until one was compared, more than %d", n, sampled+testWindow)
		}
	}
}
