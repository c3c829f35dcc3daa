package push

import (
	"math"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
)

// A log is the last messages of one channel. Whoever reads it holds only a
// sequence number, the last that it has seen; the log knows nothing of its
// readers. Sequence numbers rise, but not by one: all channels share a counter.
//
//	... gone ...  |  entries: a ring, oldest first  |
//	        dropped < [0].seq < [1].seq < ... < last
//
// A reader that stands before dropped has lost messages and must be told.
type log struct {
	channel string

	// last is the sequence of the newest message, 0 before the first. It is
	// apart, so that a session with many channels sees without a lock which of
	// them have news.
	last atomic.Uint64

	mu      sync.Mutex
	ring    []entry
	head    int           // index of the oldest entry
	n       int           // entries in use
	dropped uint64        // sequence of the newest message that is not kept any more
	bytes   int64         // what the entries count
	kept    *atomic.Int64 // the entries of all logs of a broker, if it counts them

	place place // the memory broker's, under its lock
}

// An entry is a message in a log.
type entry struct {
	seq  uint64
	at   time.Duration // since the broker began
	line []byte        // as protocol.Message writes it; shared by all readers, never changed
}

// entryOverhead is what an entry counts besides its line: itself and the
// allocation.
const entryOverhead = 64

func (e *entry) size() int64 { return int64(len(e.line)) + entryOverhead }

// entry returns the i-th entry from the oldest.
func (l *log) entry(i int) *entry {
	return &l.ring[(l.head+i)&(len(l.ring)-1)] // the length is a power of two
}

// after returns the index of the first entry whose sequence is above seq; n
// where there is none.
func (l *log) after(seq uint64) int {
	return sort.Search(l.n, func(i int) bool { return l.entry(i).seq > seq })
}

// append adds a message and returns by how much the log's bytes have grown; it
// keeps at most max messages, no limit for 0.
func (l *log) append(e entry, max int) (grown int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if max > 0 && l.n >= max {
		grown -= l.drop(l.n - max + 1)
	}
	if l.n == len(l.ring) {
		l.grow()
	}
	l.n++
	l.count(1)
	*l.entry(l.n - 1) = e
	l.bytes += e.size()
	l.last.Store(e.seq)
	return grown + e.size()
}

func (l *log) grow() {
	ring := make([]entry, max(4, 2*len(l.ring)))
	for i := range l.n {
		ring[i] = *l.entry(i)
	}
	l.ring, l.head = ring, 0
}

func (l *log) count(n int) {
	if l.kept != nil {
		l.kept.Add(int64(n))
	}
}

// drop drops the oldest k messages and returns their bytes.
func (l *log) drop(k int) (freed int64) {
	l.count(-k)
	for range k {
		e := l.entry(0)
		l.dropped = e.seq
		freed += e.size()
		*e = entry{}
		l.head = (l.head + 1) & (len(l.ring) - 1)
		l.n--
	}
	if l.n == 0 {
		l.ring, l.head = nil, 0 // a quiet channel keeps no room
	}
	l.bytes -= freed
	return freed
}

// dropOldest drops the oldest message and returns its bytes.
func (l *log) dropOldest() (freed int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.drop(min(1, l.n))
}

// expire drops the messages that came at a time or before it, and returns their
// bytes.
func (l *log) expire(at time.Duration) (freed int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.drop(sort.Search(l.n, func(i int) bool { return l.entry(i).at > at }))
}

// len returns the number of messages.
func (l *log) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// known says what there is; now is of the log's counter.
func (l *log) known(now Position) known {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := known{name: l.channel, messages: l.n, bytes: l.bytes}
	if last := l.last.Load(); last > 0 {
		k.position = now.at(last)
	}
	return k
}

// next returns the first message above sequence number after and up to upto; ok is
// false where there is none. lost is not zero where messages above after are gone:
// it is the sequence of the last of them.
func (l *log) next(after, upto uint64) (e entry, lost uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if after < l.dropped {
		lost = l.dropped
	}
	if i := l.after(after); i < l.n && l.entry(i).seq <= upto {
		return *l.entry(i), lost, true
	}
	return entry{}, lost, false
}

// following appends to es the messages after the one that next has returned last, up to
// upto and to the room that es has. It ends where messages are gone: that is for next
// to tell.
func (l *log) following(es []entry, after, upto uint64) []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	if after < l.dropped {
		return es
	}
	for i := l.after(after); i < l.n && len(es) < cap(es); i++ {
		e := l.entry(i)
		if e.seq > upto {
			break
		}
		es = append(es, *e)
	}
	return es
}

// A start says where somebody begins to read a channel.
type start struct {
	since   Position // after this place, if it is not zero
	history int      // otherwise with so many of the last messages
}

// join returns the sequence after which a reader begins that asked for s, when
// all up to now is in the log. reset is not "" where messages are missing between
// the place asked for and this one.
func (l *log) join(s start, now Position) (seq uint64, reset string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begin(s, now)
}

// begin is join with the lock held.
func (l *log) begin(s start, now Position) (seq uint64, reset string) {
	switch {
	case s.since.IsZero():
		return l.beforeLast(s.history, now.seq), ""
	case !s.since.of(now):
		return l.dropped, protocol.Recreated
	case s.since.seq < l.dropped:
		return l.dropped, protocol.TooOld
	}
	return s.since.seq, ""
}

// beforeLast returns the sequence after which the last k messages up to now come.
func (l *log) beforeLast(k int, now uint64) uint64 {
	end := l.after(now)
	switch first := end - k; {
	case k <= 0 || end == 0:
		return now
	case first <= 0:
		return l.dropped
	default:
		return l.entry(first - 1).seq
	}
}

// past returns what is known after since, at most the first limit messages of it;
// for the zero Position, at most the last limit of all. No limit for 0. now is a
// position up to which the log is complete.
func (l *log) past(since Position, limit int, now Position) past {
	if limit <= 0 {
		limit = math.MaxInt
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	seq, reset := l.begin(start{since: since, history: limit}, now)
	p := past{begin: now.at(seq), position: now, reset: reset}
	for i := l.after(seq); i < l.n && l.entry(i).seq <= now.seq; i++ {
		if len(p.messages) == limit {
			p.position.seq = p.messages[limit-1].seq
			break
		}
		p.messages = append(p.messages, *l.entry(i))
	}
	return p
}
