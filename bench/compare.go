package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/duplexgo/duplex/bench/load"
	"github.com/duplexgo/duplex/bench/server"
)

// A sample is one measurement of one contestant.
type sample struct {
	Mode       string
	Contestant string
	Round      int
	Result     load.Result
	Error      string `json:",omitempty"`
}

// A comparison is all that was measured.
type comparison struct {
	options options
	began   time.Time
	took    time.Duration
	load    string  // the machine's load average before
	others  float64 // processors that others kept busy then
	samples []sample
}

// patience is how long a message may take before the run has failed: on a busy
// machine, with a thousand others before it.
const patience = 10 * time.Second

// A step is a measurement to be made.
type step struct {
	mode  mode
	who   server.Contestant
	round int
}

// steps are all measurements in their order, round by round, so that what the
// machine does besides meets all contestants. In each round another is the first.
func (o options) steps() []step {
	var all []step
	for round := range o.rounds {
		for _, m := range o.modes {
			if m.rounds > 0 && round >= m.rounds {
				continue
			}
			for i := range o.contestants {
				if who := o.contestants[(i+round)%len(o.contestants)]; m.can(who) {
					all = append(all, step{m, who, round + 1})
				}
			}
		}
	}
	return all
}

// compare measures every contestant in every mode that it can do.
func compare(o options, progress io.Writer) *comparison {
	c := &comparison{options: o, began: time.Now(), load: loadAverage(), others: busy(500 * time.Millisecond)}
	steps := o.steps()
	left := newForecast(o)
	for i, s := range steps {
		fmt.Fprintf(progress, "%d of %d, %s left: round %d, %s, %s\n",
			i+1, len(steps), left.of(steps[i:]), s.round, s.mode.name, s.who.Name)
		began := time.Now()
		made := sample{Mode: s.mode.name, Contestant: s.who.Name, Round: s.round}
		r, err := one(o, s)
		if err != nil {
			made.Error = strings.TrimSpace(err.Error())
			fmt.Fprintf(progress, "FAILED: %v\n", err)
		}
		made.Result = r
		c.samples = append(c.samples, made)
		left.took(s, time.Since(began))
	}
	c.took = time.Since(c.began)
	return c
}

// A forecast tells how long measurements will take: as long as those of the same mode
// have taken, and as is expected of the modes that have not been.
type forecast struct {
	options options
	total   map[string]time.Duration
	count   map[string]int
}

func newForecast(o options) *forecast {
	return &forecast{options: o, total: make(map[string]time.Duration), count: make(map[string]int)}
}

func (f *forecast) took(s step, d time.Duration) {
	f.total[s.mode.name] += d
	f.count[s.mode.name]++
}

func (f *forecast) of(steps []step) time.Duration {
	var sum time.Duration
	for _, s := range steps {
		if n := f.count[s.mode.name]; n > 0 {
			sum += f.total[s.mode.name] / time.Duration(n)
		} else {
			sum += s.mode.expected(f.options)
		}
	}
	return sum.Round(time.Second)
}

// one measures one contestant once, in processes of its own.
func one(o options, s step) (r load.Result, err error) {
	m, who := s.mode, s.who
	p, err := server.Start(server.Config{Name: who.Name, TLS: m.job.TLS, Deflate: m.deflate})
	if err != nil {
		return r, err
	}
	defer func() {
		if stopped := p.Stop(); err == nil && stopped != nil {
			err = fmt.Errorf("the server failed: %w", stopped)
		}
	}()
	j := m.job
	j.Addr, j.Control, j.PID = p.Addr, p.Control, p.PID
	j.Mirror = who.Floor
	j.Dialect = who.Name
	j.Warm, j.Patience = o.warm, patience
	if j.Duration == 0 {
		j.Duration = o.duration
	}
	if o.profiles != "" && j.Kind != load.Idle && j.Kind != load.Audience {
		name := fmt.Sprintf("%s-%s-%d.pprof", who.Name, m.name, s.round)
		if j.Profile, err = filepath.Abs(filepath.Join(o.profiles, name)); err != nil {
			return r, err
		}
	}
	return load.Start(j)
}

// failures returns a line for each measurement that went wrong.
func (c *comparison) failures() []string {
	var lines []string
	for _, s := range c.samples {
		if s.Error != "" {
			lines = append(lines, fmt.Sprintf("%s, %s, round %d: %s", s.Mode, s.Contestant, s.Round, s.Error))
		}
	}
	return lines
}

// failure returns an error if anything was wrong in any measurement.
func (c *comparison) failure() error {
	if failed := len(c.failures()); failed > 0 {
		return fmt.Errorf("%d of %d measurements failed; what they were for is not in the tables", failed, len(c.samples))
	}
	return nil
}

// A figure is what the rounds say of one metric of one contestant.
type figure struct {
	Median, Min, Max float64
	Rounds           int
	Failed           bool // in one round at least: then there are no numbers
	Doubtful         bool // the generator may have been what was measured, in half the rounds or more
}

// figure returns that of a metric, and false if it was not measured.
func (c *comparison) figure(mode string, m metric, contestant string) (figure, bool) {
	var f figure
	var values []float64
	doubts := 0
	for _, s := range c.samples {
		if s.Mode != mode || s.Contestant != contestant {
			continue
		}
		if s.Error != "" {
			return figure{Failed: true}, true
		}
		if s.Result.Doubt != "" {
			doubts++
		}
		values = append(values, m.of(s.Result))
	}
	if len(values) == 0 {
		return f, false
	}
	slices.Sort(values)
	n := len(values)
	return figure{
		Median:   (values[(n-1)/2] + values[n/2]) / 2,
		Min:      values[0],
		Max:      values[n-1],
		Rounds:   n,
		Doubtful: 2*doubts >= n && doubts > 0,
	}, true
}
