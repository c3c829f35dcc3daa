package websocket

import (
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/duplexgo/duplex/websocket/internal/netpoll"
)

// A turn is a goroutine's time in charge of a loop, or with one connection alone.
type turn struct {
	loop *loop

	// state says whether a callback runs, and counts them. Only the turn changes it,
	// except that the watcher makes taken of inCallback.
	state atomic.Uint64
	alone bool // the loop is another's: finish with this connection

	events []netpoll.Event[*Conn]
	next   int     // the first of events that has not been worked on
	queue  []*Conn // owned, and to be worked on after the events
	listed []*Conn // what loop.flush has in hand
	ticks  uint32  // of the loop, when it was last flushed

	desk []byte // where bytes are read to
	in   *in    // lent to a connection that has none of its own
	lent []byte // the long buffer of the last message, which its callback may have
	from drainer
}

const (
	inCallback = 1 // bit 0 of turn.state
	taken      = 1<<64 - 1
)

const (
	maxEvents = 256      // taken from the poller at once
	deskSize  = 64 << 10 // read at once
	fairShare = 32       // reads from a connection before others have their turn
	longTurn  = 4        // milliseconds for the messages of one read before others have their turn
)

var desks = sync.Pool{New: func() any { return new([deskSize]byte) }}

func newTurn(l *loop) *turn {
	return &turn{loop: l, events: make([]netpoll.Event[*Conn], 0, maxEvents)}
}

// run is in charge of the loop until it ends or another turn has taken it over.
func (t *turn) run() {
	desk := desks.Get().(*[deskSize]byte)
	defer t.exit(desk)
	t.desk = desk[:]
	t.loop.flush(t, false)
	for {
		for t.next < len(t.events) && !t.alone {
			e := t.events[t.next]
			t.next++
			t.event(e)
		}
		for n := len(t.queue); n > 0 && !t.alone; n-- {
			c := t.queue[0]
			t.queue[0] = nil
			t.queue = t.queue[1:]
			t.work(c, true)
		}
		if t.alone || !t.wait() {
			return
		}
	}
}

// exit is called when the turn's goroutine ends. Where a callback has ended it
// (runtime.Goexit), the loop goes on without it.
func (t *turn) exit(desk *[deskSize]byte) {
	t.giveBack()
	desks.Put(desk)
	l := t.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.turn != t:
	case l.closed:
		l.poller.Close()
	default:
		l.replace(t, t.state.Load())
	}
}

// wait writes what has gathered and waits for events. It reports false when the
// loop has ended.
func (t *turn) wait() bool {
	l := t.loop
	l.flush(t, len(t.queue) == 0)
	t.giveBack()
	clear(t.events)
	if l.handler.temper.blocking.Load() {
		runtime.Gosched() // to those who do the work: more events come meanwhile
	}
	events, err := l.poller.Wait(t.events[:0], len(t.queue) == 0)
	if err != nil {
		panic("websocket: waiting for events: " + err.Error()) // the poller is the loop's own: cannot be
	}
	t.events, t.next = events, 0
	posted, ok := l.begin()
	for _, c := range posted {
		if c.parking.claim() {
			t.queue = append(t.queue, c)
		}
	}
	t.ticks = l.ticks.Load()
	return ok
}

// tick is called before each connection, and has what gathers leave once a
// millisecond. It returns a number that changes as often, while the loop is the
// turn's.
func (t *turn) tick() uint32 {
	if t.alone {
		return t.ticks
	}
	if n := t.loop.ticks.Load(); n != t.ticks {
		t.ticks = n
		t.loop.flush(t, false)
	}
	return t.ticks
}

// event works on what the poller tells of a connection.
func (t *turn) event(e netpoll.Event[*Conn]) {
	t.tick()
	c := e.Value
	if c.socket() == nil {
		if c.parking.claim() {
			go t.loop.handler.attend(c)
		}
		return
	}
	if e.Writable() {
		c.out.writable()
	}
	if e.Readable() && c.parking.claim() {
		if t.loop.handler.temper.blocking.Load() {
			t.loop.crew.work(c, e.HungUp())
		} else {
			t.work(c, e.HungUp())
		}
	}
}

// workAlone works on one connection, which the caller owns. The turn is alone.
func (t *turn) workAlone(c *Conn, all bool) {
	desk := smallBuffers.Get().(*[smallBuffer]byte)
	defer smallBuffers.Put(desk)
	t.loop, t.desk = c.parking.loop, desk[:]
	t.work(c, all)
	t.giveBack()
	t.from, t.loop, t.desk = drainer{}, nil, nil
}

// giveBack returns the last message's buffer, whose callback has returned.
func (t *turn) giveBack() {
	if t.lent != nil {
		freeLong(t.lent)
		t.lent = nil
	}
}

