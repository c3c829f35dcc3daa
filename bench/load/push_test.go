package load

import (
	"bufio"
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

// A station is a push server with faults, in the floor's dialect: handshake and
// position, and frames that are written as they are.
type station struct {
	mu      sync.Mutex
	members []net.Conn
	asked   []string // positions that clients came with

	greet   string                                 // instead of the position
	publish func(s *station, number int, f []byte) // instead of all for all
	missed  func(since string) []string            // texts for those who come back
	answer  string                                 // instead of the publication's
	number  int
}

func (s *station) serve(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: s}
	go srv.Serve(ln)
	t.Cleanup(func() {
		srv.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, c := range s.members {
			c.Close()
		}
	})
	return ln.Addr().String()
}

func (s *station) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		s.post(w, r)
		return
	}
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", handshakeAccept)
	greet := s.greet
	if greet == "" {
		greet = `{"position":"7"}`
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Write(textFrame(greet))
	since := r.FormValue("since")
	s.asked = append(s.asked, since)
	if since != "" && s.missed != nil {
		for _, text := range s.missed(since) {
			c.Write(textFrame(text))
		}
	}
	s.members = append(s.members, c)
}

func (s *station) post(w http.ResponseWriter, r *http.Request) {
	data, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := textFrame(`{"data":` + string(data) + `}`)
	if s.publish != nil {
		s.publish(s, s.number, f)
	} else {
		s.all(f)
	}
	s.number++
	if s.answer != "" {
		c, _, _ := http.NewResponseController(w).Hijack()
		io.WriteString(c, s.answer)
		s.members = append(s.members, c)
		return
	}
	io.WriteString(w, "{}\n")
}

func (s *station) all(f []byte) {
	for _, c := range s.members {
		c.Write(f)
	}
}

// textFrame returns a server's frame.
func textFrame(text string) []byte {
	b := appendText(nil, 1, []byte(text))
	head := len(b) - len(text) - 4
	b[1] &^= 0x80
	return append(b[:head:head], text...)
}

func pushJob(addr string, kind Kind) Job {
	return Job{Kind: kind, Addr: addr, Dialect: "floor", Channel: "c", Conns: 3, Size: 128, Window: 2, Rate: 200,
		Warm: time.Millisecond, Duration: 50 * time.Millisecond, Patience: 300 * time.Millisecond, PID: os.Getpid()}
}

