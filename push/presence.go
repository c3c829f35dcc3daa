package push

import (
	"maps"
	"slices"

	"github.com/duplexgo/duplex/push/protocol"
)

const (
	// maxPresent is how many users of a channel are known by name.
	maxPresent = 1000

	// maxPresenceLog is how many joins and leaves of a channel are kept for the
	// lines that watch them. One that lags behind by more gets the whole anew.
	maxPresenceLog = 1000
)

// presence is who reads a channel, by name, and what has changed lately. Like the
// messages, the changes are a log, encoded once, in which each watcher is a
// position: a slow one holds up nobody. All of it is under the channel's lock.
type presence struct {
	users    map[string]int // lines of each
	named    int            // lines of all of them
	watchers int
	changes  *log   // nil: nobody watches
	seq      uint64 // of the last change
}

// arrive makes the reader's user present. The channel's lock is held.
func (c *channel) arrive(r *reader) {
	if r.hidden {
		return
	}
	c.visible++
	if r.user == "" {
		return
	}
	p := c.attend()
	lines := p.users[r.user]
	if lines == 0 && len(p.users) >= maxPresent {
		return
	}
	r.named = true
	p.named++
	p.users[r.user] = lines + 1
	if lines == 0 {
		c.change(protocol.Join(c.log.channel, r.user))
	}
}

// depart ends what arrive began.
func (c *channel) depart(r *reader) {
	if r.hidden {
		return
	}
	c.visible--
	if !r.named {
		return
	}
	p := c.presence
	r.named = false
	p.named--
	if p.users[r.user]--; p.users[r.user] > 0 {
		return
	}
	delete(p.users, r.user)
	c.change(protocol.Leave(c.log.channel, r.user))
}

// rename makes the reader that of another user.
func (c *channel) rename(r *reader, user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.depart(r)
	r.user = user
	c.arrive(r)
}

// attend returns the channel's presence, a new one where there is none: a channel
// does without as long as nobody has a name or asks.
func (c *channel) attend() *presence {
	if c.presence == nil {
		c.presence = &presence{users: make(map[string]int)}
	}
	return c.presence
}

// watch counts a watcher more, or less. The lock is held.
func (c *channel) watch(n int) {
	p := c.attend()
	switch p.watchers += n; {
	case p.watchers == 0:
		p.changes = nil
	case p.changes == nil:
		p.changes = new(log)
	}
}

// change tells the watchers.
func (c *channel) change(line []byte) {
	p := c.presence
	if p.changes == nil {
		return
	}
	p.seq++
	p.changes.append(entry{seq: p.seq, line: line}, maxPresenceLog)
	for _, r := range c.readers {
		if r.watch != nil {
			r.session.line.wake()
		}
	}
}

// who returns who is present. The lock is held.
func (c *channel) who() protocol.Who {
	who := protocol.Who{Users: []string{}, Others: c.visible}
	if p := c.presence; p != nil {
		who.Users = append(who.Users, slices.Sorted(maps.Keys(p.users))...)
		who.Others -= p.named
	}
	return who
}

// A watch is a reader's place in the changes of presence, under the session's lock.
type watch struct {
	begun bool // the whole has been sent
	seq   uint64
}

// presence adds what has changed for a watcher, or the whole, to the batch.
func (b *batch) presence(r *reader) {
	c, w := r.channel, r.watch
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.presence
	if w.begun && w.seq == p.seq {
		return
	}
	if w.begun && w.seq >= p.changes.dropped {
		for {
			e, _, ok := p.changes.next(w.seq, p.seq)
			if !ok {
				return
			}
			w.seq = e.seq
			b.add(e.line)
		}
	}
	w.begun, w.seq = true, p.seq
	b.add(protocol.Presence{Channel: c.log.channel, Who: c.who()}.Append(nil))
}

// who returns who is present in a channel.
func (h *hub) who(name string) protocol.Who {
	h.mu.RLock()
	c := h.channels[name]
	h.mu.RUnlock()
	if c == nil {
		return protocol.Who{Users: []string{}}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.who()
}