// work reads from a connection that the caller owns and calls back for its
// messages, until there is no more. Unless all is true, a short read is taken for
// the last: more bytes will be another event.
func (t *turn) work(c *Conn, all bool) {
	for {
		switch err := t.serve(c, all); {
		case err == errLater && !t.alone:
			t.queue = append(t.queue, c)
			return
		case err == errLater:
		case err == errLeft:
			return
		case err != nil:
			c.depart(err)
			return
		default:
			if c.parking.release() {
				return
			}
		}
		all = true
	}
}

var (
	errLater = &opError{"reading", io.ErrNoProgress} // others wait too
	errLeft  = &opError{"reading", io.EOF}           // somebody else ends the connection
)

// serve is work until there is nothing to be read for now. It returns how the
// connection has ended.
func (t *turn) serve(c *Conn, all bool) error {
	if err := c.ending.cause(); err != nil {
		return err
	}
	if final := c.parking.final.Load(); final != nil {
		return t.drain(c, final.err)
	}
	if c.out.stuck.Load() && c.out.stall() {
		return nil
	}
	t.from = drainer{turn: t, socket: c.socket(), all: all, begin: t.tick()}
	in := t.lend(c)
	for {
		typ, p, err := in.take(t)
		if err == netpoll.ErrWouldBlock {
			t.takeBack(in)
			if t.from.later {
				return errLater
			}
			return nil
		}
		if err != nil {
			t.drop(in)
			return err
		}
		if c.over() {
			continue
		}
		if !t.call(c, typ, p) {
			t.drop(in)
			return errLeft
		}
		late := t.from.late(longTurn)
		if c.out.stuck.Load() && c.out.stall() {
			t.takeBack(in)
			return nil
		}
		if late {
			t.takeBack(in)
			return errLater // many callbacks that do not block take long together, too
		}
	}
}

// drain throws away what still comes of a connection that has nothing to say any
// more, until its peer ends it.
func (t *turn) drain(c *Conn, end error) error {
	for range fairShare {
		_, err := c.socket().Read(t.desk)
		switch err {
		case nil:
		case netpoll.ErrWouldBlock:
			return nil
		default:
			c.cut(end)
			return errLeft
		}
	}
	return errLater
}

// call calls Message, and tells the watcher for how long.
func (t *turn) call(c *Conn, typ MessageType, p []byte) bool {
	h := t.loop.handler
	if t.alone {
		return h.message(c, typ, p)
	}
	s := t.state.Load() | inCallback
	t.state.Store(s)
	ok := h.message(c, typ, p)
	t.alone = !t.state.CompareAndSwap(s, s+1)
	return ok
}

// lend returns the connection's receiving half, or the turn's for one that has
// stopped between two messages.
func (t *turn) lend(c *Conn) *in {
	in := c.in
	if in == nil {
		if t.in == nil {
			t.in = newParkedIn(c)
		}
		in = t.in
	}
	in.c, in.source, in.desk = c, &t.from, t.desk
	if in.rules != c.settings { // of another connection, and between two messages
		in.follow(c.settings)
	}
	return in
}

// takeBack takes the turn's memory away from a connection, which keeps a copy of
// what it needs: between two messages that is nothing.
func (t *turn) takeBack(in *in) {
	c := in.c
	in.keep(in.buf[in.r:in.w])
	in.source, in.desk = nil, nil
	if p := in.part; roomy(p) {
		in.part = moveLong(newLong(len(p)), p)
	}
	if !in.between() {
		if in.decoders != nil {
			in.decoders.suspend()
		}
		c.in = in
		if in == t.in {
			t.in = nil
		}
		return
	}
	c.in = nil
	t.in = in
	in.c = nil
}

// drop forgets the receiving half of a connection that has ended.
func (t *turn) drop(in *in) {
	in.c.in = nil
	if in == t.in {
		t.in = nil
	}
}

// A drainer reads from a socket until it is empty, or others have waited enough:
// frames for which there is no callback take their time, too.
type drainer struct {
	turn   *turn
	socket socket
	begin  uint32 // by loop.ticks
	reads  int
	all    bool // until it says so
	dry    bool // a short read has said so
	later  bool // it is not empty, but others have their turn
}

func (d *drainer) Read(p []byte) (int, error) {
	if d.dry {
		return 0, netpoll.ErrWouldBlock
	}
	if d.reads >= fairShare || d.reads > 0 && d.late(1) {
		d.later = true
		return 0, netpoll.ErrWouldBlock
	}
	d.reads++
	n, err := d.socket.Read(p)
	d.dry = n < len(p) && !d.all && err == nil
	return n, err
}

// late reports whether more than so many milliseconds have gone by since the beginning.
// It writes nothing: what one read has brought is worked on in one go, and what that
// makes gather for a connection leaves in one write.
func (d *drainer) late(most uint32) bool {
	return !d.turn.alone && d.turn.loop.ticks.Load()-d.begin > most
}
