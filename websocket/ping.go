package websocket

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// pinger sends pings and waits for their pongs. A ping's payload is its number,
// eight bytes: a pong for it answers every ping before it too (RFC 6455, 5.5.3),
// and pongs that answer nothing are ignored.
//
// A pong can only come while something reads. So a connection counts as dead
// only when one and the same wait for bytes began before the pong timeout did and
// is still empty-handed at its end: in.reads is odd and has not changed. An
// application that is slow to read does not lose a healthy peer. Nor does one that
// writes a long message: the time begins when the ping has left.
type pinger struct {
	c *Conn

	mu      sync.Mutex
	timer   *time.Timer // nil: no automatic pings, or stopped
	sent    uint64      // number of the last ping
	at      time.Time   // when that was
	answer  uint64      // number of the newest ping that was answered
	round   uint64      // of the batch that the awaited ping is in
	awaited bool        // the timer waits for a pong
	reads   uint64      // in.reads when it began to
	waiters map[uint64]chan struct{}

	rtt atomic.Int64
}

func (p *pinger) init(c *Conn) {
	p.c = c
	if interval := c.options.PingInterval; interval > 0 {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.timer = time.AfterFunc(interval, p.tick)
	}
}

// RTT returns the time that the newest ping took to be answered, 0 before the
// first pong.
func (c *Conn) RTT() time.Duration { return time.Duration(c.pinger.rtt.Load()) }

// Ping sends a ping and waits for its pong, until ctx ends. Something must read
// meanwhile, or the pong is not seen. In a [Handler]'s Conn it does not wait.
//
// Connections ping by themselves; see [Options.PingInterval].
func (c *Conn) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p := &c.pinger
	number, payload, answered := p.next(!c.handled)
	if c.handled {
		if _, ok := c.out.ping(payload[:]); !ok {
			return cmp.Or(c.out.over(), errPingBehind)
		}
		return nil
	}
	defer p.forget(number)
	if err := c.out.pingInTurn(ctx, payload[:]); err != nil {
		return err
	}
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ending.done:
		return c.ending.cause()
	}
}

var errPingBehind = errors.New("websocket: ping: too much waits to be sent already")

// next numbers a ping and, if its pong is to be waited for, returns what that will
// close. Both are one step: the pong of a later ping answers this one too.
func (p *pinger) next(await bool) (number uint64, payload [8]byte, answered chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	number, payload = p.number()
	if await {
		if p.waiters == nil {
			p.waiters = make(map[uint64]chan struct{})
		}
		answered = make(chan struct{})
		p.waiters[number] = answered
	}
	return number, payload, answered
}

func (p *pinger) number() (number uint64, payload [8]byte) {
	p.sent++
	p.at = time.Now()
	binary.BigEndian.PutUint64(payload[:], p.sent)
	return p.sent, payload
}

func (p *pinger) forget(number uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiters, number)
}

// pong takes the payload of a pong that came.
func (p *pinger) pong(payload []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(payload) != 8 {
		return
	}
	number := binary.BigEndian.Uint64(payload)
	if number <= p.answer || number > p.sent {
		return
	}
	p.answer = number
	if number == p.sent {
		p.rtt.Store(int64(time.Since(p.at)))
	}
	for n, answered := range p.waiters {
		if n <= number {
			close(answered)
			delete(p.waiters, n)
		}
	}
	if p.awaited && p.timer != nil {
		p.awaited = false
		p.timer.Reset(max(0, p.c.options.PingInterval-time.Since(p.at)))
	}
}

// tick is the timer: time for a ping, or for its pong to have come.
func (p *pinger) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil {
		return
	}
	reads := p.c.in.reads.Load()
	if p.awaited && p.c.out.stands(p.round) {
		reads = 0 // the pong's time begins when the ping has left
	} else if p.awaited && reads == p.reads && reads&1 == 1 {
		p.timer = nil
		go p.c.silent()
		return
	}
	wait := p.c.options.PongTimeout
	if !p.awaited {
		_, payload := p.number()
		round, ok := p.c.out.ping(payload[:])
		p.round, p.awaited = round, ok && wait > 0
	}
	if !p.awaited {
		wait = p.c.options.PingInterval
	}
	p.reads = reads
	p.timer.Reset(wait)
}

func (p *pinger) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

// silent ends a connection whose peer did not answer. The close frame is for a
// peer that is alive and does not know of pings; nothing waits for its answer.
func (c *Conn) silent() {
	c.ending.limit(c, lingerTimeout, ErrPongTimeout, true)
	c.out.close(ErrPongTimeout, CloseInternalError, "no pong in time")
	c.out.awaitClose()
	c.cut(ErrPongTimeout)
}
