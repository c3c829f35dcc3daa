package push

import (
	"runtime"
	"sync"
	"time"
)

// A pool does the sending for all sessions: those that have news wait in a queue,
// and a few workers take them from there. A session that waits for news costs no
// goroutine.
//
// A worker may get stuck in a write to a peer that takes nothing. As long as there
// is a queue, a clock looks for workers that have been at the same session for a
// whole tick, counts them out and starts others in their stead, twice as many at
// each tick that finds more; so one slow peer delays the others by a few ticks
// once. Workers leave when the queue is empty.
//
// The zero value is ready.
type pool struct {
	mu      sync.Mutex
	queue   []*task
	head    int // queue[head:] waits
	workers map[*worker]struct{}
	stuck   int // of the workers
	limit   int // most workers that are not stuck
	ticks   uint64
	calm    int // ticks in a row that found no worker stuck
	ticking bool
}

// tick is how long a send may take before its worker counts as stuck.
const tick = 2 * time.Millisecond

// maxSurge is the most workers that are not stuck, however many got stuck lately.
const maxSurge = 1024

// A worker is a goroutine of the pool.
type worker struct {
	batch batch // in use again for each session
	since uint64
	stuck bool
}

// A task is a session's place in the pool. Its send is called by one worker at a
// time, at least once after each wake, and again when it returns true.
type task struct {
	send func(b *batch) (more bool)

	mu    sync.Mutex
	state taskState
}

type taskState uint8

const (
	idle    taskState = iota
	queued            // in the queue
	running           // with a worker
	again             // with a worker, and woken since
)

// wake makes a worker call the task's send soon. It never waits for one.
func (p *pool) wake(t *task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.state {
	case idle:
		t.state = queued
		p.add(t)
	case running:
		t.state = again
	}
}

// run calls the task's send, by a worker.
func (p *pool) run(t *task, b *batch) {
	t.mu.Lock()
	t.state = running
	t.mu.Unlock()

	more := t.send(b)

	t.mu.Lock()
	defer t.mu.Unlock()
	if more || t.state == again {
		t.state = queued
		p.add(t) // behind the others
		return
	}
	t.state = idle
}

func (p *pool) add(t *task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, t)
	if p.limit == 0 {
		p.limit = runtime.GOMAXPROCS(0)
		p.workers = make(map[*worker]struct{})
	}
	if len(p.workers)-p.stuck < p.limit {
		p.start()
	} else if !p.ticking {
		p.ticking = true
		time.AfterFunc(tick, p.tick)
	}
}

func (p *pool) start() {
	w := &worker{since: p.ticks}
	p.workers[w] = struct{}{}
	go p.work(w)
}

func (p *pool) work(w *worker) {
	for t := p.take(w); t != nil; t = p.take(w) {
		p.run(t, &w.batch)
	}
}

// take returns the next task for a worker, or nil: then it is none any more.
func (p *pool) take(w *worker) *task {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.stuck {
		w.stuck = false
		p.stuck--
	}
	w.since = p.ticks
	if p.head == len(p.queue) || len(p.workers)-p.stuck > p.limit {
		delete(p.workers, w)
		return nil
	}
	t := p.queue[p.head]
	p.queue[p.head] = nil
	p.head++
	if p.head > len(p.queue)/2 {
		n := copy(p.queue, p.queue[p.head:])
		clear(p.queue[n:])
		p.queue, p.head = p.queue[:n], 0
	}
	return t
}

// tick is called by the clock while there is a queue.
func (p *pool) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	base := runtime.GOMAXPROCS(0)
	waiting := len(p.queue) - p.head
	if waiting == 0 {
		p.ticking, p.limit = false, base
		return
	}
	before := p.stuck
	for w := range p.workers {
		if !w.stuck && w.since < p.ticks {
			w.stuck = true
			p.stuck++
		}
	}
	switch {
	case p.stuck > before:
		p.limit, p.calm = min(2*p.limit, maxSurge), 0
	case p.calm >= 2: // the latest workers have had their time to get stuck
		p.limit = base
	default:
		p.calm++
	}
	for n := min(p.limit-(len(p.workers)-p.stuck), waiting); n > 0; n-- {
		p.start()
	}
	p.ticks++
	time.AfterFunc(tick, p.tick)
}
