package load

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"

	"github.com/duplexgo/duplex/internal/load"
)

// A crowd is many plain connections in one thread: one read and one write for each
// that is ready, every buffer shared, some 200 bytes a connection.
//
// It works in turns. In a turn of an echo a connection sends window messages at
// once, and the next turn begins when all have come back. In a broadcast there is
// one turn for all: the first connection sends window messages, and the next turn
// begins when every connection has got them all. So every server meets the same
// input, whether it answers one by one or in batches.
type crowd struct {
	job     Job
	pattern *pattern
	epfd    int
	lines   []line
	buf     []byte // for reading
	out     []byte // for writing
	events  []syscall.EpollEvent

	now     time.Time      // of the last wake
	sending bool           // turns are begun
	most    uint64         // messages that a connection may send in all; 0: any number
	missing int            // messages that were sent and must come still
	silent  int            // connections that have not answered a ping of greet's
	got     uint64         // messages that have come
	turns   load.Histogram // how long they took
}

// A line is a connection. What it has still to send is everything up to the
// message due.
type line struct {
	fd      int
	check   checker
	sent    uint64    // messages that are sent
	offset  int       // how much of the next one is
	due     uint64    // messages that are to be sent
	began   time.Time // the turn
	blocked bool      // the socket takes nothing now
}

func newCrowd(j Job) (c *crowd, err error) {
	p, err := newPattern(j.Size, j.Mirror)
	if err != nil {
		return nil, err
	}
	fds, err := open(j.Addr, j.Path, j.Conns)
	if err != nil {
		return nil, err
	}
	epfd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		closeAll(fds)
		return nil, err
	}
	c = &crowd{
		job:     j,
		pattern: p,
		epfd:    epfd,
		lines:   make([]line, len(fds)),
		buf:     make([]byte, 256<<10),
		out:     make([]byte, 0, 64<<10),
		events:  make([]syscall.EpollEvent, 512),
	}
	for i := range c.lines {
		l := &c.lines[i]
		l.fd = fds[i]
		l.check = checker{pattern: p, id: uint64(i)}
		if j.broadcast() {
			l.check.id = 0
		}
	}
	for i := range c.lines {
		if err := c.watch(i, syscall.EPOLL_CTL_ADD); err != nil {
			c.close()
			return nil, err
		}
	}
	if j.broadcast() && !j.Mirror {
		if err := c.greet(); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

// greet waits until the server reads every connection, which a ping and its pong
// show. The end of the handshake does not show it yet, and who has not joined a
// broadcast would miss a message by right.
func (c *crowd) greet() error {
	ping := []byte{0x89, 0x80, 0, 0, 0, 0}
	for i := range c.lines {
		if _, err := syscall.Write(c.lines[i].fd, ping); err != nil {
			return fmt.Errorf("connection %d: ping: %w", i, err)
		}
	}
	c.silent = len(c.lines)
	return c.until(func() bool { return c.silent == 0 }, time.Time{})
}

func (c *crowd) watch(i, op int) error {
	l := &c.lines[i]
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(i)}
	if l.blocked {
		ev.Events |= syscall.EPOLLOUT
	}
	return syscall.EpollCtl(c.epfd, op, l.fd, &ev)
}

func (c *crowd) close() {
	for i := range c.lines {
		syscall.Close(c.lines[i].fd)
	}
	syscall.Close(c.epfd)
}

func (c *crowd) messages() uint64         { return c.got }
func (c *crowd) latency() *load.Histogram { return &c.turns }
func (c *crowd) resetLatency()            { c.turns = load.Histogram{} }
func (c *crowd) limit(messages uint64)    { c.most = messages }

// run keeps the turns going for a time, and leaves them going.
func (c *crowd) run(d time.Duration) error {
	c.now = time.Now()
	end := c.now.Add(d)
	if !c.sending {
		c.sending = true
		if err := c.beginAll(); err != nil {
			return err
		}
	}
	return c.until(func() bool { return !c.now.Before(end) }, end)
}

// drain waits until all that was sent has come back, and all that may be sent where
// that is limited; and then a moment for what should not come.
func (c *crowd) drain() error {
	if !c.sending && c.most > 0 {
		c.now = time.Now()
		c.sending = true
		if err := c.beginAll(); err != nil {
			return err
		}
	}
	c.sending = c.most > 0
	if err := c.until(func() bool { return c.missing == 0 }, time.Time{}); err != nil {
		return err
	}
	c.sending = false
	end := time.Now().Add(10 * time.Millisecond)
	return c.until(func() bool { return !c.now.Before(end) }, end)
}

