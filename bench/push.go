package main

import (
	"fmt"
	"time"

	"github.com/duplexgo/duplex/bench/load"
	"github.com/duplexgo/duplex/bench/server"
)

// pushing is our push server among the contestants.
const pushing = "push"

// pushServers is the suite that compares push servers.
var pushServers = suite{
	name:        "push",
	contestants: server.Push,
	modes:       pushModes,
	goals:       pushGoals,
	own:         []string{pushing},
	title:       "Performance of the push server",
	command:     "go run . -suite push",
	document:    "docs/performance-push.md",
	begins:      "<!-- bench-push:begin -->\n",
	ends:        "<!-- bench-push:end -->\n",
	short: []shortColumn{
		{"fan-1", 0, "one in flight"},
		{"fan-8", 0, "eight in flight"},
		{"fan-50", 0, "50/s"},
		{"fan-50", 2, "p99, ms"},
		{"own", 0, "a channel each"},
		{"subscribe", 0, "connect"},
		{"comeback", 0, "come back"},
		{"memory", 5, "memory, bytes"},
	},
	caption: func(o options) string {
		return fmt.Sprintf("The server's processor time in microseconds: for a delivery of 128 bytes to one of\n%s subscribers of a channel, with one publication in flight, with eight, and at 50 a\nsecond, with the 99th percentile of how long a delivery takes; for one of %s\nsubscribers with a channel each, its publication over HTTP included; to connect and\nsubscribe; to come back among %[1]s at once and get 100 messages that were missed. The\nresident memory of a subscriber after traffic. After a figure with ? messages were\npublished late.", grouped(o.many), grouped(o.receivers))
	},
}

const (
	deliveryCPU   = "Server's processor time for each delivery of 128 bytes, microseconds"
	deliveryPaced = "Deliveries at a fixed rate"
	comingTable   = "Those who come, and come back"
	audienceTable = "A subscriber, bytes"
	privateTable  = "A subscriber in a channel of its own, bytes"
)

func pushModes(o options) []mode {
	seldom := min(3, (o.rounds+1)/2)
	base := load.Job{Channel: "channel-", Size: 128, Window: 1}
	job := func(kind load.Kind, conns int, change func(*load.Job)) load.Job {
		j := base
		j.Kind, j.Conns = kind, conns
		if change != nil {
			change(&j)
		}
		return j
	}
	fan := func(window int) mode {
		return mode{
			name:    fmt.Sprintf("fan-%d", window),
			floor:   true,
			job:     job(load.Publish, o.many, func(j *load.Job) { j.Window = window }),
			metrics: []metric{{table: deliveryCPU, name: fmt.Sprintf("%s subscribers, %d in flight", grouped(o.many), window), of: cpu}},
		}
	}
	paced := func(name, column string, conns int, rate float64, own bool) mode {
		return mode{
			name:  name,
			floor: true,
			// A slow rate needs some publications to be measured.
			job: job(load.PublishAt, conns, func(j *load.Job) {
				j.Rate, j.Own = rate, own
				j.Duration = max(o.duration, min(2*time.Second, time.Duration(8/rate*float64(time.Second)), 3*o.duration))
			}),
			metrics: []metric{
				{table: deliveryPaced, name: column + ", us", of: cpu},
				{table: deliveryPaced, name: "p50, ms", of: p50},
				{table: deliveryPaced, name: "p99, ms", of: p99},
			},
		}
	}
	large := paced("fan-10k", grouped(o.receivers)+" of a channel, 5/s", o.receivers, 5, false)
	large.rounds = seldom
	own := paced("own", grouped(o.receivers)+" with a channel each, 5,000/s", o.receivers, 5000, true)
	own.rounds = seldom
	memory := func(name, table string, own bool) mode {
		return mode{
			name:    name,
			floor:   true,
			job:     job(load.Audience, o.idle, func(j *load.Job) { j.Own, j.Settle = own, o.settle }),
			rounds:  1,
			metrics: idleMetrics(table),
		}
	}
	return []mode{
		fan(1),
		fan(8),
		paced("fan-50", grouped(o.many)+" of a channel, 50/s", o.many, 50, false),
		large,
		own,
		{
			name:  "subscribe",
			floor: true,
			job:   job(load.Subscribe, 64, nil),
			metrics: []metric{
				{table: comingTable, name: "connect and subscribe, us", of: cpu},
			},
		},
		{
			name:  "comeback",
			floor: true,
			job: job(load.Comeback, o.many, func(j *load.Job) {
				j.Window = 100
			}),
			metrics: []metric{
				{table: comingTable, name: grouped(o.many) + " come back, 100 missed, us each", of: cpu},
				{table: comingTable, name: "ms until all have them", of: p50},
			},
		},
		memory("memory", audienceTable, false),
		memory("memory-own", privateTable, true),
	}
}

// pushGoals are what the push server wants to reach.
func pushGoals() []goal {
	engine := []string{"centrifuge"}
	to := func(mode string, metric int, what string, bound float64) goal {
		return goal{name: mode + ": " + what + " to centrifuge", who: pushing, mode: mode, metric: metric, rivals: engine, bound: bound}
	}
	return []goal{
		to("fan-1", 0, "processor time", 0.5),
		to("fan-50", 0, "processor time", 0.45),
		to("fan-50", 2, "p99", 0.6),
		to("fan-8", 0, "processor time", 0.3),
		to("fan-10k", 0, "processor time", 0.48),
		to("own", 0, "processor time", 0.75),
		to("memory", 5, "resident memory after traffic", 0.1),
		to("subscribe", 0, "processor time", 0.6),
		to("comeback", 0, "processor time", 0.4),
		to("comeback", 1, "time until all have caught up", 0.4),
	}
}
