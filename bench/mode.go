package main

import (
	"time"

	"github.com/duplexgo/duplex/bench/load"
)

// A mode is one thing that is measured of every contestant that can do it.
type mode struct {
	name    string
	job     load.Job
	floor   bool // the floor can do it
	rounds  int  // at most; 0: as many as asked for
	metrics []metric
}

// A metric is a figure that a mode yields, and a column of a table.
type metric struct {
	table string // the title of the table that it is in
	name  string
	of    func(load.Result) float64
}

const (
	echoTable      = "Server's processor time for an echoed message, microseconds"
	tlsTable       = "The same over TLS"
	broadcastTable = "Server's processor time for a delivery of a broadcast of 128 bytes to 1,000 connections, microseconds"
	idleTable      = "An idle connection, bytes"
	idleTLSTable   = "An idle connection over TLS, bytes"
	blockTable     = "Callbacks that wait"
)

func modes(o options) []mode {
	echo := func(name, column string, conns, size, window int) mode {
		return mode{
			name:    name,
			floor:   true,
			job:     load.Job{Kind: load.Echo, Path: "/echo", Conns: conns, Size: size, Window: window},
			metrics: []metric{{echoTable, column, cpu}},
		}
	}
	overTLS := func(m mode) mode {
		m.name = "tls-" + m.name
		m.floor = false
		m.job.TLS = true
		m.metrics = []metric{{tlsTable, m.metrics[0].name, cpu}}
		return m
	}
	broadcast := func(name, column string, window int) mode {
		return mode{
			name:    name,
			floor:   true,
			job:     load.Job{Kind: load.Broadcast, Path: "/broadcast", Conns: 1000, Size: 128, Window: window},
			metrics: []metric{{broadcastTable, column, cpu}},
		}
	}
	slow := min(3, (o.rounds+1)/2)
	return []mode{
		echo("echo-32", "32 B, 64 conns", 64, 32, 1),
		echo("echo-32-1000", "32 B, 1000 conns", 1000, 32, 1),
		echo("echo-32-16", "32 B, 16 in flight", 64, 32, 16),
		echo("echo-1k", "1 KiB", 64, 1<<10, 1),
		echo("echo-16k", "16 KiB", 64, 16<<10, 1),
		echo("echo-1m", "1 MiB", 64, 1<<20, 1),
		overTLS(echo("32", "32 B, 64 conns", 64, 32, 1)),
		overTLS(echo("32-16", "32 B, 16 in flight", 64, 32, 16)),
		overTLS(echo("1k", "1 KiB", 64, 1<<10, 1)),
		broadcast("broadcast-1", "1 in flight", 1),
		broadcast("broadcast-8", "8 in flight", 8),
		{
			name:  "idle",
			floor: true,
			job: load.Job{Kind: load.Idle, Path: "/echo", Conns: o.idle, Size: 32, Window: 1,
				Settle: o.settle},
			rounds:  1,
			metrics: idleMetrics(idleTable),
		},
		{
			name: "idle-tls",
			job: load.Job{Kind: load.Idle, Path: "/echo", Conns: o.idle, Size: 32, Window: 1,
				Settle: o.settle, TLS: true},
			rounds:  1,
			metrics: idleMetrics(idleTLSTable),
		},
		{
			name:    "sleep",
			job:     load.Job{Kind: load.Echo, Path: "/sleep", Conns: 1000, Size: 32, Window: 1},
			rounds:  slow,
			metrics: []metric{{blockTable, "10 ms each, messages/s", rate}},
		},
		{
			name: "block",
			job: load.Job{Kind: load.Block, Path: "/block", Conns: 1000, Size: 64, Window: 1,
				Duration: 2500 * time.Millisecond},
			rounds:  slow,
			metrics: []metric{{blockTable, "1,000 wait, p99 of another, ms", p99}},
		},
	}
}

func idleMetrics(table string) []metric {
	perConn := func(of func(load.Result) int64) func(load.Result) float64 {
		return func(r load.Result) float64 { return float64(of(r)) / float64(r.Conns) }
	}
	return []metric{
		{table, "heap and stack", perConn(func(r load.Result) int64 { return r.Fresh.HeapLive + r.Fresh.StackInUse })},
		{table, "after traffic", perConn(func(r load.Result) int64 { return r.Used.HeapLive + r.Used.StackInUse })},
		{table, "pages in use", perConn(func(r load.Result) int64 { return r.Fresh.HeapInUse + r.Fresh.StackInUse })},
		{table, "pages after traffic", perConn(func(r load.Result) int64 { return r.Used.HeapInUse + r.Used.StackInUse })},
		{table, "resident", perConn(func(r load.Result) int64 { return r.Fresh.Resident })},
		{table, "resident after traffic", perConn(func(r load.Result) int64 { return r.Used.Resident })},
		{table, "goroutines", perConn(func(r load.Result) int64 { return r.Used.Goroutines })},
	}
}

func cpu(r load.Result) float64  { return float64(r.Server.Nanoseconds()) / 1e3 / float64(r.Messages) }
func rate(r load.Result) float64 { return float64(r.Messages) / r.Wall.Seconds() }
func p99(r load.Result) float64  { return float64(r.P99.Nanoseconds()) / 1e6 }
