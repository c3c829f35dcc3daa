package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
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
	samples []sample
}

// patience is how long a message may take before the run has failed: on a busy
// machine, with a thousand others before it.
const patience = 10 * time.Second

// compare measures every contestant in every mode, round by round, so that what
// the machine does besides meets all of them. In each round another contestant is
// the first.
func compare(o options, progress io.Writer) *comparison {
	c := &comparison{options: o, began: time.Now()}
	for round := range o.rounds {
		for _, m := range o.modes {
			if m.rounds > 0 && round >= m.rounds {
				continue
			}
			for i := range o.contestants {
				who := o.contestants[(i+round)%len(o.contestants)]
				if who.Floor && !m.floor {
					continue
				}
				fmt.Fprintf(progress, "%4.0fs round %d of %d: %s, %s\n", time.Since(c.began).Seconds(), round+1, o.rounds, m.name, who.Name)
				s := sample{Mode: m.name, Contestant: who.Name, Round: round + 1}
				r, err := one(o, m, who, round+1)
				if err != nil {
					s.Error = err.Error()
					fmt.Fprintf(progress, "FAILED: %v\n", err)
				}
				s.Result = r
				c.samples = append(c.samples, s)
			}
		}
	}
	return c
}

// one measures one contestant once, in processes of its own.
func one(o options, m mode, who server.Contestant, round int) (r load.Result, err error) {
	p, err := server.Start(server.Config{Name: who.Name, TLS: m.job.TLS})
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
	j.Warm, j.Patience = o.warm, patience
	if j.Duration == 0 {
		j.Duration = o.duration
	}
	if o.profiles != "" && j.Kind != load.Idle {
		name := fmt.Sprintf("%s-%s-%d.pprof", who.Name, m.name, round)
		if j.Profile, err = filepath.Abs(filepath.Join(o.profiles, name)); err != nil {
			return r, err
		}
	}
	return load.Start(j)
}

// failure returns an error if anything was wrong in any measurement.
func (c *comparison) failure() error {
	failed := 0
	for _, s := range c.samples {
		if s.Error != "" {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d measurements failed; what they were for is not in the tables", failed, len(c.samples))
	}
	return nil
}

// A figure is what the rounds say of one metric of one contestant.
type figure struct {
	Median, Min, Max float64
	Rounds           int
	Failed           bool // in one round at least: then there are no numbers
}

// figure returns that of a metric, and false if it was not measured.
func (c *comparison) figure(mode string, m metric, contestant string) (figure, bool) {
	var f figure
	var values []float64
	for _, s := range c.samples {
		if s.Mode != mode || s.Contestant != contestant {
			continue
		}
		if s.Error != "" {
			return figure{Failed: true}, true
		}
		values = append(values, m.of(s.Result))
	}
	if len(values) == 0 {
		return f, false
	}
	slices.Sort(values)
	n := len(values)
	return figure{
		Median: (values[(n-1)/2] + values[n/2]) / 2,
		Min:    values[0],
		Max:    values[n-1],
		Rounds: n,
	}, true
}
