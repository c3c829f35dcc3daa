package load

import (
	"io"
	"runtime"
	"sync"
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

// A line is one of its connections.
type line struct {
	conn
	fd      int
	state   lineState
	blocked bool // the socket takes nothing now
	touched bool // it has begun messages that are to be sent
	shake   *handshake
}

type lineState uint8

const (
	waiting    lineState = iota // to be opened
	connecting                  // TCP
	asking                      // the opening handshake
	open
	leaving // both close frames have gone, the end has not come
	gone
)

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
	if wait <= 0 {
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

func (l *loop) handle(i int, events uint32) {
	c := &l.lines[i]
	switch c.state {
	case connecting:
		if err := connected(c.fd); err != nil {
			l.drop(i, err)
			return
		}
		c.state = asking
		l.ask(i)
	case asking:
		if len(c.shake.unsent) > 0 {
			l.ask(i)
		}
		if events&^uint32(syscall.EPOLLOUT) != 0 {
			l.readAnswer(i)
		}
	case open:
		if events&syscall.EPOLLOUT != 0 {
			l.send(i)
		}
		if events&^uint32(syscall.EPOLLOUT) != 0 && c.state == open {
			l.read(i)
		}
	case leaving:
		if n, err := read(c.fd, l.buf); n <= 0 && err != syscall.EAGAIN {
			syscall.Close(c.fd)
			c.state = gone
			l.end(&c.conn, nil)
		}
	}
}

func read(fd int, b []byte) (int, error) {
	for {
		if n, err := syscall.Read(fd, b); err != syscall.EINTR {
			return n, err
		}
	}
}

// ask sends the request.
func (l *loop) ask(i int) {
	c := &l.lines[i]
	n, err := syscall.Write(c.fd, c.shake.unsent)
	if err != nil && err != syscall.EAGAIN && err != syscall.EINTR {
		l.drop(i, err)
		return
	}
	if c.shake.unsent = c.shake.unsent[max(n, 0):]; len(c.shake.unsent) > 0 {
		return
	}
	if err := l.watch(c.fd, i, syscall.EPOLLIN, syscall.EPOLL_CTL_MOD); err != nil {
		l.drop(i, err)
	}
}

func (l *loop) readAnswer(i int) {
	c := &l.lines[i]
	if c.state != asking {
		return
	}
	n, err := read(c.fd, l.buf)
	if err == syscall.EAGAIN {
		return
	}
	if n == 0 && err == nil {
		err = io.EOF
	}
	if err != nil {
		l.drop(i, err)
		return
	}
	now := l.w.now()
	rest, done, err := c.shake.feed(l.buf[:n], &l.w.job, c.id)
	if err != nil {
		l.drop(i, err)
		return
	}
	if !done {
		return
	}
	took := now - c.shake.began
	c.shake = nil
	c.state = open
	l.opening--
	l.shard.open(&c.conn, took)
	l.feed(i, rest)
}

// read takes what has come on an open line, and sends what that calls for.
func (l *loop) read(i int) {
	c := &l.lines[i]
	n, err := read(c.fd, l.buf)
	switch {
	case err == syscall.EAGAIN:
	case err != nil:
		l.drop(i, err)
	case n == 0:
		l.drop(i, io.EOF)
	default:
		l.feed(i, l.buf[:n])
	}
}

func (l *loop) feed(i int, p []byte) {
	c := &l.lines[i]
	now := l.w.now()
	switch err := c.feed(p, now); {
	case err == io.EOF:
		c.state = leaving
	case err != nil:
		l.drop(i, err)
	default:
		c.topUp(now)
		if !c.blocked {
			l.send(i)
		}
	}
}

// send writes what is due until the socket takes no more.
func (l *loop) send(i int) {
	c := &l.lines[i]
	for c.hasOutput() {
		n, err := syscall.Write(c.fd, c.fill(l.out[:0]))
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			l.block(i, true)
			return
		case err != nil:
			l.cannotWrite(i, err)
			return
		}
		c.wrote(n)
	}
	l.block(i, false)
}

func (l *loop) block(i int, blocked bool) {
	c := &l.lines[i]
	if c.blocked == blocked {
		return
	}
	c.blocked = blocked
	events := uint32(syscall.EPOLLIN)
	if blocked {
		events |= syscall.EPOLLOUT
	}
	if err := l.watch(c.fd, i, events, syscall.EPOLL_CTL_MOD); err != nil {
		l.drop(i, err)
	}
}

// cannotWrite ends a line. What has come on it before, a close frame perhaps, says
// more than the error.
func (l *loop) cannotWrite(i int, err error) {
	c := &l.lines[i]
	n, readErr := read(c.fd, l.buf)
	if readErr == nil && n > 0 {
		if fed := c.feed(l.buf[:n], l.w.now()); fed != nil && fed != io.EOF {
			err = fed
		}
	}
	l.drop(i, err)
}

// drop ends a line because of an error.
func (l *loop) drop(i int, err error) {
	c := &l.lines[i]
	if c.state == open {
		if f, ok := err.(*Failure); ok && f.Kind == Closed && !c.closing {
			c.goodbye() // which answers
			syscall.Write(c.fd, c.fill(l.out[:0]))
			c.closing = false
		}
		l.end(&c.conn, c.broken(err))
	} else {
		l.opening--
		l.refuse(c.id, unopened(c.id, err, l.w.job.Timeout))
	}
	if c.fd >= 0 {
		syscall.Close(c.fd)
	}
	c.state = gone
	c.shake = nil
}

func newEngine(w *work) (engine, error) {
	if w.job.URL.Scheme == "wss" || w.job.goroutines {
		return newCrew(w)
	}
	return newLoops(w)
}

// loops are all of them.
type loops struct {
	all     []*loop
	running sync.WaitGroup
}

func newLoops(w *work) (engine, error) {
	ls := new(loops)
	n := min(w.job.Threads, w.job.Conns)
	w.job.Threads = n
	for i := range n {
		l, err := newLoop(w, i, n)
		if err != nil {
			for _, l := range ls.all {
				l.release()
			}
			return nil, err
		}
		ls.all = append(ls.all, l)
	}
	if w.room != nil {
		first := ls.all[0]
		w.room.ready = func() {
			// Only a wake that comes from another loop is needed, but it is not known here.
			if !first.room.Swap(true) && n > 1 {
				first.wake()
			}
		}
	}
	for _, l := range ls.all {
		ls.running.Go(l.run)
	}
	return ls, nil
}

func (ls *loops) shards() []*shard {
	var all []*shard
	for _, l := range ls.all {
		all = append(all, &l.shard)
	}
	return all
}

func (ls *loops) advance(stage int32) {
	for _, l := range ls.all {
		l.stage.Store(stage)
		l.wake()
	}
}

func (ls *loops) wait() { ls.running.Wait() }

// busiest returns the processor time of the loop that has used the most.
func (ls *loops) busiest() (most time.Duration) {
	for _, l := range ls.all {
		most = max(most, threadTime(int(l.tid.Load())))
	}
	return most
}
