package main

import (
	"html/template"
	"io"
	"math"
	"strconv"
	"strings"
)

// page writes the report as one HTML page that needs nothing else.
func (r *report) page(w io.Writer) error {
	type figure struct{ Name, Text string }
	type line struct {
		Name, Text string
		Alarm      bool
	}
	data := struct {
		*report
		Figures []figure
		Lines   []line
		Picture *picture
	}{report: r}
	if r.Latency.Count > 0 {
		names, figures := r.quantileRows()
		for i := range names {
			data.Figures = append(data.Figures, figure{names[i], figures[i]})
		}
		data.Picture = draw(r)
	}
	for _, row := range r.rows() {
		// The names of rows that must not be overlooked are in capitals.
		data.Lines = append(data.Lines, line{row.name, row.text, row.name != "" && row.name == strings.ToUpper(row.name)})
	}
	return pageTemplate.Execute(w, data)
}

// A picture is the histogram of the latencies, over a logarithmic axis, since they
// span from microseconds to seconds. It is as wide as the page: what is across is
// in hundredths of its width, what is upright in hundredths of its height, and
// names are text of the page, which does not shrink with the picture.
type picture struct {
	Bars  []column
	Ticks []label
	Marks []label
	Rows  int    // of marks
	Says  string // for who does not see it
	Most  string // what the highest bar is
}

type column struct {
	X, Y, W, H float64
	Tip        string
}

type label struct {
	X    float64
	Row  int // of marks, from the top
	Text string
}

const (
	columns  = 110
	narrow   = 0.5  // decades; fewer would make a picture of the histogram's own steps
	tickRoom = 12.0 // of a tick's name, on a page of 390 pixels
	markRoom = 13.0
)

// draw gathers the steps of the histogram into columns.
func draw(r *report) *picture {
	place := func(seconds float64) float64 { return math.Log10(max(seconds, 1e-9)) } // 0 has none
	low := place(r.Histogram[0].UpTo)
	high := max(place(r.Latency.Max), low)
	pad := max(0.05, (narrow-(high-low))/2)
	low, high = low-pad, high+pad
	x := func(seconds float64) float64 {
		return 100 * min(max((place(seconds)-low)/(high-low), 0), 1)
	}
	var counts [columns]uint64
	most := uint64(1)
	for _, b := range r.Histogram {
		i := min(columns-1, int(x(b.UpTo)/100*columns))
		counts[i] += b.Count
		most = max(most, counts[i])
	}
	p := &picture{
		Ticks: ticks(low, high, x),
		Says:  "Histogram of the latency of " + grouped(r.Latency.Count) + " messages",
		Most:  grouped(most),
	}
	const width = 100.0 / columns
	for i, n := range counts {
		if n == 0 {
			continue
		}
		h := max(0.7, 100*float64(n)/float64(most)) // one message in a million is seen, too
		upTo := math.Pow(10, low+(high-low)*float64(i+1)/columns)
		p.Bars = append(p.Bars, column{float64(i) * width, 100 - h, width * 0.85, h, grouped(n) + " messages up to " + timeText(upTo)})
	}
	q := r.Latency
	last := map[int]float64{} // the rightmost mark of each row
	for _, m := range []struct {
		name    string
		seconds float64
	}{{"p50", q.P50}, {"p90", q.P90}, {"p99", q.P99}, {"p99.9", q.P999}, {"max", q.Max}} {
		at, row := x(m.seconds), 0
		for before, ok := last[row]; ok && at-before < markRoom; before, ok = last[row] {
			row++
		}
		last[row] = at
		p.Marks = append(p.Marks, label{at, row, m.name})
	}
	p.Rows = len(last)
	return p
}

