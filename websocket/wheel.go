package websocket

import (
	"sync"
	"time"
)

// A wheel is the alarms of a Handler's connections, for pings, pongs and stuck
// writes, on one timer. Alarms of the same length are due in the order in which
// they began, so each length has a list, and starting, stopping and ringing one
// alarm costs the same however many there are. The zero value is ready.
//
// An alarm rings up to a 128th of its length late: those that are due within that
// ring together, and wake the process once.
type wheel struct {
	mu      sync.Mutex
	lists   []*alarms
	timer   *time.Timer
	wake    time.Duration // when the timer fires; 0: it does not
	ringing []*alarm
}

// An alarm is something to be done for a connection later.
type alarm struct {
	c          *Conn
	do         func(*Conn) // called once, on the wheel's time: it must be short
	due        time.Duration
	prev, next *alarm
	list       *alarms // nil: it does not run
}

// alarms are those of one length, in the order in which they are due.
type alarms struct {
	length      time.Duration
	first, last *alarm
}

// epoch is what clock counts from.
var epoch = time.Now()

// clock is the time, in a third of the memory that time.Time takes.
func clock() time.Duration { return time.Since(epoch) }

// start makes an alarm ring after d, which is one of few lengths. One that runs
// begins again.
func (w *wheel) start(a *alarm, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.take(a)
	list := w.of(d)
	a.due, a.list, a.prev, a.next = clock()+d, list, list.last, nil
	if list.last != nil {
		list.last.next = a
	} else {
		list.first = a
	}
	list.last = a
	w.set(list.first.due + d/128)
}

// stop makes an alarm not ring, if it has not begun to.
func (w *wheel) stop(a *alarm) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.take(a)
	for _, l := range w.lists {
		if l.first != nil {
			return
		}
	}
	if w.timer != nil {
		w.timer.Stop() // nothing of a Handler without connections goes on
		w.timer, w.wake = nil, 0
	}
}

// take takes an alarm out of its list.
func (w *wheel) take(a *alarm) {
	list := a.list
	if list == nil {
		return
	}
	if a.prev != nil {
		a.prev.next = a.next
	} else {
		list.first = a.next
	}
	if a.next != nil {
		a.next.prev = a.prev
	} else {
		list.last = a.prev
	}
	a.list, a.prev, a.next = nil, nil, nil
}

func (w *wheel) of(length time.Duration) *alarms {
	for _, l := range w.lists {
		if l.length == length {
			return l
		}
	}
	l := &alarms{length: length}
	w.lists = append(w.lists, l)
	return l
}

// set sees to it that the timer fires at the given time or before.
func (w *wheel) set(at time.Duration) {
	if w.wake != 0 && w.wake <= at {
		return
	}
	w.wake = at
	if d := at - clock(); w.timer == nil {
		w.timer = time.AfterFunc(d, w.ring)
	} else {
		w.timer.Reset(d)
	}
}

// ring rings what is due.
func (w *wheel) ring() {
	w.mu.Lock()
	w.wake = 0
	now := clock()
	due := w.ringing[:0]
	w.ringing = nil
	for _, l := range w.lists {
		for l.first != nil && l.first.due <= now {
			due = append(due, l.first)
			w.take(l.first)
		}
		if l.first != nil {
			w.set(l.first.due + l.length/128)
		}
	}
	w.mu.Unlock()
	for _, a := range due {
		a.do(a.c)
	}
	clear(due)
	w.mu.Lock()
	w.ringing = due[:0]
	w.mu.Unlock()
}
