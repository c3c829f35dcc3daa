package load

import (
	"bytes"
	"context"
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

	"github.com/duplexgo/duplex/websocket/wire"
)

func TestEcho(t *testing.T) {
	lines, err := Lines([]byte("one\r\ntwo two\n\ngrüße\n" + strings.Repeat("long ", 30000)))
	if err != nil {
		t.Fatal(err)
	}
	eachEngine(t, func(t *testing.T, goroutines bool) {
		for _, test := range []struct {
			name    string
			payload *Payload
			change  func(*Job)
		}{
			{"short", generate(t, 1, false), func(*Job) {}},
			{"empty", generate(t, 0, true), func(*Job) {}},
			{"16 in flight", generate(t, 32, true), func(j *Job) { j.InFlight = 16 }},
			{"16 bits of length", generate(t, 70000, false), func(j *Job) { j.InFlight = 3 }},
			{"longer than all buffers", generate(t, 9<<20, true), func(j *Job) { j.Conns = 1 }},
			{"lines", lines, func(j *Job) { j.InFlight = 5 }},
			{"whole", Whole([]byte{0, 0xff, 0xfe}), func(*Job) {}},
			{"at a rate", generate(t, 32, false), func(j *Job) { j.Rate = 2000 }},
			{"ramp and warm-up", generate(t, 32, false), func(j *Job) { j.Ramp, j.Warmup = 20*time.Millisecond, 10*time.Millisecond }},
			{"more threads than connections", generate(t, 32, false), func(j *Job) { j.Threads = 7 }},
		} {
			t.Run(test.name, func(t *testing.T) {
				j := jobFor(t, serve(t, echo), goroutines)
				j.Payload = test.payload
				test.change(&j)
				well(t, do(t, j))
			})
		}
	})
}

// At a rate there are as many messages as the rate and the time give, and not one
// more, whatever the answers do.
func TestRateIsKept(t *testing.T) {
	eachEngine(t, func(t *testing.T, goroutines bool) {
		j := jobFor(t, serve(t, echo), goroutines)
		j.Rate, j.Duration = 1000, 200*time.Millisecond
		r := do(t, j)
		well(t, r)
		if r.Sent < 198 || r.Sent > 202 {
			t.Errorf("%d messages in %v at %v a second", r.Sent, j.Duration, j.Rate)
		}
	})
}

// A server that stalls makes all messages late that were due meanwhile. In a closed
// loop only those in flight show it: that is what a rate is for.
func TestStallShowsInEveryMessage(t *testing.T) {
	const stall = 300 * time.Millisecond
	script := func(p *peer) {
		if !p.accept("") {
			return
		}
		p.each(func(number int, h wire.Header, payload []byte) error {
			if number == 5 {
				<-time.After(stall)
			}
			return p.send(h.Opcode, payload)
		})
	}
	late := func(r *Result) (n uint64) {
		for upTo, count := range r.Latency.Steps() {
			if upTo > stall/3 {
				n += count
			}
		}
		return n
	}
	eachEngine(t, func(t *testing.T, goroutines bool) {
		j := jobFor(t, serve(t, script), goroutines)
		j.Conns, j.Rate, j.Duration = 1, 500, stall+200*time.Millisecond
		r := do(t, j)
		well(t, r)
		// Those due in the first two thirds of the stall have waited for a third at least.
		if got, want := late(r), uint64(stall.Seconds()*j.Rate*2/3*0.8); got < want {
			t.Errorf("at a rate %d messages were late, want %d or more", got, want)
		}
		if r.Latency.Max() < stall*9/10 {
			t.Errorf("the longest latency is %v, and the server stalled for %v", r.Latency.Max(), stall)
		}
		j.Rate = 0
		// A machine that is busy may delay some others.
		if got := late(do(t, j)); got < 1 || got > 5 {
			t.Errorf("in a closed loop %d messages were late, want the one in flight", got)
		}
	})
}

