package netpoll

import (
	"errors"
	"io"
	"math"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// wantFlags names the flags that are wrong.
func wantFlags(t testing.TB, f Flags, readable, writable, hungUp bool) {
	t.Helper()
	if f.Readable() != readable || f.Writable() != writable || f.HungUp() != hungUp {
		t.Errorf("readable %v, writable %v, hung up %v; want %v, %v, %v",
			f.Readable(), f.Writable(), f.HungUp(), readable, writable, hungUp)
	}
}

func TestAdd(t *testing.T) {
	noNewDescriptors(t)
	p := newPoller[string](t)
	nothing := newSentinel(t, p, "sentinel")
	s, peer := socketPair(t)
	add(t, p, s, "a")
	wantFlags(t, next(t, p, "a"), false, true, false)
	nothing.wantNothing(t)

	mustWrite(t, peer, "one")
	wantFlags(t, next(t, p, "a"), true, true, false)
	nothing.wantNothing(t) // it is still readable, but that is no change

	// What comes before the first has been read is a change.
	mustWrite(t, peer, "two")
	wantFlags(t, next(t, p, "a"), true, true, false)
	buf := make([]byte, 100)
	if n, err := s.Read(buf); string(buf[:n]) != "onetwo" || err != nil {
		t.Fatalf("%q, %v", buf[:n], err)
	}

	// So is an end: a reader that saw its read fall short need not read again.
	peer.CloseWrite()
	wantFlags(t, next(t, p, "a"), true, true, true)
	if n, err := s.Read(buf); n != 0 || err != io.EOF {
		t.Fatalf("%d, %v", n, err)
	}
	nothing.wantNothing(t)
}

// Bytes and the end in one event.
func TestAddHungUpWithBytes(t *testing.T) {
	p := newPoller[string](t)
	s, peer := socketPair(t)
	mustWrite(t, peer, "last words")
	peer.Close()
	add(t, p, s, "a")
	wantFlags(t, next(t, p, "a"), true, true, true)
	if got := mustRead(t, s, 10); got != "last words" {
		t.Error(got)
	}
}

func TestAddReset(t *testing.T) {
	p := newPoller[string](t)
	s, peer := socketPair(t)
	add(t, p, s, "a")
	next(t, p, "a")
	reset(t, peer)
	wantFlags(t, next(t, p, "a"), true, true, true)
}

// A write that found no room is told when there is some.
func TestAddRoom(t *testing.T) {
	p := newPoller[string](t)
	nothing := newSentinel(t, p, "sentinel")
	s, peer := socketPair(t)
	add(t, p, s, "a")
	next(t, p, "a")
	block := make([]byte, 1<<20)
	sent := 0
	for err := error(nil); err == nil; {
		var n int
		n, err = s.Write(block)
		if sent += n; err != nil && (err != ErrWouldBlock || n == len(block)) {
			t.Fatalf("%d, %v", n, err)
		}
	}
	nothing.wantNothing(t)
	mustRead(t, peer, sent)
	wantFlags(t, next(t, p, "a"), false, true, false)
	if n, err := s.Write([]byte("more")); n != 4 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestAddOnce(t *testing.T) {
	noNewDescriptors(t)
	p := newPoller[string](t)
	nothing := newSentinel(t, p, "sentinel")
	s, peer := socketPair(t)
	token := addOnce(t, p, s, "a")
	nothing.wantNothing(t) // being writable is none

	mustWrite(t, peer, "one")
	wantFlags(t, next(t, p, "a"), true, false, false)
	mustWrite(t, peer, "two")
	nothing.wantNothing(t)

	rearm(t, p, s, token) // there is something to read: that is enough
	wantFlags(t, next(t, p, "a"), true, false, false)
	mustRead(t, s, 6)
	rearm(t, p, s, token)
	nothing.wantNothing(t)

	peer.Close()
	wantFlags(t, next(t, p, "a"), true, false, true)

	p.Remove(token)
	if err := s.Control(func(fd int) error { return p.Rearm(fd, token) }); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Rearm of a token that was removed: %v", err)
	}
	nothing.wantNothing(t)
}

func TestAddErrors(t *testing.T) {
	p := newPoller[*int](t)
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, test := range []struct {
		fd   int
		want error
	}{{-1, syscall.EBADF}, {p.epoll, syscall.EINVAL}, {int(file.Fd()), syscall.EPERM}} {
		token, err := p.Add(test.fd, new(int))
		if token != (Token{}) || !errors.Is(err, test.want) {
			t.Errorf("Add of descriptor %d: %v, %v; want %v", test.fd, token, err, test.want)
		}
	}
	if len(p.slots) != 1 || p.slots[0].value != nil {
		t.Errorf("slots %+v, want one that is free and empty", p.slots)
	}
	s, _ := socketPair(t)
	token := add(t, p, s, nil)
	if err := p.Rearm(-1, token); !errors.Is(err, syscall.EBADF) {
		t.Errorf("Rearm: %v", err)
	}
}

// An event that is in the kernel's list, or already in our hands, when its
// registration is removed.
func TestRemoveBeforeItsEvent(t *testing.T) {
	p := newPoller[string](t)
	nothing := newSentinel(t, p, "sentinel")
	s, peer := socketPair(t)
	token := add(t, p, s, "a")
	mustWrite(t, peer, "one")
	p.Remove(token)
	nothing.wantNothing(t)
	mustWrite(t, peer, "two")
	nothing.wantNothing(t)

	// A second registration uses the same slot; stale tokens and events are none of
	// its business.
	other, _ := socketPair(t)
	second := add(t, p, other, "b")
	if second.slot != token.slot || second == token {
		t.Fatalf("token %v after %v, want the same slot and another generation", second, token)
	}
	next(t, p, "b")
	mustWrite(t, peer, "three")
	nothing.wantNothing(t)
	for range 2 {
		p.Remove(token)
	}
	p.Remove(Token{})
	p.Remove(Token{slot: 1 << 20, generation: 1})
	p.Remove(Token{slot: none, generation: 1})
	in := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: second.slot, Pad: int32(second.generation)}
	stale := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: token.slot, Pad: int32(token.generation)}
	beyond := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: 1 << 20, Pad: 1}
	events, err := p.translate(nil, []syscall.EpollEvent{stale, in, beyond, stale})
	if err != nil || len(events) != 1 || events[0].Value != "b" {
		t.Errorf("events %v, %v; want one of b", events, err)
	}
}

