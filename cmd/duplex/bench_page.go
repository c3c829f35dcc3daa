package main

import (
	"html/template"
	"io"
	"math"
	"strconv"
)

// page writes the report as one HTML page that needs nothing else.
func (r *report) page(w io.Writer) error {
	names, figures := r.quantileRows()
	type cell struct{ Name, Figure string }
	type line struct{ Name, Text string }
	data := struct {
		*report
		Quantiles []cell
		Lines     []line
		Picture   *picture
	}{report: r}
	if r.Latency.Count > 0 {
		for i := range names {
			data.Quantiles = append(data.Quantiles, cell{names[i], figures[i]})
		}
		data.Picture = draw(r)
	}
	for _, row := range r.rows() {
		data.Lines = append(data.Lines, line{row.name, row.text})
	}
	return pageTemplate.Execute(w, data)
}

// A picture is the histogram of the latencies, over a logarithmic axis, since they
// span from microseconds to seconds. Everything is in pixels from the upper left.
type picture struct {
	Width, Height, Bottom float64
	Bars                  []rectangle
	Ticks, Marks          []label
	Says                  string // for who does not see it
}

type rectangle struct {
	X, Y, W, H float64
	Tip        string
}

type label struct {
	X, Y float64
	Text string
}

const (
	pictureWidth  = 880.0
	pictureHeight = 320.0
	pictureTop    = 60.0 // room for the names of percentiles
	pictureBottom = 285.0
	pictureMargin = 20.0
	columns       = 110
)

// draw gathers the steps of the histogram into columns.
func draw(r *report) *picture {
	place := func(seconds float64) float64 { return math.Log10(max(seconds, 1e-9)) } // 0 has none
	low := place(r.Histogram[0].UpTo) - 0.05
	high := max(place(r.Latency.Max), place(r.Histogram[0].UpTo)) + 0.05
	width := (pictureWidth - 2*pictureMargin) / columns
	x := func(seconds float64) float64 {
		share := (place(seconds) - low) / (high - low)
		return pictureMargin + min(max(share, 0), 1)*(pictureWidth-2*pictureMargin)
	}
	var counts [columns]uint64
	most := uint64(1)
	for _, b := range r.Histogram {
		i := min(columns-1, int((x(b.UpTo)-pictureMargin)/width))
		counts[i] += b.Count
		most = max(most, counts[i])
	}
	p := &picture{Width: pictureWidth, Height: pictureHeight, Bottom: pictureBottom}
	for i, n := range counts {
		if n == 0 {
			continue
		}
		h := max(1, float64(n)/float64(most)*(pictureBottom-pictureTop))
		upTo := math.Pow(10, low+(high-low)*float64(i+1)/columns)
		p.Bars = append(p.Bars, rectangle{pictureMargin + float64(i)*width, pictureBottom - h, width - 1, h,
			grouped(n) + " messages up to " + timeText(upTo)})
	}
	for e := math.Floor(low); e <= high; e++ {
		for _, m := range []float64{1, 2, 5} {
			if v := m * math.Pow(10, e); math.Log10(v) >= low && math.Log10(v) <= high {
				p.Ticks = append(p.Ticks, label{x(v), pictureBottom + 18, shortTime(v)})
			}
		}
	}
	q := r.Latency
	p.Says = "Histogram of the latency of " + grouped(q.Count) + " messages"
	for i, m := range []struct {
		name    string
		seconds float64
	}{{"p50", q.P50}, {"p90", q.P90}, {"p99", q.P99}, {"p99.9", q.P999}, {"max", q.Max}} {
		// On three lines in turn, so that neighbours do not cover each other.
		p.Marks = append(p.Marks, label{x(m.seconds), 14 + 16*float64(i%3), m.name + " " + timeText(m.seconds)})
	}
	return p
}

// shortTime writes a time that is 1, 2 or 5 of something.
func shortTime(seconds float64) string {
	for _, unit := range []struct {
		name    string
		seconds float64
	}{{"s", 1}, {"ms", 1e-3}, {"µs", 1e-6}} {
		if n := seconds / unit.seconds; n > 0.9999 {
			return strconv.FormatFloat(math.Round(n), 'f', 0, 64) + " " + unit.name
		}
	}
	return strconv.FormatFloat(math.Round(seconds*1e9), 'f', 0, 64) + " ns"
}

var pageTemplate = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>duplex bench {{.Mode}}: {{.URL}}</title>
<style>
:root { --ink: #1c2733; --dim: #5b6b7c; --paper: #ffffff; --line: #d5dde5; --bar: #2f6fb3; --mark: #b3402f; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e9ef; --dim: #9aa9b8; --paper: #14191f; --line: #37424e; --bar: #6aa7e6; --mark: #f08a72; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; }
p, caption { color: var(--dim); text-align: left; }
table { border-collapse: collapse; margin: 1.5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .3rem 1.5rem .3rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
.figures td { font-size: 1.2rem; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--dim); text-anchor: middle; }
svg .bar { fill: var(--bar); }
svg .axis { stroke: var(--line); }
svg .mark { stroke: var(--mark); stroke-dasharray: 3 3; }
svg .name { fill: var(--mark); }
</style>
</head>
<body>
<h1>{{.URL}}</h1>
<p>{{.Mode}}, {{.Began.Format "2006-01-02 15:04:05"}} UTC, {{.System}}</p>
{{with .Quantiles}}<table class="figures">
<caption>Latency</caption>
<tr>{{range .}}<th scope="col">{{.Name}}</th>{{end}}</tr>
<tr>{{range .}}<td>{{.Figure}}</td>{{end}}</tr>
</table>
{{end}}{{with .Picture}}<svg viewBox="0 0 {{.Width}} {{.Height}}" role="img" aria-label="{{.Says}}">
{{$bottom := .Bottom}}{{range .Bars}}<rect class="bar" x="{{printf "%.1f" .X}}" y="{{printf "%.1f" .Y}}" width="{{printf "%.1f" .W}}" height="{{printf "%.1f" .H}}"><title>{{.Tip}}</title></rect>
{{end}}<line class="axis" x1="0" x2="{{.Width}}" y1="{{$bottom}}" y2="{{$bottom}}"/>
{{range .Ticks}}<line class="axis" x1="{{printf "%.1f" .X}}" x2="{{printf "%.1f" .X}}" y1="{{$bottom}}" y2="290"/><text x="{{printf "%.1f" .X}}" y="{{.Y}}">{{.Text}}</text>
{{end}}{{range .Marks}}<line class="mark" x1="{{printf "%.1f" .X}}" x2="{{printf "%.1f" .X}}" y1="{{.Y}}" y2="{{$bottom}}"/><text class="name" x="{{printf "%.1f" .X}}" y="{{.Y}}">{{.Text}}</text>
{{end}}</svg>
{{end}}<table>
{{range .Lines}}<tr><th scope="row">{{.Name}}</th><td>{{.Text}}</td></tr>
{{end}}</table>
</body>
</html>
`))
