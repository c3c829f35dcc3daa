package websocket

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/duplexgo/duplex/websocket/internal/netpoll"
)

// A loop waits for the parked connections of a Handler, all in one goroutine,
// which also reads, decodes and calls back: no other goroutine has to wake up for
// a message. What the callbacks send gathers and leaves when all events have been
// worked on, or after a millisecond.
//
// A callback may block. The goroutine that is in charge is the loop's turn; when a
// watcher finds it in the same callback for a millisecond, a new turn takes over
// the loop with the events that are left. The late one finds out when its callback
// returns, finishes with its one connection and goes.
//
// The order of locks is out.mu, loop.mu, crew.mu.
type loop struct {
	handler *Handler
	poller  *netpoll.Poller[*Conn]
	ticks   atomic.Uint32 // the watcher's, a millisecond each
	crew    crew          // for callbacks that block

	mu      sync.Mutex
	turn    *turn   // in charge
	working bool    // it works on events: what is sent meanwhile may wait for their end
	listed  []*Conn // those that have let something gather
	posted  []*Conn // to be worked on beside those with events
	conns   int
	watched bool
	waits   uint32 // how often it has waited for events
	closed  bool
}

// newLoop returns a loop that runs until the last connection has left it.
func newLoop(h *Handler) (*loop, error) {
	p, err := netpoll.New[*Conn]()
	if err != nil {
		return nil, err
	}
	l := &loop{handler: h, poller: p}
	l.turn = newTurn(l)
	go l.turn.run()
	return l, nil
}

// leave is called when a connection has ended.
func (l *loop) leave() {
	h := l.handler
	h.mu.Lock()
	defer h.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns--; l.conns > 0 {
		return
	}
	l.closed = true
	for i := range h.loops {
		if h.loops[i] == l {
			h.loops[i] = nil
		}
	}
	l.poller.Wake()
}

// list reports whether what c has let gather will be written at the end of the
// events that are being worked on. c.out.mu is held.
func (l *loop) list(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.working {
		l.listed = append(l.listed, c)
	}
	return l.working
}

// post has the loop look at a connection for which there will be no event.
func (l *loop) post(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.posted = append(l.posted, c)
		l.poller.Wake()
	}
}

// begin is called by the turn when it has events. It returns what has been posted,
// and false when the loop has ended.
func (l *loop) begin() (posted []*Conn, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.working = true
	l.waits++
	if !l.watched {
		l.watched = true
		go l.watch()
	}
	posted, l.posted = l.posted, nil
	return posted, !l.closed
}

// flush writes what has gathered, until there is nothing; then, if the turn has no
// more events, writes go out at once again.
func (l *loop) flush(t *turn, end bool) {
	for {
		l.mu.Lock()
		l.listed, t.listed = t.listed[:0], l.listed
		if len(t.listed) == 0 {
			l.working = !end
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		for _, c := range t.listed {
			c.out.unlist()
		}
		clear(t.listed)
	}
}

const (
	// patience is how long a callback may keep the loop.
	patience = time.Millisecond

	// lingering is how many milliseconds the watcher stays when nothing happens.
	lingering = 20
)

// A temper decides whether callbacks run in the loop. One that had to be taken away
// from it costs a millisecond, in which nothing else happens. It may be an accident,
// of the system's scheduler say; but where it happens twice in a short time, the
// next callbacks get a goroutine each for a while, and for a longer one if that was
// not enough.
type temper struct {
	blocking atomic.Bool // they get a goroutine each

	mu    sync.Mutex
	last  time.Duration // when the loop was taken over last; 0: never
	term  time.Duration // of the last while
	until time.Duration // its end
}

const (
	shortTerm = 100 * time.Millisecond
	longTerm  = 10 * time.Second
)

// lose is called when the loop was taken over.
func (t *temper) lose() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := clock()
	again := t.last != 0 && now-t.last < shortTerm
	if t.last = now; !again {
		return
	}
	if t.term = min(2*t.term, longTerm); t.term == 0 || now-t.until > t.term {
		t.term = shortTerm
	}
	t.until = now + t.term
	t.blocking.Store(true)
	time.AfterFunc(t.term, t.calm)
}

func (t *temper) calm() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if clock() >= t.until {
		t.blocking.Store(false)
	}
}

// watch finds callbacks that block. It ends when nothing has happened for a while.
func (l *loop) watch() {
	var last uint64
	var late *turn
	var waits uint32
	for idle := 0; ; {
		time.Sleep(patience)
		if l.ticks.Add(1)%lingering == 0 {
			l.crew.trim()
		}
		l.mu.Lock()
		t := l.turn
		state := t.state.Load()
		switch {
		case t != late || state != last || l.waits != waits:
			idle, waits = 0, l.waits
		case state&inCallback != 0:
			l.replace(t, state)
		default:
			idle++
		}
		late, last = t, state
		// Not in the middle of events, where nobody would start another watcher.
		if idle >= lingering && !l.working || l.closed {
			l.watched = false
			l.crew.dismiss()
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
	}
}

// replace puts a new turn in charge of what t has not worked on, unless t's
// callback has returned in time. The mutex is held.
func (l *loop) replace(t *turn, state uint64) {
	if !t.state.CompareAndSwap(state, taken) {
		return
	}
	l.turn = newTurn(l)
	l.turn.events = append(l.turn.events, t.events[t.next:]...)
	l.turn.queue = append(l.turn.queue, t.queue...)
	l.handler.temper.lose()
	go l.turn.run()
}
