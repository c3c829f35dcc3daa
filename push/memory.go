package push

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
)

// memory is the broker of a single process: it keeps the logs in memory.
//
// One counter numbers the messages of all channels. A message gets its number
// and its place in the log under the same lock, so whoever has read the counter
// finds everything up to there in the logs.
//
// A channel is open while somebody reads it, otherwise idle. Idle channels are
// forgotten when all that they hold has become too old, or, the longest unused
// first, when there are too many channels or bytes. Of all forgotten channels
// one number is remembered, the newest sequence that any of them had: below it
// nobody can say whether a channel had messages.
type memory struct {
	news   func(channel string) // called after each message, without a lock
	limits memoryLimits
	epoch  uint64
	began  time.Time
	last   atomic.Uint64 // the counter; written under mu
	kept   atomic.Int64  // messages in all logs

	mu        sync.Mutex
	logs      map[string]*log
	opened    list // open and not empty, the longest unused first
	idle      list // not open, the longest unused first
	bytes     int64
	forgotten uint64
	sweeper   *time.Timer
	closed    bool
}

// memoryLimits are the limits in force; 0 is none.
type memoryLimits struct {
	messages int           // in a log
	age      time.Duration // of a message
	bytes    int64         // in all logs
	channels int
}

func newMemory(limits memoryLimits, news func(channel string)) *memory {
	var random [8]byte
	rand.Read(random[:])
	return &memory{
		news:   news,
		limits: limits,
		// 48 bits are enough not to come again, and keep positions short.
		epoch: binary.LittleEndian.Uint64(random[:])>>16 | 1,
		began: time.Now(),
		logs:  make(map[string]*log),
	}
}

func (m *memory) now() Position { return Position{epoch: m.epoch, seq: m.last.Load()} }

func (m *memory) publish(_ context.Context, channel string, data json.RawMessage) (Position, error) {
	line := make([]byte, 0, len(data)+len(channel)+112)
	p, err := m.store(channel, data, line)
	if err == nil {
		m.news(channel)
	}
	return p, err
}

// store gives the message its number and puts it into its log.
func (m *memory) store(channel string, data json.RawMessage, line []byte) (Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, err := m.log(channel)
	if err != nil {
		return Position{}, err
	}
	p := m.now()
	p.seq++
	now := time.Now()
	line = protocol.Message{Channel: channel, Position: p.String(), Data: data, Time: now}.Append(line)
	m.bytes += l.append(entry{seq: p.seq, at: now.Sub(m.began), line: line}, m.limits.messages)
	m.last.Store(p.seq)
	m.touch(l)
	m.sweep(sweepByPublish)
	m.shrink(l)
	return p, nil
}

func (m *memory) open(channel string) (*log, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, err := m.log(channel)
	if err != nil {
		return nil, err
	}
	l.place.opens++
	m.touch(l)
	return l, nil
}

func (m *memory) release(l *log) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l.place.opens--
	if l.place.opens == 0 && l.last.Load() == 0 {
		m.forget(l) // it never had a message
		return
	}
	m.touch(l)
}

func (m *memory) history(channel string, since Position, limit int) (past, error) {
	m.mu.Lock()
	l, now := m.logs[channel], m.now()
	if l == nil {
		l = &log{dropped: m.forgotten}
	} else {
		m.expire(l)
	}
	m.mu.Unlock()
	return l.past(since, limit, now), nil
}

func (m *memory) list(prefix, after string, limit int) (channels []known, more bool) {
	names := m.names(prefix, after)
	slices.Sort(names) // publishers need not wait for that
	if more = len(names) > limit; more {
		names = names[:limit]
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range names {
		if l := m.logs[name]; l != nil { // not forgotten meanwhile
			m.expire(l)
			channels = append(channels, l.known(m.now()))
		}
	}
	return channels, more
}

func (m *memory) names(prefix, after string) (names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.logs {
		if name > after && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names
}

func (m *memory) size() (channels, messages int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.logs), int(m.kept.Load()), m.bytes
}

func (m *memory) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	if m.sweeper != nil {
		m.sweeper.Stop()
	}
}

