package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/duplexgo/duplex/websocket/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// A peer is the server's end of a connection, for a script to do with it what it
// likes. Frames of the client are held to the rules of RFC 6455.
type peer struct {
	t       *testing.T
	conn    *net.TCPConn
	in      *bufio.Reader
	number  int // of the connection, as they came
	request *http.Request
	decoder wire.Decoder
	keys    map[uint32]bool // that have come
}

// serve runs a script for each connection; it ends with the test.
func serve(t *testing.T, script func(p *peer)) *net.TCPAddr {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	running.Go(func() {
		for number := 0; ; number++ {
			conn, err := ln.AcceptTCP()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(patience))
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			running.Go(func() {
				defer conn.Close()
				script(&peer{t: t, conn: conn, in: bufio.NewReader(conn), number: number,
					decoder: wire.Decoder{Server: true}, keys: make(map[uint32]bool)})
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return ln.Addr().(*net.TCPAddr)
}

// ask reads the request.
func (p *peer) ask() bool {
	var err error
	p.request, err = http.ReadRequest(p.in)
	return err == nil
}

// accept does the opening handshake; more header lines may be given.
func (p *peer) accept(more string) bool {
	if !p.ask() {
		return false
	}
	_, err := fmt.Fprintf(p.conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
		accept(p.request.Header.Get("Sec-WebSocket-Key")), more)
	return err == nil
}

// frame reads a frame.
func (p *peer) frame() (h wire.Header, payload []byte, err error) {
	var head []byte
	for {
		b, err := p.in.ReadByte()
		if err != nil {
			return h, nil, err
		}
		head = append(head, b)
		if h, _, err = wire.ParseHeader(head); err == nil {
			break
		} else if err != io.ErrUnexpectedEOF {
			p.t.Errorf("the client sent % x: %v", head, err)
			return h, nil, err
		}
	}
	if err := p.decoder.Frame(h); err != nil {
		p.t.Errorf("the client sent %+v: %v", h, err)
		return h, nil, err
	}
	p.keys[h.Key] = true
	payload = make([]byte, h.Length)
	if _, err := io.ReadFull(p.in, payload); err != nil {
		return h, nil, err
	}
	if err := p.decoder.Payload(payload); err != nil {
		p.t.Errorf("the client sent %q: %v", payload, err)
		return h, nil, err
	}
	return h, payload, nil
}

// send sends a whole frame.
func (p *peer) send(op wire.Opcode, payload []byte) error {
	return p.sendFrame(wire.Header{Fin: true, Opcode: op}, payload)
}

func (p *peer) sendFrame(h wire.Header, payload []byte) error {
	h.Length = int64(len(payload))
	_, err := p.conn.Write(append(h.Append(nil), payload...))
	return err
}

// each calls f for each message with its number, until one of them fails or the
// client closes, which is answered.
func (p *peer) each(f func(number int, h wire.Header, payload []byte) error) {
	for number := 0; ; {
		h, payload, err := p.frame()
		if err != nil {
			return
		}
		switch h.Opcode {
		case wire.OpClose:
			p.send(wire.OpClose, payload)
			return
		case wire.OpPing:
			p.send(wire.OpPong, payload)
			continue
		case wire.OpPong:
			continue
		}
		if f(number, h, payload) != nil {
			return
		}
		number++
	}
}

// end ends the stream. What has come and is not read would make it a reset.
func (p *peer) end() {
	p.conn.CloseWrite()
	io.Copy(io.Discard, p.conn)
}

func (p *peer) reset() {
	p.conn.SetLinger(0)
	p.conn.Close()
}

// echo is the script of a server that does what it should.
func echo(p *peer) {
	if p.accept("") {
		p.each(func(_ int, h wire.Header, payload []byte) error { return p.send(h.Opcode, payload) })
	}
}

// engines are the two, for tests of both.
var engines = []struct {
	name       string
	goroutines bool
}{{"loops", false}, {"crew", true}}

// eachEngine runs a test with each engine.
func eachEngine(t *testing.T, test func(t *testing.T, goroutines bool)) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) { test(t, e.goroutines) })
	}
}

// jobFor is a short one for the server at addr.
func jobFor(t *testing.T, addr *net.TCPAddr, goroutines bool) Job {
	t.Helper()
	u, err := url.Parse("ws://" + addr.String() + "/path?q=1")
	if err != nil {
		t.Fatal(err)
	}
	return Job{
		URL: u, Addr: addr.AddrPort(), Conns: 3, Payload: generate(t, 32, false),
		Duration: 100 * time.Millisecond, Timeout: patience, Threads: 2, goroutines: goroutines,
	}
}

func generate(t *testing.T, size int, binary bool) *Payload {
	t.Helper()
	p, err := Generate(size, binary)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func do(t *testing.T, j Job) *Result {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*patience, errors.New("the run does not end"))
	defer cancel()
	r, err := Run(ctx, j)
	if err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatal(context.Cause(ctx))
	}
	return r
}

// well checks that a run has gone well.
func well(t *testing.T, r *Result) {
	t.Helper()
	if r.Stopped != nil || len(r.Failures) > 0 || r.Opened != r.Wanted || r.Lost != 0 || r.Missing != 0 {
		t.Errorf("stopped: %v, failures %+v, %d of %d opened, %d lost, %d messages missing", r.Stopped, r.Failures, r.Opened, r.Wanted, r.Lost, r.Missing)
	}
	if r.Latency.Count() != r.Sent || r.Latency.Count() == 0 {
		t.Errorf("%d messages sent, %d received, %d latencies", r.Sent, r.Received, r.Latency.Count())
	}
}
