package main

import (
	"fmt"
	"time"

	"github.com/duplexgo/duplex/bench/load"
	"github.com/duplexgo/duplex/bench/server"
)

// A mode is one thing that is measured of every contestant that can do it.
type mode struct {
	name    string
	job     load.Job
	floor   bool            // the floor can do it
	deflate *server.Deflate // how messages are compressed, or nil
	waits   bool            // the callbacks wait
	rounds  int             // at most; 0: as many as asked for
	metrics []metric
}

// can reports whether a contestant can do it.
func (m mode) can(c server.Contestant) bool {
	if m.deflate != nil && !c.Deflates(*m.deflate) {
		return false
	}
	return (m.floor || !c.Floor) && !(m.waits && c.Inline)
}

// A metric is a figure that a mode yields, and a column of a table.
type metric struct {
	table string // the title of the table that it is in
	name  string
	of    func(load.Result) float64
	more  bool // more is better
}

const (
	echoTable      = "Server's processor time for an echoed message, microseconds"
	tlsTable       = "The same over TLS, microseconds"
	broadcastTable = "Server's processor time for each delivery of a broadcast of 128 bytes, microseconds"
	pacedTable     = "Echo of 32 bytes at a fixed rate"
	handshakeTable = "Handshakes"
	idleTable      = "An idle connection, bytes"
	idleTLSTable   = "An idle connection over TLS, bytes"
	blockTable     = "Callbacks that wait"
	rateTable      = "Echoed messages a second, in thousands, as quickly as it goes"
	deliveryTable  = "Broadcast deliveries a second, in thousands, as quickly as it goes"
)

// pacedRate is how many messages a second all connections send together in mode
// paced. The slowest contestant needs half a processor for it.
const pacedRate = 20000

func modes(o options) []mode {
	echo := func(name, column string, conns, size, window int) mode {
		return mode{
			name:    name,
			floor:   true,
			job:     load.Job{Kind: load.Echo, Path: "/echo", Conns: conns, Size: size, Window: window},
			metrics: []metric{{table: echoTable, name: column, of: cpu}, {table: rateTable, name: column, of: thousands, more: true}},
		}
	}
	overTLS := func(m mode) mode {
		m.name = "tls-" + m.name
		m.floor = false
		m.job.TLS = true
		m.metrics = []metric{{table: tlsTable, name: m.metrics[0].name, of: cpu}}
		return m
	}
	broadcast := func(name string, conns, window int) mode {
		column := fmt.Sprintf("%s receivers, %d in flight", grouped(conns), window)
		return mode{
			name:    name,
			floor:   true,
			job:     load.Job{Kind: load.Broadcast, Path: "/broadcast", Conns: conns, Size: 128, Window: window},
			metrics: []metric{{table: broadcastTable, name: column, of: cpu}, {table: deliveryTable, name: column, of: thousands, more: true}},
		}
	}
	seldom := min(3, (o.rounds+1)/2)
	large := func(m mode) mode {
		m.rounds = seldom
		return m
	}
	many := grouped(o.many) + " conns"
	return append([]mode{
		echo("echo-32", "32 B, 64 conns", 64, 32, 1),
		echo("echo-32-1000", "32 B, "+many, o.many, 32, 1),
		echo("echo-32-16", "32 B, 16 in flight", 64, 32, 16),
		echo("echo-32-1000-16", "32 B, "+many+", 16 in flight", o.many, 32, 16),
		echo("echo-1k", "1 KiB", 64, 1<<10, 1),
		echo("echo-16k", "16 KiB", 64, 16<<10, 1),
		echo("echo-1m", "1 MiB", 64, 1<<20, 1),
		overTLS(echo("32", "32 B, 64 conns", 64, 32, 1)),
		overTLS(echo("32-16", "32 B, 16 in flight", 64, 32, 16)),
		overTLS(echo("1k", "1 KiB", 64, 1<<10, 1)),
		broadcast("broadcast-1", o.many, 1),
		broadcast("broadcast-8", o.many, 8),
		large(broadcast("broadcast-10k-1", o.receivers, 1)),
		large(broadcast("broadcast-10k-8", o.receivers, 8)),
		{
			name: "paced",
			job:  load.Job{Kind: load.Paced, Path: "/echo", Conns: o.many, Size: 32, Window: 1, Rate: pacedRate},
			metrics: []metric{
				{table: pacedTable, name: "processor time, us a message", of: cpu},
				{table: pacedTable, name: "p50, ms", of: p50},
				{table: pacedTable, name: "p99, ms", of: p99},
			},
		},
		{
			name:  "handshake",
			floor: true,
			job:   load.Job{Kind: load.Handshake, Path: "/echo", Conns: 64, Window: 1},
			metrics: []metric{
				{table: handshakeTable, name: "processor time, us each", of: cpu},
				{table: handshakeTable, name: "handshakes/s", of: rate, more: true},
			},
		},
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
			waits:   true,
			job:     load.Job{Kind: load.Echo, Path: "/sleep", Conns: o.many, Size: 32, Window: 1},
			rounds:  seldom,
			metrics: []metric{{table: blockTable, name: "10 ms each, messages/s", of: rate, more: true}},
		},
		{
			name:  "block",
			waits: true,
			// Each callback waits for a second: the measurement has two of these at least,
			// unless all are short.
			job:     load.Job{Kind: load.Block, Path: "/block", Conns: o.many, Size: 64, Window: 1, Duration: 3 * o.duration},
			rounds:  seldom,
			metrics: []metric{{table: blockTable, name: grouped(o.many) + " wait, p99 of another, ms", of: p99}},
		},
	}, deflateModes(o)...)
}

