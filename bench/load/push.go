package load

import (
	"errors"
	"fmt"
	"time"

	"github.com/duplexgo/duplex/bench/control"
	"github.com/duplexgo/duplex/internal/load"
)

// The kinds of Job for push servers. Messages are published over HTTP.
const (
	Publish   Kind = "publish"   // Window messages in flight; the next when all have all of them
	PublishAt Kind = "publishat" // Rate messages a second, whether they arrive or not
	Audience  Kind = "audience"  // what listeners cost that do nothing
	Subscribe Kind = "subscribe" // listeners connect, some at once, subscribe, and are cut
	Comeback  Kind = "comeback"  // all come back at once, and get Window messages that they missed
)

// underway is how many messages of a channel may be on their way, of one with many
// listeners, and of one with few.
const (
	underway    = 1024
	underwayOwn = 8
)

// posting is how many connections publish at a rate: so many that none is waited for
// as long as the server keeps up.
const posting = 64

// house returns one for a Job, without listeners.
func (j Job) house() (*house, error) {
	if j.TLS {
		return nil, errors.New("push servers over TLS are not measured")
	}
	channels, each := 1, underway
	if j.Own {
		channels, each = j.Conns, underwayOwn
	}
	return newHouse(j, channels, each)
}

// runPublish measures deliveries in turns.
func runPublish(j Job) (Result, error) {
	c, err := j.house()
	if err != nil {
		return Result{}, err
	}
	defer c.close()
	if err := errors.Join(c.addListeners(j.Conns, connecting), c.addPublishers(j.Window)); err != nil {
		return Result{}, err
	}
	if err := c.turnsFor(j.Warm); err != nil {
		return Result{}, err
	}
	c.turns = load.Histogram{}
	r, err := measure(j, c.messages, func() error { return c.turnsFor(j.Duration) })
	r.setLatency(&c.turns)
	return r, errors.Join(err, c.silence())
}

func (c *house) messages() uint64 { return c.got }

// turnsFor publishes in turns for a time, and ends with a whole one: at least one.
func (c *house) turnsFor(d time.Duration) error {
	for end := time.Now().Add(d); ; {
		if err := c.turn(c.job.Window); err != nil {
			return err
		}
		if !c.now.Before(end) {
			return nil
		}
	}
}

// turn publishes n messages at once, one of each publisher, to one channel after the
// other, and waits until they have come to everybody.
func (c *house) turn(n int) error {
	began := time.Now()
	for i := range n {
		if err := c.postFree(due{i % len(c.channels), began}); err != nil {
			return err
		}
	}
	if err := c.until(c.quiet, time.Time{}); err != nil {
		return err
	}
	c.turns.Add(c.now.Sub(began))
	return nil
}

// quiet reports whether all that was published has been answered and has come.
func (c *house) quiet() bool { return c.missing == 0 && c.unanswered == 0 }

// postFree publishes by the next free publisher.
func (c *house) postFree(d due) error {
	i := c.free[len(c.free)-1]
	c.free = c.free[:len(c.free)-1]
	return c.post(i, d)
}

// silence waits a moment for what should not come.
func (c *house) silence() error {
	end := time.Now().Add(10 * time.Millisecond)
	return c.until(func() bool { return !c.now.Before(end) }, end)
}

// runPublishAt measures deliveries at a rate.
func runPublishAt(j Job) (Result, error) {
	if j.Rate <= 0 {
		return Result{}, fmt.Errorf("a rate of %v", j.Rate)
	}
	c, err := j.house()
	if err != nil {
		return Result{}, err
	}
	defer c.close()
	if err := errors.Join(c.addListeners(j.Conns, connecting), c.addPublishers(posting)); err != nil {
		return Result{}, err
	}
	if err := c.pace(j.Warm); err != nil {
		return Result{}, err
	}
	c.latency, c.late = load.Histogram{}, load.Histogram{}
	r, err := measure(j, c.messages, func() error { return c.pace(j.Duration) })
	if err != nil {
		return Result{}, err
	}
	r.setLatency(&c.latency)
	if late := c.late.Quantile(0.99); late > 5*time.Millisecond {
		r.Doubt = fmt.Sprintf("one in a hundred messages was published %v late or more", late.Round(time.Millisecond))
	}
	return r, c.silence()
}

// pace publishes at the rate for a time, and then waits until all has come, so that
// each message is paid for where it is counted.
func (c *house) pace(d time.Duration) error {
	began := time.Now()
	whole := max(1, int(d.Seconds()*c.job.Rate))
	for n := 0; n < whole; {
		at := began.Add(time.Duration(float64(n) / c.job.Rate * float64(time.Second)))
		late := time.Since(at)
		if late >= 0 && len(c.free) > 0 {
			c.late.Add(late)
			if err := c.postFree(due{n % len(c.channels), at}); err != nil {
				return err
			}
			n++
			continue
		}
		end := at
		if late >= 0 {
			end = time.Time{} // until one is free
		}
		if err := c.until(func() bool { return len(c.free) > 0 && !c.now.Before(at) }, end); err != nil {
			return err
		}
	}
	return c.until(c.quiet, time.Time{})
}