// What a right server does is taken, however its bytes are cut.
func TestPushRight(t *testing.T) {
	var held string
	for name, s := range map[string]*station{
		"plain": {},
		"many in a frame": {publish: func(s *station, n int, f []byte) {
			if held += string(f[4:]) + "\n"; n%2 == 1 {
				s.all(textFrame(held))
				held = ""
			}
		}},
		"pieces and pings": {publish: func(s *station, n int, f []byte) {
			s.all([]byte{0x89, 1, 'x'})
			s.all(f[:3])
			time.Sleep(time.Millisecond) // so that it is read apart
			s.all(f[3:50])
			time.Sleep(time.Millisecond)
			s.all(f[50:])
		}},
	} {
		j := pushJob(s.serve(t), Publish)
		r, err := Run(j)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.Messages == 0 || r.Messages%uint64(j.Conns*j.Window) != 0 || r.Server <= 0 || r.P50 <= 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// What is wrong is found, and said.
func TestPushFaults(t *testing.T) {
	third := func(fault func(s *station, f []byte)) func(*station, int, []byte) {
		return func(s *station, n int, f []byte) {
			if n == 2 {
				fault(s, f)
				return
			}
			s.all(f)
		}
	}
	var kept []byte
	for _, test := range []struct {
		name, want string
		s          *station
	}{
		{"lost", "missing", &station{publish: third(func(s *station, f []byte) {})}},
		{"lost by one", "missing", &station{publish: func(s *station, n int, f []byte) {
			if n == 3 { // the last of a turn: behind it nothing shows it at once
				s.members[0].Write(f)
				s.members[1].Write(f)
				return
			}
			s.all(f)
		}}},
		{"twice", "twice", &station{publish: third(func(s *station, f []byte) { s.all(f); s.all(f) })}},
		{"changed", "not what was published", &station{publish: third(func(s *station, f []byte) { f[len(f)-5]++; s.all(f) })}},
		{"cut short", "not what was published", &station{publish: third(func(s *station, f []byte) { s.all(textFrame(string(f[4 : len(f)-9]))) })}},
		{"of another channel", "channel 1", &station{publish: third(func(s *station, f []byte) { f[4+len(`{"data":"0000000`)] = '1'; s.all(f) })}},
		{"invented", "are published", &station{publish: third(func(s *station, f []byte) { f[4+len(`{"data":"000000000000000000`)] = '9'; s.all(f) })}},
		{"another order for one", "where others got", &station{publish: func(s *station, n int, f []byte) {
			switch n {
			case 2:
				kept = f
				s.members[0].Write(f)
				s.members[1].Write(f)
			case 3:
				s.all(f)
				s.members[2].Write(kept)
			default:
				s.all(f)
			}
		}}},
		{"no message", "without a message", &station{publish: third(func(s *station, f []byte) { s.all(textFrame(`{"hello":1}`)) })}},
		{"a close", "closed", &station{publish: third(func(s *station, f []byte) { s.all([]byte{0x88, 2, 3, 0xe9}) })}},
		{"an end", "closed", &station{publish: third(func(s *station, f []byte) { s.members[1].(*net.TCPConn).CloseWrite() })}},
		{"a masked frame", "masked", &station{publish: third(func(s *station, f []byte) { s.all([]byte{0x81, 0x85, 0, 0, 0, 0}) })}},
		{"never subscribed", "subscriptions", &station{greet: `{"hello":1}`}},
		{"refused", "refused", &station{greet: `{"error":"refused"}`}},
		{"reset", "reset", &station{greet: `{"reset":{}}`}},
		{"not stored", "429", &station{answer: "HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n"}},
		{"no length", "length", &station{answer: "HTTP/1.1 200 OK\r\n\r\n"}},
		{"too many answers", "more came", &station{answer: strings.Repeat("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 2)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := Run(pushJob(test.s.serve(t), Publish))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q; %+v", err, test.want, r)
			}
		})
	}
}

// Those who come back say where they were, and what they have missed must come.
func TestComeback(t *testing.T) {
	var texts []string
	keep := func(s *station, _ int, f []byte) {
		texts = append(texts, string(f[4:]))
		s.all(f)
	}
	right := &station{publish: keep, missed: func(since string) []string { return []string{strings.Join(texts, "\n")} }}
	j := pushJob(right.serve(t), Comeback)
	r, err := Run(j)
	if err != nil {
		t.Fatal(err)
	}
	if r.Messages == 0 || r.Messages%uint64(j.Conns) != 0 || r.P50 <= 0 || r.Wall <= 0 {
		t.Errorf("%+v", r)
	}
	if len(right.asked) < 1+2*j.Conns || right.asked[0] != "" || right.asked[1] != "7" {
		t.Errorf("the positions were %q", right.asked)
	}
	for name, missed := range map[string]func() []string{
		"nothing":     func() []string { return nil },
		"too few":     func() []string { return texts[1:] },
		"other order": func() []string { return []string{texts[1], texts[0]} },
		"too many":    func() []string { return append(texts[:2:2], texts[1]) },
	} {
		texts = nil
		s := &station{publish: keep, missed: func(string) []string { return missed() }}
		if r, err := Run(pushJob(s.serve(t), Comeback)); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// A publication that takes long is as late as it is, and those due after it are sent
// all the same.
func TestPublishAtSeesAStall(t *testing.T) {
	const stall = 60 * time.Millisecond
	s := &station{}
	s.publish = func(s *station, n int, f []byte) {
		if n == 5 {
			time.Sleep(stall)
		}
		s.all(f)
	}
	j := pushJob(s.serve(t), PublishAt)
	j.Duration = 100 * time.Millisecond
	r, err := Run(j)
	if err != nil {
		t.Fatal(err)
	}
	if r.Messages != 20*3 || r.Max < stall*9/10 {
		t.Errorf("%+v", r)
	}
	j.Rate = 0
	if _, err := Run(j); err == nil {
		t.Error("a rate of 0 was taken")
	}
}

func TestSubscribeCounts(t *testing.T) {
	s := &station{}
	j := pushJob(s.serve(t), Subscribe)
	r, err := Run(j)
	if err != nil || r.Messages == 0 || r.Messages%3 != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestImpossiblePushJobs(t *testing.T) {
	for want, change := range map[string]func(*Job){
		"dialect":   func(j *Job) { j.Dialect = "french" },
		"too short": func(j *Job) { j.Size = 21 },
		"TLS":       func(j *Job) { j.TLS = true },
		"too many":  func(j *Job) { j.Conns = 1 << 20 },
		"IPv4":      func(j *Job) { j.Addr = "nowhere" },
	} {
		j := pushJob("127.0.0.1:1", Publish)
		change(&j)
		if _, err := Run(j); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// An idle connection to publish on that the server has closed is replaced; one with a
// publication under way is a fault.
func TestPublisherIsReplaced(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var accepted atomic.Int64
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if accepted.Add(1) == 1 {
				c.Close()
				continue
			}
			http.ReadRequest(bufio.NewReader(c))
			c.Close() // the fault
		}
	}()
	h, err := pushJob(ln.Addr().String(), Publish).house()
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	if err := h.addPublishers(1); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(5 * time.Second)
	if err := h.until(func() bool { return accepted.Load() == 2 || h.now.After(end) }, end); err != nil || accepted.Load() != 2 {
		t.Fatal(accepted.Load(), err)
	}
	if err := h.turn(1); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("%v", err)
	}
}
