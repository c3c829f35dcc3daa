package websocket_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/internal/leak"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

const (
	stressFor    = "DUPLEX_STRESS"        // how long TestStress goes on, "30s" say; default 2 s
	stressClient = "DUPLEX_STRESS_CLIENT" // set in the client's process: what to connect to, for how long
)

// Everything at once, in real time and over sockets: connections that come and go
// in every way, with callbacks that block, panic, close and end their goroutine,
// and others that write and close beside them. The clients are a process of their
// own, so that they share nothing with the server: no poller, no scheduler and no
// happens-before that the race detector would take for the server's.
func TestStress(t *testing.T) {
	if to := os.Getenv(stressClient); to != "" {
		runStressClient(t, to)
		return
	}
	length := 2 * time.Second
	if v := os.Getenv(stressFor); v != "" {
		var err error
		if length, err = time.ParseDuration(v); err != nil {
			t.Fatalf("%s: %v", stressFor, err)
		}
	}
	certified()
	nothingLeft(t)
	s := new(stress)
	mux := http.NewServeMux()
	mux.Handle("/calm/", s.handler(false)) // its loop is seldom taken over
	mux.Handle("/rude/", s.handler(true))
	plain, secure, inLoop := overLoop.run(t, mux), overTLS.run(t, s.handler(true)), inTLS.run(t, s.handler(true))
	stop := make(chan struct{})
	var chatter sync.WaitGroup
	for range 4 {
		chatter.Go(func() { s.chatter(stop) })
	}
	urls := []string{plain.url + "/calm/", plain.url + "/rude/", secure.url + "/rude/", inLoop.url + "/rude/"}
	client := again(t, "TestStress", stressClient, strings.Join(append(urls, length.String()), " "))
	if out, err := client.CombinedOutput(); err != nil {
		t.Errorf("the clients' process: %v\n%s", err, out)
	}
	close(stop)
	chatter.Wait()
	eventually(t, overLoop, "the end of all connections", func() bool { return s.registry.Len() == 0 })
	eventually(t, overLoop, "Close for each Open", func() bool { return s.opens.Load() == s.closes.Load() })
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, wrong := range s.wrong {
		t.Error(wrong)
	}
	t.Logf("%d connections, %d messages", s.opens.Load(), s.messages.Load())
}

// again returns a command that runs a test of this binary in a process of its own,
// with a variable that tells the test so.
func again(t *testing.T, name, variable, value string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+name+"$", "-test.count=1", "-test.timeout=0")
	cmd.Env = append(os.Environ(), variable+"="+value)
	return cmd
}

// nothingLeft fails, when all else has been cleaned up, if there are goroutines or
// descriptors that were not there before.
func nothingLeft(t *testing.T) {
	t.Helper()
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close() // the runtime's poller is there from now on
	}
	list, err := os.ReadDir("/proc/self/fd") // not on every system
	goroutines := leak.Running()
	t.Cleanup(func() {
		if left := leak.Since(goroutines, overLoop.patience()); len(left) > 0 {
			t.Errorf("%d goroutines are left: %s", len(left), left[0].Stack)
		}
		if err != nil {
			return
		}
		eventually(t, overLoop, "the end of all descriptors", func() bool {
			now, err := os.ReadDir("/proc/self/fd")
			return err == nil && len(now) <= len(list)
		})
	})
}

// A stress is the server's part.
type stress struct {
	registry                websocket.Registry
	opens, closes, messages atomic.Int64
	wild                    sync.Map // *websocket.Conn: those that anybody may end at any time

	mu    sync.Mutex
	wrong []string
}

// A stressed is what the server knows of a connection, in Conn.Data. Nothing guards
// it: the race detector finds callbacks that overlap, or do not follow each other.
type stressed struct {
	runs   bool // a callback
	opened bool
	over   bool // no Message may follow
	closed bool
	next   int // the number of the next message
}

// complain remembers what was wrong; the first few things will do.
func (s *stress) complain(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wrong) < 20 {
		s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
	}
}

func (s *stress) enter(d *stressed, what string) (leave func()) {
	if d.runs {
		s.complain("%s is called while another callback of its connection runs", what)
	}
	d.runs = true
	return func() { d.runs = false }
}

// handler returns a Handler whose timeouts are too long to help anything on that
// hangs.
func (s *stress) handler(blocks bool) *websocket.Handler {
	h := &websocket.Handler{Logger: slog.New(slog.DiscardHandler)}
	h.Registry = &s.registry
	h.PingInterval, h.PongTimeout = 50*time.Millisecond, 10*time.Minute
	h.WriteTimeout, h.CloseTimeout = 10*time.Minute, 10*time.Minute
	h.Open = s.open
	h.Message = func(c *websocket.Conn, typ websocket.MessageType, p []byte) { s.message(c, typ, p, blocks) }
	h.Close = s.close
	return h
}

