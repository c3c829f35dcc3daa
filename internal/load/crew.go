package load

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A crew is connections with two goroutines each, one that reads and one that
// writes: for TLS, and for systems without epoll. What a connection has received
// may not wait for what it sends, or both ends would wait for each other.
type crew struct {
	w       *work
	squads  []*squad
	members []*member
	sender  *member // of a broadcast
	slots   chan struct{}
	running sync.WaitGroup
	ctx     context.Context // ends with stageStop
	stop    context.CancelFunc
	mayOpen *sync.Cond // the work's mayOpen may have changed
	source  sources
}

// A squad is a shard with a lock, so that not all members wait for one.
type squad struct {
	sync.Mutex
	shard
}

// A member is one connection.
type member struct {
	conn
	squad  *squad
	stream net.Conn      // nil until it is open
	output chan struct{} // gets a value when there may be something to write
	over   bool
}

func newCrew(w *work) (engine, error) {
	j := &w.job
	c := &crew{w: w, slots: make(chan struct{}, atOnce), mayOpen: sync.NewCond(new(sync.Mutex))}
	c.ctx, c.stop = context.WithCancel(context.Background())
	for range j.Threads {
		s := new(squad)
		s.shard.init(w)
		c.squads = append(c.squads, s)
	}
	for i := range j.Conns {
		c.add(uint32(i))
	}
	if j.Mode == Broadcast {
		c.sender = c.add(sender)
		w.room.ready = c.sender.signal
	}
	c.running.Go(c.openAll)
	c.running.Go(c.patrol)
	if j.Rate > 0 {
		c.running.Go(c.pace)
	}
	return c, nil
}

func (c *crew) add(id uint32) *member {
	m := &member{squad: c.squads[len(c.members)%len(c.squads)], output: make(chan struct{}, 1)}
	m.id = id
	c.members = append(c.members, m)
	return m
}

func (c *crew) shards() []*shard {
	var all []*shard
	for _, s := range c.squads {
		all = append(all, &s.shard)
	}
	return all
}

func (c *crew) busiest() time.Duration { return 0 }

func (c *crew) wait() { c.running.Wait() }

// sleep waits until a time of the work; false if the run ends before.
func (c *crew) sleep(until int64) bool {
	wait := time.Duration(until - c.w.now())
	if wait <= 0 {
		return c.ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// openAll opens the connections in their order.
func (c *crew) openAll() {
	j := &c.w.job
	for i, m := range c.members {
		c.mayOpen.L.Lock()
		for int64(i) >= c.w.mayOpen.Load() && c.ctx.Err() == nil {
			c.mayOpen.Wait()
		}
		c.mayOpen.L.Unlock()
		if !c.sleep(int64(float64(j.Ramp) * float64(i) / float64(j.Conns))) {
			return
		}
		select {
		case c.slots <- struct{}{}:
		case <-c.ctx.Done():
			return
		}
		c.running.Go(func() { c.work(m) })
	}
}

// work is the life of a connection.
func (c *crew) work(m *member) {
	began := c.w.now()
	stream, shake, rest, err := c.open(m)
	<-c.slots
	m.squad.Lock()
	if err != nil {
		if c.ctx.Err() == nil {
			m.squad.refuse(m.id, unopened(m.id, err, c.w.job.Timeout))
		}
		m.squad.Unlock()
		return
	}
	m.init(&m.squad.shard, m.id)
	m.agree(shake.agreed)
	m.stream = stream
	m.squad.shard.open(&m.conn, c.w.now()-began)
	m.squad.Unlock()
	// The end of the run, also where nothing is read or written.
	end := context.AfterFunc(c.ctx, func() { stream.Close() })
	defer end()
	done := make(chan struct{})
	c.running.Go(func() { c.write(m, done) })
	c.read(m, rest)
	close(done)
	stream.Close()
}

// open connects and does the handshakes.
func (c *crew) open(m *member) (_ net.Conn, shake *handshake, rest []byte, err error) {
	j := &c.w.job
	ctx, cancel := context.WithTimeout(c.ctx, j.Timeout)
	defer cancel()
	stream, err := c.source.dial(ctx, j.Addr)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() {
		if err != nil {
			stream.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { stream.SetDeadline(time.Unix(1, 0)) })
	below := stream
	if j.URL.Scheme == "wss" {
		config := j.TLSConfig.Clone()
		if config == nil {
			config = new(tls.Config)
		}
		if config.ServerName == "" {
			config.ServerName = j.URL.Hostname()
		}
		config.NextProtos = nil
		secure := tls.Client(stream, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, nil, nil, tlsFailure(m.id, err)
		}
		stream = secure
	}
	shake = newHandshake(j, c.w.now())
	if _, err := stream.Write(shake.unsent); err != nil {
		return nil, nil, nil, err
	}
	buf := make([]byte, 4<<10)
	for {
		n, err := stream.Read(buf)
		if n > 0 {
			rest, done, err := shake.feed(buf[:n], j, m.id)
			if err != nil {
				return nil, nil, nil, err
			}
			if done {
				if !stop() { // it is late, and the deadline may be set at any time
					below.Close()
					return nil, nil, nil, context.DeadlineExceeded
				}
				return stream, shake, rest, nil
			}
		}
		if err != nil {
			return nil, nil, nil, err
		}
	}
}

// tlsFailure tells an error of TLS from one of the connection below it.
func tlsFailure(id uint32, err error) error {
	var below net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.As(err, &below) && !errors.As(err, new(tls.AlertError)) {
		return err
	}
	return failure(TLS, "connection %d: %v", id, err)
}

// sources are the addresses to connect from. See dialer, which does the same for
// loops.
type sources struct {
	last    atomic.Int32                                                         // number of the 127 address in use; 0 leaves it to the system
	connect func(*net.Dialer, context.Context, string, string) (net.Conn, error) // nil: the Dialer's own; for tests
}

func (s *sources) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	connect := s.connect
	if connect == nil {
		connect = (*net.Dialer).DialContext
	}
	loopback := to.Addr().Unmap().Is4() && to.Addr().Unmap().IsLoopback()
	for {
		var d net.Dialer
		last := s.last.Load()
		if loopback && last > 0 {
			d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(last))}
		}
		conn, err := connect(&d, ctx, "tcp", to.String())
		if !loopback || last >= lastSource || !errors.Is(err, syscall.EADDRNOTAVAIL) && !errors.Is(err, syscall.EADDRINUSE) {
			return conn, err
		}
		s.last.CompareAndSwap(last, max(2, last+1)) // another connection may have found out, too
	}
}

