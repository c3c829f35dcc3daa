package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// A setting is what the figures depend on besides the code.
type setting struct {
	Date       string
	Processor  string
	Processors int
	System     string
	Go         string
	Versions   map[string]string // of the contestants' modules
	Rounds     int
	Duration   time.Duration
	Idle       int     // connections
	Load       string  // the load average before
	Others     float64 // processors that others kept busy then
}

func (c *comparison) setting() setting {
	s := setting{
		Date:       c.began.UTC().Format(time.DateOnly),
		Processor:  processor(),
		Processors: runtime.NumCPU(),
		System:     runtime.GOOS + "/" + runtime.GOARCH,
		Go:         runtime.Version(),
		Versions:   make(map[string]string),
		Rounds:     c.options.rounds,
		Duration:   c.options.duration,
		Idle:       c.options.idle,
		Load:       c.load,
		Others:     c.others,
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		s.System += " " + strings.TrimSpace(string(release))
	}
	info, ok := debug.ReadBuildInfo()
	for _, who := range c.options.contestants {
		if who.Module == "" || !ok {
			continue
		}
		for _, dep := range info.Deps {
			switch {
			case dep.Path != who.Module:
			case dep.Replace != nil:
				s.Versions[who.Module] = "this checkout"
			default:
				s.Versions[who.Module] = dep.Version
			}
		}
	}
	return s
}

// loadAverage is how many wanted a processor in the last 1, 5 and 15 minutes.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 3 {
		return "unknown"
	}
	return strings.Join(fields[:3], " ")
}

// busy returns how many processors are busy for so long, 0 where that is not known. A load
// average has what was there a minute ago, too: an earlier comparison, say.
func busy(d time.Duration) float64 {
	text, err := os.ReadFile("/proc/stat")
	time.Sleep(d)
	later, errLater := os.ReadFile("/proc/stat")
	if err != nil || errLater != nil {
		return 0
	}
	return busyBetween(string(text), string(later))
}

// busyBetween is busy for two states of /proc/stat: its first line has the times of all
// processors together, of which the fourth and fifth are idle (proc(5)).
func busyBetween(before, after string) float64 {
	all, idle := processorTime(before)
	allLater, idleLater := processorTime(after)
	if all == allLater {
		return 0
	}
	return (1 - (idleLater-idle)/(allLater-all)) * float64(runtime.NumCPU())
}

func processorTime(stat string) (all, idle float64) {
	const used = 8 // the times of guests are in others, too
	for i, field := range strings.Fields(stat) {
		n, err := strconv.ParseFloat(field, 64)
		switch {
		case i == 0 || i > used || err != nil:
			continue
		case i == 4 || i == 5:
			idle += n
		}
		all += n
	}
	return all, idle
}

func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// writeJSON writes every measurement, the figures, and the goals.
func (c *comparison) writeJSON(w io.Writer) error {
	type named struct {
		Mode, Metric, Contestant string
		figure
	}
	var figures []named
	for _, m := range c.options.modes {
		for _, metric := range m.metrics {
			for _, who := range c.options.contestants {
				if f, ok := c.figure(m.name, metric, who.Name); ok {
					figures = append(figures, named{m.name, metric.table + ": " + metric.name, who.Name, f})
				}
			}
		}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "\t")
	return e.Encode(map[string]any{
		"Setting": c.setting(),
		"Samples": c.samples,
		"Figures": figures,
		"Goals":   c.outcomes(),
	})
}

// writeTables writes the medians for people.
func (c *comparison) writeTables(w io.Writer) error {
	out := new(strings.Builder)
	s := c.setting()
	fmt.Fprintf(out, "%s; %s, %d processors; %s; %s\n", s.Date, s.Processor, s.Processors, s.System, s.Go)
	for _, module := range slices.Sorted(maps.Keys(s.Versions)) {
		fmt.Fprintf(out, "%s: %s\n", module, s.Versions[module])
	}
	fmt.Fprintf(out, "Load average before: %s\n", s.Load)
	fmt.Fprintf(out, "Medians of %s of %v; the percentage is half of the way from the least to the greatest.\n", rounds(s.Rounds), s.Duration)
	if caution := s.caution(); caution != "" {
		fmt.Fprintln(out, caution)
	}
	for _, title := range c.titles() {
		c.writeTable(out, title)
	}
	c.writeGoals(out)
	_, err := io.WriteString(w, out.String())
	return err
}

// titles are those of the tables, in the order of the modes.
func (c *comparison) titles() []string {
	var titles []string
	for _, m := range c.options.modes {
		for _, metric := range m.metrics {
			if !slices.Contains(titles, metric.table) {
				titles = append(titles, metric.table)
			}
		}
	}
	return titles
}

func (c *comparison) writeTable(w io.Writer, title string) {
	fmt.Fprintf(w, "\n%s\n\n", title)
	rows := [][]string{{""}}
	columns := c.columns(title)
	for _, col := range columns {
		rows[0] = append(rows[0], col.metric.name)
	}
	for _, who := range c.options.contestants {
		cells := []string{who.Name}
		measured := false
		for _, col := range columns {
			f, ok := c.figure(col.mode.name, col.metric, who.Name)
			measured = measured || ok
			cells = append(cells, cell(f, ok))
		}
		if measured {
			rows = append(rows, cells)
		}
	}
	align(w, rows)
}

// align writes rows of equally many cells: names to the left, numbers to the right.
func align(w io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		fmt.Fprintf(w, "%-*s", widths[0], row[0])
		for i, cell := range row[1:] {
			fmt.Fprintf(w, "  %*s", widths[i+1], cell)
		}
		fmt.Fprintln(w)
	}
}

func cell(f figure, ok bool) string {
	switch {
	case !ok:
		return "-"
	case f.Failed:
		return "FAILED"
	}
	text := number(f.Median)
	if f.Doubtful {
		text += "?"
	}
	if f.Rounds > 1 && f.Median != 0 {
		text += fmt.Sprintf(" ±%.0f%%", (f.Max-f.Min)/2/math.Abs(f.Median)*100)
	}
	return text
}

// number keeps three digits.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func (c *comparison) writeGoals(w io.Writer) {
	outcomes := c.outcomes()
	if len(outcomes) == 0 {
		return
	}
	fmt.Fprintf(w, "\nGoals\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, o := range outcomes {
		fmt.Fprintf(t, "%s\t%s\t%s %s\t%s\t%s\n", o.Goal, number(o.Value), o.bound(), number(o.Bound), o.verdict(), o.floor())
	}
	t.Flush()
}
