package websocket

import "sync"

// A crew is goroutines that work on one connection each, for callbacks that block. They
// stay for the next connection, with the stacks that the callbacks have made grow: to
// grow a stack anew costs more than all else that the library does for a message. Those
// for whom there is nothing to do go when the loop's watcher finds that out.
type crew struct {
	mu    sync.Mutex
	open  bool    // who has nothing to do may stay
	idle  []*hand // the last is the one that has worked last
	spare int     // how many have been idle ever since trim was called last
}

// A hand is one of a crew.
type hand struct {
	crew *crew
	turn turn
	next chan task // has room for one; closed to send the hand away
}

// A task is a connection that the hand owns from then on.
type task struct {
	c   *Conn
	all bool
}

// work has a hand work on a connection that the caller owns.
func (w *crew) work(c *Conn, all bool) {
	if h := w.call(); h != nil {
		h.next <- task{c, all}
		return
	}
	h := &hand{crew: w, next: make(chan task, 1)}
	h.turn.alone = true
	go h.run(task{c, all})
}

// call returns a hand that is idle, or nil.
func (w *crew) call() *hand {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.idle) - 1
	if n < 0 {
		return nil
	}
	h := w.idle[n]
	w.idle[n] = nil
	w.idle = w.idle[:n]
	w.spare = min(w.spare, n)
	return h
}

// stay reports whether a hand that has nothing to do may wait.
func (w *crew) stay(h *hand) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open {
		w.idle = append(w.idle, h)
	}
	return w.open
}

func (h *hand) run(t task) {
	for ok := true; ok; t, ok = <-h.next {
		h.turn.workAlone(t.c, t.all)
		t = task{} // whoever waits holds no connection
		if !h.crew.stay(h) {
			return
		}
	}
}

// trim sends away those who have had nothing to do since the last trim, and lets
// others stay.
func (w *crew) trim() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = true
	n := min(w.spare, len(w.idle))
	for _, h := range w.idle[:n] {
		close(h.next)
	}
	rest := copy(w.idle, w.idle[n:])
	clear(w.idle[rest:])
	w.idle = w.idle[:rest]
	w.spare = rest
}

// dismiss sends all away, and those who work when they have done.
func (w *crew) dismiss() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = false
	for _, h := range w.idle {
		close(h.next)
	}
	w.idle, w.spare = nil, 0
}