// lastSource is the last number of the last address to connect from.
const lastSource = 250

// read takes what comes until the connection ends.
func (c *crew) read(m *member, p []byte) {
	buf := make([]byte, 16<<10)
	var err error
	for {
		m.squad.Lock()
		now := c.w.now()
		if fed := m.feed(p, now); fed != nil {
			err = fed
		}
		if err != nil {
			c.end(m, err)
			m.squad.Unlock()
			return
		}
		m.topUp(now)
		output := m.hasOutput()
		m.squad.Unlock()
		if output {
			m.signal()
		}
		var n int
		n, err = m.stream.Read(buf)
		p = buf[:n]
	}
}

// end takes a connection out. The squad is locked.
func (c *crew) end(m *member, err error) {
	if m.over {
		return
	}
	m.over = true
	if c.ctx.Err() != nil {
		err = nil
	} else if err = m.broken(err); err != nil {
		if f, ok := errors.AsType[*Failure](err); ok && f.Kind == Closed {
			m.goodbye() // which answers
			m.stream.SetWriteDeadline(time.Now().Add(time.Second))
			m.stream.Write(m.fill(make([]byte, 0, 1<<10)))
		}
	}
	m.squad.end(&m.conn, err)
}

func (m *member) signal() {
	select {
	case m.output <- struct{}{}:
	default:
	}
}

// write sends what is to be sent until the connection ends.
func (c *crew) write(m *member, done <-chan struct{}) {
	var buf []byte
	for {
		select {
		case <-m.output:
		case <-done:
			return
		}
		for {
			m.squad.Lock()
			if !m.over {
				m.topUp(c.w.now())
			}
			if m.over || !m.hasOutput() {
				m.squad.Unlock()
				break
			}
			if buf == nil {
				buf = make([]byte, 0, 16<<10)
			}
			p := m.fill(buf)
			m.wrote(len(p)) // now: the reader may add a pong meanwhile
			m.squad.Unlock()
			_, err := m.stream.Write(p)
			if err != nil {
				// The reader has, or will have, the reason. Where it does not notice by itself:
				m.stream.SetReadDeadline(time.Now().Add(time.Second))
				return
			}
		}
	}
}

// advance tells all connections of a new stage.
func (c *crew) advance(stage int32) {
	if stage == stageStop {
		c.stop()
	}
	c.mayOpen.L.Lock()
	c.mayOpen.Broadcast()
	c.mayOpen.L.Unlock()
	for _, m := range c.members {
		m.squad.Lock()
		if m.stream != nil && !m.over {
			switch stage {
			case stageGreet:
				m.ping()
			case stageClose:
				m.goodbye()
			}
		}
		m.squad.Unlock()
		m.signal()
	}
}

// patrol ends connections on which nothing has come for too long.
func (c *crew) patrol() {
	every := min(int64(c.w.job.Timeout)/4, int64(time.Second))
	for at := c.w.now() + every; c.sleep(at); at += every {
		for _, m := range c.members {
			m.squad.Lock()
			if m.stream != nil && !m.over {
				if err := m.silent(c.w.now()); err != nil {
					c.end(m, err)
					m.stream.Close()
				}
			}
			m.squad.Unlock()
		}
	}
}

// pace begins messages at the rate.
func (c *crew) pace() {
	defer func() {
		for _, s := range c.squads {
			s.paced.Store(true)
		}
		c.w.notify()
	}()
	interval := c.w.job.interval()
	for c.w.sendFrom.Load() == 0 || c.w.measureTo.Load() == 0 {
		if !c.sleep(c.w.now() + int64(time.Millisecond)) {
			return
		}
	}
	from, turn := c.w.sendFrom.Load(), 0
	for n := 0.0; ; n++ {
		intended := from + int64(n*interval)
		if !c.w.sending(intended) || !c.sleep(intended) || !c.w.sending(intended) {
			return
		}
		m := c.nextSender(&turn)
		if m == nil {
			return
		}
		m.squad.Lock()
		if !m.over {
			m.begin(intended)
			m.count()
			if c.w.now()-intended > lateFrom && c.w.measured(intended) {
				m.squad.late++
			}
		}
		m.squad.Unlock()
		m.signal()
	}
}

// nextSender returns the connection whose turn it is, or nil if none is left.
func (c *crew) nextSender(turn *int) *member {
	if c.sender != nil {
		return c.sender
	}
	for range c.members {
		m := c.members[*turn%len(c.members)]
		*turn++
		m.squad.Lock()
		open := m.stream != nil && !m.over
		m.squad.Unlock()
		if open {
			return m
		}
	}
	return nil
}
