package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/duplexgo/duplex/push/compare"
)

// A comparisonReport is what the command prints, and its JSON form.
type comparisonReport struct {
	Rate        float64            `json:"rate"`       // messages a second
	Size        int64              `json:"size"`       // bytes of the data of a message
	PollEvery   float64            `json:"poll_every"` // seconds
	Seconds     float64            `json:"seconds"`
	Interrupted bool               `json:"interrupted,omitempty"` // by a signal, with messages under way
	Published   int                `json:"published"`
	Ways        map[string]wayCost `json:"ways"`
}

// A wayCost is what a way has cost.
type wayCost struct {
	Messages int `json:"messages"`
	compare.Figures
	BytesPerMessage   float64 `json:"bytes_per_message"`
	PacketsPerMessage float64 `json:"packets_per_message"`
	Delay             struct {
		Half    float64 `json:"p50"` // milliseconds
		Most    float64 `json:"p95"`
		Longest float64 `json:"max"`
	} `json:"delay_ms"`
}

func (c *comparing) report(figures map[string]compare.Figures, published int, lasted time.Duration) *comparisonReport {
	r := &comparisonReport{
		Rate: c.rate, Size: int64(c.size), PollEvery: c.interval.Seconds(), Seconds: lasted.Seconds(),
		Published: published, Ways: make(map[string]wayCost),
	}
	for _, s := range c.sides {
		s.mu.Lock()
		delays := slices.Sorted(slices.Values(s.delays))
		s.mu.Unlock()
		w := wayCost{Messages: len(delays), Figures: figures[s.way]}
		if n := len(delays); n > 0 {
			w.BytesPerMessage = float64(w.Received+w.Sent) / float64(n)
			w.PacketsPerMessage = float64(w.Packets) / float64(n)
			at := func(share float64) float64 {
				return float64(delays[min(n-1, int(share*float64(n)))]) / float64(time.Millisecond)
			}
			w.Delay.Half, w.Delay.Most, w.Delay.Longest = at(.5), at(.95), at(1)
		}
		r.Ways[s.way] = w
	}
	return r
}

// missing returns what has not come. Nobody has waited for it after a signal: what a
// way has less was under way.
func (r *comparisonReport) missing() error {
	switch {
	case r.Published == 0 && r.Interrupted:
		return errors.New("interrupted before a message was published")
	case r.Published == 0:
		return errors.New("no message was published in the time: raise --for or --rate")
	case r.Interrupted:
		return nil
	}
	var ways []string
	for _, way := range compare.Ways {
		if n := r.Ways[way].Messages; n < r.Published {
			ways = append(ways, fmt.Sprintf("%d of %d by %s", n, r.Published, wayNames[way]))
		}
	}
	if len(ways) > 0 {
		return fmt.Errorf("messages are missing: there came %s", strings.Join(ways, ", "))
	}
	return nil
}

var wayNames = map[string]string{
	compare.Polling: "polling", compare.LongPolling: "long polling", compare.SSE: "SSE", compare.WebSocket: "WebSocket",
}

func (r *comparisonReport) print(out io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	_, err := io.WriteString(out, r.table(out))
	return err
}

// table returns the figures, a column for each way.
func (r *comparisonReport) table(out io.Writer) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s bytes in %.0f s, polled every %g s\n\n", counted(r.Published, "message"), grouped(uint64(r.Size)), r.Seconds, r.PollEvery)
	line := func(name string, cell func(w wayCost) string) {
		fmt.Fprintf(&b, "%-20s", name)
		for _, way := range compare.Ways {
			fmt.Fprintf(&b, " %13s", cell(r.Ways[way]))
		}
		b.WriteByte('\n')
	}
	head := fmt.Sprintf("%-20s %13s %13s %13s %13s", "", "Polling", "Long polling", "SSE", "WebSocket")
	b.WriteString(paint(out, bold, head) + "\n")
	about := func(w wayCost, n float64) string {
		if w.Estimate {
			return "~" + grouped(uint64(n+.5))
		}
		return grouped(uint64(n + .5))
	}
	each := func(w wayCost, f func() string) string {
		if w.Messages == 0 {
			return "-"
		}
		return f()
	}
	ms := func(v float64) string { return fmt.Sprintf("%.1f", v) }
	line("Messages", func(w wayCost) string { return grouped(uint64(w.Messages)) })
	line("Requests", func(w wayCost) string { return grouped(uint64(w.Requests)) })
	line("Bytes to server", func(w wayCost) string { return about(w, float64(w.Received)) })
	line("Bytes from server", func(w wayCost) string { return about(w, float64(w.Sent)) })
	line("Bytes a message", func(w wayCost) string { return each(w, func() string { return about(w, w.BytesPerMessage) }) })
	line("Packets a message", func(w wayCost) string {
		if w.Packets == 0 {
			return "-"
		}
		return each(w, func() string { return ms(w.PacketsPerMessage) })
	})
	line("Delay in ms, median", func(w wayCost) string { return each(w, func() string { return ms(w.Delay.Half) }) })
	line("Delay in ms, 95 %", func(w wayCost) string { return each(w, func() string { return ms(w.Delay.Most) }) })
	if r.Interrupted {
		b.WriteString("\ninterrupted: messages that have not come by a way were under way\n")
	}
	if r.estimated() {
		b.WriteString("\n~ is worked out from headers and bodies: the server cannot count these bytes on the wire\n")
	}
	return b.String()
}

func (r *comparisonReport) estimated() bool {
	for _, w := range r.Ways {
		if w.Estimate {
			return true
		}
	}
	return false
}