// A descriptor that is duplicated stays in the kernel's list under a number that
// is closed, and may be another's by then.
func TestRemoveOfNumberThatIsUsedAgain(t *testing.T) {
	noNewDescriptors(t)
	p := newPoller[string](t)
	nothing := newSentinel(t, p, "sentinel")
	old, peer := socketPair(t)
	token := add(t, p, old, "old")
	next(t, p, "old")
	number, kept := int(old.fd), -1
	if err := old.Control(func(fd int) (err error) { kept, err = syscall.Dup(fd); return err }); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(kept)
	p.Remove(token)
	old.Close()

	young, youngPeer := socketPair(t)
	if int(young.fd) != number {
		// Whoever got the number holds it: take one that is free and give it to young.
		if err := syscall.Dup3(int(young.fd), number, syscall.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		syscall.Close(int(young.fd))
		young.fd = int32(number)
	}
	second := add(t, p, young, "young")
	if second.slot != token.slot {
		t.Fatalf("slot %d, want %d again", second.slot, token.slot)
	}
	next(t, p, "young")
	mustWrite(t, peer, "for the old one")
	nothing.wantNothing(t)
	mustWrite(t, youngPeer, "for the young one")
	wantFlags(t, next(t, p, "young"), true, true, false)
}

func TestAddAgain(t *testing.T) {
	p := newPoller[string](t)
	nothing := newSentinel(t, p, "sentinel")
	s, peer := socketPair(t)
	first := addOnce(t, p, s, "first")
	p.Remove(first)
	mustWrite(t, peer, "x")
	second := addOnce(t, p, s, "second")
	next(t, p, "second")
	p.Remove(first)
	rearm(t, p, s, second)
	next(t, p, "second")
	nothing.wantNothing(t)
}

func TestRemoveForgets(t *testing.T) {
	p := newPoller[*[64]byte](t)
	s, _ := socketPair(t)
	collected := make(chan bool)
	v := new([64]byte)
	runtime.AddCleanup(v, func(c chan bool) { close(c) }, collected)
	token := add(t, p, s, v)
	p.Remove(token)
	runtime.GC()
	select {
	case <-collected:
	case <-time.After(patience):
		t.Error("the value is still held")
	}
}

func TestGenerations(t *testing.T) {
	p := newPoller[string](t)
	s, _ := socketPair(t)
	p.Remove(add(t, p, s, "a"))
	p.slots[0].generation = math.MaxUint32
	last := add(t, p, s, "last")
	if last != (Token{0, math.MaxUint32}) {
		t.Fatal(last)
	}
	next(t, p, "last") // a generation that does not fit into int32 comes back
	p.Remove(last)
	if p.Remove(Token{}); p.slots[0].generation != 1 {
		t.Errorf("generation %d after the largest, want 1", p.slots[0].generation)
	}
	first := add(t, p, s, "first")
	if first != (Token{0, 1}) {
		t.Error(first)
	}
	p.Remove(last)
	next(t, p, "first")
}

func TestSlots(t *testing.T) {
	if size := unsafe.Sizeof(slot[*int]{}); size > 16 {
		t.Errorf("a slot has %d bytes, want at most 16", size)
	}
	p := newPoller[int](t)
	tokens := make(map[Token]bool)
	var order []Token
	for i := range 100 {
		token, ok := p.use(i)
		if !ok || tokens[token] {
			t.Fatalf("token %v, %v", token, ok)
		}
		tokens[token] = true
		order = append(order, token)
	}
	for round := range 3 {
		for i, token := range order {
			p.Remove(token)
			if i%2 == round%2 {
				p.Remove(order[len(order)-1-i])
			}
		}
		order = order[:0]
		for i := range 100 {
			token, _ := p.use(i)
			if tokens[token] {
				t.Fatalf("token %v twice", token)
			}
			tokens[token] = true
			order = append(order, token)
		}
		if len(p.slots) != 100 {
			t.Fatalf("%d slots, want 100", len(p.slots))
		}
	}
}

func TestWake(t *testing.T) {
	p := newPoller[int](t)
	nothing := newSentinel(t, p, 1)
	for range 3 {
		for range 100 {
			p.Wake()
		}
		if events, err := p.Wait(nil, true); len(events) != 0 || err != nil {
			t.Fatalf("%v, %v", events, err)
		}
		nothing.wantNothing(t) // a hundred were one
	}
}

func TestWakeOfOneThatBlocks(t *testing.T) {
	p := newPoller[int](t)
	done := make(chan error)
	for range 100 {
		go func() {
			_, err := p.Wait(nil, true)
			done <- err
		}()
		untilWaiting(t, p, 1)
		p.Wake()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// untilWaiting returns when that many are in Wait, or about to be.
func untilWaiting[T any](t testing.TB, p *Poller[T], n uint32) {
	t.Helper()
	for end := time.Now().Add(patience); p.references.word.Load() != n; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d in Wait, want %d", p.references.word.Load(), n)
		}
	}
}

// Whoever leaves something for a Wait to find, and then calls Wake, need not call
// it twice.
func TestWakeIsNotLost(t *testing.T) {
	p := newPoller[int](t)
	var mu sync.Mutex
	left, found := 0, 0
	var wg sync.WaitGroup
	const each, who = 2000, 3
	for range who {
		wg.Go(func() {
			for range each {
				mu.Lock()
				left++
				mu.Unlock()
				p.Wake()
			}
		})
	}
	alarm := time.AfterFunc(patience, func() { p.Close() })
	defer alarm.Stop()
	for found < each*who {
		if _, err := p.Wait(nil, true); err != nil {
			t.Fatalf("%d of %d found: %v", found, each*who, err)
		}
		mu.Lock()
		found, left = found+left, 0
		mu.Unlock()
	}
	wg.Wait()
}

func TestPollerClose(t *testing.T) {
	noNewDescriptors(t)
	p := newPoller[int](t)
	s, peer := socketPair(t)
	token := add(t, p, s, 1)
	next(t, p, 1)
	const waiting = 5
	done := make(chan error)
	for range waiting {
		go func() {
			_, err := p.Wait(nil, true)
			done <- err
		}()
	}
	untilWaiting(t, p, waiting)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	for range waiting {
		select {
		case err := <-done:
			if err != net.ErrClosed {
				t.Errorf("Wait returned %v", err)
			}
		case <-time.After(patience):
			t.Fatal("a Wait has not returned")
		}
	}
	// The last one that left has closed the descriptors.
	for _, fd := range []int{p.epoll, p.wakeup} {
		if _, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0); errno != syscall.EBADF {
			t.Errorf("descriptor %d: %v, want it closed", fd, errno)
		}
	}

	if err := p.Close(); err != net.ErrClosed {
		t.Errorf("second Close: %v", err)
	}
	if events, err := p.Wait(nil, false); len(events) != 0 || err != net.ErrClosed {
		t.Errorf("Wait: %v, %v", events, err)
	}
	err := s.Control(func(fd int) error {
		_, err1 := p.Add(fd, 1)
		_, err2 := p.AddOnce(fd, 1)
		if err3 := p.Rearm(fd, token); err1 != net.ErrClosed || err2 != net.ErrClosed || err3 != net.ErrClosed {
			t.Errorf("Add, AddOnce, Rearm: %v, %v, %v", err1, err2, err3)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	p.Remove(token)
	p.Wake()
	mustWrite(t, peer, "s is open")
	mustRead(t, s, 9)
}

// An Add that is under way while the Poller is closed must not bring the table
// back.
func TestAddWhileClosing(t *testing.T) {
	noNewDescriptors(t)
	p := newPoller[int](t)
	if !p.references.acquire() {
		t.Fatal("no reference")
	}
	p.Close()
	if token, ok := p.use(1); ok || token != (Token{}) || len(p.slots) != 0 {
		t.Errorf("%v, %v and %d slots after Close", token, ok, len(p.slots))
	}
	p.release()
}

func TestWaitCapacity(t *testing.T) {
	p := newPoller[int](t)
	const sockets = 5
	for i := range sockets {
		s, _ := socketPair(t)
		add(t, p, s, i)
	}
	seen := make(map[int]int)
	buf := make([]Event[int], 3, 4) // what is in it is overwritten
	for _, want := range []int{4, 1, 0} {
		events, err := p.Wait(buf, false)
		if len(events) != want || err != nil || &events[:1][0] != &buf[0] {
			t.Fatalf("%v, %v; want %d in the memory that was given", events, err, want)
		}
		for _, e := range events {
			seen[e.Value]++
		}
	}
	if len(seen) != sockets {
		t.Errorf("seen %v", seen)
	}
	if events, err := p.Wait(make([]Event[int], 0, 2*maxEvents), false); len(events) != 0 || err != nil {
		t.Errorf("%v, %v", events, err)
	}
}

// What was done before AddOnce and Rearm has happened before the event: the race
// detector watches count, which no lock guards.
func TestRearmHappensBefore(t *testing.T) {
	p := newPoller[*int](t)
	s, peer := socketPair(t)
	count := 1
	token := addOnce(t, p, s, &count)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			buf := make([]byte, 1)
			for {
				events, err := p.Wait(make([]Event[*int], 0, 1), true)
				if err != nil {
					return
				}
				for _, e := range events {
					s.Read(buf)
					*e.Value++
					s.Write(buf)
					s.Control(func(fd int) error { return p.Rearm(fd, token) })
				}
			}
		})
	}
	const rounds = 1000
	for range rounds {
		mustWrite(t, peer, "x")
		mustRead(t, peer, 1)
	}
	p.Close()
	wg.Wait()
	if count != rounds+1 {
		t.Errorf("%d events, want %d", count-1, rounds)
	}
}

