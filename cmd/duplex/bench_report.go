package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/duplexgo/duplex/internal/load"
)

// A report is the result of a run as JSON has it, and what the table and the page
// are made of. Times are in seconds.
type report struct {
	Mode    string    `json:"mode"`
	URL     string    `json:"url"`
	Began   time.Time `json:"began"`
	System  string    `json:"system"`
	Stopped string    `json:"stopped,omitempty"` // why it ended early

	Settings    settings      `json:"settings"`
	Compression *compression  `json:"compression,omitempty"`
	Connections connections   `json:"connections"`
	Messages    messageCounts `json:"messages"`
	Latency     quantiles     `json:"latency_seconds"`
	Handshake   quantiles     `json:"handshake_seconds"`
	Errors      []kind        `json:"errors"`
	Server      *serverUse    `json:"server,omitempty"`
	Generator   generator     `json:"generator"`
	Thresholds  []threshold   `json:"thresholds"`
	Histogram   []bar         `json:"latency_histogram"`
}

type settings struct {
	Connections int     `json:"connections"`
	Payload     string  `json:"payload,omitempty"`
	InFlight    int     `json:"in_flight,omitempty"`
	Rate        float64 `json:"rate_per_second,omitempty"`
	Ramp        float64 `json:"ramp_seconds"`
	Warmup      float64 `json:"warmup_seconds"`
	Duration    float64 `json:"duration_seconds"`
}

// A compression is what has become of the offer of it.
type compression struct {
	Offered string  `json:"offered"`
	Agreed  string  `json:"agreed"`                // "" where the server declined
	Wire    float64 `json:"wire_bytes_per_second"` // payloads as they came
	Share   float64 `json:"wire_share"`            // of the payloads' bytes
}

type connections struct {
	Wanted int `json:"wanted"`
	Opened int `json:"opened"`
	Lost   int `json:"lost"`
}

type messageCounts struct {
	Sent           uint64  `json:"sent"`
	Received       uint64  `json:"received"`
	Missing        uint64  `json:"missing"`
	Seconds        float64 `json:"seconds"`
	PerSecond      float64 `json:"per_second"`
	BytesPerSecond float64 `json:"bytes_per_second"`
}

type quantiles struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99.9"`
	Max   float64 `json:"max"`
}

type kind struct {
	Kind    string `json:"kind"`
	Count   int    `json:"count"`
	Example string `json:"example"`
}

type serverUse struct {
	PID                 int     `json:"pid"`
	Gone                string  `json:"gone,omitempty"`
	CPU                 float64 `json:"cpu_seconds"`
	CPUPerMessage       float64 `json:"cpu_seconds_per_message,omitempty"`
	Switches            int64   `json:"context_switches"`
	ResidentBefore      int64   `json:"resident_bytes_before"`
	ConnectionsBefore   int     `json:"connections_before"`
	ResidentAfter       int64   `json:"resident_bytes_after"`
	ConnectionsAfter    int     `json:"connections_after"`
	ResidentPerOpenConn float64 `json:"resident_bytes_per_connection"`
}

type generator struct {
	CPU       float64  `json:"cpu_seconds"`
	Threads   int      `json:"threads"`
	Busy      float64  `json:"busiest_thread_share"`
	Late      uint64   `json:"sent_late"`
	Saturated bool     `json:"saturated"`
	Reasons   []string `json:"reasons"`
}

type threshold struct {
	Name   string  `json:"name"`
	Limit  float64 `json:"limit"`
	Value  float64 `json:"value"`
	Missed bool    `json:"missed"`
	text   string
}

// A bar is a step of the histogram.
type bar struct {
	UpTo  float64 `json:"up_to_seconds"`
	Count uint64  `json:"count"`
}