// until handles what comes, until a condition holds. With an end it looks at the
// condition then at the latest; without one it has patience only as long as
// messages come.
func (c *crowd) until(done func() bool, end time.Time) error {
	last, got := time.Now(), c.got
	for c.now = last; !done(); {
		wait := min(c.job.Patience, time.Second)
		if !end.IsZero() {
			wait = min(wait, end.Sub(c.now))
		}
		n, err := syscall.EpollWait(c.epfd, c.events, int((wait+time.Millisecond-1)/time.Millisecond))
		if err != nil && err != syscall.EINTR {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		c.now = time.Now()
		for i := range c.events[:max(n, 0)] {
			if err := c.handle(int(c.events[i].Fd), c.events[i].Events); err != nil {
				return err
			}
		}
		if c.got != got {
			last, got = c.now, c.got
		} else if c.missing+c.silent > 0 && c.now.Sub(last) > c.job.Patience {
			return c.lost()
		}
	}
	return nil
}

// lost says what has not come.
func (c *crowd) lost() error {
	for i := range c.lines {
		l := &c.lines[i]
		if want := c.wanted(l); l.check.next < want || l.check.at > 0 {
			return fmt.Errorf("nothing has come for %v and %d messages are missing; the first is message %d of connection %d, of which %d bytes came",
				c.job.Patience, c.missing, l.check.next, i, l.check.at)
		}
	}
	return fmt.Errorf("nothing has come for %v: %d messages are missing, and %d connections answer no ping", c.job.Patience, c.missing, c.silent)
}

// wanted returns how many messages are to come on a line.
func (c *crowd) wanted(l *line) uint64 {
	if c.job.broadcast() {
		return c.lines[0].due
	}
	return l.due
}

func (c *crowd) handle(i int, events uint32) error {
	l := &c.lines[i]
	if events&syscall.EPOLLOUT != 0 {
		if err := c.send(i); err != nil {
			return err
		}
	}
	if events&^uint32(syscall.EPOLLOUT) == 0 {
		return nil
	}
	n, err := syscall.Read(l.fd, c.buf)
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return nil
	case err != nil:
		return fmt.Errorf("connection %d: read: %w", i, err)
	case n == 0:
		return fmt.Errorf("connection %d: the server closed it before message %d", i, l.check.next)
	}
	messages, err := l.check.feed(c.buf[:n])
	if err != nil {
		return err
	}
	if l.check.pongs > 0 {
		l.check.pongs = 0
		c.silent--
	}
	c.got += uint64(messages)
	c.missing -= messages
	if l.check.next > c.wanted(l) {
		return fmt.Errorf("connection %d: message %d came before it was sent", i, l.check.next-1)
	}
	switch {
	case c.job.broadcast():
		if messages > 0 && c.missing == 0 {
			c.turns.Add(c.now.Sub(c.lines[0].began))
			return c.begin(0)
		}
	case messages > 0 && l.check.next == l.due:
		c.turns.Add(c.now.Sub(l.began))
		return c.begin(i)
	}
	if len(l.check.pong) > 0 {
		return c.send(i)
	}
	return nil
}

// beginAll begins the first turn of all who send.
func (c *crowd) beginAll() error {
	senders := len(c.lines)
	if c.job.broadcast() {
		senders = 1
	}
	for i := range senders {
		if err := c.begin(i); err != nil {
			return err
		}
	}
	return nil
}

// begin begins a connection's turn, if there is to be another.
func (c *crowd) begin(i int) error {
	l := &c.lines[i]
	window := uint64(c.job.Window)
	if c.most > 0 {
		window = min(window, c.most-l.due)
	}
	if !c.sending || window == 0 {
		return nil
	}
	l.due += window
	l.began = c.now
	c.missing += int(window)
	if c.job.broadcast() {
		c.missing += int(window) * (len(c.lines) - 1)
	}
	return c.send(i)
}

// send writes what is due until the socket takes no more.
func (c *crowd) send(i int) error {
	l := &c.lines[i]
	length := c.pattern.sent.length()
	for l.sent < l.due || len(l.check.pong) > 0 {
		head, tail := c.next(l)
		n, err := writev(l.fd, head, tail)
		if err == syscall.EINTR {
			continue
		}
		if err == syscall.EAGAIN {
			if l.blocked {
				return nil
			}
			l.blocked = true
			return c.watch(i, syscall.EPOLL_CTL_MOD)
		}
		if err != nil {
			return fmt.Errorf("connection %d: write: %w", i, err)
		}
		if k := min(n, len(l.check.pong)); k > 0 && l.offset == 0 {
			l.check.pong = l.check.pong[k:]
			n -= k
		}
		n += l.offset
		l.sent += uint64(n / length)
		l.offset = n % length
	}
	if l.blocked {
		l.blocked = false
		return c.watch(i, syscall.EPOLL_CTL_MOD)
	}
	return nil
}

// copied is the longest payload that is gathered with others for one write; a
// longer one is written from where it lies.
const copied = 8 << 10

// next returns what is to be written: small messages together, or one large one as
// its head and its tail. A pong goes between messages, never into one.
func (c *crowd) next(l *line) (head, tail []byte) {
	s := &c.pattern.sent
	length := s.length()
	b := c.out[:0]
	if l.offset == 0 {
		b = append(b, l.check.pong...)
		if l.sent == l.due {
			return b, nil
		}
	}
	if c.pattern.size > copied {
		start := len(b)
		b = c.pattern.appendHead(b, s, l.sent, l.check.id)
		own := len(b) - start
		if l.offset < own {
			copy(b[start:], b[start+l.offset:])
			return b[:len(b)-l.offset], s.tail
		}
		return nil, s.tail[l.offset-own:]
	}
	for number := l.sent; number < l.due && len(b)+length <= cap(b); number++ {
		b = c.pattern.appendHead(b, s, number, l.check.id)
		b = append(b, s.tail...)
	}
	return b[l.offset:], nil // where part of a message is sent, no pong is before it
}

func writev(fd int, head, tail []byte) (int, error) {
	if len(tail) == 0 {
		return syscall.Write(fd, head)
	}
	if len(head) == 0 {
		return syscall.Write(fd, tail)
	}
	iov := [2]syscall.Iovec{{Base: &head[0]}, {Base: &tail[0]}}
	iov[0].SetLen(len(head))
	iov[1].SetLen(len(tail))
	n, _, errno := syscall.Syscall(syscall.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&iov)), uintptr(len(iov)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