// Every way in which an open connection can fail is told by its kind, with an
// example, and is the end of that connection only.
func TestFailures(t *testing.T) {
	answers := func(f func(p *peer, number int, h wire.Header, payload []byte) error) func(*peer) {
		return func(p *peer) {
			if p.accept("") {
				p.each(func(number int, h wire.Header, payload []byte) error {
					if number < 3 || p.number != 1 {
						return p.send(h.Opcode, payload)
					}
					return f(p, number, h, payload)
				})
			}
		}
	}
	end := errors.New("the script ends")
	for _, test := range []struct {
		name   string
		kind   Kind
		says   string
		script func(p *peer, number int, h wire.Header, payload []byte) error
	}{
		{"one is dropped", OutOfOrder, "message 4 came, and message 3 was next", func(p *peer, number int, h wire.Header, payload []byte) error {
			if number == 3 {
				return nil
			}
			return p.send(h.Opcode, payload)
		}},
		{"one comes twice", OutOfOrder, "message 3 came, and message 4 was next", func(p *peer, number int, h wire.Header, payload []byte) error {
			if number == 4 {
				before := append(payload[:15:15], '3') // the number's last digit
				return errors.Join(p.send(h.Opcode, append(before, payload[16:]...)), p.send(h.Opcode, payload))
			}
			return p.send(h.Opcode, payload)
		}},
		{"truncated", Wrong, "message 3 came with 20 bytes, and was sent with 32", func(p *peer, _ int, h wire.Header, payload []byte) error {
			return p.send(h.Opcode, payload[:20])
		}},
		{"too long", Wrong, "message 3 came with", func(p *peer, _ int, h wire.Header, payload []byte) error {
			return p.send(h.Opcode, append(payload, 'x'))
		}},
		{"another text", Wrong, `came with "Echo: `, func(p *peer, _ int, h wire.Header, payload []byte) error {
			return p.send(h.Opcode, append([]byte("Echo: "), payload...))
		}},
		{"a byte at the end", Wrong, "message 3 came with", func(p *peer, _ int, h wire.Header, payload []byte) error {
			payload[31] ^= 1
			return p.send(h.Opcode, payload)
		}},
		{"another type", Wrong, "came as binary, and was sent as text", func(p *peer, _ int, _ wire.Header, payload []byte) error {
			return p.send(wire.OpBinary, payload)
		}},
		{"closed", Closed, "1011 (internal error): out of paper", func(p *peer, _ int, _ wire.Header, _ []byte) error {
			p.send(wire.OpClose, wire.AppendClose(nil, wire.CloseInternalError, "out of paper"))
			if h, payload, err := p.frame(); err == nil && h.Opcode == wire.OpText {
				_ = payload // in flight
				h, _, err = p.frame()
				if err != nil || h.Opcode != wire.OpClose {
					p.t.Errorf("the close frame was answered with %v and %v", h.Opcode, err)
				}
			}
			return end
		}},
		{"ended", Ended, "without a close frame after 3 messages", func(p *peer, _ int, _ wire.Header, _ []byte) error {
			p.end()
			return end
		}},
		{"ended in mid-message", Ended, "in the middle of a message", func(p *peer, _ int, h wire.Header, payload []byte) error {
			h.Masked = false
			p.conn.Write(append(h.Append(nil), payload[:7]...))
			p.end()
			return end
		}},
		{"reset", Reset, "it was cut after", func(p *peer, _ int, _ wire.Header, _ []byte) error {
			p.reset()
			return end
		}},
		{"masked", Protocol, "with a mask", func(p *peer, _ int, h wire.Header, payload []byte) error {
			return p.sendFrame(wire.Header{Fin: true, Opcode: h.Opcode, Masked: true}, payload)
		}},
		{"reserved bit", Protocol, "RSV", func(p *peer, _ int, h wire.Header, payload []byte) error {
			return p.sendFrame(wire.Header{Fin: true, Opcode: h.Opcode, Rsv: wire.Rsv1}, payload)
		}},
		{"noise", Protocol, "the server sent a", func(p *peer, _ int, _ wire.Header, _ []byte) error {
			_, err := p.conn.Write(bytes.Repeat([]byte{0xff}, 100))
			return err
		}},
		{"close frame with a wrong code", Protocol, "1005", func(p *peer, _ int, _ wire.Header, _ []byte) error {
			return p.send(wire.OpClose, []byte{0x03, 0xed})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, goroutines bool) {
				j := jobFor(t, serve(t, answers(test.script)), goroutines)
				j.InFlight = 2
				r := do(t, j)
				if len(r.Failures) != 1 || r.Failures[0].Kind != test.kind || r.Failures[0].Count != 1 || !strings.Contains(r.Failures[0].Example, test.says) {
					t.Errorf("failures %+v, want one of %q that says %q", r.Failures, test.kind, test.says)
				}
				if r.Opened != 3 || r.Lost != 1 || r.Stopped != nil || r.Latency.Count() == 0 {
					t.Errorf("%d opened, %d lost, %d messages, stopped: %v", r.Opened, r.Lost, r.Latency.Count(), r.Stopped)
				}
				if r.Missing != 2 && r.Missing != 1 {
					t.Errorf("%d messages are missing, and two were in flight at most", r.Missing)
				}
			})
		})
	}
}