func (b *bench) report(u *url.URL, began time.Time, from *load.Result) *report {
	r := &report{
		Mode:        b.mode,
		URL:         u.Redacted(),
		Began:       began.UTC().Truncate(time.Second),
		System:      fmt.Sprintf("%s/%s, %d processors, duplex %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), version()),
		Settings:    b.settings(),
		Connections: connections{from.Wanted, from.Opened, from.Lost},
		Messages: messageCounts{
			Sent: from.Sent, Received: from.Received, Missing: from.Missing, Seconds: from.Wall.Seconds(),
			PerSecond: per(float64(from.Received), from.Wall.Seconds()), BytesPerSecond: per(float64(from.Bytes), from.Wall.Seconds()),
		},
		Latency:   quantilesOf(&from.Latency),
		Handshake: quantilesOf(&from.Handshake),
		Errors:    []kind{},
		Generator: generator{
			CPU: from.Generator.CPU.Seconds(), Threads: from.Generator.Threads, Busy: from.Generator.Busy,
			Late: from.Generator.Late, Saturated: from.Generator.Saturated(), Reasons: append([]string{}, from.Generator.Reasons...),
		},
		Histogram: []bar{},
	}
	if from.Stopped != nil {
		r.Stopped = stopped(from).Error()
	}
	for _, f := range from.Failures {
		r.Errors = append(r.Errors, kind{string(f.Kind), f.Count, f.Example})
	}
	for upTo, count := range from.Latency.Steps() {
		r.Histogram = append(r.Histogram, bar{upTo.Seconds(), count})
	}
	if b.compress {
		offer := load.Compression{Bits: b.bits, NoTakeover: b.forget}
		r.Compression = &compression{offer.Offer(), from.Compression, per(float64(from.Wire), from.Wall.Seconds()), per(float64(from.Wire), float64(from.Bytes))}
	}
	if s := from.Server; s != nil {
		r.Server = b.serverUse(s, from)
	}
	r.Thresholds = b.thresholds(r)
	return r
}

func (b *bench) settings() settings {
	s := settings{Connections: b.conns, Ramp: b.ramp.Seconds(), Warmup: b.warmup.Seconds(), Duration: b.duration.Seconds()}
	if b.mode == "idle" {
		return s
	}
	s.Rate = b.rate
	if b.rate == 0 {
		s.InFlight = b.inFlight
	}
	what := "text"
	if b.binary {
		what = "binary"
	}
	s.Payload = fmt.Sprintf("%s, %s", bytesText(float64(b.size)), what)
	if b.file != "" {
		s.Payload = b.file + ", " + what
	}
	return s
}

func (b *bench) serverUse(s *load.ServerUse, from *load.Result) *serverUse {
	if s.Gone != nil {
		return &serverUse{PID: b.pid, Gone: s.Gone.Error()}
	}
	return &serverUse{
		PID:                 b.pid,
		CPU:                 s.CPU.Seconds(),
		CPUPerMessage:       per(s.CPU.Seconds(), float64(from.Received)),
		Switches:            s.Switches,
		ResidentBefore:      s.Before,
		ConnectionsBefore:   s.BeforeConns,
		ResidentAfter:       s.After,
		ConnectionsAfter:    s.AfterConns,
		ResidentPerOpenConn: s.PerConn(),
	}
}

// thresholds holds the result against the bounds that were given.
func (b *bench) thresholds(r *report) []threshold {
	all := []threshold{}
	if b.given("max-p99") {
		p99 := time.Duration(r.Latency.P99 * 1e9)
		t := threshold{Name: "max-p99", Limit: b.maxP99.Seconds(), Value: r.Latency.P99, Missed: p99 > b.maxP99 || r.Latency.Count == 0}
		t.text = fmt.Sprintf("the 99th percentile is %s, and --max-p99 is %v", timeText(r.Latency.P99), b.maxP99)
		if r.Latency.Count == 0 {
			t.text = fmt.Sprintf("no latency was measured, and --max-p99 is %v", b.maxP99)
		}
		all = append(all, t)
	}
	if b.given("max-errors") {
		n := 0
		for _, e := range r.Errors {
			n += e.Count
		}
		all = append(all, threshold{"max-errors", float64(b.maxErrors), float64(n), n > b.maxErrors,
			fmt.Sprintf("%s failed, and --max-errors is %d", counted(n, "connection"), b.maxErrors)})
	}
	return all
}

func quantilesOf(h *load.Histogram) quantiles {
	q := func(share float64) float64 { return h.Quantile(share).Seconds() }
	return quantiles{h.Count(), h.Mean().Seconds(), q(0.5), q(0.9), q(0.99), q(0.999), h.Max().Seconds()}
}

// per divides; there is nothing for no time or no message.
func per(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// write writes the report wherever it was asked for.
func (r *report) write(stdout io.Writer, b *bench) error {
	if b.html != "" {
		var page bytes.Buffer
		if err := r.page(&page); err != nil {
			return err
		}
		if err := os.WriteFile(b.html, page.Bytes(), 0o666); err != nil {
			return fmt.Errorf("--html: %w", err)
		}
	}
	text := r.table()
	if b.json {
		var err error
		if text, err = r.json(); err != nil {
			return err
		}
	}
	_, err := io.WriteString(stdout, text)
	if err != nil {
		return &outputError{err}
	}
	return nil
}

// json is the report as one object, indented. Texts of the server are in it, so it is
// made as harmless for a terminal as any other output.
func (r *report) json() (string, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		b.WriteString(visibleJSON(strings.TrimSuffix(line, "\n")))
		b.WriteByte('\n')
	}
	return b.String(), err
}

// A row is a line of the table, and of the page.
type row struct{ name, text string }

// rows tells the report in words, but for the latency.
func (r *report) rows() []row {
	c, m := r.Connections, r.Messages
	rows := []row{
		{"load", r.loadText()},
		{"connections", fmt.Sprintf("%s of %s opened, %s lost", grouped(c.Opened), grouped(c.Wanted), grouped(c.Lost))},
		{"handshake", fmt.Sprintf("p50 %s, p99 %s, max %s", timeText(r.Handshake.P50), timeText(r.Handshake.P99), timeText(r.Handshake.Max))},
	}
	if r.Mode != "idle" && m.Seconds > 0 {
		what := "messages"
		if r.Mode == "broadcast" {
			what = "deliveries"
		}
		rows = append(rows,
			row{what, fmt.Sprintf("%s in %s, %s missing", grouped(m.Received), timeText(m.Seconds), grouped(m.Missing))},
			row{"throughput", fmt.Sprintf("%s %s a second, %s a second", grouped(uint64(m.PerSecond+0.5)), what, bytesText(m.BytesPerSecond))})
	}
	if c := r.Compression; c != nil {
		rows = append(rows, row{"compression", c.text()})
	}
	rows = append(rows, r.serverRows()...)
	g := r.Generator
	if m.Seconds > 0 {
		rows = append(rows, row{"this end", g.text(m.Seconds)})
	}
	for _, reason := range g.Reasons {
		rows = append(rows, row{"SATURATED", "this load was at its limit, and the figures may be its own: " + reason})
	}
	for _, t := range r.Thresholds {
		verdict := "kept"
		if t.Missed {
			verdict = "MISSED"
		}
		rows = append(rows, row{verdict, t.text})
	}
	if r.Stopped != "" {
		rows = append(rows, row{"STOPPED", r.Stopped})
	}
	if len(r.Errors) == 0 {
		rows = append(rows, row{"errors", "none"})
	}
	for _, e := range r.Errors {
		rows = append(rows, row{"error", fmt.Sprintf("%s: %s, as in: %s", e.Kind, counted(e.Count, "time"), e.Example)})
	}
	return rows
}

func (r *report) loadText() string {
	s := r.Settings
	switch {
	case r.Mode == "idle":
		return counted(s.Connections, "idle connection")
	case s.Rate > 0:
		return fmt.Sprintf("%s, %s, messages of %s, %g a second", r.Mode, counted(s.Connections, "connection"), s.Payload, s.Rate)
	}
	return fmt.Sprintf("%s, %s, messages of %s, %d in flight", r.Mode, counted(s.Connections, "connection"), s.Payload, s.InFlight)
}

func (c *compression) text() string {
	switch {
	case c.Agreed == "":
		return "the server does not compress; offered: " + c.Offered
	case c.Wire == 0:
		return c.Agreed
	}
	return fmt.Sprintf("%s; what came was %.1f %% as long as its messages, %s a second", c.Agreed, 100*c.Share, bytesText(c.Wire))
}

func (g *generator) text(seconds float64) string {
	text := fmt.Sprintf("%.0f %% of a processor, ", 100*per(g.CPU, seconds))
	if g.Threads == 1 {
		return text + fmt.Sprintf("its thread %.0f %% busy", 100*g.Busy)
	}
	return text + fmt.Sprintf("the busiest of its %d threads %.0f %% busy", g.Threads, 100*g.Busy)
}

func (r *report) serverRows() []row {
	s := r.Server
	if s == nil || r.Messages.Seconds == 0 {
		return nil
	}
	if s.Gone != "" {
		return []row{{"server", fmt.Sprintf("process %d: %s", s.PID, s.Gone)}}
	}
	cpu := fmt.Sprintf("%.0f %% of a processor", 100*per(s.CPU, r.Messages.Seconds))
	switches := fmt.Sprintf("%s context switches a second", grouped(uint64(per(float64(s.Switches), r.Messages.Seconds)+0.5)))
	if r.Messages.Received > 0 {
		cpu += fmt.Sprintf(", %s a message", timeText(s.CPUPerMessage))
		switches += fmt.Sprintf(", %.2f a message", per(float64(s.Switches), float64(r.Messages.Received)))
	}
	memory := bytesText(float64(s.ResidentAfter)) + " resident"
	before := fmt.Sprintf("%s with %s of them before", bytesText(float64(s.ResidentBefore)), grouped(s.ConnectionsBefore))
	switch {
	case s.ConnectionsAfter <= s.ConnectionsBefore:
	case s.ResidentPerOpenConn <= 0: // it had room from an earlier run
		memory += ", no growth (" + before + ")"
	default:
		memory += fmt.Sprintf(", %s a connection (%s)", bytesText(s.ResidentPerOpenConn), before)
	}
	return []row{{"server", cpu}, {"", switches}, {"", memory}}
}

// quantileRows are the names and the figures of the latency.
func (r *report) quantileRows() (names, figures []string) {
	q := r.Latency
	names = []string{"p50", "p90", "p99", "p99.9", "max", "mean"}
	for _, seconds := range []float64{q.P50, q.P90, q.P99, q.P999, q.Max, q.Mean} {
		figures = append(figures, timeText(seconds))
	}
	return names, figures
}

// table is the report for a person at a terminal.
func (r *report) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", visible(r.URL))
	w := tabwriter.NewWriter(&b, 0, 8, 3, ' ', 0)
	if r.Latency.Count > 0 {
		names, figures := r.quantileRows()
		fmt.Fprintf(w, "latency\t%s\n\t%s\n", strings.Join(names, "\t"), strings.Join(figures, "\t"))
		w.Flush()
		b.WriteString("\n")
	}
	width := 0
	for _, row := range r.rows() {
		width = max(width, len(row.name))
	}
	for _, row := range r.rows() {
		fmt.Fprintf(&b, "%-*s   %s\n", width, row.name, visible(row.text))
	}
	return b.String()
}