// Connections come, talk, and go, while several goroutines wait. Nobody may get an
// event of a connection that was removed before his Wait looked.
func TestPollerStress(t *testing.T) {
	noNewDescriptors(t)
	type conn struct {
		s     *Socket
		mu    sync.Mutex
		token Token
		gone  bool // removed and closed, by the one who saw its end
	}
	const connections = 200
	p := newPoller[*conn](t)
	var loops, clients sync.WaitGroup
	ended := make(chan bool, connections)
	for range 3 {
		loops.Go(func() {
			events := make([]Event[*conn], 0, 8)
			buf := make([]byte, 64)
			for {
				var err error
				if events, err = p.Wait(events, true); err != nil {
					return
				}
				for _, e := range events {
					c := e.Value
					c.mu.Lock()
					for !c.gone {
						n, err := c.s.Read(buf)
						c.s.Write(buf[:n])
						if err == ErrWouldBlock {
							break
						}
						if err != nil {
							c.gone = true
							p.Remove(c.token)
							c.s.Close()
							ended <- true
						}
					}
					c.mu.Unlock()
				}
			}
		})
	}
	for i := range connections {
		s, peer := socketPair(t)
		c := &conn{s: s}
		c.mu.Lock()
		c.token = add(t, p, s, c)
		c.mu.Unlock()
		clients.Go(func() {
			buf := make([]byte, 5)
			for range i % 5 {
				peer.Write([]byte("hello"))
				if _, err := io.ReadFull(peer, buf); err != nil || string(buf) != "hello" {
					t.Errorf("%q came back, %v", buf, err)
				}
			}
			if i%3 == 0 {
				peer.SetLinger(0) // an error, not an end
			}
			peer.Close()
		})
	}
	clients.Wait()
	for range connections {
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatal("an end was not seen")
		}
	}
	p.Close()
	loops.Wait()
	if len(p.slots) != 0 {
		t.Errorf("%d slots are left after Close", len(p.slots))
	}
}

func TestWaitAllocatesNothing(t *testing.T) {
	if instrumented {
		t.Skip("detectors allocate")
	}
	p := newPoller[*int](t)
	s, peer := socketPair(t)
	add(t, p, s, new(int))
	events := make([]Event[*int], 0, 16)
	buf := make([]byte, 16)
	allocated := testing.AllocsPerRun(200, func() {
		peer.Write(buf[:1])
		events, _ = p.Wait(events, true)
		events, _ = p.Wait(events, false)
		s.Read(buf)
		p.Wake()
		events, _ = p.Wait(events, true)
	})
	if allocated != 0 {
		t.Errorf("%v allocations", allocated)
	}
}