// A server that answers nothing is noticed when the timeout is over, in both modes
// of sending, and at the end of the measurement too.
func TestNoAnswer(t *testing.T) {
	script := func(p *peer) {
		if p.accept("") {
			p.each(func(number int, h wire.Header, payload []byte) error {
				if p.number == 1 && number > 0 {
					return nil
				}
				return p.send(h.Opcode, payload)
			})
		}
	}
	eachEngine(t, func(t *testing.T, goroutines bool) {
		for _, rate := range []float64{0, 1000} {
			j := jobFor(t, serve(t, script), goroutines)
			j.Timeout, j.Rate = 500*time.Millisecond, rate
			r := do(t, j)
			if len(r.Failures) != 1 || r.Failures[0].Kind != NoAnswer || r.Failures[0].Count != 1 || r.Lost != 1 || r.Missing == 0 {
				t.Errorf("rate %v: failures %+v, %d lost, %d missing", rate, r.Failures, r.Lost, r.Missing)
			}
		}
	})
}

func TestOpeningFailures(t *testing.T) {
	say := func(answer string) func(p *peer) {
		return func(p *peer) {
			if p.ask() {
				fmt.Fprintf(p.conn, strings.ReplaceAll(answer, "\n", "\r\n"), accept(p.request.Header.Get("Sec-WebSocket-Key")))
				io.Copy(io.Discard, p.conn)
			}
		}
	}
	for _, test := range []struct {
		name   string
		kind   Kind
		says   string
		script func(p *peer)
	}{
		{"wrong key", Handshake, `Sec-WebSocket-Accept is "x`, say("HTTP/1.1 101 OK\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Accept: x%s\n\n")},
		{"no Upgrade", Handshake, "Upgrade", say("HTTP/1.1 101 OK\nConnection: Upgrade\nSec-WebSocket-Accept: %s\n\n")},
		{"no Connection", Handshake, "Connection", say("HTTP/1.1 101 OK\nUpgrade: websocket\nSec-WebSocket-Accept: %s\n\n")},
		{"extension", Handshake, "permessage-deflate", say("HTTP/1.1 101 OK\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Accept: %s\nSec-WebSocket-Extensions: permessage-deflate\n\n")},
		{"subprotocol", Handshake, `"chat"`, say("HTTP/1.1 101 OK\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Accept: %s\nSec-WebSocket-Protocol: chat\n\n")},
		{"not HTTP", Handshake, `"SSH-2.0`, say("SSH-2.0-OpenSSH%.0s\n")},
		{"wrong HTTP", Handshake, "not HTTP", say("HTTP/1.1 huh%.0s\n\n")},
		{"a header without end", Handshake, "no end", func(p *peer) {
			p.conn.Write([]byte("HTTP/1.1 101 OK\r\nX: "))
			p.conn.Write(bytes.Repeat([]byte("x"), 2*mostAnswer))
			io.Copy(io.Discard, p.conn)
		}},
		{"refused", Status, "503 Service Unavailable", say("HTTP/1.1 503 Service Unavailable\nContent-Length: 0%.0s\n\n")},
		{"silent", NoOpening, "within", func(p *peer) { io.Copy(io.Discard, p.conn) }},
		{"ended", Ended, "before the server had accepted it", func(p *peer) { p.ask() }},
		{"reset", Reset, "before the server had accepted it", func(p *peer) {
			p.ask()
			p.reset()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, goroutines bool) {
				// All but the second connection are right.
				j := jobFor(t, serve(t, func(p *peer) {
					if p.number == 1 {
						test.script(p)
					} else {
						echo(p)
					}
				}), goroutines)
				if test.kind == NoOpening {
					j.Timeout = 500 * time.Millisecond
				}
				r := do(t, j)
				if len(r.Failures) != 1 || r.Failures[0].Kind != test.kind || r.Failures[0].Count != 1 || !strings.Contains(r.Failures[0].Example, test.says) {
					t.Errorf("failures %+v, want one of %q that says %q", r.Failures, test.kind, test.says)
				}
				if r.Opened != 2 || r.Lost != 0 || r.Stopped != nil || r.Latency.Count() == 0 || r.Missing != 0 {
					t.Errorf("%d opened, %d lost, %d messages, %d missing, stopped: %v", r.Opened, r.Lost, r.Latency.Count(), r.Missing, r.Stopped)
				}
			})
		})
	}
}

