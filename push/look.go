package push

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
)

// A ChannelStat is what a server has of a channel.
type ChannelStat struct {
	Channel     string          `json:"channel"`
	Messages    int             `json:"messages"` // kept
	Bytes       int64           `json:"bytes"`    // what they count
	Subscribers int             `json:"subscribers"`
	Last        json.RawMessage `json:"last,omitempty"` // the newest message, as in docs/protocol.md; nil if none is kept
}

// ChannelStats returns up to n channels whose names begin with prefix: without a prefix those
// that were used last, the latest first, with one in the order of their names. The
// slices are the caller's, but what is in Last must not be changed.
func (s *Server) ChannelStats(prefix string, n int) []ChannelStat {
	s.init()
	var channels []known
	if latest, ok := s.core.broker.(interface{ latest(n int) []known }); ok && prefix == "" {
		channels = latest.latest(n)
	} else {
		channels, _ = s.core.broker.list(prefix, "", n)
	}
	stats := make([]ChannelStat, 0, len(channels))
	for _, k := range channels {
		st := ChannelStat{Channel: k.name, Messages: k.messages, Bytes: k.bytes, Subscribers: s.core.hub.readersOf(k.name)}
		if p, err := s.core.broker.history(k.name, Position{}, 1); err == nil && len(p.messages) > 0 {
			st.Last = p.messages[0].line
		}
		stats = append(stats, st)
	}
	return stats
}

// latest returns the n channels with messages that were used last, the latest first.
func (m *memory) latest(n int) []known {
	m.mu.Lock()
	defer m.mu.Unlock()
	var logs []*log
	for _, s := range []*list{&m.opened, &m.idle} {
		for l, left := s.newest, n; l != nil && left > 0; l, left = l.place.prev, left-1 {
			logs = append(logs, l)
		}
	}
	slices.SortStableFunc(logs, func(a, b *log) int { return cmp.Compare(b.place.used, a.place.used) })
	channels := make([]known, 0, n)
	for _, l := range logs[:min(n, len(logs))] {
		m.expire(l)
		channels = append(channels, l.known(m.now()))
	}
	return channels
}

// Lag is how far the readers of a server are behind.
type Lag struct {
	Subscriptions int // that have not been given all there is
	Messages      int // that the one farthest behind still has to get
}

// Lag returns how far the readers are behind now. A subscription is behind for a moment
// after each message; one that stays behind has a slow client. It looks at every
// subscription: not more often than about once a second.
func (s *Server) Lag() (lag Lag) {
	s.init()
	var readers []*reader
	for _, c := range s.core.hub.all() {
		last := c.log.last.Load()
		if last == 0 {
			continue
		}
		c.mu.Lock()
		readers = append(readers[:0], c.readers...)
		c.mu.Unlock()
		for _, r := range readers { // a session's lock is taken before a channel's
			r.session.mu.Lock()
			seq := r.seq
			r.session.mu.Unlock()
			if seq >= last {
				continue
			}
			if n := c.log.above(seq); n > 0 {
				lag.Subscriptions++
				lag.Messages = max(lag.Messages, n)
			}
		}
	}
	return lag
}

// all returns the channels that have readers.
func (h *hub) all() []*channel {
	h.mu.RLock()
	defer h.mu.RUnlock()
	channels := make([]*channel, 0, len(h.channels))
	for _, c := range h.channels {
		channels = append(channels, c)
	}
	return channels
}

// above returns how many messages above seq are kept.
func (l *log) above(seq uint64) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n - l.after(seq)
}

// adminKey marks the context of requests that came by Admin.
type adminKey struct{}

// Admin returns a handler that serves the same as s, and lets everybody in who reaches
// it, as an administrator: for an address of its own that only administrators reach.
// It answers only requests whose Host is an IP address or localhost, so that no
// foreign page reaches it by a name that it has made up (DNS rebinding), and lets in no
// page of another origin, Origins or not.
func (s *Server) Admin() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !literalHost(r.Host) {
			problem(w, http.StatusMisdirectedRequest, 0, "this address is only reached by an IP address or as localhost, not by another name")
			return
		}
		s.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), adminKey{}, true)))
	})
}

// ofAdmin reports whether a request came by Admin.
func ofAdmin(r *http.Request) bool { return r.Context().Value(adminKey{}) != nil }
