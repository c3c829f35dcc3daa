package netpoll

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

func fcntl(fd, command int) (int, syscall.Errno) {
	r, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), uintptr(command), 0)
	return int(r), errno
}

func TestTake(t *testing.T) {
	noNewDescriptors(t)
	a, b := tcpPair(t)
	local, remote := a.LocalAddr(), a.RemoteAddr()
	a.SetReadDeadline(time.Unix(1, 0))
	before := openDescriptors(t)
	s, err := Take(a)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if after := openDescriptors(t); after != before {
		t.Errorf("%d descriptors after Take, %d before", after, before)
	}
	if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing to what was taken: %v", err)
	}
	if !reflect.DeepEqual(s.LocalAddr(), local) || !reflect.DeepEqual(s.RemoteAddr(), remote) {
		t.Errorf("%#v, %#v; want %#v, %#v", s.LocalAddr(), s.RemoteAddr(), local, remote)
	}
	s.Control(func(fd int) error {
		if flags, _ := fcntl(fd, syscall.F_GETFD); flags&syscall.FD_CLOEXEC == 0 {
			t.Error("children of the process would inherit the descriptor")
		}
		return nil
	})
	if n, err := s.Read(make([]byte, 1)); n != 0 || err != ErrWouldBlock {
		t.Errorf("%d, %v", n, err)
	}
	mustWrite(t, b, "there")
	if got := mustRead(t, waiting{s}, 5); got != "there" {
		t.Error(got)
	}
	mustWrite(t, s, "back")
	if got := mustRead(t, b, 4); got != "back" {
		t.Error(got)
	}
}

// waiting reads from a Socket as io.Reader is read: it tries until it can.
type waiting struct{ s *Socket }

func (w waiting) Read(p []byte) (int, error) {
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		n, err := w.s.Read(p)
		if err != ErrWouldBlock || time.Now().After(end) {
			return n, err
		}
	}
}

func TestTakeIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::]:0")
	if err != nil {
		t.Skip("no IPv6: ", err)
	}
	defer l.Close()
	for _, host := range []string{"[::1]", "127.0.0.1"} { // the latter is ::ffff:127.0.0.1 to the listener, if it may come
		_, port, _ := net.SplitHostPort(l.Addr().String())
		c, err := net.Dial("tcp", host+":"+port)
		if err != nil {
			t.Log(host, "skipped:", err)
			continue
		}
		defer c.Close()
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		local, remote := accepted.LocalAddr().String(), accepted.RemoteAddr().String()
		s, err := Take(accepted.(*net.TCPConn))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if s.LocalAddr().String() != local || s.RemoteAddr().String() != remote {
			t.Errorf("%v, %v; want %v, %v", s.LocalAddr(), s.RemoteAddr(), local, remote)
		}
	}
}

// Somebody has had the connection's File and made it block.
func TestTakeOfOneThatBlocks(t *testing.T) {
	a, _ := tcpPair(t)
	file, err := a.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := syscall.SetNonblock(int(file.Fd()), false); err != nil {
		t.Fatal(err)
	}
	s, err := Take(a)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Control(func(fd int) error {
		if flags, _ := fcntl(fd, syscall.F_GETFL); flags&syscall.O_NONBLOCK == 0 {
			t.Fatal("the Socket blocks")
		}
		return nil
	})
	if _, err := s.Read(make([]byte, 1)); err != ErrWouldBlock {
		t.Error(err)
	}
}

func TestTakeEndsReads(t *testing.T) {
	a, b := tcpPair(t)
	begun, done := make(chan bool), make(chan error)
	go func() {
		close(begun)
		_, err := a.Read(make([]byte, 1))
		done <- err
	}()
	<-begun
	s, err := Take(a)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the read under way: %v", err)
	}
	mustWrite(t, b, "x")
	mustRead(t, waiting{s}, 1)
}

