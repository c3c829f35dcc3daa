package websocket_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/internal/leak"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// A client is a descriptor that waits in its system calls: it takes nothing of the
// Go heap, and each of its reads and writes is one system call.
type client int

// newClient returns a client that is closed at the end of the test.
func newClient(t testing.TB, s *site) client {
	t.Helper()
	c := connected(t, s)
	t.Cleanup(c.close)
	return c
}

// newClients returns many. They are closed together: a cleanup takes memory.
func newClients(t testing.TB, s *site, n int) []client {
	t.Helper()
	all := make([]client, 0, n)
	t.Cleanup(func() {
		for _, c := range all {
			c.close()
		}
	})
	for range n {
		all = append(all, connected(t, s))
	}
	return all
}

func (c client) close() { syscall.Close(int(c)) }

// connected connects to a site without TLS and does the opening handshake.
func connected(t testing.TB, s *site) client {
	t.Helper()
	addr, err := net.ResolveTCPAddr("tcp4", s.url[len("ws://"):])
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := client(fd)
	timeout := syscall.NsecToTimeval(int64(s.patience()))
	syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &timeout)
	syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}); err != nil {
		t.Fatal(err)
	}
	c.write(t, []byte(handshakeRequest))
	var head []byte
	for b := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, b[0]) {
		c.read(t, b)
	}
	return c
}

func (c client) write(t testing.TB, p []byte) {
	t.Helper()
	if n, err := syscall.Write(int(c), p); n != len(p) {
		t.Fatalf("writing %d bytes: %d, %v", len(p), n, err)
	}
}

// read fills p and returns how many calls that took.
func (c client) read(t testing.TB, p []byte) (calls int) {
	t.Helper()
	for len(p) > 0 {
		n, err := syscall.Read(int(c), p)
		if err == syscall.EINTR {
			continue
		}
		if n <= 0 {
			t.Fatalf("reading: %d, %v", n, err)
		}
		p = p[n:]
		calls++
	}
	return calls
}

// echo sends a frame, which the server sends back without a mask in as many bytes
// as reply has.
func (c client) echo(t testing.TB, frame, reply []byte) {
	t.Helper()
	c.write(t, frame)
	c.read(t, reply)
}

// echoFrames returns a client's frame with n bytes and room for the answer.
func echoFrames(n int) (frame, reply []byte) {
	frame = (&raw{Peer: wstest.NewPeer(nil, true)}).frame(true, wire.OpBinary, message(n))
	return frame, make([]byte, len(frame)-4)
}

// noNewDescriptors fails, at the end of the test, if there are more descriptors
// than now. Call it before anything that is to be cleaned up.
func noNewDescriptors(t *testing.T) {
	t.Helper()
	before := openDescriptors(t)
	t.Cleanup(func() {
		eventually(t, overLoop, "the end of all descriptors", func() bool { return openDescriptors(t) <= before })
	})
}

func openDescriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(list)
}

// An idle connection has no goroutine, and no state but what it must remember; the
// loop ends with the last connection, and begins again with the next.
func TestIdleConnectionsHaveNoGoroutine(t *testing.T) {
	for _, h := range withSockets {
		t.Run(h.name, func(t *testing.T) {
			noNewDescriptors(t)
			const conns = 200
			ends := make(chan error, conns)
			handler := echoHandler(nil)
			opened := make(chan *websocket.Conn, conns)
			handler.Open = func(c *websocket.Conn, _ *http.Request) { opened <- c }
			handler.Close = func(_ *websocket.Conn, err error) { ends <- err }
			s := h.run(t, handler)
			before := leak.Running()
			for _, conns := range []int{conns, 3} {
				var peers []*raw
				for range conns {
					peer := s.peer(t)
					peer.send(peer.text("hello"))
					peer.want("text hello")
					peers = append(peers, peer)
				}
				for range conns {
					c := <-opened
					eventually(t, h, "parking", func() bool { return c.IsParked() && c.IsBare() })
				}
				// The loop has one goroutine for half of the processors each.
				if left := leak.Since(before, 0); len(left) > max(1, runtime.GOMAXPROCS(0)/2) {
					eventually(t, h, "the end of all goroutines but the loop's", func() bool {
						return len(leak.Since(before, 0)) <= max(1, runtime.GOMAXPROCS(0)/2)
					})
				}
				for _, peer := range peers {
					peer.Close()
				}
				for range conns {
					within(t, h, "Close", ends)
				}
				if left := leak.Since(before, h.patience()); len(left) > 0 {
					t.Fatalf("%d goroutines after the last connection: %s", len(left), left[0].Stack)
				}
			}
		})
	}
}

