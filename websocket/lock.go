package websocket

import (
	"slices"
	"sync"
)

// A lock is a mutex for which one can stop waiting. Those who wait get it in the
// order in which they came.
type lock struct {
	mu      sync.Mutex
	held    bool
	waiting []chan struct{} // each is closed to hand the lock over
}

// try takes the lock if it is free.
func (l *lock) try() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	free := !l.held
	l.held = true
	return free
}

// acquire takes the lock, and reports false if done was closed first.
func (l *lock) acquire(done <-chan struct{}) bool {
	if l.try() {
		return true
	}
	turn := l.queue()
	if turn == nil {
		return true
	}
	select {
	case <-turn:
		return true
	case <-done:
	}
	if !l.leave(turn) {
		l.release() // it was handed over at the same time
	}
	return false
}

// queue returns what will be closed when the lock has been handed over, or nil
// where it has become free meanwhile and is the caller's now.
func (l *lock) queue() chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.held {
		l.held = true
		return nil
	}
	turn := make(chan struct{})
	l.waiting = append(l.waiting, turn)
	return turn
}

// leave stops waiting, and reports false if it is too late for that.
func (l *lock) leave(turn chan struct{}) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.waiting, turn)
	if i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
	return i >= 0
}

func (l *lock) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.held = false
		return
	}
	close(l.waiting[0])
	l.waiting = slices.Delete(l.waiting, 0, 1)
}
