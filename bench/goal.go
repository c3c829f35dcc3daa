package main

import (
	"math"
	"slices"

	"github.com/duplexgo/duplex/bench/server"
)

// A goal is a bound for a figure of ours, alone or divided by the best figure of
// some others in the same comparison.
type goal struct {
	name    string
	who     string
	mode    string
	metric  int // which of the mode's
	rivals  []string
	bound   float64
	atLeast bool // the bound is a lower one, and the best of the others the highest
}

// An outcome is what became of a goal.
type outcome struct {
	Goal   string
	Value  float64
	Bound  float64
	AtMost bool // or at least
	Met    bool
	Floor  float64 `json:",omitempty"` // what the floor has; 0: there is none, or it is the rival
}

func (o outcome) bound() string {
	if o.AtMost {
		return "at most"
	}
	return "at least"
}

func (o outcome) verdict() string {
	if o.Met {
		return "met"
	}
	return "NOT MET"
}

// floor says what is out of reach: a server falls below the floor by doing less than it.
func (o outcome) floor() string {
	if o.Floor == 0 {
		return ""
	}
	return "the floor " + number(o.Floor)
}

const (
	callbacks = "duplex"
	blocking  = "duplex-conn"
)

// goals are what the library wants to reach.
func goals() []goal {
	floor := []string{"raw"}
	others := rivals(func(server.Contestant) bool { return true })
	threaded := rivals(func(c server.Contestant) bool { return !c.Poller })
	var all []goal
	for _, mode := range []string{"echo-32", "echo-32-1000", "echo-1k"} {
		all = append(all,
			goal{name: mode + ": callbacks to the floor", who: callbacks, mode: mode, rivals: floor, bound: 1.05},
			goal{name: mode + ": callbacks to the best other library", who: callbacks, mode: mode, rivals: others, bound: 0.75})
	}
	for _, mode := range []string{"echo-32-16", "echo-32-1000-16"} {
		all = append(all, goal{name: mode + ": callbacks to the best other library", who: callbacks, mode: mode, rivals: others, bound: 0.1})
	}
	for _, mode := range []string{"broadcast-8", "broadcast-10k-8"} {
		all = append(all, goal{name: mode + ": callbacks to the best other library", who: callbacks, mode: mode, rivals: others, bound: 0.2})
	}
	all = append(all,
		goal{name: "echo-1m: callbacks to the best of all", who: callbacks, mode: "echo-1m", rivals: append(floor, others...), bound: 1.1},
		goal{name: "tls-32: callbacks to the best other library", who: callbacks, mode: "tls-32", rivals: others, bound: 0.9},
		goal{name: "tls-32-16: callbacks to the best other library", who: callbacks, mode: "tls-32-16", rivals: others, bound: 0.9},
		goal{name: "tls-1k: callbacks to the best other library", who: callbacks, mode: "tls-1k", rivals: others, bound: 0.9})
	for _, m := range modes(options{}) {
		if m.metrics[0].table == echoTable || m.metrics[0].table == tlsTable || m.metrics[0].table == broadcastTable {
			all = append(all, goal{name: m.name + ": blocking to the best other with a goroutine a connection", who: blocking, mode: m.name, rivals: threaded, bound: 0.95})
		}
	}
	for _, mode := range []string{"deflate-12", "deflate-12-forget"} {
		all = append(all, goal{name: mode + ": callbacks to gws", who: callbacks, mode: mode, rivals: []string{"gws"}, bound: 1})
	}
	return append(all,
		goal{name: "deflate-12-idle: heap and stack, bytes", who: callbacks, mode: "deflate-12-idle", bound: 10 << 10},
		goal{name: "idle: heap and stack, bytes", who: callbacks, mode: "idle", metric: 0, bound: 500},
		goal{name: "idle: heap and stack after traffic, bytes", who: callbacks, mode: "idle", metric: 1, bound: 500},
		goal{name: "idle: resident, bytes", who: callbacks, mode: "idle", metric: 4, bound: 700},
		goal{name: "idle: resident after traffic, bytes", who: callbacks, mode: "idle", metric: 5, bound: 700},
		goal{name: "idle-tls: heap and stack, bytes", who: callbacks, mode: "idle-tls", metric: 0, bound: 8 << 10},
		goal{name: "idle-tls: heap and stack after traffic, bytes", who: callbacks, mode: "idle-tls", metric: 1, bound: 8 << 10},
		goal{name: "sleep: callbacks to the best with a goroutine a connection", who: callbacks, mode: "sleep",
			rivals: append(threaded, blocking), bound: 0.9, atLeast: true},
		goal{name: "block: p99 of another connection, ms", who: callbacks, mode: "block", bound: 20})
}

// rivals are the other libraries, or some of them.
func rivals(which func(server.Contestant) bool) []string {
	var all []string
	for _, c := range server.All {
		if !c.Floor && c.Name != callbacks && c.Name != blocking && which(c) {
			all = append(all, c.Name)
		}
	}
	return all
}

// outcomes returns what became of the goals for which everything was measured.
func (c *comparison) outcomes() []outcome {
	all := c.options.suite.modes(c.options)
	var found []outcome
	for _, g := range c.options.suite.goals() {
		m := all[slices.IndexFunc(all, func(m mode) bool { return m.name == g.mode })]
		value, ok := c.value(g, m)
		if !ok {
			continue
		}
		met := value <= g.bound
		if g.atLeast {
			met = value >= g.bound
		}
		o := outcome{Goal: g.name, Value: value, Bound: g.bound, AtMost: !g.atLeast, Met: met}
		if g.rivals != nil && !slices.ContainsFunc(g.rivals, isFloor) {
			g.who = c.floor()
			o.Floor, _ = c.value(g, m)
		}
		found = append(found, o)
	}
	return found
}

// floor returns the name of the floor, "" where it is not measured.
func (c *comparison) floor() string {
	i := slices.IndexFunc(c.options.contestants, func(who server.Contestant) bool { return who.Floor })
	if i < 0 {
		return ""
	}
	return c.options.contestants[i].Name
}

func isFloor(name string) bool {
	who, err := server.Find(name)
	return err == nil && who.Floor
}

// value returns the figure that a goal is about, and false if any that it needs is
// missing: the best of some would be another goal.
func (c *comparison) value(g goal, m mode) (float64, bool) {
	own, ok := c.figure(g.mode, m.metrics[g.metric], g.who)
	if !ok || own.Failed {
		return 0, false
	}
	if g.rivals == nil {
		return own.Median, true
	}
	best := math.Inf(1)
	if g.atLeast {
		best = math.Inf(-1)
	}
	for _, name := range g.rivals {
		if who, err := server.Find(name); err != nil || !m.can(who) {
			continue
		}
		f, ok := c.figure(g.mode, m.metrics[g.metric], name)
		if !ok || f.Failed {
			return 0, false
		}
		if g.atLeast {
			best = max(best, f.Median)
		} else {
			best = min(best, f.Median)
		}
	}
	return own.Median / best, true
}
