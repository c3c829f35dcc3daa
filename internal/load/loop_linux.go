package load

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// A loop is one thread with some of the connections: one read and one write for
// each that is ready, every buffer shared.
type loop struct {
	shard
	dialer
	number  int // of all loops: the connections' ids are number, number+n, number+2n and so on
	lines   []line
	opening int // connections
	next    int // the line to open next

	epfd, timer int
	wakeup      [2]int // a pipe
	tid         atomic.Int64
	stage       atomic.Int32
	done        int32 // the stage that all lines have been told of

	begun    uint64 // messages, at the rate
	turn     int    // the line that begins the next
	touched  []int32
	room     atomic.Bool // the sender may go on
	nextScan int64
	buf, out []byte
	events   []syscall.EpollEvent
}

// Tokens of what is no line.
const (
	timerToken  = -1
	wakeupToken = -2
)

func newLoop(w *work, number, loops int) (l *loop, err error) {
	j := &w.job
	l = &loop{
		number: number,
		dialer: dialer{to: j.Addr, connect: syscall.Connect},
		epfd:   -1, timer: -1, wakeup: [2]int{-1, -1},
		lines:  make([]line, (j.Conns-number+loops-1)/loops, (j.Conns-number+loops-1)/loops+1),
		buf:    make([]byte, 256<<10),
		out:    make([]byte, 0, 128<<10),
		events: make([]syscall.EpollEvent, 512),
	}
	l.shard.init(w)
	for i := range l.lines {
		l.lines[i].id = uint32(i*loops + number)
	}
	if j.Mode == Broadcast && number == 0 {
		l.lines = append(l.lines, line{conn: conn{id: sender}})
	}
	defer func() {
		if err != nil {
			l.release()
		}
	}()
	if l.epfd, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return l, err
	}
	if err = syscall.Pipe2(l.wakeup[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		return l, err
	}
	const monotonic, nonblock = 1, syscall.O_NONBLOCK
	timer, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, monotonic, nonblock|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return l, errno
	}
	l.timer = int(timer)
	if err = l.watch(l.timer, timerToken, syscall.EPOLLIN|edge, syscall.EPOLL_CTL_ADD); err != nil {
		return l, err
	}
	return l, l.watch(l.wakeup[0], wakeupToken, syscall.EPOLLIN, syscall.EPOLL_CTL_ADD)
}

const edge = 1 << 31 // EPOLLET, which package syscall has with a sign

func (l *loop) watch(fd, token int, events uint32, op int) error {
	return syscall.EpollCtl(l.epfd, op, fd, &syscall.EpollEvent{Events: events, Fd: int32(token)})
}

func (l *loop) release() {
	for _, fd := range []int{l.epfd, l.timer, l.wakeup[0], l.wakeup[1]} {
		if fd >= 0 {
			syscall.Close(fd)
		}
	}
}

// wake makes the loop look around. It may be called from anywhere.
func (l *loop) wake() { syscall.Write(l.wakeup[1], []byte{0}) }

// run is the loop.
func (l *loop) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer l.release()
	l.tid.Store(int64(syscall.Gettid()))
	for l.advance() {
		n, err := syscall.EpollWait(l.epfd, l.events, l.timeout(l.chores()))
		if err != nil && err != syscall.EINTR {
			panic("epoll_wait: " + err.Error()) // a fault of this program
		}
		for i := range l.events[:max(n, 0)] {
			ev := &l.events[i]
			switch ev.Fd {
			case timerToken:
			case wakeupToken:
				syscall.Read(l.wakeup[0], l.buf[:64])
			default:
				l.handle(int(ev.Fd), ev.Events)
			}
		}
		if l.room.Load() {
			l.room.Store(false)
			if i := len(l.lines) - 1; l.lines[i].state == open {
				l.lines[i].topUp(l.w.now())
				l.send(i)
			}
		}
	}
}

// advance tells all lines of a new stage, and returns false at the last.
func (l *loop) advance() bool {
	stage := l.stage.Load()
	if stage == l.done {
		return true
	}
	l.done = stage
	for i := range l.lines {
		c := &l.lines[i]
		if stage == stageStop {
			l.cut(i)
			continue
		}
		if stage == stageClose && c.state != open {
			if c.state != gone {
				l.cut(i)
			}
			continue
		}
		if c.state != open {
			continue
		}
		switch stage {
		case stageGreet:
			c.ping()
		case stageWork:
			c.topUp(l.w.now())
		case stageClose:
			c.goodbye()
		}
		l.send(i)
	}
	return stage != stageStop
}

// cut ends a line at the end of the run.
func (l *loop) cut(i int) {
	c := &l.lines[i]
	switch c.state {
	case connecting, asking:
		abort(c.fd)
	case open, leaving:
		abort(c.fd)
		l.end(&c.conn, nil)
	}
	c.state = gone
}