func (s *stress) open(c *websocket.Conn, r *http.Request) {
	s.opens.Add(1)
	d := &stressed{opened: true}
	c.Data = d
	defer s.enter(d, "Open")()
	d.over = true
	switch path.Base(r.URL.Path) {
	case "panic":
		panic("in Open")
	case "exit":
		runtime.Goexit()
	case "close":
		c.Close(4000, "")
	case "cut":
		c.CloseNow()
	case "wild":
		s.wild.Store(c, true)
		fallthrough
	default:
		d.over = false
	}
}

// message does what the first byte of a message asks for.
func (s *stress) message(c *websocket.Conn, typ websocket.MessageType, p []byte, blocks bool) {
	s.messages.Add(1)
	d := c.Data.(*stressed)
	defer s.enter(d, "Message")()
	ask, n, err := parseStress(p)
	switch {
	case err != nil:
		s.complain("%v", err)
	case d.over || d.closed:
		s.complain("message %d comes after the end of its connection", n)
	case n != d.next:
		s.complain("message %d comes, %d is due", n, d.next)
	}
	d.next++
	if blocks && rand.N(30) == 0 {
		time.Sleep(rand.N(5 * time.Millisecond)) // some are taken over by then
		if _, _, err := parseStress(p); err != nil {
			s.complain("while the callback had it: %v", err)
		}
	}
	d.over = strings.IndexByte("pxcn", ask) >= 0
	switch ask {
	case 'p':
		panic("in Message")
	case 'x':
		runtime.Goexit()
	case 'c':
		c.Close(4000, "")
	case 'n':
		c.CloseNow()
	case 'N':
		go c.CloseNow()
	case 's':
		if errors.Is(c.Send(websocket.Prepare(typ, bytes.Clone(p))), websocket.ErrSlow) {
			c.Write(bg, typ, p)
		}
	case 'w':
		writePieces(c, typ, p)
	case 'f':
		c.Write(bg, websocket.Binary, append([]byte("-"), stressPattern...))
		c.Write(bg, typ, p)
	case 'g':
		go c.Write(bg, websocket.Binary, []byte("-from beside"))
		fallthrough
	default:
		c.Write(bg, typ, p)
	}
}

// writePieces sends a message in fragments.
func writePieces(c *websocket.Conn, typ websocket.MessageType, p []byte) {
	w, err := c.Writer(bg, typ)
	if err != nil {
		return
	}
	for len(p) > 0 {
		n := min(len(p), 1+rand.N(6000))
		w.Write(p[:n])
		p = p[n:]
	}
	w.Close()
}

func (s *stress) close(c *websocket.Conn, err error) {
	d := c.Data.(*stressed)
	defer s.enter(d, "Close")()
	if !d.opened || d.closed || err == nil {
		s.complain("Close of a connection that was opened: %v, closed: %v, with %v", d.opened, d.closed, err)
	}
	d.closed = true
	s.wild.Delete(c)
	s.closes.Add(1)
	switch rand.N(20) {
	case 0:
		panic("in Close")
	case 1:
		runtime.Goexit()
	case 2:
		time.Sleep(rand.N(5 * time.Millisecond))
	}
}

// chatter writes to connections and ends wild ones from beside their callbacks.
func (s *stress) chatter(stop <-chan struct{}) {
	small := websocket.Prepare(websocket.Text, []byte("-prepared"))
	large := websocket.Prepare(websocket.Binary, append([]byte("-"), stressPattern[:100_000]...))
	for {
		for c := range s.registry.All() {
			select {
			case <-stop:
				return
			case <-time.After(rand.N(time.Millisecond)): // the pace
			}
			_, wild := s.wild.Load(c)
			switch what := rand.N(10); {
			case what == 0:
				c.Ping(bg)
			case what == 1:
				c.Send(large)
			case what < 4:
				c.Send(small)
			case what < 6:
				ctx, cancel := context.WithTimeout(bg, 5*time.Millisecond)
				c.Write(ctx, websocket.Text, []byte("-from the side"))
				cancel()
			case what == 6 && wild:
				c.CloseNow()
			case what == 7 && wild:
				c.Close(4001, "from the side")
			case what == 8 && wild:
				go writePieces(c, websocket.Binary, []byte("-"+message(10_000)))
			}
		}
		select {
		case <-stop:
			return
		case <-time.After(time.Millisecond): // the pace, where there are none
		}
	}
}

// stressPattern is what messages are filled with, beginning at some offset.
var stressPattern = []byte(message(300_000))

const stressHead = 9 // what is asked for, in one byte, and a number