// heapInUse returns what is in use when all garbage has gone.
func heapInUse() int64 {
	var m runtime.MemStats
	for range 3 { // pools keep what they have for a collection
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// An idle connection takes at most 500 bytes of heap, with automatic pings and all,
// and no more when there has been traffic.
func TestIdleConnectionsAreSmall(t *testing.T) {
	const conns = 2000
	s := overLoop.run(t, echoHandler(nil))
	newClients(t, s, 100) // what is made once
	settle(t)
	before := heapInUse() + 8*conns // a client's own
	clients := newClients(t, s, conns)
	settle(t)
	check := func(when string) {
		if got := (heapInUse() - before) / conns; got > 500 {
			t.Errorf("%s an idle connection takes %d bytes of heap, want at most 500", when, got)
		} else {
			t.Logf("%s an idle connection takes %d bytes of heap", when, got)
		}
	}
	check("at first")
	frame, reply := echoFrames(3000)
	for _, c := range clients {
		c.echo(t, frame, reply)
	}
	check("after traffic")
	runtime.KeepAlive(clients)
}

// settle waits until the goroutines that accepted connections have ended.
func settle(t testing.TB) {
	t.Helper()
	last := -1
	eventually(t, overLoop, "rest", func() bool {
		n := runtime.NumGoroutine()
		defer func() { last = n }()
		return n == last
	})
}

// Attack 2, parked: memory grows with what has come, not with what was declared,
// nor with what others have sent.
func TestMemoryOfParkedConnectionsFollowsBytesReceived(t *testing.T) {
	const conns, sent = 200, 100
	s := overLoop.run(t, echoHandler(nil))
	large := newClient(t, s)
	frame, reply := echoFrames(1 << 20)
	exchange := func() {
		done := async(func() bool { large.read(t, reply); return true })
		large.write(t, frame)
		done()
	}
	exchange()
	clients := newClients(t, s, conns)
	settle(t)
	before := heapInUse()
	half := wire.Header{Fin: true, Opcode: wire.OpBinary, Masked: true, Length: 1 << 20}.Append(nil)
	half = append(half, make([]byte, sent)...)
	small, smallReply := echoFrames(10)
	last := newClient(t, s)
	for i, c := range clients {
		c.write(t, half)
		last.echo(t, small, smallReply) // the loop has read what came before
		if i%20 == 0 {
			exchange()
		}
	}
	if got := (heapInUse() - before) / conns; got > 2<<10 {
		t.Errorf("a connection that declares 1 MiB and has sent %d bytes takes %d more than an idle one", sent, got)
	}
	for _, c := range clients[:5] { // and they go on
		c.write(t, make([]byte, 1<<20-sent))
		c.read(t, reply)
	}
	runtime.KeepAlive(clients)
}

// Nothing is allocated for a message that the loop reads and its callback answers.
func TestNoAllocationsInTheLoop(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := overLoop.run(t, echoHandler(nil))
	c := newClient(t, s)
	for _, n := range []int{32, 1024, 16 << 10, 200 << 10} {
		frame, reply := echoFrames(n)
		for range 100 {
			c.echo(t, frame, reply)
		}
		const messages, most = 2000, 0.02 // the watcher, and the runtime's own
		var got float64
		// A system that gives the loop no processor for a while makes it be taken over,
		// which allocates; not three times in a row.
		for range 3 {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range messages {
				c.echo(t, frame, reply)
			}
			runtime.ReadMemStats(&after)
			if got = float64(after.Mallocs-before.Mallocs) / messages; got <= most {
				break
			}
		}
		if got > most {
			t.Errorf("%d bytes: %.3f allocations a message", n, got)
		}
	}
}

// readCalls returns how many reads this process has made. Of the server's the system
// counts only those with the race detector, which sees them, too; others are calls that
// are for sockets only.
func readCalls(t testing.TB) (n int) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip(err)
	}
	for line := range bytes.Lines(b) {
		fmt.Sscanf(string(line), "syscr: %d", &n)
	}
	return n
}

