// Package load makes a server work, checks every answer, and measures what it cost
// the server: processor time for each message, memory for each connection, or how
// long another message had to wait.
//
// What runs at a fixed rate is the load of "duplex bench", package internal/load.
// What runs as quickly as it goes is here, because it goes in turns: the next
// messages are sent when all of the last have come back, so that a server which
// answers in batches and one which answers one by one meet the same input; because it
// takes the floor's answers, which are masked; and because it can stop, and leave its
// connections open, for memory to be measured.
//
// Plain connections are one thread over epoll, so that hundreds of thousands of
// messages a second leave a processor to the server; see crowd. TLS connections
// have a goroutine each; see staff. What is measured is the server's own time, so
// the generator may be slower than the server, but must not change what it meets.
package load

import (
	"fmt"
	"os"
	"time"

	"github.com/duplexgo/duplex/bench/control"
	"github.com/duplexgo/duplex/internal/load"
)

// A Kind is what a Job does.
type Kind string

const (
	Echo       Kind = "echo"        // every connection has Window messages in flight
	Broadcast  Kind = "broadcast"   // the first connection has, and all get them
	Idle       Kind = "idle"        // what the connections cost that do nothing
	Block      Kind = "block"       // how one connection fares while the callbacks of all others block
	Paced      Kind = "paced"       // an Echo at Rate, whether the answers come or not
	Packed     Kind = "packed"      // an Echo of compressed messages
	PackedIdle Kind = "packed idle" // what connections hold after some of them
	Handshake  Kind = "handshake"   // connections are opened, some at once, and cut
)

// A Job is one measurement of one server.
type Job struct {
	Kind    Kind
	Addr    string // host:port
	Path    string
	TLS     bool
	Deflate *load.Compression // of Packed and PackedIdle: what is offered
	Mirror  bool              // the server sends back the frames themselves, masked: see server.Contestant

	Dialect string // of push servers: the name of the contestant
	Channel string // of push servers: what the names of the channels begin with
	Own     bool   // of push servers: each connection has a channel of its own

	Conns  int     // in all; for Block, those that block
	Size   int     // of a payload, in bytes
	Window int     // messages in flight
	Rate   float64 // of Paced: messages a second, of all connections together

	Warm     time.Duration // before the measurement
	Duration time.Duration // of the measurement
	Settle   time.Duration // until connections count as idle
	Patience time.Duration // until a message that has not come is lost

	PID     int            // of the server
	Control control.Client // of the server; needed for Idle and for Profile
	Profile string         // the file for the server's CPU profile, or ""
}

func (j Job) broadcast() bool { return j.Kind == Broadcast }

// A Result is what a Job has measured. What does not belong to its kind is zero.
type Result struct {
	Messages  uint64        // that came while it was measured; for Broadcast, deliveries
	Wall      time.Duration // how long that took
	Server    time.Duration // processor time of the server meanwhile
	Generator time.Duration // that of the generator
	Switches  int64         // context switches of the server

	// How long a turn took, from its first byte sent to its last received; for Paced
	// any message, and for Block those on the connection that does not block, from the
	// time that they should have been sent.
	P50, P99, Max time.Duration
	// Doubt says why the generator may have been what was measured, if it may.
	Doubt string `json:",omitempty"`

	// Bytes of a message of Packed, as it came and as it is.
	Wire, Plain float64 `json:",omitempty"`

	// Memory is for each kind of idle connection what the server holds more than
	// without it; divide by Conns.
	Fresh, Used control.Memory `json:",omitzero"`
	Conns       int
}

// A generator has connections and makes them work.
type generator interface {
	limit(messages uint64)     // lets each connection that sends send so many messages in all
	run(d time.Duration) error // works for a time, and leaves the work going
	drain() error              // waits for what is in flight, and for all that limit allows
	messages() uint64          // how many have come
	latency() *load.Histogram  // of the turns
	resetLatency()
	close()
}

func newGenerator(j Job) (generator, error) {
	if j.TLS {
		return newStaff(j)
	}
	return newCrowd(j)
}

// Run does a Job. An answer that is wrong, missing or too much is an error.
func Run(j Job) (Result, error) {
	if j.Conns < 1 || j.Window < 1 || j.Patience <= 0 {
		return Result{}, fmt.Errorf("a job needs connections, a window and patience: %+v", j)
	}
	switch j.Kind {
	case Echo, Broadcast:
		return runTurns(j)
	case Idle:
		return runIdle(j)
	case Block:
		return runBlock(j)
	case Packed:
		return runPacked(j)
	case PackedIdle:
		return runPackedIdle(j)
	case Paced:
		return runPaced(j)
	case Handshake:
		return runHandshakes(j)
	case Publish:
		return runPublish(j)
	case PublishAt:
		return runPublishAt(j)
	case Audience:
		return runAudience(j)
	case Subscribe:
		return runSubscribe(j)
	case Comeback:
		return runComeback(j)
	}
	return Result{}, fmt.Errorf("there is no kind of job %q", j.Kind)
}

