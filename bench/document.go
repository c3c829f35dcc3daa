package main

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/duplexgo/duplex/bench/server"
)

// title is a contestant's name for readers who have not seen the code, with the
// version.
func (s setting) title(name string) string {
	switch name {
	case "raw":
		return "raw epoll, no WebSocket: the floor"
	case "floor":
		return "one write of one frame to each socket: the floor"
	case pushing:
		return "Duplex, `push.Server`"
	case "centrifuge":
		return strings.TrimSpace("centrifuge " + strings.TrimPrefix(s.Versions["github.com/centrifugal/centrifuge"], "v") + ", Centrifugo's engine")
	case callbacks:
		return "Duplex, `Handler`"
	case blocking:
		return "Duplex, `Conn`"
	}
	who, err := server.Find(name)
	if err != nil {
		return name
	}
	author, project := path.Split(strings.TrimPrefix(who.Module, "github.com/"))
	title := strings.TrimSuffix(author, "/")
	switch title {
	case "lxzan", "lesismal":
		title = project
	}
	title = strings.TrimSpace(title + " " + strings.TrimPrefix(s.Versions[who.Module], "v"))
	if who.Inline {
		title += ", callbacks in the poller"
	}
	return title
}

// notes are what a reader of a table must know to read it right.
var notes = map[string]string{
	echoTable: "Lower is better. The floor knows no frames: it sends back the bytes it got, which is what no server can fall below.",
	tlsTable:  "Lower is better. TLS 1.3; nbio has a TLS of its own, all others crypto/tls. The floor has none.",
	broadcastTable: "Lower is better. One connection sends, all get it, and the next messages are sent when all have. " +
		"Each contestant sends in the way its library has for that, see bench/README.md.",
	pacedTable: "Lower is better. Messages are sent at " + grouped(pacedRate) + " a second in all, spread over the connections, whether the answers come or not. " +
		"Latency counts from the time that a message should have been sent. After a figure with ? the generator says that it may have been late itself.",
	handshakeTable: "64 connections at once do their opening handshakes and are cut. On two processors the generator takes part of the time, so the first column says more than the second.",
	idleTable:      "Lower is better. Without the kernel's own memory for a socket, about 5 KB, which is the same for all. See bench/README.md for what each column counts.",
	idleTLSTable:   "Lower is better.",
	blockTable:     "More messages a second are better, and a lower p99. nbio with its callbacks in the poller must not wait and is left out.",
	rateTable: "Higher is better. The generator works on the same processors, and often the figure is its own: " +
		"the first table says what a server costs, this one what came of it here.",
	deliveryTable: "Higher is better; see above.",
	deflateTable: "Lower is better. Both sides compress, with the best window that both can; without takeover each message begins with an empty one. " +
		"Those that cannot do what the column says are left out.",
	deflateWireTable: "Lower is better.",
	deflateIdleTable: "Lower is better. What takeover keeps for each connection is in it.",
	deliveryCPU: "Lower is better. All subscribers have the same channel. So many publications come over HTTP at once, and the next when all subscribers have all of them; " +
		"what publishing costs is part of it.",
	deliveryPaced: "Lower is better. Publications come over HTTP at that rate, whether they arrive or not. Latency counts from when a message should have been published until a subscriber has it; " +
		"all subscribers are one thread on the same processors, which is part of each figure. After a figure with ? messages were published late.",
	comingTable: "Lower is better. First what a subscriber costs from its TCP handshake over its subscription to its end; then what each costs of those who come back at once, " +
		"until it has got the 100 messages that it has missed, and without its end; then how long that takes for all of them.",
	audienceTable: "Lower is better. Without the kernel's own memory for a socket. See bench/README.md for what each column counts.",
	privateTable:  "Lower is better. Each has four messages of 128 bytes in its history after traffic.",
}

