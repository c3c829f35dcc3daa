package load

import (
	"sync/atomic"
	"time"
)

// work is what all connections of a run have in common. Times are nanoseconds since
// began; atomic ones are 0 until they are known.
type work struct {
	job   Job
	began time.Time
	room  *room // nil but for Broadcast

	packings packings
	answer   atomic.Pointer[string] // of the first server about compression, "" where it declined

	mayOpen     atomic.Int64 // connections with a lower id
	sendFrom    atomic.Int64
	measureFrom atomic.Int64
	measureTo   atomic.Int64 // also the end of sending

	changed chan struct{} // gets a value when something has happened that the run may wait for
}

func newWork(j Job) *work {
	w := &work{job: j, began: time.Now(), changed: make(chan struct{}, 1)}
	if j.Mode == Broadcast {
		w.room = new(room)
	}
	return w
}

// agreedOn notes what a connection has agreed on about compression.
func (w *work) agreedOn(a *agreement) {
	if w.job.Compression == nil || w.answer.Load() != nil {
		return
	}
	answer := ""
	if a != nil {
		answer = a.answer
	}
	w.answer.CompareAndSwap(nil, &answer)
}

// now returns the time. It is never 0.
func (w *work) now() int64 { return int64(time.Since(w.began)) + 1 }

func (w *work) notify() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// sending reports whether messages are to be sent that are due now.
func (w *work) sending(now int64) bool {
	from, to := w.sendFrom.Load(), w.measureTo.Load()
	return from != 0 && now >= from && (to == 0 || now < to)
}

// measured reports whether a time is within the measurement.
func (w *work) measured(t int64) bool {
	from, to := w.measureFrom.Load(), w.measureTo.Load()
	return from != 0 && t >= from && (to == 0 || t < to)
}

// A shard is a part of the connections with the counts of what they do. It has one
// goroutine at a time: that of its loop, or the one that has its lock.
type shard struct {
	w        *work
	unpacker unpacker

	// Since the beginning, for the run to look at.
	opened   atomic.Int64  // connections
	failed   atomic.Int64  // of those that were to be opened, never open
	ended    atomic.Int64  // of those opened
	greeted  atomic.Int64  // pongs
	inFlight atomic.Int64  // messages of an Echo; 1 for the sender of a Broadcast while it goes on
	paced    atomic.Bool   // all messages have been begun that are due by the rate
	received atomic.Uint64 // messages

	senderLost atomic.Bool // that of a broadcast

	// Of the measurement, for when the shard has stopped.
	sent, got, bytes, lost uint64
	wire                   uint64 // of bytes, as they came
	late                   uint64 // messages that this process has begun too late
	latency, handshake     Histogram
	failures               tally
}

// lateFrom is the delay from which a message has been begun too late.
const lateFrom = int64(time.Millisecond)

func (s *shard) init(w *work) {
	s.w = w
	s.failures = make(tally)
}

// open takes a connection that has done its handshakes.
func (s *shard) open(c *conn, took int64) {
	s.handshake.Add(time.Duration(took))
	if c.role == receives {
		s.w.room.enter()
	}
	s.opened.Add(1)
	s.w.notify()
}

// refuse takes one that has not.
func (s *shard) refuse(id uint32, err error) {
	s.failures.add(err)
	if id == sender {
		s.senderLost.Store(true)
	}
	s.failed.Add(1)
	s.w.notify()
}

// end takes an open connection that is no more. err is nil where it was the run that
// ended it.
func (s *shard) end(c *conn, err error) {
	if err != nil {
		s.failures.add(err)
	}
	s.ended.Add(1) // before anything that tells the run that it may end, and look at it
	switch c.role {
	case echoes:
		for i := range c.times.n {
			s.lose(c.times.at(i))
		}
		c.times = queue{}
	case receives:
		for _, intended := range s.w.room.leave(c.next) {
			s.lose(intended)
		}
	}
	if c.role == sends {
		c.going = false
		s.senderLost.Store(true)
	}
	c.count()
	s.w.notify()
}

func (s *shard) lose(intended int64) {
	if s.w.measured(intended) {
		s.lost++
	}
}

// answered counts a message that has come.
func (s *shard) answered(intended, now int64, size, came int) {
	s.received.Add(1)
	if s.w.measured(intended) {
		s.latency.Add(time.Duration(now - intended))
	}
	if s.w.measured(now) {
		s.got++
		s.bytes += uint64(size)
		s.wire += uint64(came)
	}
}
