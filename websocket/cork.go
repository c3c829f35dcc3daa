package websocket

import (
	"time"

	"github.com/duplexgo/duplex/websocket/internal/netpoll"
)

// A cork lets frames gather without waiting for them to leave: answers to messages
// that have come together leave together. Whoever reads a connection that no loop reads
// puts it in while another message is to be had without waiting, and has what has
// gathered written before it waits for one. A timer does so, too: an application that
// takes its time between two messages holds nothing up for longer than patience.
type cork struct {
	in    bool        // frames gather
	round uint64      // of the last batch in which some have
	due   bool        // the timer runs
	alarm alarm       // the timer, in a Handler's Conn
	timer *time.Timer // in any other; nil: has not been needed
}

// corked reports whether frames gather.
func (o *out) corked() bool { return o.aside != nil && o.aside.cork != nil && o.aside.cork.in }

// plug puts the cork in.
func (o *out) plug() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed() != nil {
		return
	}
	a := o.rare()
	if a.cork == nil {
		a.cork = &cork{alarm: alarm{c: o.c, do: (*Conn).corkDue}}
	}
	a.cork.in = true
}

// pull pulls the cork, and leaves what has gathered to the next frame, which takes it
// along: the last of the messages that have come together is about to be answered.
// Where it is not, uncork or the timer has it written.
func (o *out) pull() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pop()
}

// pop is pull with the mutex held.
func (o *out) pop() {
	if o.corked() {
		o.aside.cork.in = false
	}
}

// uncork pulls the cork and has what has gathered written. It does not wait for that: it
// may be what other goroutines have sent, more than the peer takes before it is read from.
func (o *out) uncork() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.aside == nil || o.aside.cork == nil {
		return
	}
	k := o.aside.cork
	held := k.in || k.due
	k.in = false
	k.stop()
	if !held {
		return
	}
	if _, ok := o.c.stream.(*netpoll.Blocking); ok && o.batch != nil && !o.busy && !o.flusher {
		o.attempt() // an error shows in the next call
	}
	o.flushing()
}

// corkDue is the timer: somebody takes his time.
func (c *Conn) corkDue() {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.aside.cork.in, o.aside.cork.due = false, false
	o.flushing()
}

// keep is called when something has gathered under the cork: it leaves in time.
func (k *cork) keep() {
	k.round = k.alarm.c.out.round
	if k.due {
		return
	}
	k.due = true
	switch c := k.alarm.c; {
	case c.settings.handler != nil:
		c.settings.handler.wheel.start(&k.alarm, patience)
	case k.timer == nil:
		k.timer = time.AfterFunc(patience, c.corkDue)
	default:
		k.timer.Reset(patience)
	}
}

func (k *cork) stop() {
	if !k.due {
		return
	}
	k.due = false
	if h := k.alarm.c.settings.handler; h != nil {
		h.wheel.stop(&k.alarm)
	} else {
		k.timer.Stop()
	}
}

// haste is how long the end of a connection lets a stream take what has gathered.
const haste = 10 * time.Millisecond

// expel writes what has gathered under the cork, as far as the stream takes it in a
// moment, before the connection is cut with end: a Write has returned, and whoever ends the
// connection after that may count on it.
func (o *out) expel(end error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.c.socket() != nil {
		if o.err == nil && o.batch != nil && !o.busy && !o.stuck.Load() {
			o.drain()
		}
		return
	}
	if o.aside == nil || o.aside.cork == nil || o.flushed >= o.aside.cork.round {
		return
	}
	defer time.AfterFunc(haste, func() { o.c.cut(end) }).Stop() // whoever writes then is done
	o.flush(o.aside.cork.round)
}
