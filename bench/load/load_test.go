package load

import (
	"bytes"
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/duplexgo/duplex/bench/control"
)

func TestRightAnswersPass(t *testing.T) {
	ways := []struct {
		name    string
		mirror  bool
		message func(p *peer, number int, payload, raw []byte) error
	}{
		{"whole", false, echo},
		{"mirrored", true, func(p *peer, _ int, _, raw []byte) error {
			_, err := p.Write(raw)
			return err
		}},
		{"in pieces", false, func(p *peer, number int, payload, raw []byte) error {
			return echo(&peer{Writer: pieces{p.Writer, 11}}, number, payload, raw)
		}},
	}
	for _, g := range generators {
		for _, way := range ways {
			for _, size := range []int{16, 125, 126, 65535, 65536, 1 << 20} {
				addr := serve(t, func(p *peer) { p.message = way.message })
				j := echoJob(addr)
				j.Mirror, j.Size = way.mirror, size
				if way.name == "in pieces" && size > 126 {
					continue
				}
				if size > 65536 {
					j.Window = 1
				}
				if err := exchange(t, g.make, j); err != nil {
					t.Errorf("%s, %s, %d bytes: %v", g.name, way.name, size, err)
				}
			}
		}
	}
}

// pieces writes so many bytes at a time.
type pieces struct {
	w interface{ Write([]byte) (int, error) }
	n int
}

func (p pieces) Write(b []byte) (int, error) {
	for i := 0; i < len(b); i += p.n {
		if n, err := p.w.Write(b[i:min(i+p.n, len(b))]); err != nil {
			return i + n, err
		}
	}
	return len(b), nil
}

// However the bytes are cut, the checker sees the same messages.
func TestCheckerTakesAllCuts(t *testing.T) {
	p, err := newPattern(20, false)
	if err != nil {
		t.Fatal(err)
	}
	var stream []byte
	for number := range uint64(3) {
		stream = p.appendHead(stream, &p.got, number, 5)
		stream = append(stream, p.got.tail...)
		stream = append(stream, 0x89, 2, 'h', 'i', 0x8a, 0)
	}
	for i := range len(stream) + 1 {
		for j := i; j <= len(stream); j++ {
			c := checker{pattern: p, id: 5}
			total := 0
			for _, part := range [][]byte{stream[:i], stream[i:j], stream[j:]} {
				n, err := c.feed(part)
				if err != nil {
					t.Fatalf("cut at %d and %d: %v", i, j, err)
				}
				total += n
			}
			if total != 3 || c.at != 0 {
				t.Errorf("cut at %d and %d: %d messages, and %d bytes of another", i, j, total, c.at)
			}
			if pong := []byte{0x8a, 0x82, 0, 0, 0, 0, 'h', 'i'}; !bytes.Equal(c.pong, pong) {
				t.Errorf("cut at %d and %d: the ping's answer is % x, not % x", i, j, c.pong, pong)
			}
		}
	}
}

// The answer to a ping goes between two messages.
func TestPingsAreAnswered(t *testing.T) {
	for _, g := range generators {
		for _, size := range []int{20, 300000} {
			var mu sync.Mutex
			pongs := 0
			addr := serve(t, func(p *peer) {
				p.message = func(p *peer, number int, payload, raw []byte) error {
					if raw[0] == 0x8a {
						mu.Lock()
						defer mu.Unlock()
						pongs++
						return nil
					}
					return errors.Join(p.send(0x89, []byte("hello")), echo(p, number, payload, raw))
				}
			})
			j := echoJob(addr)
			j.Size = size
			if err := exchange(t, g.make, j); err != nil {
				t.Errorf("%s, %d bytes: %v", g.name, size, err)
			}
			mu.Lock()
			if pongs == 0 {
				t.Errorf("%s, %d bytes: no ping was answered", g.name, size)
			}
			mu.Unlock()
		}
	}
}

