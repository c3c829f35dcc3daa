package load

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/duplexgo/duplex/internal/load"
)

// A house is the listeners of a push server and those who publish to it, all in one
// thread over epoll.
type house struct {
	job     Job
	dialect dialect
	tail    string
	dialer  *dialer
	epfd    int
	events  []syscall.EpollEvent
	buf     []byte // for reading
	out     []byte // for writing

	listeners  []listener
	publishers []publisher
	free       []int // of the publishers
	channels   []channel
	since      string // where listeners begin that are opened from now on

	now        time.Time
	unready    int // listeners that are not live
	unanswered int // publications
	missing    int // deliveries
	got        uint64
	position   string         // of the latest subscription
	latency    load.Histogram // of deliveries, since the message was due
	turns      load.Histogram
	late       load.Histogram // of publications, since they were due
}

// newHouse prepares for so many channels. Each may have so many messages under way.
func newHouse(j Job, channels, underway int) (*house, error) {
	d, ok := dialects[j.Dialect]
	if !ok {
		return nil, fmt.Errorf("there is no dialect %q", j.Dialect)
	}
	tail, err := dataTail(j.Size)
	if err != nil {
		return nil, err
	}
	to, err := newDialer(j.Addr)
	if err != nil {
		return nil, err
	}
	epfd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	c := &house{job: j, dialect: d, tail: tail, dialer: to, epfd: epfd,
		events: make([]syscall.EpollEvent, 512), buf: make([]byte, 256<<10), channels: make([]channel, channels), now: time.Now()}
	for i := range c.channels {
		c.channels[i].init(underway)
	}
	return c, nil
}

func (c *house) channelName(i int) string { return fmt.Sprintf("%s%d", c.job.Channel, i) }

func (c *house) close() {
	c.cutAll()
	for i := range c.publishers {
		syscall.Close(c.publishers[i].fd)
	}
	syscall.Close(c.epfd)
}

// cutAll ends all listeners with a reset.
func (c *house) cutAll() {
	for i := range c.listeners {
		syscall.Close(c.listeners[i].fd)
	}
	c.listeners, c.unready = c.listeners[:0], 0
	for i := range c.channels {
		c.channels[i].listeners = 0
	}
}

// dial connects, and has epoll tell of it by an id.
func (c *house) dial(id int) (fd int, err error) {
	if fd, err = c.dialer.dial(); err != nil {
		return -1, err
	}
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(id)}
	if err = errors.Join(syscall.SetNonblock(fd, true), syscall.EpollCtl(c.epfd, syscall.EPOLL_CTL_ADD, fd, &ev)); err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

// addPublishers opens n HTTP connections.
func (c *house) addPublishers(n int) error {
	for range n {
		i := len(c.publishers)
		fd, err := c.dial(-1 - i)
		if err != nil {
			return err
		}
		c.publishers = append(c.publishers, publisher{fd: fd})
		c.free = append(c.free, i)
	}
	return nil
}

// redial replaces a connection that the server has closed because nothing was published
// on it for long.
func (c *house) redial(i int) (err error) {
	syscall.Close(c.publishers[i].fd)
	c.publishers[i].fd, err = c.dial(-1 - i)
	return err
}

// addListeners opens n connections and subscribes them, at most so many at once; to
// the first channel, or to one each.
func (c *house) addListeners(n, atOnce int) error {
	if err := checkDescriptors(len(c.listeners) + len(c.publishers) + n); err != nil {
		return err
	}
	for whole := len(c.listeners) + n; len(c.listeners) < whole; {
		for c.unready < atOnce && len(c.listeners) < whole {
			if err := c.addListener(); err != nil {
				return fmt.Errorf("connection %d: %w", len(c.listeners), err)
			}
		}
		if err := c.until(func() bool { return c.unready < (atOnce+1)/2 }, time.Time{}); err != nil {
			return err
		}
	}
	return c.until(func() bool { return c.unready == 0 }, time.Time{})
}

func (c *house) addListener() error {
	i := len(c.listeners)
	channel := 0
	if c.job.Own {
		channel = i
	}
	fd, err := c.dial(i)
	if err != nil {
		return err
	}
	c.listeners = append(c.listeners, listener{fd: fd, channel: channel})
	c.unready++
	c.channels[channel].listeners++
	return c.write(fd, handshakeRequest(c.job.Addr, c.dialect.path(c.channelName(channel), c.since)))
}

// write writes what is short, to a socket that has room.
func (c *house) write(fd int, b []byte) error {
	if n, err := syscall.Write(fd, b); err != nil || n < len(b) {
		return fmt.Errorf("%d of %d bytes were sent: %v", n, len(b), err)
	}
	return nil
}

// epollPwait2 is a wait to the nanosecond, the same number on all systems.
const epollPwait2 = 441

