package wstest

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A line is one direction of a connection, from the Write of one end (its
// writer) to the Read of the other (its reader).
//
//	Write -> data (at most size bytes) -> Read
//
// One lock guards it all; whoever changes something that a waiting call looks at
// wakes all that wait.
type line struct {
	mu      sync.Mutex
	changed sync.Cond

	data     bytes.Buffer // written and not yet read
	size     int          // most bytes of data; a Write waits for room
	split    int          // most bytes that a Read returns; 0: no limit
	finished bool         // nothing will be written any more: io.EOF after data
	broken   bool         // by a reset
	writing  bool         // a Write is under way; others wait for their turn

	resetUnread bool // data that the reader leaves unread is a reset

	reader, writer side
}

// A side is what one end's calls on a line depend on.
type side struct {
	closed   bool // by the end's own Close
	deadline deadline
	fault    fault

	calls int
	bytes int64
}

// A fault strikes after n more bytes. Without an error there is none.
type fault struct {
	n   int64
	err error
}

// A deadline has passed or not; its timer finds out.
type deadline struct {
	passed bool
	timer  *time.Timer
	set    int // how many times; the timer of an earlier setting does nothing
}

func newLine() *line {
	l := &line{size: bufferSize}
	l.changed.L = &l.mu
	return l
}

// change lets f look at the line or change it.
func (l *line) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	l.changed.Broadcast()
}

func (l *line) read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reader.calls++
	for {
		if err := l.reader.err(); err != nil {
			return 0, err
		}
		switch {
		case l.broken:
			return 0, syscall.ECONNRESET
		case len(p) == 0:
			return 0, nil
		case l.data.Len() > 0:
			n := l.reader.allow(min(len(p), l.data.Len()))
			if l.split > 0 {
				n = min(n, l.split)
			}
			copy(p, l.data.Next(n))
			l.reader.pass(n)
			l.changed.Broadcast()
			return n, nil
		case l.finished:
			return 0, io.EOF
		}
		l.changed.Wait()
	}
}

func (l *line) write(p []byte) (written int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writer.calls++
	for l.writing {
		l.changed.Wait()
	}
	l.writing = true
	defer func() {
		l.writing = false
		l.changed.Broadcast()
	}()
	for {
		if err := l.writer.err(); err != nil {
			return written, err
		}
		switch {
		case l.broken:
			return written, syscall.ECONNRESET
		case l.finished, l.reader.closed:
			return written, io.ErrClosedPipe
		}
		n := l.writer.allow(min(len(p), max(l.size-l.data.Len(), 0)))
		l.data.Write(p[:n])
		l.writer.pass(n)
		written += n
		if p = p[n:]; len(p) == 0 {
			return written, nil
		}
		if n > 0 {
			l.changed.Broadcast() // and a fault that is due strikes now
		} else {
			l.changed.Wait()
		}
	}
}

// err returns what keeps the side from doing anything, as package net orders it:
// a Read with data at hand and a passed deadline fails.
func (s *side) err() error {
	switch {
	case s.closed:
		return net.ErrClosed
	case s.deadline.passed:
		return os.ErrDeadlineExceeded
	case s.fault.err != nil && s.fault.n <= 0:
		return s.fault.err
	}
	return nil
}

// allow returns how many of n bytes may pass before the fault strikes.
func (s *side) allow(n int) int {
	if s.fault.err != nil {
		return int(min(int64(n), s.fault.n))
	}
	return n
}

// pass counts n bytes.
func (s *side) pass(n int) {
	s.bytes += int64(n)
	s.fault.n -= int64(n)
}

// finish ends what the writer sends.
func (l *line) finish() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writer.closed {
		return net.ErrClosed
	}
	l.finished = true
	l.changed.Broadcast()
	return nil
}

// closeReader is the reader's half of its end's Close. It returns whether the
// peer has to learn of it by a reset, as was asked for or because of what was not
// read.
func (l *line) closeReader(reset bool) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reader.closed {
		return false, net.ErrClosed
	}
	reset = reset || l.resetUnread && l.data.Len() > 0
	l.reader.close()
	l.lose(reset)
	return reset, nil
}

// closeWriter is the writer's half of its end's Close. What was written can still
// be read, unless there is a reset.
func (l *line) closeWriter(reset bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished = true
	l.writer.close()
	if reset {
		l.lose(true)
	}
	l.changed.Broadcast()
}

func (s *side) close() {
	s.closed = true
	s.deadline.stop()
}

// lose throws away what is under way.
func (l *line) lose(reset bool) {
	l.broken = l.broken || reset
	l.data = bytes.Buffer{}
	l.changed.Broadcast()
}

// setDeadline sets the deadline of one of the line's sides.
func (l *line) setDeadline(s *side, t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	d := &s.deadline
	d.stop()
	if wait := time.Until(t); t.IsZero() {
		d.passed = false
	} else if d.passed = wait <= 0; !d.passed {
		set := d.set
		d.timer = time.AfterFunc(wait, func() {
			l.change(func() { d.passed = d.passed || d.set == set })
		})
	}
	l.changed.Broadcast()
	return nil
}

// stop makes sure that the timer changes nothing any more.
func (d *deadline) stop() {
	d.set++
	if d.timer != nil {
		d.timer.Stop()
	}
}