// stressMessage returns the payload of a message.
func stressMessage(ask byte, n, size int) string {
	return fmt.Sprintf("%c%08d%s", ask, n, stressPattern[n%16:][:size])
}

func parseStress(p []byte) (ask byte, n int, err error) {
	if len(p) < stressHead {
		return 0, 0, fmt.Errorf("a message %q is too short", p)
	}
	if n, err = strconv.Atoi(string(p[1:stressHead])); err != nil {
		return 0, 0, err
	}
	if rest := p[stressHead:]; !bytes.Equal(rest, stressPattern[n%16:][:len(rest)]) {
		return 0, 0, fmt.Errorf("message %d of %d bytes was changed", n, len(p))
	}
	return p[0], n, nil
}

// runStressClient is the clients' process.
func runStressClient(t *testing.T, to string) {
	urls := strings.Fields(to)
	length, err := time.ParseDuration(urls[len(urls)-1])
	if err != nil {
		t.Fatal(err)
	}
	urls = urls[:len(urls)-1]
	end := time.Now().Add(length)
	var all sync.WaitGroup
	for i := range 150 {
		all.Go(func() {
			for time.Now().Before(end) && !t.Failed() {
				way := stressWays[rand.N(len(stressWays))]
				if err := way.run(urls[i%len(urls)]); err != nil {
					t.Errorf("%s%s %+v: %v", urls[i%len(urls)], way.path, way, err)
				}
			}
		})
	}
	all.Wait()
}

// A stressWay is how a client's connection ends. One with a code is orderly: all
// that was asked for comes, and then a close frame with the code.
type stressWay struct {
	path string
	last string // asked for in the end
	more bool   // messages follow that nobody may see
	half bool   // half of a frame follows
	end  string // what the client does then
	code websocket.CloseCode
}

var stressWays = []stressWay{
	{end: "close", code: 1000},
	{end: "close", code: 1000},
	{last: "c", code: 4000},
	{last: "p", code: 1011},
	{last: "x", code: 1011},
	{path: "panic", code: 1011},
	{path: "exit", code: 1011},
	{path: "close", code: 4000},
	{path: "cut"},
	{path: "wild", last: "n"},
	{path: "wild", last: "N"},
	{path: "wild", last: "n", more: true},
	{path: "wild", last: "c", more: true},
	{path: "wild", last: "p", more: true},
	{path: "wild", last: "x", more: true},
	{path: "wild", end: "close"},
	{path: "wild", end: "FIN"},
	{path: "wild", end: "RST"},
	{path: "wild", half: true, end: "FIN"},
	{path: "wild", half: true, end: "RST"},
	{path: "wild", half: true, end: "wait"},
	{path: "wild", end: "wait"},
}

// A stressLine is a client's connection.
type stressLine struct {
	stressWay
	*raw
	tcp   *net.TCPConn
	slow  bool // it takes its time to read
	sent  int  // messages that come back
	got   int  // messages that have come back before the close frame
	pings chan []byte
}

// run takes a connection from its beginning to its end.
func (w stressWay) run(url string) error {
	l, err := w.dial(url)
	if err != nil {
		return err
	}
	defer l.tcp.Close()
	heard := async(func() error { return l.listen() })
	if err := l.speak(); err != nil && w.code != 0 {
		return errors.Join(err, heard())
	}
	switch w.end {
	case "close":
		l.trySend(l.close(1000, ""))
	case "FIN":
		l.tcp.CloseWrite()
	case "RST":
		l.tcp.SetLinger(0)
		l.tcp.Close()
	case "wait":
		l.tcp.SetReadDeadline(time.Now().Add(rand.N(300 * time.Millisecond)))
	}
	if err := heard(); err != nil || w.code == 0 {
		return err
	}
	if l.got != l.sent {
		return fmt.Errorf("%d echoes of %d came", l.got, l.sent)
	}
	return nil
}

// dial connects and does the opening handshake.
func (w stressWay) dial(url string) (*stressLine, error) {
	scheme, rest, _ := strings.Cut(url, "://")
	addr, where, _ := strings.Cut(rest, "/")
	d := new(net.Dialer)
	if runtime.GOOS == "linux" { // else a long test runs out of ports
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+rand.N(200)))}
	}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	l := &stressLine{stressWay: w, tcp: c.(*net.TCPConn), slow: rand.N(8) == 0, pings: make(chan []byte, 1)}
	c.SetDeadline(time.Now().Add(2 * time.Minute)) // pings come all the time: it is no use to wait for silence
	if l.slow {
		l.tcp.SetReadBuffer(64 << 10)
	}
	if scheme == "wss" {
		c = tls.Client(c, uncertified)
	}
	request := strings.Replace(handshakeRequest, "GET /", "GET /"+where+w.path, 1)
	if _, err := io.WriteString(c, request); err != nil {
		return nil, err
	}
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, errors.New(resp.Status)
	}
	l.raw = &raw{Peer: wstest.NewPeer(bufferedStream{c, r}, true)}
	return l, nil
}