// A lone message costs one read and one write, messages that come together one of
// both for all, and those that are answered in one batch leave in one write.
func TestSystemCallsOfTheLoop(t *testing.T) {
	c := newClient(t, overLoop.run(t, echoHandler(nil)))
	for _, together := range []int{1, 16} {
		one, answer := echoFrames(32)
		frames, reply := bytes.Repeat(one, together), bytes.Repeat(answer, together)
		c.echo(t, frames, reply)
		const rounds = 2000
		readsBefore, writesBefore := readCalls(t), c.segments(t)
		read := 0
		for range rounds {
			c.write(t, frames)
			read += c.read(t, reply)
		}
		reads, writes := readCalls(t), c.segments(t)
		if read > rounds+rounds/2 {
			t.Errorf("%d together: the answers of %d batches took %d reads", together, rounds, read)
		}
		// The runtime has an eventfd, with which it wakes itself up now and then; and on
		// a loaded machine a batch may be interrupted for longer than answers may gather.
		if got := float64(reads-readsBefore-read) / rounds; raceEnabled && (got < 0.99 || got > 1.6) {
			t.Errorf("%d together: the server made %.2f reads for a batch, want 1", together, got)
		}
		if got := float64(writes-writesBefore) / rounds; got < 0.99 || got > 1.6 {
			t.Errorf("%d together: the server made %.2f writes for a batch, want 1", together, got)
		}
	}
}

// The system tells of room only when a third of the socket's buffer is free. A peer
// that is slow, but has taken something by the time that the write timeout passes,
// is not cut off; one that has taken nothing is.
func TestWriteTimeoutOfASlowPeer(t *testing.T) {
	for _, h := range []host{overLoop, inTLS} {
		t.Run(h.name, func(t *testing.T) { testWriteTimeoutOfASlowPeer(t, h) })
	}
}

func testWriteTimeoutOfASlowPeer(t *testing.T, h host) {
	w := way{host: h, handler: true}
	e, peer := w.against(t, &websocket.Options{WriteTimeout: time.Hour, PingInterval: -1})
	if err := e.Write(bg, websocket.Binary, make([]byte, 16<<20)); err != nil {
		t.Fatal(err)
	}
	eventually(t, w.host, "stuck", e.IsStuck)
	for range 3 {
		before, unsent := unacknowledged(t, e.Conn), e.Unsent()
		// What a client takes is told to the server when it is worth a packet.
		for b := make([]byte, 64<<10); unacknowledged(t, e.Conn) >= before && e.Unsent() == unsent; {
			if _, err := peer.Read(b); err != nil {
				t.Fatal(err)
			}
		}
		e.WriteTimesOut()
		if !e.IsWriting() {
			t.Fatalf("a peer that had taken something was cut off: %v", e.reading()())
		}
		if e.Unsent() == unsent {
			t.Error("nothing was written though there was room")
		}
	}
	for e.IsStuck() { // until there is none
		e.WriteTimesOut()
	}
	if err := e.reading()(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a peer that took nothing ended with %v", err)
	}
}

// unacknowledged returns how many bytes the system still has to send.
func unacknowledged(t testing.TB, c *websocket.Conn) (n int) {
	t.Helper()
	const siocoutq = 0x5411
	err := c.ControlSocket(func(fd int) error {
		var v int32
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), siocoutq, uintptr(unsafe.Pointer(&v))); errno != 0 {
			return errno
		}
		n = int(v)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Where the system has no descriptors left for the parked mode, a goroutine reads
// the connection, and the next one is parked again.
func TestNoDescriptorsForParking(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	var filled []int
	free := func() {
		for _, fd := range filled {
			syscall.Close(fd)
		}
		filled = nil
	}
	defer free()
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	opened := make(chan *websocket.Conn, 1)
	var full bool
	handler := echoHandler(nil)
	handler.Open = func(c *websocket.Conn, _ *http.Request) { opened <- c }
	s := overLoop.run(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if full {
			low := limit
			low.Cur = uint64(openDescriptors(t) + 20)
			syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low)
			for {
				fd, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
				if err != nil {
					break
				}
				filled = append(filled, fd)
			}
		}
		handler.ServeHTTP(w, r)
	}))
	exchange := func() (parked bool) {
		peer := s.peer(t)
		free()
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
		parked = within(t, s.host, "Open", opened).LeavesPoller()
		peer.send(peer.text("x"), peer.close(1000, ""))
		peer.want("text x", "close 1000", "end")
		peer.Close()
		return parked
	}
	full = true
	// Something of an earlier test may be closed in the wrong moment.
	eventually(t, s.host, "a connection without a descriptor to park it", func() bool { return !exchange() })
	full = false
	if !exchange() {
		t.Error("the next connection is not parked")
	}
}
