package load

import (
	"errors"
	"strings"
	"time"

	"github.com/duplexgo/duplex/internal/load"
)

// runPaced measures messages that are sent at a rate, whatever has become of those
// before them.
func runPaced(j Job) (Result, error) {
	if j.Profile != "" {
		// It has the handshakes and the warm-up, too, which are few beside the rest.
		if err := j.Control.Profile(j.Profile); err != nil {
			return Result{}, err
		}
	}
	r, err := pace(j, j.PID)
	if err != nil {
		return Result{}, err
	}
	result := Result{
		Messages:  r.Received,
		Wall:      r.Wall,
		Server:    r.Server.CPU,
		Generator: r.Generator.CPU,
		Switches:  r.Server.Switches,
		Conns:     j.Conns,
		Doubt:     strings.Join(r.Generator.Reasons, "; "),
	}
	result.setLatency(&r.Latency)
	if j.Profile != "" {
		err = j.Control.Profile("")
	}
	return result, err
}

// pace does a Paced Job.
func pace(j Job, pid int) (*load.Result, error) {
	payload, err := load.Generate(j.Size, true)
	if err != nil {
		return nil, err
	}
	return run(j, load.Job{Payload: payload, Rate: j.Rate, PID: pid})
}

// probeRate is how many messages a second the connection sends that does not block,
// and probeSize their size: /block echoes so short a message at once.
const (
	probeRate = 500
	probeSize = 32
)

// runBlock makes all callbacks block at once, again and again, and measures how
// long the messages of one more connection take meanwhile.
func runBlock(j Job) (Result, error) {
	g, err := newGenerator(j)
	if err != nil {
		return Result{}, err
	}
	defer g.close()
	probe := j
	probe.Conns, probe.Size, probe.Rate = 1, probeSize, probeRate
	var probed *load.Result
	probing := make(chan error, 1)
	go func() {
		var err error
		probed, err = pace(probe, 0)
		probing <- err
	}()
	time.Sleep(j.Warm) // as the other does, beside connections that do nothing yet
	r, err := measure(j, g.messages, func() error { return g.run(j.Duration) })
	if err != nil {
		return Result{}, err
	}
	// What the callbacks hold goes on meanwhile, which the messages may wait for.
	if err := errors.Join(g.drain(), <-probing); err != nil {
		return Result{}, err
	}
	r.setLatency(&probed.Latency)
	return r, nil
}

// runHandshakes opens connections, as many at once as everywhere else, and cuts
// them, again and again. It measures the server's time for the life of one that
// nothing is sent on.
func runHandshakes(j Job) (Result, error) {
	if j.TLS {
		return Result{}, errors.New("handshakes over TLS are not measured")
	}
	made := uint64(0)
	cycle := func(d time.Duration) error {
		for began := time.Now(); ; {
			fds, err := open(j.Addr, j.Path, j.Conns)
			if err != nil {
				return err
			}
			closeAll(fds)
			made += uint64(len(fds))
			if time.Since(began) >= d {
				return nil
			}
		}
	}
	if err := cycle(j.Warm); err != nil {
		return Result{}, err
	}
	return measure(j, func() uint64 { return made }, func() error { return cycle(j.Duration) })
}