func idleMetrics(table string) []metric {
	perConn := func(name string, of func(load.Result) int64) metric {
		return metric{table: table, name: name, of: func(r load.Result) float64 { return float64(of(r)) / float64(r.Conns) }}
	}
	return []metric{
		perConn("heap and stack", func(r load.Result) int64 { return r.Fresh.HeapLive + r.Fresh.StackInUse }),
		perConn("after traffic", func(r load.Result) int64 { return r.Used.HeapLive + r.Used.StackInUse }),
		perConn("pages in use", func(r load.Result) int64 { return r.Fresh.HeapInUse + r.Fresh.StackInUse }),
		perConn("pages after traffic", func(r load.Result) int64 { return r.Used.HeapInUse + r.Used.StackInUse }),
		perConn("resident", func(r load.Result) int64 { return r.Fresh.Resident }),
		perConn("resident after traffic", func(r load.Result) int64 { return r.Used.Resident }),
		perConn("goroutines", func(r load.Result) int64 { return r.Used.Goroutines }),
	}
}

func cpu(r load.Result) float64       { return float64(r.Server.Nanoseconds()) / 1e3 / float64(r.Messages) }
func rate(r load.Result) float64      { return float64(r.Messages) / r.Wall.Seconds() }
func thousands(r load.Result) float64 { return rate(r) / 1e3 }
func p50(r load.Result) float64       { return float64(r.P50.Nanoseconds()) / 1e6 }
func p99(r load.Result) float64       { return float64(r.P99.Nanoseconds()) / 1e6 }

// expected is about how long a measurement takes in all, before any was made.
func (m mode) expected(o options) time.Duration {
	opening := time.Duration(m.job.Conns) * 150 * time.Microsecond
	if m.job.TLS {
		opening *= 5
	}
	whole := 150*time.Millisecond + opening
	switch m.job.Kind {
	case load.Idle, load.PackedIdle:
		return whole + 3*o.settle
	case load.Audience:
		return whole + 3*o.settle + opening
	case load.Comeback:
		return whole + o.duration + opening
	case load.Block:
		return whole + o.warm + m.job.Duration + time.Second
	}
	return whole + o.warm + o.duration
}

// grouped writes a number with its thousands apart.
func grouped(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", grouped(n/1000), n%1000)
}
