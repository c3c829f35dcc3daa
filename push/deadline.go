package push

import (
	"container/heap"
	"sync"
	"time"
)

// A deadline is when a session ends unless something happens before, and how: its
// token ends, or it has shown none yet.
type deadline struct {
	at    time.Time
	end   ending
	index int // in the heap, from 1 on; 0: not there
}

// deadlines are those of all sessions, with a single timer: most lines wait long
// for theirs, and a timer for each would cost more than the line.
type deadlines struct {
	mu    sync.Mutex
	due   sessionsByDeadline
	timer *time.Timer
}

// set makes a session end at a time, and forgets the one before; the zero Time is
// never.
func (d *deadlines) set(s *session, at time.Time, end ending) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.deadline.index > 0 {
		heap.Remove(&d.due, s.deadline.index-1)
	}
	if !at.IsZero() {
		s.deadline.at, s.deadline.end = at, end
		heap.Push(&d.due, s)
	}
	d.arm()
}

// arm sets the timer for the first deadline. The lock is held.
func (d *deadlines) arm() {
	if len(d.due) == 0 {
		if d.timer != nil {
			d.timer.Stop()
			d.timer = nil
		}
		return
	}
	wait := max(0, time.Until(d.due[0].deadline.at))
	if d.timer == nil {
		d.timer = time.AfterFunc(wait, d.expire)
	} else {
		d.timer.Reset(wait)
	}
}

// expire ends the sessions whose time has come.
func (d *deadlines) expire() {
	for s, end := range d.overdue() {
		s.line.cut(end)
	}
}

func (d *deadlines) overdue() map[*session]ending {
	d.mu.Lock()
	defer d.mu.Unlock()
	sessions := make(map[*session]ending)
	for now := time.Now(); len(d.due) > 0 && !now.Before(d.due[0].deadline.at); {
		s := heap.Pop(&d.due).(*session)
		sessions[s] = s.deadline.end
	}
	d.arm()
	return sessions
}

// sessionsByDeadline is a heap.
type sessionsByDeadline []*session

func (h sessionsByDeadline) Len() int           { return len(h) }
func (h sessionsByDeadline) Less(i, j int) bool { return h[i].deadline.at.Before(h[j].deadline.at) }

func (h sessionsByDeadline) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].deadline.index, h[j].deadline.index = i+1, j+1
}

func (h *sessionsByDeadline) Push(x any) {
	s := x.(*session)
	*h = append(*h, s)
	s.deadline.index = len(*h)
}

func (h *sessionsByDeadline) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	s.deadline.index = 0
	return s
}
