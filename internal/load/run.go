package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
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
	Missing  uint64 // of those begun, messages that never came

	Wall      time.Duration // how long was measured
	Latency   Histogram
	Handshake Histogram // from the beginning of connecting to the end of the opening handshake
	Failures  []Failures

	Server    *ServerUse // nil without PID
	Generator GeneratorUse
	Stopped   error // why the run ended before its time; nil if it did not
}

// ServerUse is what the server's process has used during the measurement.
type ServerUse struct {
	CPU      time.Duration
	Switches int64

	Before int64 // bytes of resident memory with BeforeConns connections open
	After  int64 // with AfterConns, at the end of the measurement

	BeforeConns, AfterConns int
	Gone                    error // why its use could not be read at the end; then all else is 0
}

// PerConn returns the resident memory for a connection in bytes; 0 if it is not known.
func (u *ServerUse) PerConn() float64 {
	if u.AfterConns <= u.BeforeConns {
		return 0
	}
	return float64(u.After-u.Before) / float64(u.AfterConns-u.BeforeConns)
}

// GeneratorUse is what this process has used during the measurement, and whether it
// could have done more.
type GeneratorUse struct {
	CPU     time.Duration
	Threads int      // of the load
	Busy    float64  // share of its time that the busiest of them was working, 0 to 1
	Late    uint64   // messages at a rate that were begun a millisecond or more too late by this process
	Reasons []string // why it was saturated, if it was
}

// Saturated reports whether the load may have been what was measured.
func (g *GeneratorUse) Saturated() bool { return len(g.Reasons) > 0 }

// The bounds from which the load counts as saturated.
const (
	busyFrom    = 0.9
	lateShare   = 0.01
	crowdedFrom = 0.95
)

// ErrNoneOpen is Result.Stopped where no connection could be opened, and
// ErrAllLost where all were lost.
var (
	ErrNoneOpen = errors.New("no connection could be opened")
	ErrAllLost  = errors.New("all connections were lost")
)

var errEnded = errors.New("the process has ended")

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

func (r *run) openTo(n int) error {
	r.w.mayOpen.Store(int64(n))
	r.engine.advance(stageOpen)
	return r.until(Opening, 0, func() bool {
		opened, failed, _ := r.counts()
		return opened+failed >= n
	})
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
		if r.job.Mode == Broadcast && stage != Opening && r.senderLost() {
			return errors.New("the connection that sends the broadcast was lost")
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

// A mark is what the processes had used when the measurement began.
type mark struct {
	at      time.Time
	own     time.Duration
	busiest time.Duration
	server  Usage
}

func (r *run) mark() {
	m := &mark{busiest: r.engine.busiest(), own: ownTime()}
	if r.Server != nil && r.Server.Gone == nil {
		var err error
		if m.server, err = ReadUsage(r.job.PID); err != nil {
			r.Server.Gone = errEnded
		}
	}
	m.at = time.Now()
	r.before = m
}

// measure takes what was used since mark.
func (r *run) measure() {
	r.w.measureTo.Store(min(r.w.measureTo.Load(), r.w.now()))
	r.Wall = time.Since(r.before.at)
	g := &r.Generator
	g.CPU = ownTime() - r.before.own
	g.Threads = r.job.Threads
	if busiest := r.engine.busiest(); busiest > 0 {
		g.Busy = float64(busiest-r.before.busiest) / float64(r.Wall)
	} else {
		g.Busy = float64(g.CPU) / float64(r.Wall) / float64(runtime.GOMAXPROCS(0))
	}
	if r.Server == nil || r.Server.Gone != nil {
		return
	}
	u, err := ReadUsage(r.job.PID)
	if err != nil {
		r.Server.Gone = errEnded
		return
	}
	opened, _, ended := r.counts()
	s := r.Server
	s.CPU, s.Switches = u.CPU-r.before.server.CPU, u.Switches-r.before.server.Switches
	s.After, s.AfterConns = u.Resident, opened-ended
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
		r.Missing += s.lost
		r.Generator.Late += s.late
		r.Latency.Merge(&s.latency)
		r.Handshake.Merge(&s.handshake)
		all.merge(s.failures)
	}
	r.Failures = all.list()
	r.judge()
}

// judge says whether the load could have done more.
func (r *run) judge() {
	g := &r.Generator
	if g.Busy >= busyFrom {
		g.Reasons = append(g.Reasons, fmt.Sprintf("its busiest thread worked %.0f %% of the time: give it more threads, or another machine", 100*g.Busy))
	}
	if r.job.Rate > 0 && float64(g.Late) > lateShare*float64(max(r.Sent, 1)) {
		g.Reasons = append(g.Reasons, fmt.Sprintf("it sent %.1f %% of the messages a millisecond or more after their time", 100*float64(g.Late)/float64(max(r.Sent, 1))))
	}
	if s := r.Server; s != nil && s.Gone == nil && r.Wall > 0 && r.job.PID != os.Getpid() {
		if share := float64(g.CPU+s.CPU) / float64(r.Wall) / float64(runtime.NumCPU()); share >= crowdedFrom {
			g.Reasons = append(g.Reasons, "it and the server used all processors of this machine between them: each took time from the other")
		}
	}
}
