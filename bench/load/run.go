package load

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"github.com/duplexgo/duplex/internal/load"
)

// longest is how long a measurement may become in which nothing has happened.
const longest = 10 * time.Second

// run does a Job with the load of duplex bench. Anything that went wrong is an error.
// A time in which no message came, as a busy machine may have it, was too short: it is
// tried again with a longer one.
func run(j Job, job load.Job) (*load.Result, error) {
	addr, err := netip.ParseAddrPort(j.Addr)
	if err != nil {
		return nil, err
	}
	job.URL, job.Addr = &url.URL{Scheme: "ws", Host: j.Addr, Path: j.Path}, addr
	job.Conns, job.Warmup, job.Duration, job.Timeout = j.Conns, j.Warm, j.Duration, j.Patience
	for {
		r, err := load.Run(context.Background(), job)
		if err == nil {
			err = wrong(r)
		}
		switch {
		case err != nil:
			return nil, err
		case happened(r):
			return r, nil
		case job.Duration >= longest:
			return nil, fmt.Errorf("no message came in %v", job.Duration)
		}
		job.Duration *= 4
	}
}

// wrong returns all that went wrong.
func wrong(r *load.Result) (err error) {
	for _, f := range r.Failures {
		err = errors.Join(err, fmt.Errorf("%d connections failed, %s: %s", f.Count, f.Kind, f.Example))
	}
	if r.Missing > 0 {
		err = errors.Join(err, fmt.Errorf("%d messages never came", r.Missing))
	}
	if r.Server != nil {
		err = errors.Join(err, r.Server.Gone)
	}
	return errors.Join(err, r.Stopped)
}

// happened reports whether there is something to divide by, and to be divided.
func happened(r *load.Result) bool {
	return r.Received > 0 && r.Latency.Count() > 0 && (r.Server == nil || r.Server.CPU > 0)
}
