//go:build unix

package netpoll

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// unixPair returns both ends of a connection within the machine.
func unixPair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	folder, err := os.MkdirTemp("", "") // t.TempDir may be longer than an address can be
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	l, err := net.Listen("unix", filepath.Join(folder, "s"))
	if err != nil {
		t.Fatal(err)
	}
	dialed, accepted := pair(t, l)
	return dialed.(*net.UnixConn), accepted.(*net.UnixConn)
}

// A peer is the other end of a Blocking.
type peer interface {
	net.Conn
	CloseWrite() error
}

// onBoth runs a test with each kind of connection. The kernel keeps little for
// them, so that it takes less than large has.
func onBoth(t *testing.T, test func(t *testing.T, c *Blocking, peer peer)) {
	t.Run("tcp", func(t *testing.T) {
		a, b := tcpPair(t)
		a.SetWriteBuffer(kept)
		test(t, NewBlocking(a), b)
	})
	t.Run("unix", func(t *testing.T) {
		a, b := unixPair(t)
		a.SetWriteBuffer(kept)
		test(t, NewBlocking(a), b)
	})
}

const kept = 64 << 10

func large() []byte {
	p := make([]byte, 2<<20)
	for i := range p {
		p[i] = byte(i * 7 / 5)
	}
	return p
}

// reset closes a connection so that the peer sees an error and not the end.
func reset(t testing.TB, c *net.TCPConn) {
	t.Helper()
	if err := errors.Join(c.SetLinger(0), c.Close()); err != nil {
		t.Fatal(err)
	}
}

// wantOpError fails unless err is what package net would return.
func wantOpError(t testing.TB, err error, op string, local, remote net.Addr, is error) {
	t.Helper()
	e, ok := err.(*net.OpError)
	if !ok {
		t.Fatalf("the error is %T %v, want a *net.OpError of %v", err, err, is)
	}
	if e.Op != op || e.Net != local.Network() || !errors.Is(err, is) {
		t.Errorf("the error is %q, want %s %s and %v", err, op, local.Network(), is)
	}
	if e.Source.String() != local.String() || e.Addr.String() != remote.String() {
		t.Errorf("the error %q is of %v and %v, want %v and %v", err, e.Source, e.Addr, local, remote)
	}
}

func TestNewBlocking(t *testing.T) {
	tcp, _ := tcpPair(t)
	unix, _ := unixPair(t)
	pipe, _ := net.Pipe()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	datagrams := filepath.Join(t.TempDir(), "s")
	unixgram, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: datagrams, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer unixgram.Close()
	for _, test := range []struct {
		c    net.Conn
		want bool
	}{
		{tcp, true}, {unix, true}, {pipe, false}, {tls.Client(tcp, nil), false}, {udp.(*net.UDPConn), false}, {unixgram, false},
		{struct{ net.Conn }{tcp}, false}, {nil, false}, {(*net.TCPConn)(nil), false}, {(*net.UnixConn)(nil), false},
		{new(net.TCPConn), false}, {new(net.UnixConn), false},
	} {
		if b := NewBlocking(test.c); (b != nil) != test.want {
			t.Errorf("of a %T: %v", test.c, b)
		}
	}
}

func TestBlockingPassesThrough(t *testing.T) {
	onBoth(t, func(t *testing.T, c *Blocking, peer peer) {
		mustWrite(t, peer, "there")
		if got := mustRead(t, c, 5); got != "there" {
			t.Error(got)
		}
		mustWrite(t, c, "back")
		if got := mustRead(t, peer, 4); got != "back" {
			t.Error(got)
		}
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
		if n, err := peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("after CloseWrite: %d, %v", n, err)
		}
		c.SetReadDeadline(time.Unix(1, 0))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		if c.Close() != nil || !errors.Is(c.Close(), net.ErrClosed) {
			t.Error("Close does not close")
		}
	})
}

// A lender counts what it lends, and has one buffer only.
type lender struct {
	t        testing.TB
	buf      []byte
	lends    int
	out      atomic.Bool
	gaveBack chan bool // nil, or gets a value for each GiveBack
}

func newLender(t testing.TB, size int) *lender {
	return &lender{t: t, buf: make([]byte, size), gaveBack: make(chan bool, 100)}
}

func (l *lender) Lend() []byte {
	l.lends++
	if l.out.Swap(true) {
		l.t.Error("a second buffer is lent")
	}
	return l.buf
}

func (l *lender) GiveBack() {
	if !l.out.Swap(false) {
		l.t.Error("what was not lent is given back")
	}
	if l.gaveBack != nil {
		l.gaveBack <- true
	}
}