func TestNobodyThere(t *testing.T) {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	eachEngine(t, func(t *testing.T, goroutines bool) {
		r := do(t, jobFor(t, ln.Addr().(*net.TCPAddr), goroutines))
		if r.Stopped != ErrNoneOpen || len(r.Failures) != 1 || r.Failures[0].Kind != Refused || r.Failures[0].Count != 3 {
			t.Errorf("stopped: %v, failures %+v", r.Stopped, r.Failures)
		}
	})
}

// A server that dies ends the run, which has what was measured before.
func TestServerDies(t *testing.T) {
	eachEngine(t, func(t *testing.T, goroutines bool) {
		j := jobFor(t, serve(t, func(p *peer) {
			if p.accept("") {
				p.each(func(number int, h wire.Header, payload []byte) error {
					if number == 50 {
						p.reset()
					}
					return p.send(h.Opcode, payload)
				})
			}
		}), goroutines)
		j.Duration = patience
		r := do(t, j)
		if r.Stopped != ErrAllLost || r.Lost != 3 || r.Received == 0 || r.Wall <= 0 || r.Wall > patience/2 {
			t.Errorf("stopped: %v, %d lost, %d received in %v", r.Stopped, r.Lost, r.Received, r.Wall)
		}
	})
}

// Any one message will do as an answer where that is wanted.
func TestAnyAnswer(t *testing.T) {
	eachEngine(t, func(t *testing.T, goroutines bool) {
		j := jobFor(t, serve(t, func(p *peer) {
			if p.accept("") {
				p.each(func(int, wire.Header, []byte) error { return p.send(wire.OpBinary, []byte("ok")) })
			}
		}), goroutines)
		j.Any = true
		well(t, do(t, j))
	})
}

// What RFC 6455 allows between and within messages changes nothing; pings are
// answered.
func TestFragmentsAndPings(t *testing.T) {
	eachEngine(t, func(t *testing.T, goroutines bool) {
		var pongs atomic.Int64
		j := jobFor(t, serve(t, func(p *peer) {
			if !p.accept("") {
				return
			}
			for {
				h, payload, err := p.frame()
				if err != nil {
					return
				}
				switch h.Opcode {
				case wire.OpPong:
					if string(payload) != "are you there" {
						t.Errorf("the pong holds %q", payload)
					}
					pongs.Add(1)
				case wire.OpClose:
					p.send(wire.OpClose, payload)
					return
				default:
					p.sendFrame(wire.Header{Opcode: h.Opcode}, payload[:5])
					p.send(wire.OpPing, []byte("are you there"))
					p.sendFrame(wire.Header{Opcode: wire.OpContinuation}, nil)
					p.send(wire.OpPong, nil)
					p.send(wire.OpContinuation, payload[5:])
				}
			}
		}), goroutines)
		well(t, do(t, j))
		if pongs.Load() == 0 {
			t.Error("no ping was answered")
		}
	})
}

