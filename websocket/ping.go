package websocket

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
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
// is still empty-handed at its end; see Conn.waits. An
// application that is slow to read does not lose a healthy peer. Nor does one that
// writes a long message: the time begins when the ping has left.
type pinger struct {
	alarm alarm       // of a Handler's Conn
	own   *soloPinger // of any other

	mu      sync.Mutex
	sent    uint32        // number of the last ping
	answer  uint32        // number of the newest ping that was answered
	at      time.Duration // when the last ping was sent
	round   uint64        // of the batch that the awaited ping is in
	reads   uint32        // the Conn's wait for bytes that began before the wait for the pong
	running bool
	awaited bool // the timer waits for a pong
	halfway bool // the timer has gone off once since the ping: an alarm is of few lengths

	rtt atomic.Int64
}

// A soloPinger is what a Conn has that is not a Handler's.
type soloPinger struct {
	timer   *time.Timer // nil: no automatic pings
	waiters map[uint32]chan struct{}
}

func (p *pinger) init(c *Conn) {
	p.alarm = alarm{c: c, do: (*Conn).pingDue}
	if c.settings.handler == nil {
		p.own = new(soloPinger)
	}
	if interval := c.settings.PingInterval; interval > 0 {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.running = true
		p.after(interval)
	}
}

// after has tick called once more.
func (p *pinger) after(d time.Duration) {
	switch {
	case p.own == nil:
		p.alarm.c.settings.handler.wheel.start(&p.alarm, d)
	case p.own.timer == nil:
		p.own.timer = time.AfterFunc(d, p.tick)
	default:
		p.own.timer.Reset(d)
	}
}

func (c *Conn) pingDue() { c.pinger.tick() }

// RTT returns the time that the newest ping took to be answered, 0 before the
// first pong.
func (c *Conn) RTT() time.Duration { return time.Duration(c.pinger.rtt.Load()) }

// Ping sends a ping and waits for its pong, until ctx ends. Something must read
// meanwhile, or the pong is not seen. In a [Handler]'s Conn it does not wait.
//
// Connections ping by themselves; see [Options.PingInterval]. Those of a browser
// (GOOS=js) cannot, and Ping is an error there: it answers pings by itself.
func (c *Conn) Ping(ctx context.Context) error {
	if c.settings.pingless {
		return errPingless
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	p := &c.pinger
	handled := c.settings.handler != nil
	number, payload, answered := p.next(!handled)
	if handled {
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

var errPingless = fmt.Errorf("websocket: ping: a browser's WebSocket sends no pings: %w", errors.ErrUnsupported)

var errPingBehind = errors.New("websocket: ping: too much waits to be sent already")

// next numbers a ping and, if its pong is to be waited for, returns what that will
// close. Both are one step: the pong of a later ping answers this one too.
func (p *pinger) next(await bool) (number uint32, payload [8]byte, answered chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	number, payload = p.number()
	if await {
		if p.own.waiters == nil {
			p.own.waiters = make(map[uint32]chan struct{})
		}
		answered = make(chan struct{})
		p.own.waiters[number] = answered
	}
	return number, payload, answered
}

func (p *pinger) number() (number uint32, payload [8]byte) {
	p.sent++
	p.at = clock()
	binary.BigEndian.PutUint64(payload[:], uint64(p.sent))
	return p.sent, payload
}

func (p *pinger) forget(number uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.own.waiters, number)
}

// pong takes the payload of a pong that came.
func (p *pinger) pong(payload []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(payload) != 8 {
		return
	}
	wide := binary.BigEndian.Uint64(payload)
	if wide <= uint64(p.answer) || wide > uint64(p.sent) {
		return
	}
	number := uint32(wide)
	p.answer = number
	if number == p.sent {
		p.rtt.Store(int64(clock() - p.at))
	}
	if p.own == nil {
		return
	}
	for n, answered := range p.own.waiters {
		if n <= number {
			close(answered)
			delete(p.own.waiters, n)
		}
	}
	if p.awaited && p.running {
		p.awaited = false
		p.own.timer.Reset(max(0, p.alarm.c.settings.PingInterval-(clock()-p.at)))
	}
}

// tick is the timer: time for a ping, or for its pong to have come.
func (p *pinger) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running {
		return
	}
	c := p.alarm.c
	interval, timeout := c.settings.PingInterval, c.settings.PongTimeout
	reads, waits := c.waits()
	switch {
	case p.awaited && p.answer == p.sent:
		// The wheel has not been told of the pong: its alarms are of few lengths.
		p.awaited = false
		if interval > timeout {
			p.after(interval - timeout)
			return
		}
	case p.awaited && p.own == nil && interval < timeout && !p.halfway:
		p.halfway = true // the next ping was due, the pong is not overdue yet
		p.after(timeout - interval)
		return
	case p.awaited && c.out.stands(p.round):
		waits = false // the pong's time begins when the ping has left
	case p.awaited && waits && reads == p.reads:
		p.running = false
		go c.silent()
		return
	}
	wait := timeout
	if p.own == nil && interval < timeout {
		wait = interval
	}
	if p.halfway = false; !p.awaited {
		_, payload := p.number()
		round, ok := c.out.ping(payload[:])
		// Where no ping can be sent any more the reads may wait for ever, too: a stream
		// that was closed by somebody else is not told of by epoll.
		p.round, p.awaited = round, (ok || c.out.broken()) && wait > 0
	}
	if !p.awaited {
		wait = interval
	}
	if p.reads = reads; !waits {
		p.reads = never
	}
	p.after(wait)
}

// never is a number of reads that no connection comes to.
const never = 1<<32 - 1

func (p *pinger) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = false
	if p.own == nil {
		p.alarm.c.settings.handler.wheel.stop(&p.alarm)
	} else if p.own.timer != nil {
		p.own.timer.Stop()
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
