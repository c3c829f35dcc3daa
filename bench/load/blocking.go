package load

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/duplexgo/duplex/internal/load"
)

// A caller is one connection, plain or TLS, that waits for its answers.
type caller struct {
	conn     net.Conn
	below    net.Conn // the TCP connection: closing it says no good-bye
	pattern  *pattern
	check    checker
	sent     uint64
	patience time.Duration
	out, buf []byte
}

// call makes a connection and its handshakes.
func call(j Job, id uint64, p *pattern) (*caller, error) {
	conn, err := net.DialTimeout("tcp", j.Addr, handshakeTime)
	if err != nil {
		return nil, err
	}
	conn.(*net.TCPConn).SetLinger(0) // see dialer.connect
	c := &caller{
		conn:     conn,
		below:    conn,
		pattern:  p,
		check:    checker{pattern: p, id: id},
		patience: j.Patience,
		buf:      make([]byte, 4<<10),
	}
	if j.TLS {
		// The certificate was made a moment ago by the server that is measured.
		c.conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	if err := c.handshake(j); err != nil {
		c.conn.Close()
		return nil, fmt.Errorf("connection %d: %w", id, err)
	}
	return c, nil
}

func (c *caller) handshake(j Job) error {
	c.conn.SetDeadline(time.Now().Add(handshakeTime))
	if _, err := c.conn.Write(handshakeRequest(j.Addr, j.Path)); err != nil {
		return err
	}
	if err := readAnswer(c.conn); err != nil {
		return err
	}
	return c.conn.SetDeadline(time.Time{})
}

// turn sends n messages at once and waits until all have come back.
func (c *caller) turn(n int) error {
	s := &c.pattern.sent
	b := c.out[:0]
	for range n {
		b = c.pattern.appendHead(b, s, c.sent, c.check.id)
		b = append(b, s.tail...)
		c.sent++
	}
	c.out = b
	// Both at once: a long message does not fit into the buffers on the way.
	wrote := make(chan error, 1)
	c.conn.SetDeadline(time.Now().Add(c.patience))
	if len(b) > 32<<10 {
		go func() {
			_, err := c.conn.Write(b)
			wrote <- err
		}()
	} else {
		_, err := c.conn.Write(b)
		wrote <- err
	}
	return errors.Join(c.receive(n), <-wrote)
}

// receive reads until n messages have come.
func (c *caller) receive(n int) error {
	for n > 0 {
		k, err := c.conn.Read(c.buf)
		if k > 0 {
			messages, err := c.check.feed(c.buf[:k])
			if err != nil {
				return err
			}
			n -= messages
		}
		if err == nil && len(c.check.pong) > 0 {
			_, err = c.conn.Write(c.check.pong)
			c.check.pong = c.check.pong[:0]
		}
		if err != nil {
			return fmt.Errorf("connection %d: %d messages have not come, the first is message %d: %w", c.check.id, n, c.check.next, err)
		}
	}
	if c.check.next > c.sent || c.check.at > 0 {
		return fmt.Errorf("connection %d: more came than was sent", c.check.id)
	}
	return nil
}

// A staff is many callers, each in a goroutine: TLS needs as much.
type staff struct {
	job     Job
	callers []*caller
	most    uint64 // messages that each may send in all; 0: any number
	started bool
	stop    atomic.Bool
	working sync.WaitGroup
	failed  chan error // of the first that fails
	got     atomic.Uint64

	mu    sync.Mutex
	turns load.Histogram
}

func newStaff(j Job) (*staff, error) {
	if err := checkDescriptors(j.Conns); err != nil {
		return nil, err
	}
	if j.broadcast() {
		return nil, errors.New("a broadcast over TLS is not measured")
	}
	p, err := newPattern(j.Size, j.Mirror)
	if err != nil {
		return nil, err
	}
	s := &staff{job: j, callers: make([]*caller, j.Conns), failed: make(chan error, 1)}
	errs := make(chan error, connecting)
	var next atomic.Int64
	for range connecting {
		go func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= j.Conns {
					errs <- nil
					return
				}
				c, err := call(j, uint64(i), p)
				if err != nil {
					errs <- err
					return
				}
				s.callers[i] = c
			}
		}()
	}
	for range connecting {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *staff) messages() uint64      { return s.got.Load() }
func (s *staff) limit(messages uint64) { s.most = messages }

func (s *staff) latency() *load.Histogram {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.turns
	return &h
}

func (s *staff) resetLatency() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turns = load.Histogram{}
}

// start sets the callers to work, which they do until stop is set or they have
// sent as much as they may.
func (s *staff) start() {
	s.started = true
	for _, c := range s.callers {
		s.working.Go(func() {
			for !s.stop.Load() && (s.most == 0 || c.sent < s.most) {
				if err := s.turn(c); err != nil {
					s.fail(err)
					return
				}
			}
		})
	}
}

// run keeps the callers working for a time, and leaves them working.
func (s *staff) run(d time.Duration) error {
	if !s.started {
		s.start()
	}
	select {
	case err := <-s.failed:
		return err
	case <-time.After(d):
		return nil
	}
}

// drain lets the callers finish what they have begun, or all that they may send
// where that is limited.
func (s *staff) drain() error {
	if !s.started && s.most > 0 {
		s.start()
	}
	s.stop.Store(s.most == 0)
	s.working.Wait()
	select {
	case err := <-s.failed:
		return err
	default:
		return nil
	}
}

func (s *staff) close() {
	for _, c := range s.callers {
		if c != nil {
			c.below.Close()
		}
	}
	s.working.Wait()
}

func (s *staff) turn(c *caller) error {
	n := s.job.Window
	if s.most > 0 {
		n = int(min(uint64(n), s.most-c.sent))
	}
	began := time.Now()
	if err := c.turn(n); err != nil {
		return err
	}
	s.got.Add(uint64(n))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turns.Add(time.Since(began))
	return nil
}

func (s *staff) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}
