package console

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/compare"
	"github.com/duplexgo/duplex/push/protocol"
)

// A Desk is what the console knows of its server: what goes on, how it was in the
// last hour, and the comparisons.
type Desk struct {
	srv   *push.Server
	meter compare.Meter
	began time.Time

	mu      sync.Mutex
	totals  totals
	history history
	lag     push.Lag
	lagAt   time.Time
}

// totals are what has happened since the beginning.
type totals struct {
	Published      uint64                    `json:"published"`
	PublishedBytes uint64                    `json:"published_bytes"`
	Delivered      map[string]uint64         `json:"delivered"` // by transport
	DeliveredBytes uint64                    `json:"delivered_bytes"`
	Opened         uint64                    `json:"opened"`
	Resumed        uint64                    `json:"resumed"`
	Resets         map[string]uint64         `json:"resets"`   // by reason
	Refusals       map[protocol.Code]refusal `json:"refusals"` // of lines, requests and messages
	refused        uint64
	delivered      uint64
}

// A refusal is what was refused for one reason.
type refusal struct {
	Count uint64    `json:"count"`
	Last  time.Time `json:"last"`
}

// Attach gives a server the console with all that it can show, and keeps a history of
// the last hour until ctx is done. It sets the server's Console and ConsoleAPI, adds to
// its Hooks, and must be called before the server serves, and after other things have
// set Hooks. Let the Desk see the requests for the comparison to count them: see
// [Desk.Count].
func Attach(ctx context.Context, srv *push.Server) *Desk {
	d := &Desk{srv: srv, began: time.Now()}
	d.totals.Delivered = make(map[string]uint64)
	d.totals.Resets = make(map[string]uint64)
	d.totals.Refusals = make(map[protocol.Code]refusal)
	d.hook(&srv.Hooks)
	srv.Console = Handler()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /console/api/look", d.getLook)
	mux.HandleFunc("GET /console/api/history", d.getHistory)
	mux.Handle("/console/api/comparisons", &d.meter)
	mux.Handle("/console/api/comparisons/", &d.meter)
	srv.ConsoleAPI = mux
	go d.remember(ctx)
	return d
}

// Count returns a handler that counts the traffic of comparisons on its way to next,
// the server or a handler that leads to it.
func (d *Desk) Count(next http.Handler) http.Handler { return d.meter.Count(next) }

// Watch lets the comparison see the connections of the http.Server in which the
// handler of [Desk.Count] runs; without it the bytes are estimated. It sets ConnContext
// and ConnState, which are called as before, and must be called before the server
// serves.
func (d *Desk) Watch(srv *http.Server) { d.meter.Watch(srv) }

// hook has the Desk told what the server does, after those who are told already.
func (d *Desk) hook(h *push.Hooks) {
	count := func(f func(t *totals)) {
		d.mu.Lock()
		defer d.mu.Unlock()
		f(&d.totals)
	}
	refused := func(code protocol.Code) {
		count(func(t *totals) {
			t.refused++
			t.Refusals[code] = refusal{t.Refusals[code].Count + 1, time.Now().UTC()}
		})
	}
	h.Opened = both(h.Opened, func(string) { count(func(t *totals) { t.Opened++ }) })
	h.Published = both(h.Published, func(bytes int) {
		count(func(t *totals) { t.Published++; t.PublishedBytes += uint64(bytes) })
	})
	h.NotPublished = both(h.NotPublished, refused)
	h.Refused = both(h.Refused, refused)
	h.Reset = both(h.Reset, func(reason string) { count(func(t *totals) { t.Resets[reason]++ }) })
	resumed := h.Resumed
	h.Resumed = func() {
		if resumed != nil {
			resumed()
		}
		count(func(t *totals) { t.Resumed++ })
	}
	delivered := h.Delivered
	h.Delivered = func(transport string, messages, bytes int) {
		if delivered != nil {
			delivered(transport, messages, bytes)
		}
		count(func(t *totals) {
			t.Delivered[transport] += uint64(messages)
			t.delivered += uint64(messages)
			t.DeliveredBytes += uint64(bytes)
		})
	}
}

// both calls two functions, the first of which may be nil.
func both[T any](first, second func(T)) func(T) {
	if first == nil {
		return second
	}
	return func(v T) { first(v); second(v) }
}

// look is what goes on now.
type look struct {
	Now           time.Time          `json:"now"`
	Began         time.Time          `json:"began"`
	Lines         map[string]int     `json:"lines"`
	Channels      int                `json:"channels"`
	Subscriptions int                `json:"subscriptions"`
	Messages      int                `json:"messages"`
	Bytes         int64              `json:"bytes"`
	Lag           lag                `json:"lag"`
	Totals        totals             `json:"totals"`
	Latest        []push.ChannelStat `json:"latest"`
}

type lag struct {
	Subscriptions int `json:"subscriptions"`
	Messages      int `json:"messages"`
}

const (
	latestChannels = 20
	maxLatest      = 200
)

// getLook answers with what goes on. The query may have prefix and limit, of the names
// and the number of channels.
func (d *Desk) getLook(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit := latestChannels
	if n, err := strconv.Atoi(q.Get("limit")); err == nil && n >= 0 {
		limit = min(n, maxLatest)
	}
	now := time.Now()
	st, behind := d.srv.Stats(), d.lagging(now)
	l := look{
		Now: now.UTC(), Began: d.began.UTC(),
		Lines: map[string]int{push.WebSocket: 0, push.SSE: 0, push.Poll: 0}, Channels: st.Channels, Subscriptions: st.Subscriptions,
		Messages: st.Messages, Bytes: st.Bytes,
		Lag:    lag(behind),
		Latest: d.latest(q.Get("prefix"), limit),
	}
	for transport, n := range st.Lines {
		l.Lines[transport] = n
	}
	d.mu.Lock()
	l.Totals = d.totals
	text, err := json.Marshal(l) // within the lock: there are maps in it
	d.mu.Unlock()
	answer(w, text, err)
}

// latest returns channels to look at. Those of comparisons only who asks for them: after
// a few comparisons there would be nothing else.
func (d *Desk) latest(prefix string, n int) []push.ChannelStat {
	if prefix != "" {
		return d.srv.ChannelStats(prefix, n)
	}
	all := d.srv.ChannelStats("", n+maxLatest)
	all = slices.DeleteFunc(all, func(c push.ChannelStat) bool { return strings.HasPrefix(c.Channel, compare.Prefix) })
	return all[:min(n, len(all))]
}

func answer(w http.ResponseWriter, text []byte, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(text)
}

// lagging returns the lag as it was at most a second ago: to find it out costs a look
// at every subscription, however many pages ask.
func (d *Desk) lagging(now time.Time) push.Lag {
	d.mu.Lock()
	known, at := d.lag, d.lagAt
	if now.Sub(at) >= time.Second || at.IsZero() {
		d.lagAt = now
	}
	d.mu.Unlock()
	if !at.IsZero() && now.Sub(at) < time.Second {
		return known
	}
	known = d.srv.Lag()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lag = known
	return known
}
