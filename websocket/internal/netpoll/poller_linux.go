package netpoll

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Supported says that there are Pollers and Sockets on this system.
const Supported = true

// A Token stands for a registration with a Poller: a slot of its table, and the
// generation that tells this use of the slot from earlier and later ones. The
// zero Token stands for none; it is as good as one that was removed.
type Token struct {
	slot       int32
	generation uint32
}

// A Poller waits for many descriptors at once. Each is registered with a value of
// type T, which comes back with its events. Make one with New.
//
// All methods may be called by any goroutine at any time. After Close they return
// net.ErrClosed, or do nothing.
//
// A registration takes a slot of 16 bytes, if T is a pointer. Slots are used
// again; the table does not shrink.
type Poller[T any] struct {
	epoll  int // owned, as is wakeup; closed by the last of references
	wakeup int // an eventfd in the list of epoll

	references references
	waking     atomic.Bool // wakeup has been written to and no Wait has seen it yet

	mu    sync.Mutex
	slots []slot[T]
	free  int32 // the first free slot, or none
}

// A slot is in use, or in the list of free ones. Its generation is changed when it
// is freed, so a Token or an event of the old one fits neither the free slot nor
// the next that uses it.
type slot[T any] struct {
	value      T
	generation uint32
	next       int32 // of a free slot: the next one, or none
}

// none ends the list of free slots. As an event's slot it is the wakeup's.
const none = -1

// The kinds of registration. EPOLLHUP and EPOLLERR come unasked.
const (
	// constants of package syscall have a sign on some systems
	edge  = uint32(syscall.EPOLLET & (1<<32 - 1))
	edges = syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | edge
	once  = uint32(syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLONESHOT)
)

// New returns a Poller with nothing to wait for. It holds two descriptors until
// Close.
func New[T any]() (*Poller[T], error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wakeup, err := eventfd()
	if err != nil {
		syscall.Close(epoll)
		return nil, err
	}
	p := &Poller[T]{epoll: epoll, wakeup: wakeup, free: none}
	// Edge-triggered: each write to the eventfd is an event for one Wait, and
	// nobody has to read it empty. Its counter has 64 bits.
	if err := p.control(syscall.EPOLL_CTL_ADD, wakeup, syscall.EPOLLIN|edge, Token{slot: none}); err != nil {
		p.closeBoth()
		return nil, err
	}
	return p, nil
}

func eventfd() (int, error) {
	fd, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("eventfd2", errno)
	}
	return int(fd), nil
}

// Close ends the Poller: every Wait returns net.ErrClosed, and the values are
// forgotten. The descriptors that were added stay open; they are not the
// Poller's.
func (p *Poller[T]) Close() error {
	if !p.references.acquire() {
		return net.ErrClosed
	}
	defer p.release()
	if !p.references.end() {
		return net.ErrClosed
	}
	p.mu.Lock()
	p.slots, p.free = nil, none
	p.mu.Unlock()
	p.wake()
	return nil
}

// release gives back a reference. A Wait that blocks holds one, so the descriptors
// are closed when the last Wait has left, and never under one.
func (p *Poller[T]) release() {
	if p.references.release() {
		p.closeBoth()
	}
}

func (p *Poller[T]) closeBoth() {
	syscall.Close(p.epoll)
	syscall.Close(p.wakeup)
}

// Add registers a descriptor for good: there is an event whenever something has
// come that can be read, when there is room again after a write found none, and
// when the peer ends; and one for the state at the time of Add. It comes once for
// each change, not for as long as a state lasts: whoever gets it must read until
// nothing is left, or remember that he has not.
//
// The caller vouches that fd stays open during the call. On an error nothing is
// registered.
func (p *Poller[T]) Add(fd int, v T) (Token, error) { return p.add(fd, edges, v) }

// AddOnce registers a descriptor for a single event: when something can be read,
// now or later, or the peer ends. After it the registration sleeps until Rearm.
// The event may be in another goroutine's hands before AddOnce returns.
//
// The caller vouches that fd stays open during the call. On an error nothing is
// registered.
func (p *Poller[T]) AddOnce(fd int, v T) (Token, error) { return p.add(fd, once, v) }

func (p *Poller[T]) add(fd int, events uint32, v T) (Token, error) {
	if !p.references.acquire() {
		return Token{}, net.ErrClosed
	}
	defer p.release()
	t, ok := p.use(v)
	if !ok {
		return Token{}, net.ErrClosed
	}
	err := p.control(syscall.EPOLL_CTL_ADD, fd, events, t)
	if err == syscall.EEXIST {
		// It was removed but not closed, and the kernel still has it under a token
		// that has gone.
		err = p.control(syscall.EPOLL_CTL_MOD, fd, events, t)
	}
	if err != nil {
		p.Remove(t)
		return Token{}, os.NewSyscallError("epoll_ctl", err)
	}
	return t, nil
}

// Rearm makes a registration of AddOnce ready for its next event. What the caller
// did before Rearm has happened before that event is seen, and the event may be in
// another goroutine's hands before Rearm returns: it must be the last touch. fd is
// the descriptor that was registered, and the caller vouches that it stays open
// during the call. A Token that was removed gives net.ErrClosed.
func (p *Poller[T]) Rearm(fd int, t Token) error {
	if !p.references.acquire() {
		return net.ErrClosed
	}
	defer p.release()
	p.mu.Lock()
	current := p.current(t)
	p.mu.Unlock()
	if !current {
		return net.ErrClosed
	}
	// If t is removed now, an event will come that is dropped.
	if err := p.control(syscall.EPOLL_CTL_MOD, fd, once, t); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	return nil
}