// runTurns measures while messages go round.
func runTurns(j Job) (Result, error) {
	g, err := newGenerator(j)
	if err != nil {
		return Result{}, err
	}
	defer g.close()
	if err := work(g, j, j.Warm); err != nil {
		return Result{}, err
	}
	g.resetLatency()
	r, err := measure(j, g.messages, func() error { return work(g, j, j.Duration) })
	if err != nil {
		return Result{}, err
	}
	r.setLatency(g.latency())
	if err := g.drain(); err != nil {
		return Result{}, err
	}
	return r, nil
}

// work lets messages go round for a time, and longer until there are as many as
// connections: of long messages on a busy machine fewer would tell nothing.
func work(g generator, j Job, d time.Duration) error {
	before := g.messages()
	if err := g.run(d); err != nil {
		return err
	}
	for start := time.Now(); g.messages()-before < uint64(j.Conns); {
		if time.Since(start) > j.Patience {
			return fmt.Errorf("%d messages came within %v, fewer than there are connections", g.messages()-before, d+j.Patience)
		}
		if err := g.run(10 * time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// measure takes the server's and the generator's clocks before and after the work. It
// goes on with it where nothing has happened, as a busy machine may have it for a while.
func measure(j Job, messages func() uint64, work func() error) (r Result, err error) {
	if j.Profile != "" {
		if err := j.Control.Profile(j.Profile); err != nil {
			return r, err
		}
	}
	before, err := readClocks(j.PID, messages)
	if err != nil {
		return r, err
	}
	after := before
	for !after.beyond(before) && after.wall.Sub(before.wall) < longest {
		if err := work(); err != nil {
			return r, err
		}
		if after, err = readClocks(j.PID, messages); err != nil {
			return r, err
		}
	}
	r = Result{
		Messages:  after.messages - before.messages,
		Wall:      after.wall.Sub(before.wall),
		Server:    after.server - before.server,
		Generator: after.generator - before.generator,
		Switches:  after.switches - before.switches,
		Conns:     j.Conns,
	}
	if j.Profile != "" {
		err = j.Control.Profile("")
	}
	return r, err
}

type clocks struct {
	wall              time.Time
	server, generator time.Duration
	switches          int64
	messages          uint64
}

// beyond reports whether there is something to divide by, and to be divided.
func (c clocks) beyond(before clocks) bool {
	return c.messages > before.messages && c.server > before.server
}

// readClocks reads the quick ones last: what is in flight meanwhile is handled and
// not counted, before the measurement and at its end alike.
func readClocks(pid int, messages func() uint64) (c clocks, err error) {
	if c.generator, err = load.CPUTime(os.Getpid()); err != nil {
		return c, err
	}
	u, err := load.ReadUsage(pid)
	if err != nil {
		return c, err
	}
	c.server, c.switches = u.CPU, u.Switches
	c.messages = messages()
	c.wall = time.Now()
	return c, nil
}

func (r *Result) setLatency(h *load.Histogram) {
	r.P50, r.P99, r.Max = h.Quantile(0.5), h.Quantile(0.99), h.Max()
}

// exchanged is how many messages a connection echoes to count as used.
const exchanged = 4

// few is how many connections there are before memory is measured for the first
// time: more than do their handshakes at once, so that what a server makes once, or
// for each that it accepts at once, is there already.
const few = 2 * connecting

// runIdle measures memory: with a few connections that have been used; with Conns
// more that have done their handshakes; and with the same after each has exchanged
// some messages.
func runIdle(j Job) (r Result, err error) {
	first := j
	first.Conns = few
	users, err := newGenerator(first)
	if err != nil {
		return r, err
	}
	defer users.close()
	users.limit(exchanged)
	if err := users.drain(); err != nil {
		return r, err
	}
	time.Sleep(j.Settle)
	base, err := j.Control.Memory()
	if err != nil {
		return r, err
	}
	g, err := newGenerator(j)
	if err != nil {
		return r, err
	}
	defer g.close()
	r.Conns = j.Conns
	if r.Fresh, err = settled(j, base); err != nil {
		return r, err
	}
	g.limit(exchanged)
	if err := g.drain(); err != nil {
		return r, err
	}
	r.Used, err = settled(j, base)
	return r, err
}

func settled(j Job, base control.Memory) (control.Memory, error) {
	time.Sleep(j.Settle)
	m, err := j.Control.Memory()
	return m.Sub(base), err
}