func (c *house) wait(d time.Duration) (int, error) {
	ts := syscall.NsecToTimespec(max(0, d.Nanoseconds()))
	n, _, errno := syscall.Syscall6(epollPwait2, uintptr(c.epfd), uintptr(unsafe.Pointer(&c.events[0])), uintptr(len(c.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno != 0 && errno != syscall.EINTR {
		return 0, fmt.Errorf("epoll_pwait2: %w", errno)
	}
	if errno != 0 {
		return 0, nil
	}
	return int(n), nil
}

// until handles what comes, until a condition holds. With an end it looks at the
// condition then at the latest; without one it has patience only as long as
// something comes.
func (c *house) until(done func() bool, end time.Time) error {
	c.now = time.Now()
	for last := c.now; !done(); {
		wait := min(c.job.Patience, time.Second)
		if !end.IsZero() {
			wait = min(wait, end.Sub(c.now))
		}
		n, err := c.wait(wait)
		if err != nil {
			return err
		}
		c.now = time.Now()
		for i := range n {
			if err := c.handle(int(c.events[i].Fd)); err != nil {
				return err
			}
		}
		switch {
		case n > 0:
			last = c.now
		case c.missing+c.unready+c.unanswered > 0 && c.now.Sub(last) > c.job.Patience:
			return fmt.Errorf("nothing has come for %v: %d deliveries are missing, %d subscriptions and %d answers to publications",
				c.job.Patience, c.missing, c.unready, c.unanswered)
		}
	}
	return nil
}

// handle reads from the connection of an id.
func (c *house) handle(id int) error {
	fd := -1
	if id < 0 {
		fd = c.publishers[-1-id].fd
	} else if id < len(c.listeners) {
		fd = c.listeners[id].fd
	} else {
		return nil // was cut meanwhile
	}
	n, err := syscall.Read(fd, c.buf)
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return nil
	case err != nil:
		return fmt.Errorf("connection %d: read: %w", id, err)
	case n == 0 && id < 0 && !c.publishers[-1-id].busy:
		return c.redial(-1 - id)
	case n == 0:
		return fmt.Errorf("connection %d: the server closed it", id)
	case id < 0:
		return c.answered(-1-id, c.buf[:n])
	}
	if err := c.hear(&c.listeners[id], c.buf[:n]); err != nil {
		return fmt.Errorf("connection %d: %w", id, err)
	}
	return nil
}

// hear takes bytes that came to a listener.
func (c *house) hear(l *listener, p []byte) (err error) {
	if len(l.rest) > 0 {
		l.rest = append(l.rest, p...)
		p = l.rest
	}
	if l.stage == opening {
		if p, err = c.opened(l, p); err != nil {
			return err
		}
	}
	for l.stage != opening && len(p) > 0 {
		f, n, err := cut(p)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if err := c.frame(l, f); err != nil {
			return err
		}
		p = p[n:]
	}
	if len(p) == 0 {
		l.rest = nil
	} else {
		l.rest = bytes.Clone(p)
	}
	return nil
}

// opened takes the answer to the handshake, and returns what stands after it.
func (c *house) opened(l *listener, p []byte) ([]byte, error) {
	answer, rest, whole := bytes.Cut(p, []byte("\r\n\r\n"))
	if !whole {
		return p, nil
	}
	if err := readAnswer(strings.NewReader(string(answer) + "\r\n\r\n")); err != nil {
		return nil, err
	}
	l.stage = joining
	if hello := c.dialect.hello(c.channelName(l.channel), c.since); hello != "" {
		c.out = appendText(c.out[:0], 1, []byte(hello))
		return rest, c.write(l.fd, c.out)
	}
	return rest, nil
}

func (c *house) frame(l *listener, f received) error {
	switch f.opcode {
	case 1:
	case 9:
		c.out = appendText(c.out[:0], 10, f.payload)
		return c.write(l.fd, c.out)
	case 10:
		return nil
	case 8:
		return fmt.Errorf("the server closed it: %q", f.payload)
	default:
		return fmt.Errorf("a frame of opcode %d", f.opcode)
	}
	if c.dialect.ping != "" && string(f.payload) == c.dialect.ping {
		c.out = appendText(c.out[:0], 1, []byte(c.dialect.pong))
		return c.write(l.fd, c.out)
	}
	if l.stage == joining {
		return c.join(l, f.payload)
	}
	return c.deliver(l, f.payload)
}

// join takes what comes before the subscription, and the text that tells of it.
func (c *house) join(l *listener, text []byte) error {
	i := bytes.Index(text, []byte(c.dialect.joined))
	switch {
	case bytes.Contains(text, []byte(`"error":`)) || bytes.Contains(text, []byte(`"reset":`)):
		return fmt.Errorf("subscribing: %.300q", text)
	case i < 0:
		return nil // of the connection
	}
	l.stage = live
	c.unready--
	if !bytes.Contains(text, []byte(dataBegins)) {
		var err error
		if c.position, err = c.dialect.position(text); err != nil {
			return fmt.Errorf("%w in %.300q", err, text)
		}
		return nil
	}
	return c.deliver(l, text)
}

// deliver takes a text with messages.
func (c *house) deliver(l *listener, text []byte) error {
	ch := &c.channels[l.channel]
	from := l.next
	n, err := l.text(text, c.tail, ch)
	if err != nil {
		return err
	}
	c.got += uint64(n)
	c.missing -= n
	for place := from; place < l.next; place++ {
		c.latency.Add(c.now.Sub(ch.dueAt(place)))
	}
	ch.delivered(n)
	return nil
}