// chores does what is due by the clock, and returns when something will be next.
func (l *loop) chores() (next int64) {
	now := l.w.now()
	if now >= l.nextScan {
		l.scan(now)
		l.nextScan = now + min(int64(l.w.job.Timeout)/4, int64(time.Second))
	}
	next = l.nextScan
	if l.done < stageClose {
		next = min(next, l.openMore(now))
	}
	if l.w.job.Rate > 0 && l.done == stageWork {
		next = min(next, l.beginDue())
	}
	return next
}

// timeout returns how long epoll_wait may wait, in milliseconds. At a rate the timer
// is set instead, which is finer.
func (l *loop) timeout(next int64) int {
	wait := next - l.w.now()
	if wait <= 0 || l.room.Load() { // a receiver that has just been given up was the last that a message had to come to
		return 0
	}
	if l.w.job.Rate == 0 {
		return int((wait + 1e6 - 1) / 1e6)
	}
	spec := [2]syscall.Timespec{1: syscall.NsecToTimespec(wait)}
	syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, uintptr(l.timer), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	return -1
}

// scan ends lines that nothing has come on for too long.
func (l *loop) scan(now int64) {
	timeout := int64(l.w.job.Timeout)
	for i := range l.lines {
		c := &l.lines[i]
		switch c.state {
		case connecting, asking:
			if now-c.shake.began >= timeout {
				l.drop(i, failure(NoOpening, "connection %d: it was not open within %v", c.id, l.w.job.Timeout))
			}
		case open:
			if err := c.silent(now); err != nil {
				l.drop(i, err)
			}
		}
	}
}

// openMore opens what is due, and returns when there will be more.
func (l *loop) openMore(now int64) (next int64) {
	const never = 1 << 62
	j := &l.w.job
	for l.next < len(l.lines) && l.opening < max(1, atOnce/j.Threads) {
		c := &l.lines[l.next]
		order := min(int64(c.id), int64(j.Conns)) // the sender is the last
		if order >= l.w.mayOpen.Load() {
			return never
		}
		if at := int64(float64(j.Ramp) * float64(order) / float64(j.Conns)); now < at {
			return at
		}
		l.next++
		l.start(l.next-1, now)
	}
	return never
}

func (l *loop) start(i int, now int64) {
	c := &l.lines[i]
	c.init(&l.shard, c.id)
	c.shake = newHandshake(&l.w.job, now)
	l.opening++
	c.state = connecting
	fd, err := l.dial()
	if err != nil {
		c.fd = -1
		l.drop(i, err)
		return
	}
	c.fd = fd
	if err := l.watch(fd, i, syscall.EPOLLIN|syscall.EPOLLOUT, syscall.EPOLL_CTL_ADD); err != nil {
		l.drop(i, err)
	}
}

// atATime is how many messages are begun before the loop reads again.
const atATime = 1024

// beginDue begins the messages that are due by the rate, and returns when the next
// will be. The loops share the rate by their connections, and the time between two
// of their messages evenly.
func (l *loop) beginDue() (next int64) {
	j := &l.w.job
	share, phase := float64(len(l.lines))/float64(j.Conns), float64(l.number)/float64(j.Threads)
	if j.Mode == Broadcast {
		share, phase = 1, 0
		if l.number != 0 {
			return l.paceEnds()
		}
	}
	from := l.w.sendFrom.Load()
	at := func(n uint64) int64 { return from + int64((float64(n)+phase)*j.interval()/share) }
	for range atATime {
		intended, now := at(l.begun), l.w.now()
		if intended > now || !l.w.sending(intended) {
			break
		}
		i := l.nextSender()
		if i < 0 {
			return l.paceEnds()
		}
		l.begun++
		c := &l.lines[i]
		c.begin(intended)
		c.count()
		if now-intended > lateFrom && l.w.measured(intended) {
			l.late++
		}
		if !c.touched {
			c.touched = true
			l.touched = append(l.touched, int32(i))
		}
	}
	for _, i := range l.touched {
		l.lines[i].touched = false
		if c := &l.lines[i]; c.state == open && !c.blocked {
			l.send(int(i))
		}
	}
	l.touched = l.touched[:0]
	if next = at(l.begun); !l.w.sending(next) {
		return l.paceEnds()
	}
	return next
}

// paceEnds notes that there is nothing more to begin, and returns when there is.
func (l *loop) paceEnds() (never int64) {
	if !l.paced.Swap(true) {
		l.w.notify()
	}
	return 1 << 62
}

// nextSender returns the line whose turn it is to send a message, or -1.
func (l *loop) nextSender() int {
	if l.w.job.Mode == Broadcast {
		if i := len(l.lines) - 1; l.lines[i].state == open {
			return i
		}
		return -1
	}
	for range l.lines {
		l.turn++
		if l.turn >= len(l.lines) {
			l.turn = 0
		}
		if l.lines[l.turn].state == open {
			return l.turn
		}
	}
	return -1
}