// Remove ends a registration and forgets its value. A Wait that begins to look at
// its events after that does not return any of this registration; one that has
// looked may be about to return some. Tokens that are no longer good, or were
// never, are ignored.
//
// The kernel is not told: closing the descriptor takes it out of the kernel's
// list. If it stays open, its events are dropped, and it may be added again.
func (p *Poller[T]) Remove(t Token) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.current(t) {
		return
	}
	s := &p.slots[t.slot]
	*s = slot[T]{generation: s.generation + 1, next: p.free}
	if s.generation == 0 {
		s.generation = 1 // 0 is the zero Token's
	}
	p.free = t.slot
}

// current reports whether t stands for a registration, with the mutex held. A free
// slot has a generation that no Token has had.
func (p *Poller[T]) current(t Token) bool {
	return t.slot >= 0 && int(t.slot) < len(p.slots) && p.slots[t.slot].generation == t.generation && t.generation != 0
}

// use takes a slot for v. It fails after Close, which has taken the table away.
func (p *Poller[T]) use(v T) (t Token, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.references.over() {
		return Token{}, false
	}
	if p.free == none {
		p.free = int32(len(p.slots))
		p.slots = append(p.slots, slot[T]{generation: 1, next: none})
	}
	t = Token{p.free, p.slots[p.free].generation}
	s := &p.slots[t.slot]
	p.free, s.value, s.next = s.next, v, none
	return t, true
}

// control tells the kernel to hand back t with the events of fd. The error is a
// bare syscall.Errno.
func (p *Poller[T]) control(op, fd int, events uint32, t Token) error {
	return syscall.EpollCtl(p.epoll, op, fd, &syscall.EpollEvent{Events: events, Fd: t.slot, Pad: int32(t.generation)})
}

// maxEvents is the most that one Wait returns, and fewEvents what one does that
// was not given room for any.
const (
	maxEvents = 1024
	fewEvents = 128
)

// rawEvents are lent to a Wait while it lasts.
var rawEvents = sync.Pool{New: func() any { return new([maxEvents]syscall.EpollEvent) }}

// Wait returns events, in the memory of the slice it is given: as many as that has
// capacity for, at most 1024. Where block is true it waits until there are some;
// where it is false it takes what is there, without leaving the scheduler. It may
// return no events: after Wake, or if all there were belong to registrations that
// were removed.
//
// Several goroutines may wait. Each event goes to one of them, but two events of
// the same descriptor, one after the other, may go to two.
func (p *Poller[T]) Wait(events []Event[T], block bool) ([]Event[T], error) {
	events = events[:0]
	if !p.references.acquire() {
		return events, net.ErrClosed
	}
	defer p.release()
	raw := rawEvents.Get().(*[maxEvents]syscall.EpollEvent)
	defer rawEvents.Put(raw)
	most := min(cap(events), maxEvents)
	if most == 0 {
		most = fewEvents
	}
	n, err := epollWait(p.epoll, raw[:most], block)
	if err != nil {
		return events, err
	}
	return p.translate(events, raw[:n])
}

// translate appends the events of registrations that still stand.
func (p *Poller[T]) translate(events []Event[T], raw []syscall.EpollEvent) ([]Event[T], error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range raw {
		t := Token{raw[i].Fd, uint32(raw[i].Pad)}
		switch {
		case t.slot == none:
			p.waking.Swap(false) // not Store: what was done before Wake has happened
		case p.current(t):
			events = append(events, Event[T]{p.slots[t.slot].value, flags(raw[i].Events)})
		}
	}
	if p.references.over() {
		p.wake() // the next one who waits
		return events[:0], net.ErrClosed
	}
	return events, nil
}

// flags translates what the kernel says.
func flags(events uint32) (f Flags) {
	if events&syscall.EPOLLIN != 0 {
		f |= readable
	}
	if events&(syscall.EPOLLOUT|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		f |= writable // an error, too, is something that a write would return
	}
	if events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		f |= hungUp
	}
	return f
}

// Wake makes one Wait return: one that blocks or, if none does, the next. Several
// calls may have the effect of one, but a Wait always returns after the last.
func (p *Poller[T]) Wake() {
	if !p.references.acquire() {
		return
	}
	defer p.release()
	if !p.waking.Swap(true) {
		p.wake()
	}
}

// wake is an event for one Wait. The caller holds a reference.
func (p *Poller[T]) wake() {
	one := uint64(1)
	syscall.RawSyscall(syscall.SYS_WRITE, uintptr(p.wakeup), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
}

// epollWait waits for ever or not at all. Only the former tells Go's scheduler,
// which then gives the processor to others.
func epollWait(epoll int, raw []syscall.EpollEvent, block bool) (int, error) {
	for {
		var n uintptr
		var errno syscall.Errno
		if block {
			forever := -1
			n, _, errno = syscall.Syscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&raw[0])), uintptr(len(raw)), uintptr(forever), 0, 0)
		} else {
			n, _, errno = syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&raw[0])), uintptr(len(raw)), 0, 0, 0)
		}
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR: // a signal, which Go's scheduler uses often
		default:
			return 0, os.NewSyscallError("epoll_wait", errno)
		}
	}
}