func TestReadLent(t *testing.T) {
	onBoth(t, func(t *testing.T, c *Blocking, peer peer) {
		l := newLender(t, 10)

		// What is there is read with one buffer, and no more than it holds.
		mustWrite(t, peer, "0123456789ab")
		for _, want := range []string{"0123456789", "ab"} {
			n, err := c.ReadLent(l)
			if got := string(l.buf[:n]); got != want || err != nil || !l.out.Load() || l.lends != 1 {
				t.Errorf("%q, %v, lent %v, %d times; want %q, one buffer, and still lent", got, err, l.out.Load(), l.lends, want)
			}
			l.out.Store(false)
			l.lends = 0
		}

		// One that waits has none.
		for range 3 {
			type result struct {
				n   int
				err error
			}
			done := make(chan result)
			go func() {
				n, err := c.ReadLent(l)
				done <- result{n, err}
			}()
			<-l.gaveBack
			if l.out.Load() {
				t.Error("a buffer is lent while nothing is there")
			}
			mustWrite(t, peer, "late")
			r := <-done
			if r.err != nil || string(l.buf[:r.n]) != "late" || !l.out.Load() {
				t.Errorf("%q, %v, lent %v", l.buf[:r.n], r.err, l.out.Load())
			}
			l.out.Store(false)
		}

		mustWrite(t, peer, "end")
		peer.CloseWrite()
		if n, err := c.ReadLent(l); n != 3 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		l.out.Store(false)
		for range 2 {
			if n, err := c.ReadLent(l); n != 0 || err != io.EOF || l.out.Load() {
				t.Errorf("at the end: %d, %v, lent %v", n, err, l.out.Load())
			}
		}
	})
}

// Read and Write are net.Conn's.
func TestBlockingReadAndWrite(t *testing.T) {
	onBoth(t, func(t *testing.T, c *Blocking, peer peer) {
		local, remote := c.LocalAddr(), c.RemoteAddr()
		mustWrite(t, peer, "0123456789ab")
		b := make([]byte, 10)
		for _, want := range []string{"0123456789", "ab"} {
			if n, err := c.Read(b); string(b[:n]) != want || err != nil {
				t.Errorf("%q, %v, want %q", b[:n], err, want)
			}
		}
		if n, err := c.Read(nil); n != 0 || err != nil {
			t.Errorf("of nothing: %d, %v", n, err)
		}
		late := make(chan string)
		go func() {
			n, _ := c.Read(b)
			late <- string(b[:n])
		}()
		mustWrite(t, peer, "late")
		if got := <-late; got != "late" {
			t.Error(got)
		}

		p := large()
		read := make(chan string)
		go func() { read <- mustRead(t, peer, len(p)) }()
		if n, err := c.Write(p); n != len(p) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if <-read != string(p) {
			t.Error("what arrived is not what was written")
		}

		c.SetDeadline(time.Unix(1, 0))
		_, err := c.Read(b)
		wantOpError(t, err, "read", local, remote, os.ErrDeadlineExceeded)
		_, err = c.Write(b)
		wantOpError(t, err, "write", local, remote, os.ErrDeadlineExceeded)
		c.SetDeadline(time.Time{})
		peer.CloseWrite()
		if n, err := c.Read(b); n != 0 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
		c.Close()
		_, err = c.Read(b)
		wantOpError(t, err, "read", local, remote, net.ErrClosed)
		_, err = c.Write(b)
		wantOpError(t, err, "write", local, remote, net.ErrClosed)
	})
}

