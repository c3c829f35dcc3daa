package console

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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

	counts counts

	mu       sync.Mutex
	resets   map[string]uint64
	refusals map[protocol.Code]refusal
	history  history
	lag      push.Lag
	lagAt    time.Time
}

// counts are what has happened since the beginning. They are counted at each delivery,
// by many at once, and so without a lock.
type counts struct {
	published, publishedBytes atomic.Uint64
	delivered                 [3]atomic.Uint64 // in the order of transports
	deliveredBytes            atomic.Uint64
	opened, resumed, refused  atomic.Uint64
}

// transports are those that the console knows by name; others count as the last.
var transports = [3]string{push.WebSocket, push.SSE, push.Poll}

func (c *counts) deliveredBy(transport string) *atomic.Uint64 {
	for i, name := range transports {
		if name == transport {
			return &c.delivered[i]
		}
	}
	return &c.delivered[len(transports)-1]
}

func (c *counts) allDelivered() (n uint64) {
	for i := range c.delivered {
		n += c.delivered[i].Load()
	}
	return n
}

// totals are the counts as the page gets them.
type totals struct {
	Published      uint64                    `json:"published"`
	PublishedBytes uint64                    `json:"published_bytes"`
	Delivered      map[string]uint64         `json:"delivered"` // by transport
	DeliveredBytes uint64                    `json:"delivered_bytes"`
	Opened         uint64                    `json:"opened"`
	Resumed        uint64                    `json:"resumed"`
	Resets         map[string]uint64         `json:"resets"`   // by reason
	Refusals       map[protocol.Code]refusal `json:"refusals"` // of lines, requests and messages
}

func (d *Desk) totals() totals {
	c := &d.counts
	t := totals{
		Published: c.published.Load(), PublishedBytes: c.publishedBytes.Load(),
		Delivered: make(map[string]uint64), DeliveredBytes: c.deliveredBytes.Load(),
		Opened: c.opened.Load(), Resumed: c.resumed.Load(),
	}
	for i, transport := range transports {
		t.Delivered[transport] = c.delivered[i].Load()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t.Resets, t.Refusals = maps.Clone(d.resets), maps.Clone(d.refusals)
	return t
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
	d := &Desk{srv: srv, began: time.Now(), resets: make(map[string]uint64), refusals: make(map[protocol.Code]refusal)}
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
	c := &d.counts
	refused := func(code protocol.Code) {
		c.refused.Add(1)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.refusals[code] = refusal{d.refusals[code].Count + 1, time.Now().UTC()}
	}
	h.Opened = both(h.Opened, func(string) { c.opened.Add(1) })
	h.Published = both(h.Published, func(bytes int) {
		c.published.Add(1)
		c.publishedBytes.Add(uint64(bytes))
	})
	h.NotPublished = both(h.NotPublished, refused)
	h.Refused = both(h.Refused, refused)
	h.Reset = both(h.Reset, func(reason string) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.resets[reason]++
	})
	resumed := h.Resumed
	h.Resumed = func() {
		if resumed != nil {
			resumed()
		}
		c.resumed.Add(1)
	}
	delivered := h.Delivered
	h.Delivered = func(transport string, messages, bytes int) {
		if delivered != nil {
			delivered(transport, messages, bytes)
		}
		c.deliveredBy(transport).Add(uint64(messages))
		c.deliveredBytes.Add(uint64(bytes))
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
		Totals: d.totals(),
		Latest: d.latest(q.Get("prefix"), limit),
	}
	for transport, n := range st.Lines {
		l.Lines[transport] = n
	}
	text, err := json.Marshal(l)
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