// A bufferedStream reads by way of a buffer: a Peer reads byte by byte.
type bufferedStream struct {
	websocket.Stream
	r *bufio.Reader
}

func (s bufferedStream) Read(p []byte) (int, error) { return s.r.Read(p) }

// speak sends what is to be sent.
func (l *stressLine) speak() error {
	if l.path != "" && l.path != "wild" {
		return nil
	}
	for range rand.N(10) {
		var b []byte
		for range 1 + rand.N(12) {
			b = append(b, l.ask("eeeeeeeeeeeeeeebbssswwwggf"[rand.N(26)])...)
			l.sent++
		}
		if err := l.pour(b); err != nil {
			return err
		}
	}
	var b []byte
	if l.last != "" {
		b = l.ask(l.last[0])
	}
	for n := l.sent; l.more && n < l.sent+5; n++ {
		b = append(b, l.text(stressMessage('e', n+1, 10))...)
	}
	if l.half {
		f := l.ask('e')
		b = append(b, f[:rand.N(len(f))]...)
	}
	return l.pour(b)
}

// ask returns a message of any size, in any number of frames, and a control frame
// among them now and then.
func (l *stressLine) ask(what byte) (b []byte) {
	size := rand.N(200)
	switch rand.N(40) {
	case 0:
		size = rand.N(len(stressPattern) - 16)
	case 1, 2, 3:
		size = rand.N(20_000)
	}
	p, op := stressMessage(what, l.sent, size), stressType(l.sent)
	for rand.N(3) == 0 {
		k := rand.N(len(p) + 1)
		b = append(b, l.frame(false, op, p[:k])...)
		b = append(b, l.control()...)
		p, op = p[k:], wire.OpContinuation
	}
	return append(append(b, l.frame(true, op, p)...), l.control()...)
}

// stressType returns the type of a message.
func stressType(n int) wire.Opcode { return wire.OpText + wire.Opcode(n%2) }

func (l *stressLine) control() []byte {
	select {
	case p := <-l.pings:
		return l.frame(true, wire.OpPong, string(p))
	default:
	}
	if rand.N(10) == 0 {
		return l.frame(true, wire.OpPing, "are you there?")
	}
	return nil
}

// pour sends bytes in pieces that have nothing to do with frames.
func (l *stressLine) pour(b []byte) error {
	for len(b) > 0 {
		n := len(b)
		if rand.N(2) == 0 {
			n = 1 + rand.N(n)
		}
		if err := l.trySend(b[:n]); err != nil {
			return err
		}
		if b = b[n:]; rand.N(4) == 0 {
			time.Sleep(rand.N(3 * time.Millisecond)) // so that the server reads the pieces
		}
	}
	return nil
}

// listen checks what comes: the messages in their order, each of them once.
func (l *stressLine) listen() error {
	for next, part := 0, []byte(nil); ; {
		h, p, err := l.ReadFrame()
		if err != nil {
			if l.code != 0 || l.end != "wait" && errors.Is(err, os.ErrDeadlineExceeded) {
				return fmt.Errorf("after %d echoes, slow %v: %w", next, l.slow, err)
			}
			return nil
		}
		if l.slow {
			time.Sleep(rand.N(2 * time.Millisecond))
		}
		switch h.Opcode {
		case wire.OpClose:
			if l.code == 0 {
				continue
			}
			l.got = next
			return l.ended(p)
		case wire.OpPing:
			select {
			case l.pings <- p:
			default:
			}
			continue
		case wire.OpPong:
			if string(p) != "are you there?" {
				return fmt.Errorf("pong %q", p)
			}
			continue
		case wire.OpContinuation:
			p = append(part, p...)
		default:
			if part != nil {
				return fmt.Errorf("%v within a message", h.Opcode)
			}
		}
		if part = p; !h.Fin {
			continue
		}
		part = nil
		if bytes.HasPrefix(p, []byte("-")) {
			continue // from beside
		}
		if _, n, err := parseStress(p); err != nil || n != next {
			return fmt.Errorf("echo %d came where %d was due: %v", n, next, err)
		}
		next++
	}
}

// ended is called when a close frame has come.
func (l *stressLine) ended(payload []byte) error {
	if code, _, err := wire.ParseClose(payload); err != nil || code != l.code {
		return fmt.Errorf("a close frame with %v, %v", code, err)
	}
	if l.code == 4000 {
		l.trySend(l.close(4000, ""))
	}
	for {
		if _, err := l.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			return errors.New("the stream does not end after the close frame")
		} else if err != nil {
			return nil
		}
	}
}