// The request has what was asked for, and each frame a key of its own.
func TestRequestAndKeys(t *testing.T) {
	eachEngine(t, func(t *testing.T, goroutines bool) {
		requests := make(chan *http.Request, 10)
		j := jobFor(t, serve(t, func(p *peer) {
			if p.accept("Sec-WebSocket-Protocol: b\r\n") {
				requests <- p.request
				n := 0
				p.each(func(_ int, h wire.Header, payload []byte) error {
					n++
					return p.send(h.Opcode, payload)
				})
				if len(p.keys) < n {
					t.Errorf("%d frames had %d keys", n, len(p.keys))
				}
			}
		}), goroutines)
		j.Header = http.Header{"Authorization": {"Bearer 1"}, "X-Two": {"a", "b"}}
		j.Host = "example.test"
		j.Subprotocols = []string{"a", "b"}
		well(t, do(t, j))
		keys := make(map[string]bool)
		for range j.Conns {
			r := <-requests
			keys[r.Header.Get("Sec-WebSocket-Key")] = true
			if r.Host != "example.test" || r.URL.String() != "/path?q=1" || r.Header.Get("Authorization") != "Bearer 1" ||
				fmt.Sprint(r.Header["X-Two"]) != "[a b]" || r.Header.Get("Sec-WebSocket-Protocol") != "a, b" || r.Header.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("the request is %s %s, header %v", r.Host, r.URL, r.Header)
			}
		}
		if len(keys) != j.Conns {
			t.Errorf("%d connections had %d keys", j.Conns, len(keys))
		}
	})
}

// A hall is a server that sends what comes on one connection to all.
type hall struct {
	mu     sync.Mutex
	all    []*peer
	victim *peer // one that is not the sender
	before []byte
	more   string // of the handshake
	send   func(h *hall, to, from *peer, op wire.Opcode, number int, payload []byte)
}

func (h *hall) script(p *peer) {
	if !p.accept(h.more) {
		return
	}
	p.decoder.Rsv = wire.Rsv1
	h.mu.Lock()
	h.all = append(h.all, p)
	h.mu.Unlock()
	for number := 0; ; {
		f, payload, err := p.frame()
		if err != nil {
			return
		}
		h.mu.Lock()
		switch f.Opcode {
		case wire.OpPing:
			p.send(wire.OpPong, payload)
		case wire.OpClose:
			p.send(wire.OpClose, payload)
			h.mu.Unlock()
			return
		default:
			if h.victim = h.all[0]; h.victim == p {
				h.victim = h.all[1]
			}
			for _, to := range h.all {
				h.send(h, to, p, f.Opcode, number, payload)
			}
			number++
		}
		h.mu.Unlock()
	}
}

func TestBroadcast(t *testing.T) {
	all := func(_ *hall, to, _ *peer, op wire.Opcode, _ int, payload []byte) { to.send(op, payload) }
	for _, test := range []struct {
		name   string
		kind   Kind
		change func(*Job)
		send   func(h *hall, to, from *peer, op wire.Opcode, number int, payload []byte)
	}{
		{"to all", "", func(*Job) {}, all},
		{"8 in flight", "", func(j *Job) { j.InFlight = 8 }, all},
		{"at a rate", "", func(j *Job) { j.Rate = 500 }, all},
		{"not to the sender", "", func(*Job) {}, func(h *hall, to, from *peer, op wire.Opcode, number int, payload []byte) {
			if to != from {
				to.send(op, payload)
			}
		}},
		{"one is left out once", OutOfOrder, func(j *Job) { j.InFlight = 4 }, func(h *hall, to, from *peer, op wire.Opcode, number int, payload []byte) {
			if number != 6 || to != h.victim {
				to.send(op, payload)
			}
		}},
		{"one is left out for good", NoAnswer, func(j *Job) { j.Timeout = 500 * time.Millisecond }, func(h *hall, to, from *peer, op wire.Opcode, number int, payload []byte) {
			if number < 6 || to != h.victim {
				to.send(op, payload)
			}
		}},
		{"one gets it twice", OutOfOrder, func(j *Job) { j.InFlight = 4 }, func(h *hall, to, from *peer, op wire.Opcode, number int, payload []byte) {
			if to == h.victim {
				if number == 7 {
					to.send(op, h.before)
				}
				h.before = payload
			}
			to.send(op, payload)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, goroutines bool) {
				h := &hall{send: test.send}
				j := jobFor(t, serve(t, h.script), goroutines)
				j.Mode, j.Conns = Broadcast, 5
				test.change(&j)
				r := do(t, j)
				if test.kind == "" {
					well(t, r)
					if r.Wanted != 6 || r.Received%5 != 0 && r.Received < 10 {
						t.Errorf("%d connections, %d deliveries", r.Wanted, r.Received)
					}
					return
				}
				if len(r.Failures) != 1 || r.Failures[0].Kind != test.kind || r.Failures[0].Count != 1 || r.Lost != 1 || r.Stopped != nil {
					t.Errorf("stopped: %v, %d lost, failures %+v, want one of %q", r.Stopped, r.Lost, r.Failures, test.kind)
				}
			})
		})
	}
}

