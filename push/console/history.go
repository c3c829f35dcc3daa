package console

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/duplexgo/duplex/push"
)

const (
	every   = 10 * time.Second // between two samples
	samples = int(time.Hour / every)
)

// A sample is what happened until a moment, since the one before.
type sample struct {
	lines     [3]int // now: WebSocket, SSE, poll
	behind    int    // messages that the slowest reader lacks
	published uint64
	delivered uint64
	bytes     uint64
	refused   uint64
}

// history is the samples of the last hour, the oldest first.
type history struct {
	samples []sample
	end     time.Time
	totals  sample // when the last was taken, since the beginning
}

// remember takes samples until ctx is done.
func (d *Desk) remember(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			d.sample(now)
		}
	}
}

func (d *Desk) sample(now time.Time) {
	lines, behind := d.srv.Stats().Lines, d.lagging(now).Messages
	c := &d.counts
	total := sample{published: c.published.Load(), delivered: c.allDelivered(), bytes: c.deliveredBytes.Load(), refused: c.refused.Load()}
	d.mu.Lock()
	defer d.mu.Unlock()
	h := &d.history
	if len(h.samples) == samples {
		copy(h.samples, h.samples[1:])
		h.samples = h.samples[:samples-1]
	}
	h.samples = append(h.samples, sample{
		lines:     [3]int{lines[push.WebSocket], lines[push.SSE], lines[push.Poll]},
		behind:    behind,
		published: total.published - h.totals.published,
		delivered: total.delivered - h.totals.delivered,
		bytes:     total.bytes - h.totals.bytes,
		refused:   total.refused - h.totals.refused,
	})
	h.totals, h.end = total, now
}

// getHistory answers with the samples, a list for each thing that is known. What
// is counted is a second's.
func (d *Desk) getHistory(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	past := append([]sample(nil), d.history.samples...)
	end := d.history.end
	d.mu.Unlock()
	lists := make(map[string][]float64)
	for _, name := range []string{"websocket", "sse", "poll", "behind", "published", "delivered", "bytes", "refused"} {
		lists[name] = make([]float64, 0, len(past))
	}
	for _, s := range past {
		add := func(name string, v float64) { lists[name] = append(lists[name], v) }
		add("websocket", float64(s.lines[0]))
		add("sse", float64(s.lines[1]))
		add("poll", float64(s.lines[2]))
		add("behind", float64(s.behind))
		rate := func(n uint64) float64 { return float64(n) / every.Seconds() }
		add("published", rate(s.published))
		add("delivered", rate(s.delivered))
		add("bytes", rate(s.bytes))
		add("refused", rate(s.refused))
	}
	text, err := json.Marshal(struct {
		End   time.Time            `json:"end"`
		Every float64              `json:"every"` // seconds
		Most  int                  `json:"most"`  // samples that are kept
		Lists map[string][]float64 `json:"lists"`
	}{end.UTC(), every.Seconds(), samples, lists})
	answer(w, text, err)
}
