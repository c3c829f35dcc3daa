package push

import (
	"sync"
	"sync/atomic"
)

// A hub knows who reads which channel in this process, and wakes them when there
// is news. What there is they read from the channel's log.
type hub struct {
	broker  broker
	readers atomic.Int64 // of all channels

	mu       sync.RWMutex
	channels map[string]*channel // those that have readers
}

// A channel is a log with its readers.
type channel struct {
	log *log

	mu       sync.Mutex
	readers  []*reader
	visible  int       // of the readers: those that are not hidden
	presence *presence // nil: nobody has a name, and nobody asks
}

// A reader is a session's place in one channel.
type reader struct {
	channel *channel
	session *session

	// Under the session's lock:
	seq   uint64 // all messages up to here have been read
	reset string // the client is to be told first that messages are missing, and why
	watch *watch // nil: does not want to know who is present

	// Under the channel's lock:
	index int    // in channel.readers
	user  string // "": nobody in particular
	named bool   // present by name

	hidden bool // does not count as present
}

// news wakes the readers of a channel.
func (h *hub) news(name string) {
	h.mu.RLock()
	c := h.channels[name]
	h.mu.RUnlock()
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.readers {
		r.session.line.wake()
	}
}

// join makes a reader of the channel of this name. What is published from now on
// wakes its session; it begins to read where s says.
func (h *hub) join(r *reader, name string, s start) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	l, err := h.broker.open(name) // once for each reader: it drops what is too old
	if err != nil {
		return err
	}
	c := h.channels[name]
	if c == nil {
		if h.channels == nil {
			h.channels = make(map[string]*channel)
		}
		c = &channel{log: l}
		h.channels[name] = c
	}
	r.channel = c
	r.seq, r.reset = c.log.join(s, h.broker.now())
	c.add(r)
	h.readers.Add(1)
	return nil
}

// leave ends what join began.
func (h *hub) leave(r *reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if left := r.channel.remove(r); left == 0 {
		delete(h.channels, r.channel.log.channel)
	}
	h.broker.release(r.channel.log)
	h.readers.Add(-1)
}

func (c *channel) add(r *reader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.index = len(c.readers)
	c.readers = append(c.readers, r)
	c.arrive(r)
	if r.watch != nil {
		c.watch(1)
	}
}

// remove returns how many readers are left.
func (c *channel) remove(r *reader) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.readers) - 1
	moved := c.readers[last]
	c.readers[r.index], moved.index = moved, r.index
	c.readers[last] = nil
	c.readers = c.readers[:last]
	if r.watch != nil {
		c.watch(-1)
	}
	c.depart(r)
	return last
}

// readersOf returns the number of readers of a channel.
func (h *hub) readersOf(name string) int {
	h.mu.RLock()
	c := h.channels[name]
	h.mu.RUnlock()
	if c == nil {
		return 0
	}
	return c.subscribers()
}

func (c *channel) subscribers() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.readers)
}