// Without its sender a broadcast ends at once, and says why.
func TestBroadcastWithoutSender(t *testing.T) {
	eachEngine(t, func(t *testing.T, goroutines bool) {
		h := &hall{send: func(_ *hall, _, from *peer, _ wire.Opcode, _ int, _ []byte) { from.reset() }}
		j := jobFor(t, serve(t, h.script), goroutines)
		j.Mode, j.Duration = Broadcast, patience
		r := do(t, j)
		if r.Stopped == nil || !strings.Contains(r.Stopped.Error(), "sends the broadcast") || r.Wall > patience/2 {
			t.Errorf("stopped: %v after %v", r.Stopped, r.Wall)
		}
	})
}

// A room that forwards nothing any more has no receivers in the end: there is nothing
// left to measure.
func TestBroadcastStalls(t *testing.T) {
	eachEngine(t, func(t *testing.T, goroutines bool) {
		h := &hall{send: func(_ *hall, to, _ *peer, op wire.Opcode, number int, payload []byte) {
			if number < 6 {
				to.send(op, payload)
			}
		}}
		j := jobFor(t, serve(t, h.script), goroutines)
		j.Mode, j.Duration, j.Timeout = Broadcast, patience, 500*time.Millisecond
		r := do(t, j)
		if r.Stopped != ErrAllLost || r.Lost != 3 || r.Missing != 3 || r.Wall > patience/2 || len(r.Failures) != 1 || r.Failures[0].Kind != NoAnswer {
			t.Errorf("stopped: %v after %v, %d lost, %d missing, failures %+v", r.Stopped, r.Wall, r.Lost, r.Missing, r.Failures)
		}
	})
}

// A server that stops to accept while connections are being opened does not hold the
// run up for the timeout of each that is still to come.
func TestStuckWhileOpening(t *testing.T) {
	eachEngine(t, func(t *testing.T, goroutines bool) {
		j := jobFor(t, serve(t, func(p *peer) {
			if p.number < 5 {
				echo(p)
				return
			}
			io.Copy(io.Discard, p.conn)
		}), goroutines)
		j.Conns, j.Timeout = 5000, time.Second
		r := do(t, j)
		if r.Stopped != ErrStuck || r.Opened != 5 || len(r.Failures) != 1 || r.Failures[0].Kind != NoOpening || r.Failures[0].Count > 1000 {
			t.Errorf("stopped: %v, %d opened, failures %+v", r.Stopped, r.Opened, r.Failures)
		}
	})
}

func TestIdle(t *testing.T) {
	eachEngine(t, func(t *testing.T, goroutines bool) {
		j := jobFor(t, serve(t, echo), goroutines)
		j.Mode, j.Payload, j.Conns = Idle, nil, 30
		j.PID = os.Getpid()
		r := do(t, j)
		if r.Stopped != nil || r.Opened != 30 || r.Lost != 0 || len(r.Failures) > 0 || r.Sent+r.Received != 0 || r.Handshake.Count() != 30 {
			t.Errorf("%+v", r)
		}
		s := r.Server
		if s == nil || s.Gone != nil || s.BeforeConns != 3 || s.AfterConns != 30 || s.Before == 0 || s.After == 0 {
			t.Errorf("the server: %+v", s)
		}
	})
}