func TestReadLentErrors(t *testing.T) {
	// Each ends a read that waits.
	for name, test := range map[string]struct {
		end func(*Blocking, peer)
		is  error
	}{
		"closed":   {func(c *Blocking, _ peer) { c.Close() }, net.ErrClosed},
		"deadline": {func(c *Blocking, _ peer) { c.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, c *Blocking, peer peer) {
				l := newLender(t, 10)
				done := make(chan error)
				go func() {
					_, err := c.ReadLent(l)
					done <- err
				}()
				<-l.gaveBack
				test.end(c, peer)
				wantOpError(t, <-done, "read", c.LocalAddr(), c.RemoteAddr(), test.is)
				l.lends = 0
				n, err := c.ReadLent(l)
				wantOpError(t, err, "read", c.LocalAddr(), c.RemoteAddr(), test.is)
				if n != 0 || l.lends != 0 || l.out.Load() {
					t.Errorf("%d bytes, %d buffers lent for a read that could not be", n, l.lends)
				}
				if test.is == os.ErrDeadlineExceeded {
					c.SetReadDeadline(time.Time{})
					mustWrite(t, peer, "x")
					if n, err := c.ReadLent(l); n != 1 || err != nil {
						t.Errorf("after the deadline was taken back: %d, %v", n, err)
					}
				}
			})
		})
	}
	t.Run("reset", func(t *testing.T) {
		a, b := tcpPair(t)
		c, l := NewBlocking(a), newLender(t, 10)
		reset(t, b)
		_, err := c.ReadLent(l)
		wantOpError(t, err, "read", c.LocalAddr(), c.RemoteAddr(), syscall.ECONNRESET)
		if l.out.Load() {
			t.Error("the buffer was not given back")
		}
		if !strings.HasSuffix(err.Error(), ": read: connection reset by peer") {
			t.Errorf("the error is %q", err)
		}
	})
	t.Run("no room", func(t *testing.T) {
		a, b := tcpPair(t)
		c, l := NewBlocking(a), newLender(t, 0)
		mustWrite(t, b, "x")
		if _, err := c.ReadLent(l); !errors.Is(err, io.ErrShortBuffer) || l.out.Load() {
			t.Errorf("%v, lent %v", err, l.out.Load())
		}
		l.buf = make([]byte, 1)
		if n, err := c.ReadLent(l); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// deadlines are the write deadlines that a Blocking sets.
type deadlines struct {
	net.Conn
	set    []time.Time
	before func(time.Time) // called before each is set
}

func (d *deadlines) SetWriteDeadline(at time.Time) error {
	d.set = append(d.set, at)
	if d.before != nil {
		d.before(at)
	}
	return d.Conn.SetWriteDeadline(at)
}

// watchDeadlines lets the test see, and delay, the deadlines that c sets.
func watchDeadlines(c *Blocking) *deadlines {
	d := &deadlines{Conn: c.Conn}
	c.out.conn = d
	return d
}

func TestBlockingWrite2(t *testing.T) {
	onBoth(t, func(t *testing.T, c *Blocking, peer peer) {
		d := watchDeadlines(c)
		for _, test := range [][2]string{{"one", "two"}, {"one", ""}, {"", "two"}, {"", ""}} {
			all := test[0] + test[1]
			n, err := c.Write2(time.Minute, []byte(test[0]), []byte(test[1]))
			if n != int64(len(all)) || err != nil {
				t.Errorf("%q: %d, %v", test, n, err)
			}
			if got := mustRead(t, peer, len(all)); got != all {
				t.Errorf("%q: %q has arrived", test, got)
			}
		}
		if len(d.set) != 0 {
			t.Errorf("deadlines %v for writes that did not wait", d.set)
		}
		if c.out.a != nil || c.out.b != nil {
			t.Error("what was written is still held")
		}
	})
}

func TestBlockingWrite2Large(t *testing.T) {
	p := large()
	for _, timeout := range []time.Duration{0, time.Minute} {
		for _, first := range []int{0, 10, len(p) / 2, len(p)} {
			onBoth(t, func(t *testing.T, c *Blocking, peer peer) {
				d := watchDeadlines(c)
				received := make(chan []byte)
				go func() {
					all, err := io.ReadAll(peer)
					if err != nil {
						t.Error(err)
					}
					received <- all
				}()
				if n, err := c.Write2(timeout, p[:first], p[first:]); n != int64(len(p)) || err != nil {
					t.Errorf("%d, %v", n, err)
				}
				c.CloseWrite()
				if !bytes.Equal(<-received, p) {
					t.Error("what arrived is not what was written")
				}
				if timeout == 0 && len(d.set) != 0 {
					t.Errorf("deadlines %v without a timeout", d.set)
				}
				if len(d.set) > 0 && !d.set[len(d.set)-1].IsZero() {
					t.Errorf("the deadline %v is left", d.set[len(d.set)-1])
				}
			})
		}
	}
}

func TestBlockingWrite2Timeout(t *testing.T) {
	p := large()
	onBoth(t, func(t *testing.T, c *Blocking, peer peer) {
		d := watchDeadlines(c)
		const timeout = 20 * time.Millisecond
		begun := time.Now()
		n, err := c.Write2(timeout, p[:10], p[10:])
		if n <= 10 || n >= int64(len(p)) {
			t.Fatalf("%d bytes were taken, %v", n, err)
		}
		wantOpError(t, err, "write", c.LocalAddr(), c.RemoteAddr(), os.ErrDeadlineExceeded)
		if took := time.Since(begun); took < timeout {
			t.Errorf("it took %v, want %v at least", took, timeout)
		}
		if len(d.set) < 2 || !d.set[len(d.set)-1].IsZero() {
			t.Errorf("deadlines %v, want the last taken back", d.set)
		}

		// n is what the peer gets, and the connection is as good as before.
		if got := mustRead(t, peer, int(n)); got != string(p[:n]) {
			t.Error("what arrived is not what was taken")
		}
		if n, err := c.Write2(timeout, []byte("a"), []byte("b")); n != 2 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if got := mustRead(t, peer, 2); got != "ab" {
			t.Errorf("%q", got)
		}
	})
}

// A peer that takes something in each timeout is only slow.
func TestBlockingWrite2Progress(t *testing.T) {
	p := large()
	onBoth(t, func(t *testing.T, c *Blocking, peer peer) {
		d := watchDeadlines(c)
		var received []byte
		chunk := make([]byte, kept) // of a Unix socket: less than makes the kernel say that there is room
		if c.LocalAddr().Network() == "tcp" {
			chunk = make([]byte, len(p)) // all there is: TCP is slow to tell of small gaps
		}
		d.before = func(at time.Time) {
			if at.IsZero() {
				return
			}
			n, err := peer.Read(chunk)
			if err != nil {
				t.Error(err)
			}
			received = append(received, chunk[:n]...)
		}
		n, err := c.Write2(20*time.Millisecond, p[:10], p[10:])
		if n != int64(len(p)) || err != nil {
			t.Fatalf("%d of %d, %v, after %d deadlines", n, len(p), err, len(d.set))
		}
		received = append(received, mustRead(t, peer, len(p)-len(received))...)
		if !bytes.Equal(received, p) {
			t.Error("what arrived is not what was written")
		}
		if len(d.set) < 4 || !d.set[len(d.set)-1].IsZero() {
			t.Errorf("deadlines %v, want many and the last taken back", d.set)
		}
	})
}

// Being told of room where there is none is no progress.
func TestBlockingWrite2Stuck(t *testing.T) {
	onBoth(t, func(t *testing.T, c *Blocking, peer peer) {
		d := watchDeadlines(c)
		w := &c.out
		w.timeout, w.a = time.Minute, large()
		c.raw.Control(func(fd uintptr) {
			for range 3 {
				if w.try(fd) {
					t.Errorf("everything was taken: %d, %v", w.n, w.err)
				}
			}
		})
		if len(d.set) != 1 {
			t.Errorf("deadlines %v, want one", d.set)
		}
	})
}

func TestBlockingWrite2Errors(t *testing.T) {
	p := large()
	onBoth(t, func(t *testing.T, c *Blocking, peer peer) {
		d := watchDeadlines(c)
		d.before = func(time.Time) { go c.Close() } // when it is about to wait; Close waits for it
		n, err := c.Write2(time.Minute, p, p)
		wantOpError(t, err, "write", c.LocalAddr(), c.RemoteAddr(), net.ErrClosed)
		if n == 0 {
			t.Error("nothing was taken")
		}
		n, err = c.Write2(time.Minute, p, p)
		wantOpError(t, err, "write", c.LocalAddr(), c.RemoteAddr(), net.ErrClosed)
		if n != 0 {
			t.Errorf("%d bytes were taken by a closed connection", n)
		}
	})
	onBoth(t, func(t *testing.T, c *Blocking, peer peer) {
		done := make(chan error)
		go func() {
			_, err := c.Write2(0, nil, p)
			done <- err
		}()
		mustRead(t, peer, 1)
		c.Close()
		wantOpError(t, <-done, "write", c.LocalAddr(), c.RemoteAddr(), net.ErrClosed)
	})
	onBoth(t, func(t *testing.T, c *Blocking, peer peer) {
		peer.Close()
		var err error
		for range 100 { // the first may be in time
			if _, err = c.Write2(time.Minute, p[:1], p[:1]); err != nil {
				break
			}
		}
		is := syscall.EPIPE
		if errors.Is(err, syscall.ECONNRESET) {
			is = syscall.ECONNRESET
		}
		wantOpError(t, err, "write", c.LocalAddr(), c.RemoteAddr(), is)
	})
	// A deadline that somebody has set is his, and stays.
	onBoth(t, func(t *testing.T, c *Blocking, peer peer) {
		c.SetWriteDeadline(time.Unix(1, 0))
		for range 2 {
			_, err := c.Write2(time.Minute, p[:1], nil)
			wantOpError(t, err, "write", c.LocalAddr(), c.RemoteAddr(), os.ErrDeadlineExceeded)
		}
		c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := c.Write2(0, p, p); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
}

// One reads, one writes, and a third closes.
func TestBlockingAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, c *Blocking, peer peer) {
		var wg sync.WaitGroup
		wg.Go(func() { io.Copy(peer, peer) })
		read := make(chan bool, 1)
		wg.Go(func() {
			l := newLender(t, 1000)
			l.gaveBack = nil
			for {
				n, err := c.ReadLent(l)
				if err != nil {
					return
				}
				if strings.Trim(string(l.buf[:n]), "ab") != "" {
					t.Errorf("%q was read", l.buf[:n])
				}
				l.out.Store(false)
				select {
				case read <- true:
				default:
				}
			}
		})
		wg.Go(func() {
			a, b := bytes.Repeat([]byte("a"), 100), bytes.Repeat([]byte("b"), 100<<10)
			for i := 0; ; i++ {
				if _, err := c.Write2(time.Minute, a, b[:i%len(b)]); err != nil {
					return
				}
			}
		})
		for range 20 {
			<-read
		}
		c.Close()
		peer.Close()
		wg.Wait()
	})
}

func TestBlockingAllocatesNothing(t *testing.T) {
	if instrumented {
		t.Skip("detectors allocate")
	}
	all, sink := large(), make([]byte, 1<<20)
	p := all[:10]
	onBoth(t, func(t *testing.T, c *Blocking, peer peer) {
		l := newLender(t, 100)
		l.gaveBack = nil
		if n := testing.AllocsPerRun(100, func() {
			peer.Write(p)
			l.out.Store(false)
			c.ReadLent(l)
		}); n != 0 {
			t.Errorf("ReadLent: %v allocations", n)
		}
		if n := testing.AllocsPerRun(100, func() {
			c.Write2(time.Minute, p, p)
			io.ReadFull(peer, sink[:2*len(p)])
		}); n != 0 {
			t.Errorf("Write2: %v allocations", n)
		}
		d := watchDeadlines(c)
		d.set = make([]time.Time, 0, 1<<20)
		var reader sync.WaitGroup
		reader.Go(func() {
			for err := error(nil); err == nil; {
				_, err = peer.Read(sink)
			}
		})
		if n := testing.AllocsPerRun(20, func() { c.Write2(time.Minute, p, all) }); n != 0 {
			t.Errorf("Write2 that waits: %v allocations", n)
		}
		c.Close()
		reader.Wait()
		if len(d.set) == 0 {
			t.Error("no write has waited")
		}
	})
}

// TryWrite takes what there is room for and waits for nothing; what it has not taken
// is written by Write2.
func TestTryWrite(t *testing.T) {
	onBoth(t, func(t *testing.T, c *Blocking, peer peer) {
		p := large()
		for _, b := range [][]byte{nil, p[:1]} {
			if n, err := c.TryWrite(b); n != len(b) || err != nil {
				t.Errorf("%d bytes: %d, %v", len(b), n, err)
			}
		}
		n, err := c.TryWrite(p[1:])
		if n == 0 || n >= len(p)-1 || err != ErrWouldBlock {
			t.Fatalf("%d of %d bytes, %v", n, len(p)-1, err)
		}
		if n, err := c.TryWrite(p); n != 0 || err != ErrWouldBlock {
			t.Errorf("without room: %d bytes, %v", n, err)
		}
		got := make([]byte, len(p))
		var reader sync.WaitGroup
		reader.Go(func() { io.ReadFull(peer, got) })
		if _, err := c.Write2(time.Minute, p[1+n:], nil); err != nil {
			t.Error(err)
		}
		reader.Wait()
		if !bytes.Equal(got, p) {
			t.Error("other bytes came than were written")
		}
	})
}

// Its errors are those of package net.
func TestTryWriteErrors(t *testing.T) {
	onBoth(t, func(t *testing.T, c *Blocking, peer peer) {
		local, remote := c.LocalAddr(), c.RemoteAddr()
		peer.Close()
		var err error
		for end := time.Now().Add(10 * time.Second); err == nil && time.Now().Before(end); {
			_, err = c.TryWrite([]byte("x")) // the first may be answered with a reset
		}
		if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the peer has gone: %v", err)
		}
		c.Close()
		_, err = c.TryWrite([]byte("x"))
		wantOpError(t, err, "write", local, remote, net.ErrClosed)
	})
}