// writeDocument writes the page that has everything.
func (c *comparison) writeDocument(w io.Writer) error {
	out := new(strings.Builder)
	s := c.setting()
	fmt.Fprintf(out, "# %s\n\nThis page is what `cd bench && %s` has written. To change it, change what is\nmeasured; [bench/README.md](../bench/README.md) says what that is, how, and which\nsettings each contestant has and why.\n\n", c.options.suite.title, c.options.suite.command)
	c.writeSetting(out, s)
	if caution := s.caution(); caution != "" {
		fmt.Fprintf(out, "\n**%s**\n", caution)
	}
	fmt.Fprintf(out, "\nEach figure is the median of the rounds, each with new processes, and after ± half\nthe way from the least to the greatest in per cent: figures that differ by less do\nnot differ. Only ratios of one run mean anything on other machines. The last rows\ndivide Duplex's figure by that of the best other contestant that is not the floor,\nwhich is named; **bold** is where that one is better.\n")
	for _, title := range c.titles() {
		fmt.Fprintf(out, "\n## %s\n\n", title)
		if note := notes[title]; note != "" {
			fmt.Fprintf(out, "%s\n\n", note)
		}
		c.writeMarkdown(out, s, title)
	}
	c.writeLosses(out, s)
	c.writeGoalTable(out)
	if failures := c.failures(); len(failures) > 0 {
		fmt.Fprint(out, "\n## What failed\n\n")
		for _, line := range failures {
			fmt.Fprintf(out, "- %s\n", strings.ReplaceAll(line, "\n", " "))
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (c *comparison) writeSetting(w io.Writer, s setting) {
	rows := [][2]string{
		{"Date", s.Date},
		{"Machine", fmt.Sprintf("%s, %d processors", s.Processor, s.Processors)},
		{"System", s.System},
		{"Go", s.Go},
		{"Load average before", s.Load},
		{"Rounds", fmt.Sprintf("%d of %v each after %v of warm-up, in %v altogether", s.Rounds, s.Duration, c.options.warm, c.took.Round(time.Second))},
	}
	for _, who := range c.options.contestants {
		if who.Module != "" && !slices.ContainsFunc(rows, func(r [2]string) bool { return r[0] == who.Module }) {
			rows = append(rows, [2]string{who.Module, s.Versions[who.Module]})
		}
	}
	fmt.Fprint(w, "| | |\n|---|---|\n")
	for _, row := range rows {
		fmt.Fprintf(w, "| %s | %s |\n", row[0], row[1])
	}
}

// A column is a metric and its mode.
type column struct {
	mode   mode
	metric metric
}

func (c *comparison) columns(title string) []column {
	var all []column
	for _, m := range c.options.modes {
		for _, metric := range m.metrics {
			if metric.table == title {
				all = append(all, column{m, metric})
			}
		}
	}
	return all
}

func (c *comparison) writeMarkdown(w io.Writer, s setting, title string) {
	columns := c.columns(title)
	header, rule := "| |", "|---|"
	for _, col := range columns {
		header += " " + col.metric.name + " |"
		rule += "---:|"
	}
	fmt.Fprintf(w, "%s\n%s\n", header, rule)
	for _, who := range c.options.contestants {
		line, measured := "| "+s.title(who.Name)+" |", false
		for _, col := range columns {
			f, ok := c.figure(col.mode.name, col.metric, who.Name)
			measured = measured || ok
			line += " " + cell(f, ok) + " |"
		}
		if measured {
			fmt.Fprintln(w, line)
		}
	}
	for _, own := range c.options.suite.own {
		line, any := "| *"+s.title(own)+", to the best other* |", false
		for _, col := range columns {
			r, ok := c.against(col, own)
			any = any || ok
			line += " " + r.cell(ok) + " |"
		}
		if any {
			fmt.Fprintln(w, line)
		}
	}
}

// A ratio is one of our figures divided by that of the best other library.
type ratio struct {
	value   float64
	rival   string
	lost    bool
	overlap bool // of what the rounds measured
}

// against returns the ratio of a column, and false if any part of it is missing.
func (c *comparison) against(col column, own string) (r ratio, ok bool) {
	ours, ok := c.figure(col.mode.name, col.metric, own)
	if !ok || ours.Failed {
		return r, false
	}
	var best figure
	for _, who := range c.options.contestants {
		if who.Floor || slices.Contains(c.options.suite.own, who.Name) {
			continue
		}
		f, ok := c.figure(col.mode.name, col.metric, who.Name)
		if !ok || f.Failed {
			continue
		}
		if r.rival == "" || f.Median < best.Median != col.metric.more {
			r.rival, best = who.Name, f
		}
	}
	if r.rival == "" || best.Median <= 0 {
		return r, false
	}
	r.value = ours.Median / best.Median
	r.lost = r.value > 1 && !col.metric.more || r.value < 1 && col.metric.more
	r.overlap = ours.Min <= best.Max && best.Min <= ours.Max
	return r, true
}

func (r ratio) cell(ok bool) string {
	switch {
	case !ok:
		return "-"
	case r.lost:
		return fmt.Sprintf("**%.2f %s**", r.value, r.rival)
	}
	return fmt.Sprintf("%.2f %s", r.value, r.rival)
}

// writeLosses lists every figure in which another library is better.
func (c *comparison) writeLosses(w io.Writer, s setting) {
	fmt.Fprint(w, "\n## Where another is better\n\n")
	var rows []string
	for _, title := range c.titles() {
		for _, col := range c.columns(title) {
			for _, own := range c.options.suite.own {
				r, ok := c.against(col, own)
				if !ok || !r.lost {
					continue
				}
				remark := ""
				if r.overlap {
					remark = "rounds of both overlap"
				}
				rows = append(rows, fmt.Sprintf("| %s: %s | %s | %.2f of %s | %s |", title, col.metric.name, s.title(own), r.value, s.title(r.rival), remark))
			}
		}
	}
	if len(rows) == 0 {
		fmt.Fprintln(w, "Nowhere in this run.")
		return
	}
	fmt.Fprintf(w, "| | | has | |\n|---|---|---|---|\n%s\n", strings.Join(rows, "\n"))
}

func (c *comparison) writeGoalTable(w io.Writer) {
	outcomes := c.outcomes()
	if len(outcomes) == 0 {
		return
	}
	fmt.Fprint(w, "\n## Goals\n\nRatios of medians, where no unit is named. The last column has the same ratio for the floor: where that is above the goal, the goal was out of reach in this run.\n\n| | | goal | | |\n|---|---:|---|---|---|\n")
	for _, o := range outcomes {
		fmt.Fprintf(w, "| %s | %s | %s %s | %s | %s |\n", o.Goal, number(o.Value), o.bound(), number(o.Bound), o.verdict(), o.floor())
	}
}

// A shortColumn is one of the README's table: its mode, which of its metrics, and what
// it is called, "" for the number of its connections.
type shortColumn struct {
	mode   string
	metric int
	name   string
}

var shortLibraries = []shortColumn{
	{"echo-32", 0, "32 B"},
	{"echo-32-1000", 0, ""},
	{"echo-32-16", 0, "16 in flight"},
	{"echo-1k", 0, "1 KiB"},
	{"echo-1m", 0, "1 MiB"},
	{"tls-32", 0, "TLS, 32 B"},
	{"broadcast-8", 0, "broadcast"},
	{"idle", 5, "idle, bytes"},
}

// writeShort writes what stands in the README.
func (c *comparison) writeShort(w io.Writer) error {
	s := c.setting()
	out := new(strings.Builder)
	header, rule := "| |", "|---|"
	short := c.options.suite.short
	for _, col := range short {
		name := col.name
		if name == "" {
			name = grouped(c.options.many) + " conns"
		}
		header += " " + name + " |"
		rule += "---:|"
	}
	fmt.Fprintf(out, "%s\n%s\n", header, rule)
	for _, who := range c.options.contestants {
		line := "| " + s.title(who.Name) + " |"
		for _, col := range short {
			m, ok := c.mode(col.mode)
			f, measured := figure{}, false
			if ok {
				f, measured = c.figure(col.mode, m.metrics[col.metric], who.Name)
			}
			line += " " + c.shortCell(m, col.metric, who, f, measured) + " |"
		}
		fmt.Fprintln(out, line)
	}
	fmt.Fprintf(out, "\n%s\nLower is better, **bold** is the best but for the floor. %s, %s, %d\nprocessors, %s, %s; medians of %s.\n[%[8]s](%[8]s) has the rest, and where Duplex loses.\n",
		c.options.suite.caption(c.options), s.Date, s.Processor, s.Processors, s.System, s.Go, rounds(s.Rounds), c.options.suite.document)
	if caution := s.caution(); caution != "" {
		fmt.Fprintf(out, "**%s**\n", caution)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// caution says why the figures are rougher than they might be, "" if they are not.
func (s setting) caution() string {
	var reasons []string
	if s.Rounds < 3 {
		reasons = append(reasons, "there were fewer than three rounds")
	}
	if s.Duration < 500*time.Millisecond {
		reasons = append(reasons, fmt.Sprintf("each took %v only", s.Duration))
	}
	if s.Others > float64(s.Processors)/4 {
		reasons = append(reasons, fmt.Sprintf("others kept %.1f processors of %d busy", s.Others, s.Processors))
	}
	if len(reasons) == 0 {
		return ""
	}
	return "These figures are rough: " + strings.Join(reasons, ", and ") + "."
}

func rounds(n int) string {
	if n == 1 {
		return "1 round"
	}
	return fmt.Sprintf("%d rounds", n)
}

func (c *comparison) mode(name string) (mode, bool) {
	i := slices.IndexFunc(c.options.modes, func(m mode) bool { return m.name == name })
	if i < 0 {
		return mode{}, false
	}
	return c.options.modes[i], true
}

// shortCell is the number alone, bold if no library has a lower one, and with the ? of
// a doubtful one.
func (c *comparison) shortCell(m mode, metric int, who server.Contestant, f figure, measured bool) string {
	if !measured || f.Failed {
		return cell(f, measured)
	}
	text := number(f.Median)
	if f.Doubtful {
		text += "?"
	}
	if who.Floor {
		return text
	}
	for _, other := range c.options.contestants {
		if o, ok := c.figure(m.name, m.metrics[metric], other.Name); ok && !o.Failed && !other.Floor && o.Median < f.Median {
			return text
		}
	}
	return "**" + text + "**"
}
