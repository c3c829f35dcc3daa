package load

import (
	"io"
	"syscall"
)

// A line is one of the connections of a loop.
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

// handle does what epoll calls for.
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
	c.agree(c.shake.agreed)
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