// The end of the context ends the run in order, with what there is.
func TestInterrupted(t *testing.T) {
	eachEngine(t, func(t *testing.T, goroutines bool) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var closes atomic.Int64
		j := jobFor(t, serve(t, func(p *peer) {
			if !p.accept("") {
				return
			}
			p.each(func(number int, h wire.Header, payload []byte) error {
				if number == 20 {
					cancel()
				}
				return p.send(h.Opcode, payload)
			})
			closes.Add(1)
		}), goroutines)
		j.Duration = patience
		r, err := Run(ctx, j)
		if err != nil || r.Stopped != context.Canceled || r.Received == 0 || len(r.Failures) > 0 {
			t.Errorf("%v, stopped: %v, %d received, failures %+v", err, r.Stopped, r.Received, r.Failures)
		}
	})
}

// A server that does not answer the closing handshake does not hold the run up, and
// is not to blame.
func TestNoGoodbye(t *testing.T) {
	eachEngine(t, func(t *testing.T, goroutines bool) {
		j := jobFor(t, serve(t, func(p *peer) {
			if p.accept("") {
				for {
					h, payload, err := p.frame()
					if err != nil {
						return
					}
					if h.Opcode != wire.OpClose {
						p.send(h.Opcode, payload)
					}
				}
			}
		}), goroutines)
		began := time.Now()
		well(t, do(t, j))
		if took := time.Since(began); took > patience/2 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestProgress(t *testing.T) {
	var mu sync.Mutex
	stages := make(map[Stage]bool)
	j := jobFor(t, serve(t, echo), false)
	j.Duration = 700 * time.Millisecond
	j.Progress = func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		stages[p.Stage] = true
		if p.Done < 0 || p.Done > 1 || p.Wanted != 3 || p.Open > 3 {
			t.Errorf("%+v", p)
		}
	}
	well(t, do(t, j))
	if !stages[Measuring] {
		t.Errorf("told of the stages %v only", stages)
	}
}

func TestWrongJobs(t *testing.T) {
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	for want, change := range map[string]func(*Job){
		"no mode":            func(j *Job) { j.Mode = "x" },
		"not ws or wss":      func(j *Job) { j.URL.Scheme = "http" },
		"0 connections":      func(j *Job) { j.Conns = 0 },
		"no payload":         func(j *Job) { j.Payload = nil },
		"in flight":          func(j *Job) { j.InFlight = -1 },
		"messages a second":  func(j *Job) { j.Rate = -1 },
		"more than zero":     func(j *Job) { j.Duration = 0 },
		"no threads of proc": func(j *Job) { j.PID = 1 << 30 },
		"windows of 7 bits":  func(j *Job) { j.Compression = &Compression{Bits: 7} },
		"too many":           func(j *Job) { j.Conns = 1 << 23 },
	} {
		j := jobFor(t, addr, false)
		change(&j)
		if _, err := Run(t.Context(), j); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not contain %q", err, want)
		}
	}
}

// The load says that it was the limit itself, and only then.
func TestJudge(t *testing.T) {
	for _, test := range []struct {
		name string
		r    Result
		rate float64
		want int
	}{
		{"at leisure", Result{Sent: 1000, Wall: time.Second, Generator: GeneratorUse{Busy: 0.5, Late: 5}}, 1000, 0},
		{"busy", Result{Sent: 1000, Wall: time.Second, Generator: GeneratorUse{Busy: 0.95}}, 0, 1},
		{"late", Result{Sent: 1000, Wall: time.Second, Generator: GeneratorUse{Busy: 0.5, Late: 50}}, 1000, 1},
		{"busy and late", Result{Sent: 1000, Wall: time.Second, Generator: GeneratorUse{Busy: 0.95, Late: 50}}, 1000, 2},
		{"all processors", Result{Wall: time.Second, Server: &ServerUse{CPU: 1 << 20 * time.Second}}, 0, 1},
	} {
		r := &run{Result: &test.r, job: &Job{Rate: test.rate}}
		r.judge()
		if g := r.Generator; len(g.Reasons) != test.want || g.Saturated() != (test.want > 0) {
			t.Errorf("%s: reasons %q, want %d", test.name, g.Reasons, test.want)
		}
	}
}