// grouped writes a number with commas between thousands.
func grouped[T int | uint64](n T) string {
	digits := strconv.FormatUint(uint64(n), 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// counted writes a number of things.
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return grouped(n) + " " + thing
}

// timeText writes a time with three digits.
func timeText(seconds float64) string {
	switch {
	case seconds == 0:
		return "0"
	case seconds < 999.5e-9:
		return digits(seconds*1e9) + " ns"
	case seconds < 999.5e-6:
		return digits(seconds*1e6) + " µs"
	case seconds < 999.5e-3:
		return digits(seconds*1e3) + " ms"
	}
	return digits(seconds) + " s"
}

// bytesText writes a number of bytes with three digits.
func bytesText(n float64) string {
	switch {
	case n < 0:
		return "-" + bytesText(-n)
	case n < 1<<10:
		return fmt.Sprintf("%.0f bytes", n)
	case n < 1<<20:
		return digits(n/(1<<10)) + " KiB"
	case n < 1<<30:
		return digits(n/(1<<20)) + " MiB"
	}
	return digits(n/(1<<30)) + " GiB"
}

// digits writes a number with three digits, and more where its whole part has more.
func digits(x float64) string {
	switch {
	case x < 9.995:
		return strconv.FormatFloat(x, 'f', 2, 64)
	case x < 99.95:
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'f', 0, 64)
}