// The following are called with mu held.

// log returns the channel's log, a new one where there is none.
func (m *memory) log(channel string) (*log, error) {
	if l := m.logs[channel]; l != nil {
		return l, nil
	}
	if m.limits.channels > 0 && len(m.logs) >= m.limits.channels {
		if m.idle.oldest == nil {
			return nil, errTooManyChannels
		}
		m.forget(m.idle.oldest)
	}
	l := &log{channel: channel, dropped: m.forgotten, kept: &m.kept}
	m.logs[channel] = l
	return l, nil
}

var errTooManyChannels = &protocol.Error{Code: protocol.TooManyChannels, Message: "the server has as many channels as it can keep, all of them in use"}

// forget forgets a channel that is not open.
func (m *memory) forget(l *log) {
	l.place.leave()
	delete(m.logs, l.channel)
	m.bytes -= l.expire(math.MaxInt64)
	m.forgotten = max(m.forgotten, l.last.Load())
}

// touch marks that the log is used, and puts it where it belongs.
func (m *memory) touch(l *log) {
	m.expire(l)
	l.place.used = time.Since(m.began)
	switch {
	case l.place.opens == 0:
		m.idle.push(l)
	case l.len() > 0:
		m.opened.push(l)
	default:
		l.place.leave()
	}
	m.arm()
}

// expire drops what is too old in one log.
func (m *memory) expire(l *log) {
	if m.limits.age > 0 {
		m.bytes -= l.expire(time.Since(m.began) - m.limits.age)
	}
}

// sweep drops what is too old in the logs that nobody has touched for long, at
// most n of them; more says that there are others.
func (m *memory) sweep(n int) (more bool) {
	if m.limits.age <= 0 {
		return false
	}
	old := time.Since(m.began) - m.limits.age
	for _, s := range []*list{&m.idle, &m.opened} {
		for l := s.oldest; l != nil && l.place.used <= old; l = s.oldest {
			if n--; n < 0 {
				return true
			}
			if s == &m.idle {
				m.forget(l)
				continue
			}
			m.expire(l)
			l.place.leave() // empty: all that it had came before it was used last
		}
	}
	return false
}

// shrink makes all logs fit into their bytes. The message just published stays,
// which is the last of newest.
func (m *memory) shrink(newest *log) {
	for m.limits.bytes > 0 && m.bytes > m.limits.bytes {
		l := m.idle.oldest
		if l == nil || l == newest && l.len() == 1 {
			l = m.opened.oldest
		}
		if l == nil || l == newest && l.len() == 1 {
			return // nothing else is left
		}
		m.bytes -= l.dropOldest()
		switch {
		case l.len() > 0:
		case l.place.opens == 0:
			m.forget(l)
		default:
			l.place.leave()
		}
	}
}

// Sweeps are short, because publishers wait for them.
const (
	minSweep       = time.Second // least time between two by the clock
	sweepByPublish = 8           // logs at most
	sweepByClock   = 1000
)

// arm sets the sweeper for when the first log is due, unless it is set.
func (m *memory) arm() {
	if m.sweeper != nil || m.closed || m.limits.age <= 0 {
		return
	}
	due := time.Duration(math.MaxInt64)
	for _, l := range []*log{m.idle.oldest, m.opened.oldest} {
		if l != nil {
			due = min(due, l.place.used+m.limits.age)
		}
	}
	if due < math.MaxInt64 {
		m.sweeper = time.AfterFunc(max(minSweep, due-time.Since(m.began)), m.sweepAll)
	}
}

func (m *memory) sweepAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.sweep(sweepByClock) {
		m.mu.Unlock() // lets others in
		m.mu.Lock()
	}
	m.sweeper = nil
	m.arm()
}
