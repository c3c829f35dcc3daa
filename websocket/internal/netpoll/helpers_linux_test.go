package netpoll

import (
	"net"
	"os"
	"runtime"
	"testing"
	"time"
)

// patience is how long something may take that must happen.
const patience = 10 * time.Second

// socketPair returns a Socket and the other end.
func socketPair(t testing.TB) (*Socket, *net.TCPConn) {
	t.Helper()
	a, b := tcpPair(t)
	s, err := Take(a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, b
}

// noNewDescriptors fails, at the end of the test, if there are more descriptors
// than now and none of them goes: what the process has beside the test may open
// one for a moment. Call it before anything that is to be cleaned up.
func noNewDescriptors(t *testing.T) {
	before := openDescriptors(t)
	t.Cleanup(func() {
		after := openDescriptors(t)
		for end := time.Now().Add(patience); after > before && time.Now().Before(end); runtime.Gosched() {
			after = openDescriptors(t)
		}
		if after > before {
			t.Errorf("%d descriptors, and %d before", after, before)
		}
	})
}

func openDescriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func newPoller[T any](t testing.TB) *Poller[T] {
	t.Helper()
	p, err := New[T]()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// add registers a Socket.
func add[T any](t testing.TB, p *Poller[T], s *Socket, v T) (token Token) {
	t.Helper()
	err := s.Control(func(fd int) (err error) { token, err = p.Add(fd, v); return err })
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// addOnce registers a Socket for an event.
func addOnce[T any](t testing.TB, p *Poller[T], s *Socket, v T) (token Token) {
	t.Helper()
	err := s.Control(func(fd int) (err error) { token, err = p.AddOnce(fd, v); return err })
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func rearm[T any](t testing.TB, p *Poller[T], s *Socket, token Token) {
	t.Helper()
	if err := s.Control(func(fd int) error { return p.Rearm(fd, token) }); err != nil {
		t.Fatal(err)
	}
}

// next waits for an event and fails if there are more, or it is of another.
func next[T comparable](t testing.TB, p *Poller[T], v T) Flags {
	t.Helper()
	events := wait(t, p)
	if len(events) != 1 || events[0].Value != v {
		t.Fatalf("events %v, want one of %v", events, v)
	}
	return events[0].Flags
}

// wait waits until there are events.
func wait[T any](t testing.TB, p *Poller[T]) []Event[T] {
	t.Helper()
	alarm := time.AfterFunc(patience, p.Wake)
	defer alarm.Stop()
	events, err := p.Wait(make([]Event[T], 0, 16), true)
	if err != nil {
		t.Fatal(err)
	}
	if len(events) == 0 {
		t.Fatal("no event")
	}
	return events
}

// A sentinel shows what a Poller has not: everything sent before its own event has
// arrived before.
type sentinel[T comparable] struct {
	p    *Poller[T]
	peer *net.TCPConn
	v    T
}

func newSentinel[T comparable](t testing.TB, p *Poller[T], v T) sentinel[T] {
	s, peer := socketPair(t)
	add(t, p, s, v)
	if f := next(t, p, v); f.Readable() || !f.Writable() {
		t.Fatalf("a new connection has %b", f)
	}
	return sentinel[T]{p, peer, v}
}

// wantNothing fails if the Poller has an event.
func (s sentinel[T]) wantNothing(t testing.TB) {
	t.Helper()
	mustWrite(t, s.peer, "x")
	if f := next(t, s.p, s.v); !f.Readable() {
		t.Fatalf("the sentinel has %b", f)
	}
}
