package load

import (
	"sync"
	"time"
)

func newEngine(w *work) (engine, error) {
	if w.job.URL.Scheme == "wss" || w.job.goroutines {
		return newCrew(w)
	}
	return newLoops(w)
}

// loops are all of them.
type loops struct {
	all     []*loop
	running sync.WaitGroup
}

func newLoops(w *work) (engine, error) {
	ls := new(loops)
	n := min(w.job.Threads, w.job.Conns)
	w.job.Threads = n
	for i := range n {
		l, err := newLoop(w, i, n)
		if err != nil {
			for _, l := range ls.all {
				l.release()
			}
			return nil, err
		}
		ls.all = append(ls.all, l)
	}
	if w.room != nil {
		first := ls.all[0]
		w.room.ready = func() {
			// Only a wake that comes from another loop is needed, but it is not known here.
			if !first.room.Swap(true) && n > 1 {
				first.wake()
			}
		}
	}
	for _, l := range ls.all {
		ls.running.Go(l.run)
	}
	return ls, nil
}

func (ls *loops) shards() []*shard {
	var all []*shard
	for _, l := range ls.all {
		all = append(all, &l.shard)
	}
	return all
}

func (ls *loops) advance(stage int32) {
	for _, l := range ls.all {
		l.stage.Store(stage)
		l.wake()
	}
}

func (ls *loops) wait() { ls.running.Wait() }

// busiest returns the processor time of the loop that has used the most.
func (ls *loops) busiest() (most time.Duration) {
	for _, l := range ls.all {
		most = max(most, threadTime(int(l.tid.Load())))
	}
	return most
}