func TestBroadcast(t *testing.T) {
	for _, test := range []struct {
		name, want string
		send       func(to *peer, number int, payload []byte) error
	}{
		{"right", "", func(to *peer, _ int, payload []byte) error { return to.send(0x82, payload) }},
		{"one is left out once", "message 21 of connection", func(to *peer, number int, payload []byte) error {
			if to.id == 2 && number == 20 {
				return nil
			}
			return to.send(0x82, payload)
		}},
		{"one is left out at the end", "missing", func(to *peer, number int, payload []byte) error {
			if to.id == 2 && number == testMessages-1 {
				return nil
			}
			return to.send(0x82, payload)
		}},
		{"one gets it twice", "came", func(to *peer, number int, payload []byte) error {
			if to.id == 2 && number == 20 {
				to.send(0x82, payload)
			}
			return to.send(0x82, payload)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var mu sync.Mutex
			var all []*peer
			addr := serve(t, func(p *peer) {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, p)
				p.message = func(p *peer, number int, payload, raw []byte) error {
					mu.Lock()
					defer mu.Unlock()
					if raw[0] == 0x89 {
						return p.send(0x8a, payload)
					}
					number-- // the ping was the first
					for _, to := range all {
						test.send(to, number, payload)
					}
					return nil
				}
			})
			j := echoJob(addr)
			j.Kind = Broadcast
			if test.want != "" {
				j.Patience = 500 * time.Millisecond
			}
			err := exchange(t, generators[0].make, j)
			if test.want == "" && err != nil {
				t.Error(err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v does not contain %q", err, test.want)
			}
		})
	}
}

func TestRunMeasures(t *testing.T) {
	addr := serve(t, func(p *peer) { p.message = echo })
	aside := httptest.NewServer(control.Handler())
	defer aside.Close()
	j := echoJob(addr)
	j.Control = control.Client(aside.URL)
	j.Warm, j.Duration = time.Millisecond, 50*time.Millisecond
	r, err := Run(j)
	if err != nil {
		t.Fatal(err)
	}
	if r.Messages == 0 || r.Server <= 0 || r.Generator <= 0 || r.Wall < j.Duration || r.P50 <= 0 || r.P99 < r.P50 || r.Max < r.P99 {
		t.Errorf("%+v", r)
	}

	j.Warm, j.Duration = 0, 1 // too short for any message: it takes longer
	if r, err = Run(j); err != nil || r.Messages < uint64(j.Conns) {
		t.Errorf("%d messages of %d connections, %v", r.Messages, j.Conns, err)
	}

	j.Kind, j.Conns, j.Settle = Idle, 50, time.Millisecond
	if r, err = Run(j); err != nil {
		t.Fatal(err)
	}
	// The test's server has two buffers and a goroutine for each connection.
	for name, m := range map[string]control.Memory{"fresh": r.Fresh, "used": r.Used} {
		if perConn := (m.HeapLive + m.StackInUse) / 50; perConn < 4096 || perConn > 64<<10 {
			t.Errorf("%s: %d bytes a connection, which has a buffer of 4096", name, perConn)
		}
		if m.Goroutines != 50 {
			t.Errorf("%s: %d goroutines for 50 connections", name, m.Goroutines)
		}
	}
}

func TestImpossibleJobs(t *testing.T) {
	refuses := serve(t, func(p *peer) { p.message = echo })
	for _, test := range []struct {
		name, want string
		change     func(*Job)
	}{
		{"no connections", "needs connections", func(j *Job) { j.Conns = 0 }},
		{"too many connections", "too many", func(j *Job) { j.Conns = 20000 }},
		{"messages without room for the stamp", "too short", func(j *Job) { j.Size = 15 }},
		{"no kind", "no kind", func(j *Job) { j.Kind = "" }},
		{"an address of no server", "refused", func(j *Job) { j.Addr = "127.0.0.1:1" }},
		{"a name", "IPv4", func(j *Job) { j.Addr = "localhost:80" }},
		{"no such process", "no threads", func(j *Job) { j.PID = 1 << 30 }},
	} {
		j := echoJob(refuses)
		j.Duration = time.Millisecond
		test.change(&j)
		if _, err := Run(j); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v does not contain %q", test.name, err, test.want)
		}
	}
}

func TestHandshakeAnswers(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 101 OK\r\nSec-WebSocket-Accept: " + handshakeAccept + "\r\n\r\n":  "",
		"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone":                   "404",
		"HTTP/1.1 101 OK\r\nSec-WebSocket-Accept: " + handshakeAccept + "\r\n\r\nx": "more",
		"HTTP/1.1 500 No\r\n\r\n": "500",
		"HTTP/1.1 101 OK\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n": "101",
		"HTTP/1.1 101 OK\r\n":             "EOF",
		strings.Repeat("x", 9<<10) + "\r": "8 KiB",
	} {
		err := readAnswer(pieceReader{strings.NewReader(answer)})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.60q: %v, want %q", answer, err, want)
		}
	}
}

// pieceReader returns seven bytes at a time.
type pieceReader struct{ r *strings.Reader }

func (p pieceReader) Read(b []byte) (int, error) { return p.r.Read(b[:min(7, len(b))]) }