// ticks are times that are 1, 2 or 5 of something, or only 1, as there is room for
// their names; and the ends of an axis that has none of them. low and high are
// decades.
func ticks(low, high float64, x func(float64) float64) (all []label) {
	leading, every := []float64{1, 2, 5}, 1
	if room := 100 * math.Log10(2) / (high - low); room < tickRoom {
		leading, every = []float64{1}, int(math.Ceil(tickRoom*(high-low)/100))
	}
	for e := int(math.Floor(low)); float64(e) <= high; e++ {
		for _, m := range leading {
			if at := math.Log10(m) + float64(e); e%every == 0 && at >= low && at <= high {
				v := m * math.Pow(10, float64(e))
				all = append(all, label{X: x(v), Text: shortTime(v)})
			}
		}
	}
	if len(all) < 2 {
		ends := []float64{math.Pow(10, low), math.Pow(10, high)}
		all = []label{{X: 0, Text: timeText(ends[0])}, {X: 100, Text: timeText(ends[1])}}
	}
	return all
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
:root { --ink: #1c2733; --dim: #5b6b7c; --paper: #ffffff; --soft: #f4f7fa; --line: #d5dde5; --bar: #2f6fb3; --mark: #b3402f; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e9ef; --dim: #9aa9b8; --paper: #14191f; --soft: #1b222a; --line: #37424e; --bar: #6aa7e6; --mark: #f08a72; }
}
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 58rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.4rem; line-height: 1.3; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1rem; margin: 2rem 0 .6rem; }
p, figcaption { color: var(--dim); margin: 0; }
.figures { display: grid; grid-template-columns: repeat(6, 1fr); gap: 1px; margin: 0; background: var(--line); border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
.figures div { background: var(--soft); padding: .6rem .9rem; }
.figures dt { color: var(--dim); font-size: .85rem; }
.figures dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1.75rem .75rem 0; }
.plot { position: relative; }
.plot svg { display: block; width: 100%; height: 15rem; border-bottom: 1px solid var(--dim); }
.plot .bar { fill: var(--bar); }
.plot .mark { stroke: var(--mark); stroke-dasharray: 3 3; vector-effect: non-scaling-stroke; }
.names { position: relative; font-size: .8rem; line-height: 1.2rem; }
.names span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.marks { color: var(--mark); }
.marks span { background: var(--paper); padding: 0 .2rem; z-index: 1; }
.marks i { position: absolute; bottom: 0; border-left: 1px dashed var(--mark); }
.ticks { color: var(--dim); height: 1.8rem; padding-top: .2rem; }
figcaption { font-size: .85rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .4rem 0; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
th { width: 9rem; padding-right: 1.5rem; font-weight: 600; white-space: nowrap; overflow-wrap: normal; }
th:empty, th:empty + td { border-top: 0; padding-top: 0; }
.alarm th { color: var(--mark); }
@media (max-width: 40rem) {
  body { margin-top: 1.5rem; }
  .figures { grid-template-columns: repeat(3, 1fr); }
  th, td { display: block; width: auto; }
  th { padding-bottom: 0; }
  td { border-top: 0; padding-top: 0; }
  th:empty { display: none; }
}
</style>
</head>
<body>
<h1>{{.URL}}</h1>
<p>{{.Mode}}, {{.Began.Format "2006-01-02 15:04:05"}} UTC, {{.System}}</p>
{{with .Figures}}<h2>Latency</h2>
<dl class="figures">
{{range .}}<div><dt>{{.Name}}</dt><dd>{{.Text}}</dd></div>
{{end}}</dl>
{{end}}{{with .Picture}}<figure>
<div class="names marks" style="height: calc({{.Rows}} * 1.2rem + .3rem)">
{{range .Marks}}<i style="left: {{printf "%.2f" .X}}%; top: calc({{.Row}} * 1.2rem + .6rem)"></i><span style="left: {{printf "%.2f" .X}}%; top: calc({{.Row}} * 1.2rem)">{{.Text}}</span>
{{end}}</div>
<div class="plot"><svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="{{.Says}}">
{{range .Bars}}<rect class="bar" x="{{printf "%.3f" .X}}" y="{{printf "%.2f" .Y}}" width="{{printf "%.3f" .W}}" height="{{printf "%.2f" .H}}"><title>{{.Tip}}</title></rect>
{{end}}{{range .Marks}}<line class="mark" x1="{{printf "%.2f" .X}}" x2="{{printf "%.2f" .X}}" y1="0" y2="100"/>
{{end}}</svg></div>
<div class="names ticks">
{{range .Ticks}}<span style="left: {{printf "%.2f" .X}}%">{{.Text}}</span>
{{end}}</div>
<figcaption>Messages by their latency, over a logarithmic axis. The highest bar is {{.Most}} messages.</figcaption>
</figure>
{{end}}<h2>Run</h2>
<table>
{{range .Lines}}<tr{{if .Alarm}} class="alarm"{{end}}><th scope="row">{{.Name}}</th><td>{{.Text}}</td></tr>
{{end}}</table>
</body>
</html>
`))
