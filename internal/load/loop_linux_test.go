package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// When an address has no port left, connections come from the next one.
func TestSourceAddresses(t *testing.T) {
	addr := serve(t, echo).AddrPort()
	refused := 0
	from := make(map[netip.Addr]int)
	d := dialer{to: addr}
	d.connect = func(fd int, to syscall.Sockaddr) error {
		// Three connections from each address, then it has no port any more.
		local, err := syscall.Getsockname(fd)
		if err != nil {
			return err
		}
		ip := netip.AddrFrom4(local.(*syscall.SockaddrInet4).Addr)
		if from[ip] == 3 {
			refused++
			return syscall.EADDRNOTAVAIL
		}
		from[ip]++
		return syscall.Connect(fd, to)
	}
	for range 8 {
		fd, err := d.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(fd)
	}
	want := map[netip.Addr]int{netip.IPv4Unspecified(): 3, netip.MustParseAddr("127.0.0.2"): 3, netip.MustParseAddr("127.0.0.3"): 2}
	if fmt.Sprint(from) != fmt.Sprint(want) || refused != 2 {
		t.Errorf("connections came from %v, want %v", from, want)
	}

	// Another machine cannot be reached from a 127 address.
	d = dialer{to: netip.MustParseAddrPort("192.0.2.1:80"), connect: func(int, syscall.Sockaddr) error { return syscall.EADDRNOTAVAIL }}
	if _, err := d.dial(); err != syscall.EADDRNOTAVAIL || d.source != 0 {
		t.Errorf("%v, source %d", err, d.source)
	}
	var f *Failure
	if err := unopened(1, syscall.EADDRNOTAVAIL, time.Second); !errors.As(err, &f) || f.Kind != Local || !strings.Contains(f.Text, "port") {
		t.Errorf("%v", err)
	}
	// All of them run out in the end.
	d = dialer{to: addr, connect: func(int, syscall.Sockaddr) error { return syscall.EADDRNOTAVAIL }}
	if _, err := d.dial(); err != syscall.EADDRNOTAVAIL {
		t.Errorf("%v", err)
	}
}

// So do connections with goroutines, each of which finds out by itself.
func TestSourceAddressesOfACrew(t *testing.T) {
	from := make(map[string]int)
	connect := func(d *net.Dialer, _ context.Context, _, _ string) (net.Conn, error) {
		name := fmt.Sprint(d.LocalAddr)
		if from[name] == 3 {
			return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)}
		}
		from[name]++
		return nil, nil
	}
	for _, to := range []string{"127.0.0.1:80", "[::ffff:127.0.0.1]:80"} {
		clear(from)
		s := sources{connect: connect}
		for range 8 {
			if _, err := s.dial(t.Context(), netip.MustParseAddrPort(to)); err != nil {
				t.Error(err)
			}
		}
		if want := "map[127.0.0.2:0:3 127.0.0.3:0:2 <nil>:3]"; fmt.Sprint(from) != want {
			t.Errorf("to %s, connections came from %v, want %v", to, from, want)
		}
	}
	none := sources{connect: func(*net.Dialer, context.Context, string, string) (net.Conn, error) { return nil, syscall.EADDRINUSE }}
	for _, to := range []string{"127.0.0.1:80", "192.0.2.1:80"} { // the last of which no 127 address reaches
		if _, err := none.dial(t.Context(), netip.MustParseAddrPort(to)); err != syscall.EADDRINUSE {
			t.Errorf("to %s: %v", to, err)
		}
	}
}

// silent accepts connections and does nothing more with them, with no memory of this
// process but their descriptors.
func silent(t *testing.T, accepted int) netip.AddrPort {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 1000)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	fds := make([]int, 0, accepted)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range accepted {
			conn, _, err := syscall.Accept4(fd, syscall.SOCK_CLOEXEC)
			if err != nil {
				return
			}
			fds = append(fds, conn)
			r, err := http.ReadRequest(bufio.NewReaderSize(descriptor(conn), 512))
			if err != nil {
				t.Error(err)
				return
			}
			fmt.Fprintf(descriptor(conn), "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept(r.Header.Get("Sec-WebSocket-Key")))
		}
	}()
	t.Cleanup(func() {
		syscall.Shutdown(fd, syscall.SHUT_RDWR)
		<-done
		syscall.Close(fd)
		for _, c := range fds {
			syscall.Close(c)
		}
	})
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*syscall.SockaddrInet4).Port))
}

type descriptor int

func (d descriptor) Write(p []byte) (int, error) { return syscall.Write(int(d), p) }
func (d descriptor) Read(p []byte) (int, error) {
	n, err := syscall.Read(int(d), p)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// A connection costs less than a kilobyte here, with 16 messages in flight.
func TestMemoryOfAConnection(t *testing.T) {
	const conns = 1000
	addr := silent(t, conns)
	u := &url.URL{Scheme: "ws", Host: addr.String(), Path: "/"}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}
	j := Job{URL: u, Addr: addr, Conns: conns, InFlight: 16, Payload: generate(t, 1000, false), Duration: patience, Threads: 1}
	if err := j.complete(); err != nil {
		t.Fatal(err)
	}
	before := heap()
	w := newWork(j)
	e, err := newEngine(w)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{Result: &Result{Wanted: conns}, ctx: t.Context(), w: w, engine: e, job: &w.job}
	defer r.close()
	if err := r.open(); err != nil {
		t.Fatal(err)
	}
	w.sendFrom.Store(w.now())
	e.advance(stageWork)
	begun := func() bool { return e.shards()[0].inFlight.Load() == 16*conns }
	if err := r.until(Measuring, w.now()+int64(patience), begun); err != nil || !begun() {
		t.Fatalf("%v, %d messages in flight", err, e.shards()[0].inFlight.Load())
	}
	during := heap()
	const shared = 600 << 10 // buffers and histograms
	each := float64(during-before-shared) / conns
	t.Logf("a connection costs %.0f bytes", each)
	if each > 1000 || each < 100 {
		t.Error("that is not less than a kilobyte, or not all of it")
	}
}

// Both clocks of a process count the same work.
func TestClocksAgree(t *testing.T) {
	pid := os.Getpid()
	read := func() (fine, coarse time.Duration) {
		t.Helper()
		fine, err := CPUTime(pid)
		if err != nil {
			t.Fatal(err)
		}
		coarse, err = statTime(pid)
		if err != nil {
			t.Fatal(err)
		}
		return fine, coarse
	}
	fine, coarse := read()
	for {
		f, c := read() // the work
		if f-fine < 300*time.Millisecond {
			continue
		}
		if diff := (f - fine) - (c - coarse); diff.Abs() > 50*time.Millisecond {
			t.Errorf("the process's clock counts %v, /proc %v", f-fine, c-coarse)
		}
		if own := ownTime(); (own - f).Abs() > 50*time.Millisecond {
			t.Errorf("getrusage counts %v, the process's clock %v", own, f)
		}
		return
	}
}

func TestReadUsage(t *testing.T) {
	u, err := ReadUsage(os.Getpid())
	if err != nil || u.CPU <= 0 || u.Switches <= 0 || u.Resident < 1<<20 {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := ReadUsage(1 << 30); err == nil {
		t.Error("there is a process that is not there")
	}
}
