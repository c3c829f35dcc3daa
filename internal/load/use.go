package load

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
)

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

var errEnded = errors.New("the process has ended")

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
	s.CPU = u.CPU - r.before.server.CPU
	s.Switches = max(0, u.Switches-r.before.server.Switches) // a thread that ends takes its own with it
	s.After, s.AfterConns = u.Resident, opened-ended
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