// runAudience measures the memory of listeners, first as they are when they have
// subscribed, then when each has got some messages.
func runAudience(j Job) (r Result, err error) {
	first := j
	first.Conns, first.Channel = few, j.Channel+"few"
	users, err := first.house()
	if err != nil {
		return r, err
	}
	defer users.close()
	if err := errors.Join(users.addPublishers(1), users.addListeners(few, connecting), users.exchange()); err != nil {
		return r, err
	}
	time.Sleep(j.Settle)
	base, err := j.Control.Memory()
	if err != nil {
		return r, err
	}
	c, err := j.house()
	if err != nil {
		return r, err
	}
	defer c.close()
	if err := errors.Join(c.addPublishers(1), c.addListeners(j.Conns, connecting)); err != nil {
		return r, err
	}
	r.Conns = j.Conns
	if r.Fresh, err = c.settled(base); err != nil {
		return r, err
	}
	if err := c.exchange(); err != nil {
		return r, err
	}
	r.Used, err = c.settled(base)
	return r, err
}

// exchange publishes some messages to each channel.
func (c *house) exchange() error {
	for range exchanged {
		for i := range c.channels {
			if err := errors.Join(c.postFree(due{i, time.Now()}), c.until(c.quiet, time.Time{})); err != nil {
				return err
			}
		}
	}
	return nil
}

// settled is what the server holds more than base when all has been quiet for a while.
func (c *house) settled(base control.Memory) (control.Memory, error) {
	return settled(c.job, base)
}

// runSubscribe measures the life of a listener that gets nothing, to its end.
func runSubscribe(j Job) (Result, error) {
	c, err := j.house()
	if err != nil {
		return Result{}, err
	}
	defer c.close()
	made := uint64(0)
	cycle := func(d time.Duration) error {
		for began := time.Now(); ; {
			if err := c.addListeners(j.Conns, j.Conns); err != nil {
				return err
			}
			c.cutAll()
			made += uint64(j.Conns)
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

// runComeback measures what it takes until many listeners that come back at once have
// all that they missed. What their ends cost is not part of it.
func runComeback(j Job) (r Result, err error) {
	c, err := j.house()
	if err != nil {
		return r, err
	}
	defer c.close()
	if err := errors.Join(c.addPublishers(1), c.addListeners(1, 1)); err != nil {
		return r, err
	}
	for range j.Window {
		if err := c.turn(1); err != nil {
			return r, err
		}
	}
	c.since = c.position
	c.cutAll()
	profile := j.Profile
	c.job.Profile = "" // one for all times, with what is between them
	for began, warm := time.Now(), true; warm || time.Since(began) < j.Duration; warm = false {
		one, err := c.comeback(warm)
		if err != nil {
			return r, err
		}
		if warm {
			if profile != "" {
				if err := j.Control.Profile(profile); err != nil {
					return r, err
				}
			}
			began = time.Now()
			continue
		}
		r.Messages += uint64(j.Conns)
		r.Wall += one.Wall
		r.Server += one.Server
		r.Generator += one.Generator
		r.Switches += one.Switches
	}
	r.Conns = j.Conns
	r.setLatency(&c.turns)
	if profile != "" {
		return r, j.Control.Profile("")
	}
	return r, nil
}

// comeback is one time that all come back.
func (c *house) comeback(warm bool) (Result, error) {
	if err := rest(c.job.PID); err != nil {
		return Result{}, err
	}
	if warm {
		c.turns = load.Histogram{}
	}
	r, err := measure(c.job, c.messages, func() error {
		began := time.Now()
		c.missing = c.job.Conns * c.job.Window
		if err := errors.Join(c.addListeners(c.job.Conns, c.job.Conns), c.until(c.quiet, time.Time{})); err != nil {
			return err
		}
		if !warm {
			c.turns.Add(c.now.Sub(began))
		}
		return nil
	})
	if err == nil {
		err = c.silence()
	}
	c.cutAll()
	return r, err
}

// rest waits until a server has nothing more to do: its clock stands still.
func rest(pid int) error {
	const moment = 5 * time.Millisecond
	last := time.Duration(-1)
	for range 400 {
		now, err := load.CPUTime(pid)
		if err != nil {
			return err
		}
		if now-last < moment/20 && last >= 0 {
			return nil
		}
		last = now
		time.Sleep(moment)
	}
	return errors.New("the server does not come to rest")
}