func TestTakeErrors(t *testing.T) {
	noNewDescriptors(t)
	if s, err := Take(new(net.TCPConn)); s != nil || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("of nothing: %v, %v", s, err)
	}
	a, b := tcpPair(t)
	local, remote := a.LocalAddr(), a.RemoteAddr()

	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 1 // those that are open stay so
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	s, err := Take(a)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if s != nil {
		t.Fatal("a Socket without a descriptor")
	}
	wantOpError(t, err, "take", local, remote, syscall.EMFILE)
	mustWrite(t, a, "still good")
	mustRead(t, b, 10)

	a.Close()
	if s, err := Take(a); s != nil || !errors.Is(err, net.ErrClosed) {
		t.Errorf("of a closed one: %v, %v", s, err)
	}
}

// Many take the same connection, and some close it: one has it, or none.
func TestTakeAtOnce(t *testing.T) {
	noNewDescriptors(t)
	for i := range 50 {
		a, b := tcpPair(t)
		var taken atomic.Pointer[Socket]
		var wg sync.WaitGroup
		for j := range 4 {
			wg.Go(func() {
				if i%2 == 0 && j == 0 {
					a.Close()
					return
				}
				s, err := Take(a)
				switch {
				case err == nil && !taken.CompareAndSwap(nil, s):
					t.Error("taken twice")
				case err != nil && !errors.Is(err, net.ErrClosed):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if s := taken.Load(); s != nil {
			mustWrite(t, b, "x")
			mustRead(t, waiting{s}, 1)
			s.Close()
		}
		if n, err := b.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("the connection has not ended: %d, %v", n, err)
		}
	}
}

func TestSocketRead(t *testing.T) {
	s, peer := socketPair(t)
	buf := make([]byte, 100<<10) // more than is read without the scheduler
	for _, size := range []int{1, 10, len(buf)} {
		if n, err := s.Read(buf[:size]); n != 0 || err != ErrWouldBlock {
			t.Errorf("into %d bytes, nothing there: %d, %v", size, n, err)
		}
		want := strings.Repeat("a", size)
		mustWrite(t, peer, want)
		if got := mustRead(t, waiting{s}, size); got != want {
			t.Errorf("%d bytes are not what was sent", size)
		}
	}
	mustWrite(t, peer, "abc")
	peer.Close()
	if n, err := s.Read(nil); n != 0 || err != nil {
		t.Errorf("into nothing: %d, %v", n, err)
	}
	if got := mustRead(t, waiting{s}, 3); got != "abc" {
		t.Error(got)
	}
	for range 2 {
		if n, err := (waiting{s}).Read(buf); n != 0 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
	}
}

func TestSocketReset(t *testing.T) {
	s, peer := socketPair(t)
	reset(t, peer)
	_, err := waiting{s}.Read(make([]byte, 1))
	wantOpError(t, err, "read", s.LocalAddr(), s.RemoteAddr(), syscall.ECONNRESET)
	if !strings.HasSuffix(err.Error(), ": read: connection reset by peer") {
		t.Errorf("the error is %q", err)
	}
	_, err = s.Write([]byte("x"))
	wantOpError(t, err, "write", s.LocalAddr(), s.RemoteAddr(), syscall.EPIPE)
	_, err = s.Write2([]byte("x"), []byte("y"))
	wantOpError(t, err, "write", s.LocalAddr(), s.RemoteAddr(), syscall.EPIPE)
}

// Large writes go out in part, again and again, as the peer makes room.
func TestSocketWrite(t *testing.T) {
	const size = 4 << 20
	sent := make([]byte, size)
	for i := range sent {
		sent[i] = byte(i * 7 / 5)
	}
	for _, first := range []int{0, 1, 14, 1000, size / 2, size - 1, size} {
		t.Run(fmt.Sprint(first), func(t *testing.T) {
			a, peer := tcpPair(t)
			a.SetWriteBuffer(64 << 10)
			s, err := Take(a)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			p := newPoller[int](t)
			add(t, p, s, 1)
			received := make(chan []byte)
			go func() {
				all, err := io.ReadAll(peer)
				if err != nil {
					t.Error(err)
				}
				received <- all
			}()
			head, body, short := sent[:first], sent[first:], 0
			for len(head)+len(body) > 0 {
				n, err := s.Write2(head, body)
				if all := len(head) + len(body); n < all && err != ErrWouldBlock || n == all && err != nil {
					t.Fatalf("%d of %d, %v", n, all, err)
				}
				if head, body = rest(head, body, n); err != nil {
					short++
					wait(t, p) // for the edge, and never for time
				}
			}
			if err := s.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(<-received, sent) {
				t.Error("what arrived is not what was sent")
			}
			if short == 0 {
				t.Error("everything fitted at once: nothing was tested")
			}
		})
	}
}

func TestSocketWriteNothing(t *testing.T) {
	s, _ := socketPair(t)
	if n, err := s.Write2(nil, []byte{}); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// Header and payload leave together: a packet shows what one call wrote.
func TestWrite2IsOneCall(t *testing.T) {
	if instrumented {
		t.Skip("two calls, which the detector sees")
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fds[0])
	defer syscall.Close(fds[1])
	buf := make([]byte, 2*rawSize)
	for _, size := range []int{10, rawSize} {
		if n, err := write2(fds[0], []byte("head"), make([]byte, size)); n != 4+size || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		if n, err := read(fds[1], buf); n != 4+size || err != nil {
			t.Errorf("the packet: %d, %v; want %d", n, err, 4+size)
		}
	}
}

func TestSocketCloseWrite(t *testing.T) {
	s, peer := socketPair(t)
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
	mustWrite(t, peer, "x")
	mustRead(t, waiting{s}, 1)
	if _, err := s.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Error(err)
	}
	reset(t, peer)
	waiting{s}.Read(make([]byte, 1))
	wantOpError(t, s.CloseWrite(), "close", s.LocalAddr(), s.RemoteAddr(), syscall.ENOTCONN)
}

func TestSocketClose(t *testing.T) {
	noNewDescriptors(t)
	s, peer := socketPair(t)
	local, remote := s.LocalAddr(), s.RemoteAddr()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the peer reads %d, %v", n, err)
	}
	_, readErr := s.Read(make([]byte, 1))
	_, writeErr := s.Write([]byte("x"))
	_, write2Err := s.Write2([]byte("x"), []byte("y"))
	called := false
	for _, test := range []struct {
		op  string
		err error
	}{
		{"read", readErr}, {"write", writeErr}, {"write", write2Err}, {"close", s.Close()}, {"control", s.CloseWrite()},
		{"control", s.Control(func(int) error { called = true; return nil })},
	} {
		wantOpError(t, test.err, test.op, local, remote, net.ErrClosed)
	}
	if called {
		t.Error("Control has called f")
	}
}

// The descriptor is open as long as somebody uses it, and not longer.
func TestSocketCloseWaitsForUse(t *testing.T) {
	s, peer := socketPair(t)
	number := int(s.fd)
	sentinel := errors.New("f's own")
	err := s.Control(func(fd int) error {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, errno := fcntl(fd, syscall.F_GETFD); errno != 0 {
			t.Errorf("within Control: %v", errno)
		}
		if _, err := s.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after Close: %v", err)
		}
		return sentinel
	})
	if err != sentinel {
		t.Error(err)
	}
	if _, errno := fcntl(number, syscall.F_GETFD); errno != syscall.EBADF {
		t.Errorf("after Control: %v, want it closed", errno)
	}
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
}

// While Sockets are used and closed at once, others are opened, which get the
// numbers that become free. They must neither get bytes that were written to the
// former, nor lose some to their readers.
func TestSocketCloseAtOnce(t *testing.T) {
	noNewDescriptors(t)
	ctx, stop := context.WithCancel(t.Context())
	var canaries sync.WaitGroup
	canaries.Go(func() {
		for ctx.Err() == nil {
			canary(t)
		}
	})
	rounds := 100
	if testing.Short() {
		rounds = 10
	}
	for range rounds {
		s, peer := socketPair(t)
		var users sync.WaitGroup
		poison := bytes.Repeat([]byte("x"), 100)
		buf := make([]byte, 100)
		for i := range 4 {
			users.Go(func() {
				for err := error(nil); !errors.Is(err, net.ErrClosed); runtime.Gosched() {
					switch i {
					case 0:
						_, err = s.Read(buf)
					case 1:
						_, err = s.Write(poison)
					case 2:
						_, err = s.Write2(poison, poison)
					case 3:
						err = s.Control(func(fd int) error { return syscall.Fstat(fd, new(syscall.Stat_t)) })
						if err != nil && !errors.Is(err, net.ErrClosed) {
							t.Errorf("a descriptor that should be open: %v", err)
						}
					}
				}
			})
		}
		for range rand.N(200) {
			runtime.Gosched()
		}
		var closers sync.WaitGroup
		var first atomic.Int32
		for range 2 {
			closers.Go(func() {
				if err := s.Close(); err == nil {
					first.Add(1)
				} else if !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
			})
		}
		closers.Wait()
		users.Wait()
		if first.Load() != 1 {
			t.Fatalf("%d of 2 were the first to close", first.Load())
		}
		peer.Close()
	}
	stop()
	canaries.Wait()
}

// canary opens two sockets, which are connected to each other, and sees whether
// they carry what is sent and nothing else.
func canary(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() {
		for _, fd := range fds {
			if err := syscall.Close(fd); err != nil {
				t.Errorf("somebody has closed a stranger's descriptor: %v", err)
			}
		}
	}()
	buf := make([]byte, 1000)
	for range 3 {
		for i, fd := range fds {
			if n, err := syscall.Write(fd, []byte("tweet")); n != 5 || err != nil {
				t.Errorf("writing to a stranger's descriptor: %d, %v", n, err)
			}
			runtime.Gosched()
			if n, err := syscall.Read(fds[1-i], buf); err != nil || string(buf[:n]) != "tweet" {
				t.Errorf("a stranger has read %q, %v", buf[:max(n, 0)], err)
			}
		}
	}
}

func TestSocketSize(t *testing.T) {
	if size := unsafe.Sizeof(Socket{}); size > 80 {
		t.Errorf("a Socket has %d bytes, want at most 80", size)
	}
}

func TestSocketAllocatesNothing(t *testing.T) {
	if instrumented {
		t.Skip("detectors allocate")
	}
	s, peer := socketPair(t)
	small, large, sink := make([]byte, 10), make([]byte, rawSize+1), make([]byte, 1<<20)
	drain := func(n int) {
		if _, err := io.ReadFull(peer, sink[:n]); err != nil {
			t.Fatal(err)
		}
	}
	for name, call := range map[string]func(){
		"Read, nothing there":  func() { s.Read(small) },
		"Read, large, nothing": func() { s.Read(large) },
		"Read":                 func() { peer.Write(small); waiting{s}.Read(small) },
		"Write":                func() { s.Write(small); drain(len(small)) },
		"Write, large":         func() { s.Write(large); drain(len(large)) },
		"Write2":               func() { s.Write2(small, small); drain(2 * len(small)) },
		"Write2, large":        func() { s.Write2(small, large); drain(len(small) + len(large)) },
		"Control":              func() { s.Control(func(int) error { return nil }) },
	} {
		if n := testing.AllocsPerRun(50, call); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	for n, err := 0, error(nil); err == nil; {
		if n, err = s.Write(sink); n < len(sink) && err != ErrWouldBlock {
			t.Fatal(err)
		}
	}
	for name, call := range map[string]func(){
		"Write, no room":  func() { s.Write(large) },
		"Write2, no room": func() { s.Write2(small, large) },
	} {
		if n := testing.AllocsPerRun(50, call); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
