package load

import (
	"context"
	"errors"
	"time"
)

// A Result is what a Job has shown. Times and counts are of the measurement, but for
// those of connections and Failures, which are of the whole run.
type Result struct {
	Wanted int // connections, the sender of a broadcast among them
	Opened int
	Lost   int // connections that were open and ended before the run did

	Sent     uint64 // messages that were begun; in a broadcast, to how many they were to come in all
	Received uint64 // messages that came
	Bytes    uint64 // of their payloads
	Wire     uint64 // of their payloads as they came, compressed or not
	Missing  uint64 // of those begun, messages that never came

	Compression string // what the server has agreed on, on the first connection; "" for none

	Wall      time.Duration // how long was measured
	Latency   Histogram
	Handshake Histogram // from the beginning of connecting to the end of the opening handshake
	Failures  []Failures

	Server    *ServerUse // nil without PID
	Generator GeneratorUse
	Stopped   error // why the run ended before its time; nil if it did not
}

// ErrNoneOpen is Result.Stopped where no connection could be opened, ErrStuck where
// no more could be, and ErrAllLost where all were lost.
var (
	ErrNoneOpen = errors.New("no connection could be opened")
	ErrStuck    = errors.New("the server takes no more connections")
	ErrAllLost  = errors.New("all connections were lost")
)

// Run does a Job. The error is for a Job that cannot be begun; what goes wrong
// afterwards is in the Result. The end of ctx ends the run in order.
func Run(ctx context.Context, j Job) (*Result, error) {
	if err := j.complete(); err != nil {
		return nil, err
	}
	if j.PID != 0 {
		if _, err := ReadUsage(j.PID); err != nil {
			return nil, err
		}
	}
	if err := checkFiles(j.Conns); err != nil {
		return nil, err
	}
	w := newWork(j)
	e, err := newEngine(w)
	if err != nil {
		return nil, err
	}
	r := &run{Result: new(Result), ctx: ctx, w: w, engine: e, job: &w.job}
	r.Wanted = j.Conns
	if j.Mode == Broadcast {
		r.Wanted++
	}
	r.Stopped = r.stages()
	r.close()
	r.collect()
	return r.Result, nil
}

// A run is the Job that is being done.
type run struct {
	*Result
	ctx    context.Context
	w      *work
	engine engine
	job    *Job
	stage  Stage
	from   int64 // when the stage began
	before *mark
}

// stages goes through the run and returns why it ended early.
func (r *run) stages() error {
	if err := r.open(); err != nil {
		return err
	}
	if r.job.Mode == Broadcast {
		r.greet()
	}
	now := r.w.now()
	from := now + int64(r.job.Warmup)
	r.w.measureFrom.Store(from)
	r.w.measureTo.Store(from + int64(r.job.Duration))
	if r.job.Mode != Idle {
		r.w.sendFrom.Store(now)
	}
	r.engine.advance(stageWork)
	if err := r.until(WarmingUp, from, nil); err != nil {
		return err
	}
	r.mark()
	err := r.until(Measuring, from+int64(r.job.Duration), nil)
	r.measure()
	if err != nil {
		return err
	}
	return r.drain()
}

// open opens all connections. For the memory of a server, it waits once when a
// few are open, so that what a server makes once is not counted for each.
func (r *run) open() error {
	few := 0
	if r.job.PID != 0 {
		few = min(r.job.Conns/10, 2*atOnce)
		if err := r.openTo(few); err != nil {
			return err
		}
		u, err := ReadUsage(r.job.PID)
		r.Server = &ServerUse{Before: u.Resident, BeforeConns: few}
		if err != nil {
			r.Server.Gone = errEnded
		}
	}
	if err := r.openTo(r.Wanted); err != nil {
		return err
	}
	if opened, _, _ := r.counts(); opened == 0 {
		return ErrNoneOpen
	}
	return nil
}

// openTo opens connections until there are n of them. It gives up when as many as are
// being opened at once have failed in turn, one after another for the whole timeout:
// with many connections, to wait for each of them would take hours.
func (r *run) openTo(n int) error {
	r.w.mayOpen.Store(int64(n))
	r.engine.advance(stageOpen)
	lastOpened, lastFailed, since, stuck := 0, 0, r.w.now(), false
	err := r.until(Opening, 0, func() bool {
		opened, failed, _ := r.counts()
		if now := r.w.now(); opened > lastOpened {
			lastOpened, lastFailed, since = opened, failed, now
		} else {
			stuck = opened > 0 && failed-lastFailed >= atOnce && now-since >= int64(r.job.Timeout)
		}
		return opened+failed >= n || stuck
	})
	if opened, failed, _ := r.counts(); err == nil && stuck && opened+failed < n {
		return ErrStuck
	}
	return err
}

