package push

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A wake while the task is being sent is not lost, however many there are.
func TestPoolWakeWhileSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pool
		begun, goOn := make(chan struct{}), make(chan struct{})
		task := &task{send: func(*batch) bool {
			begun <- struct{}{}
			<-goOn
			return false
		}}
		p.wake(task)
		p.wake(task)
		<-begun
		for range 3 {
			p.wake(task)
		}
		synctest.Wait()
		goOn <- struct{}{}
		<-begun
		goOn <- struct{}{}
		synctest.Wait()
		select {
		case <-begun:
			t.Error("sent a third time, woken for two")
		default:
		}
		p.wake(task)
		<-begun
		goOn <- struct{}{}
	})
}

// A task with more to send comes behind the others, and is not forgotten.
func TestPoolMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool{limit: 1, workers: make(map[*worker]struct{})}
		var order []string
		left := 3
		first := make(chan struct{})
		long := &task{send: func(*batch) bool {
			if left == 3 {
				<-first
			}
			order = append(order, "long")
			left--
			return left > 0
		}}
		short := &task{send: func(*batch) bool { order = append(order, "short"); return false }}
		p.wake(long)
		p.wake(short)
		synctest.Wait()
		close(first)
		synctest.Wait()
		if want := []string{"long", "short", "long", "long"}; !slices.Equal(order, want) {
			t.Errorf("sent in the order %v, want %v", order, want)
		}
	})
}

// However many peers take nothing, the others wait for a moment only, and only the
// first time.
func TestPoolStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stuck = 500
		var p pool
		release := make(chan struct{})
		for range stuck {
			p.wake(&task{send: func(*batch) bool { <-release; return false }})
		}
		sent := make(chan time.Duration)
		begin := time.Now()
		well := &task{send: func(*batch) bool { sent <- time.Since(begin); return false }}
		p.wake(well)
		if d := <-sent; d > 20*tick {
			t.Errorf("behind %d stuck ones a task has waited for %v", stuck, d)
		}
		synctest.Wait()
		begin = time.Now()
		p.wake(well)
		if d := <-sent; d != 0 {
			t.Errorf("with %d workers stuck a task has waited for %v", stuck, d)
		}
		close(release)
		synctest.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.workers) != 0 || p.stuck != 0 || p.head != len(p.queue) {
			t.Errorf("%d workers are left, %d of them stuck, %d tasks", len(p.workers), p.stuck, len(p.queue)-p.head)
		}
	})
}

// A few workers are enough for many sessions that take what they get.
func TestPoolIsSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pool
		var mu sync.Mutex
		now, most, sent := 0, 0, 0
		gate := make(chan struct{})
		for range 1000 {
			p.wake(&task{send: func(*batch) bool {
				mu.Lock()
				now++
				sent++
				most = max(most, now)
				mu.Unlock()
				<-gate
				mu.Lock()
				now--
				mu.Unlock()
				return false
			}})
		}
		for range 1000 {
			gate <- struct{}{}
		}
		synctest.Wait()
		if limit := runtime.GOMAXPROCS(0); most > limit {
			t.Errorf("%d workers at once, limit %d", most, limit)
		}
		if sent != 1000 {
			t.Errorf("%d of 1000 tasks were sent", sent)
		}
	})
}