// greetTime is how long a server has to answer the pings of greet. Some answer none.
const greetTime = 2 * time.Second

// greet waits until the server reads every connection, which a ping and its pong
// show. The end of the handshake does not show it yet, and who has not joined a
// broadcast would miss a message by right.
func (r *run) greet() {
	r.engine.advance(stageGreet)
	_ = r.until(Opening, r.w.now()+int64(greetTime), func() bool {
		greeted := 0
		for _, s := range r.engine.shards() {
			greeted += int(s.greeted.Load())
		}
		opened, _, ended := r.counts()
		return greeted >= opened-ended
	})
}

// drain waits for the messages in flight: until the connections of those that do
// not come have been ended for that.
func (r *run) drain() error {
	if r.job.Mode == Idle {
		return nil
	}
	err := r.until(Draining, r.w.now()+2*int64(r.job.Timeout), func() bool {
		var n int64
		for _, s := range r.engine.shards() {
			if r.job.Rate > 0 && !s.paced.Load() {
				return false
			}
			n += s.inFlight.Load()
		}
		return n == 0 && (r.w.room == nil || r.w.room.missing() == 0)
	})
	if err == ErrAllLost && r.Result.Wall >= r.job.Duration {
		return nil // it was measured to the end; the failures are told
	}
	return err
}

func (r *run) counts() (opened, failed, ended int) {
	for _, s := range r.engine.shards() {
		opened += int(s.opened.Load())
		failed += int(s.failed.Load())
		ended += int(s.ended.Load())
	}
	return opened, failed, ended
}

// until waits for a condition, or a time if that is not 0. The error says why the
// run cannot go on.
func (r *run) until(stage Stage, end int64, done func() bool) error {
	if r.stage != stage {
		r.stage, r.from = stage, r.w.now()
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var timer <-chan time.Time
	if end != 0 {
		t := time.NewTimer(time.Duration(end - r.w.now()))
		defer t.Stop()
		timer = t.C
	}
	for {
		if done != nil && done() {
			return nil
		}
		opened, failed, ended := r.counts()
		if opened+failed >= r.Wanted && opened > 0 && opened == ended {
			return ErrAllLost
		}
		if r.job.Mode == Broadcast && stage != Opening {
			if r.senderLost() {
				return errors.New("the connection that sends the broadcast was lost")
			}
			if r.w.room.empty() {
				return ErrAllLost
			}
		}
		select {
		case <-r.w.changed:
		case <-tick.C:
			r.progress(end)
		case <-timer:
			return nil
		case <-r.ctx.Done():
			return context.Cause(r.ctx)
		}
	}
}

func (r *run) senderLost() bool {
	for _, s := range r.engine.shards() {
		if s.senderLost.Load() {
			return true
		}
	}
	return false
}

func (r *run) progress(end int64) {
	if r.job.Progress == nil {
		return
	}
	opened, failed, ended := r.counts()
	p := Progress{Stage: r.stage, Open: opened - ended, Wanted: r.Wanted, Failed: failed + ended, Elapsed: time.Duration(r.w.now())}
	for _, s := range r.engine.shards() {
		p.Received += s.received.Load()
	}
	if r.stage == Opening {
		p.Done = float64(opened+failed) / float64(r.Wanted)
	} else if end > r.from {
		p.Done = min(1, float64(r.w.now()-r.from)/float64(end-r.from))
	}
	r.job.Progress(p)
}

// goodbyeTime is how long the closing handshakes may take in all.
const goodbyeTime = 2 * time.Second

// close ends the connections that are left, in order while that goes quickly.
func (r *run) close() {
	now := r.w.now()
	if to := r.w.measureTo.Load(); to == 0 || to > now {
		r.w.measureTo.Store(now)
	}
	_, _, r.Lost = r.counts()
	r.engine.advance(stageClose)
	timeout := time.NewTimer(goodbyeTime)
	defer timeout.Stop()
	for waiting := true; waiting; {
		if opened, _, ended := r.counts(); opened == ended {
			break
		}
		select {
		case <-r.w.changed:
		case <-timeout.C:
			waiting = false
		}
	}
	r.engine.advance(stageStop)
	r.engine.wait()
}

// collect adds up what the shards have counted.
func (r *run) collect() {
	all := make(tally)
	for _, s := range r.engine.shards() {
		r.Opened += int(s.opened.Load())
		r.Sent += s.sent
		r.Received += s.got
		r.Bytes += s.bytes
		r.Wire += s.wire
		r.Missing += s.lost
		r.Generator.Late += s.late
		r.Latency.Merge(&s.latency)
		r.Handshake.Merge(&s.handshake)
		all.merge(s.failures)
	}
	if answer := r.w.answer.Load(); answer != nil {
		r.Compression = *answer
	}
	r.Failures = all.list()
	r.judge()
}
