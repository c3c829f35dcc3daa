package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/duplexgo/duplex/bench/load"
	"github.com/duplexgo/duplex/bench/server"
)

const readme = "# Title\n\n" + tableBegins + "old\n" + tableEnds + "\nmore\n"

func TestSplice(t *testing.T) {
	got, err := libraries.splice(readme, "new\n")
	if want := strings.Replace(readme, "old", "new", 1); err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if again, err := libraries.splice(got, "new\n"); err != nil || again != got {
		t.Errorf("a second time: %q, %v", again, err)
	}
	for _, bad := range []string{
		"",
		tableBegins,
		tableEnds,
		tableEnds + tableBegins,
		readme + readme,
		readme + tableEnds,
		tableEnds + readme,
	} {
		if got, err := libraries.splice(bad, "new\n"); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

// A repository has what the documents need, and nothing is lost of one that has not.
func TestDocuments(t *testing.T) {
	root := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := measured(t, map[string][]int{"duplex": {1, 2, 3}, "gws": {4, 4, 4}})
	for _, files := range []map[string]string{
		{},
		{"go.mod": "module example.com/other\n", "README.md": readme},
		{"go.mod": "module github.com/duplexgo/duplex\n", "README.md": "# Title\n"},
	} {
		for name, text := range files {
			put(name, text)
		}
		if libraries.checkDocuments(root) == nil {
			t.Errorf("%v is taken for the repository", files)
		}
	}
	if c.writeDocuments(root) == nil {
		t.Error("a README without the marks was written")
	}
	put("README.md", readme)
	if err := libraries.checkDocuments(root); err != nil {
		t.Error(err)
	}
	if c.writeDocuments(root) == nil {
		t.Error("a folder docs that does not exist was written to")
	}
	if err := os.Mkdir(filepath.Join(root, "docs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := c.writeDocuments(root); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"README.md": "\nmore\n", "docs/performance.md": "| Duplex, `Handler` | 2.00 ±50% |"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s, %v:\n%s", name, err, text)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(root, "*.new")); len(left) > 0 {
		t.Errorf("%v is left behind", left)
	}
}

// Each suite has its own page and its own place in the README.
func TestSuitesKeepApart(t *testing.T) {
	files, marks := make(map[string]bool), make(map[string]bool)
	for _, s := range suites {
		files[s.document], marks[s.begins], marks[s.ends] = true, true, true
	}
	if len(files) != len(suites) || len(marks) != 2*len(suites) {
		t.Errorf("%v, %v", files, marks)
	}
	both := readme + pushServers.begins + "old push\n" + pushServers.ends
	got, err := pushServers.splice(both, "new push\n")
	if want := strings.Replace(both, "old push", "new push", 1); err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	got, err = libraries.splice(got, "new\n")
	if want := strings.Replace(strings.Replace(both, "old push", "new push", 1), "old\n", "new\n", 1); err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if got, err := pushServers.splice(readme, "x\n"); err == nil {
		t.Errorf("a README without the marks of a suite became %q", got)
	}
}

// measured returns a comparison of mode echo-32, with the microseconds of each round.
func measured(t *testing.T, us map[string][]int) *comparison {
	t.Helper()
	o, err := parse([]string{"-modes", "echo-32"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c := &comparison{options: o, began: time.Now()}
	for who, values := range us {
		c.samples = append(c.samples, three(who, values...)...)
	}
	return c
}

// Where another library is better the page says so, in the table and in a list.
func TestLossesAreTold(t *testing.T) {
	c := measured(t, map[string][]int{"raw": {1, 1, 1}, "duplex": {6, 6, 9}, "duplex-conn": {15, 15, 15}, "gws": {8, 8, 8}, "nbio": {12, 12, 12}})
	var page, short bytes.Buffer
	if err := c.writeDocument(&page); err != nil {
		t.Fatal(err)
	}
	if err := c.writeShort(&short); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| *Duplex, `Handler`, to the best other* | 0.75 gws |\n",
		"| *Duplex, `Conn`, to the best other* | **1.88 gws** |\n",
		"| " + echoTable + ": 32 B, 64 conns | Duplex, `Conn` | 1.88 of gws",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page has not %q:\n%s", want, &page)
		}
	}
	if strings.Contains(page.String(), "| Duplex, `Handler` | 0.75 of") {
		t.Errorf("the page tells of a loss that is none:\n%s", &page)
	}
	for _, want := range []string{"| Duplex, `Handler` | **6.00** |", "| 15.0 |", "the floor | 1.00 |"} {
		if !strings.Contains(short.String(), want) {
			t.Errorf("the README's table has not %q:\n%s", want, &short)
		}
	}
}

func TestRatio(t *testing.T) {
	less := metric{of: cpu}
	more := metric{of: func(r load.Result) float64 { return 1 / cpu(r) }, more: true}
	for _, test := range []struct {
		name   string
		us     map[string][]int
		metric metric
		want   ratio
		ok     bool
	}{
		{"won", map[string][]int{"duplex": {5}, "gws": {10}, "coder": {20}}, less, ratio{0.5, "gws", false, false}, true},
		{"lost", map[string][]int{"duplex": {20}, "gws": {40}, "coder": {10}}, less, ratio{2, "coder", true, false}, true},
		{"lost by little", map[string][]int{"duplex": {10, 12, 14}, "gws": {9, 10, 13}}, less, ratio{1.2, "gws", true, true}, true},
		{"more is better", map[string][]int{"duplex": {10}, "gws": {5}, "coder": {20}}, more, ratio{0.5, "gws", true, false}, true},
		{"ours alone", map[string][]int{"duplex": {10}, "duplex-conn": {1}, "raw": {1}}, less, ratio{}, false},
		{"not ours", map[string][]int{"gws": {10}}, less, ratio{}, false},
	} {
		c := measured(t, test.us)
		got, ok := c.against(column{c.options.modes[0], test.metric}, "duplex")
		if ok != test.ok || ok && got != test.want {
			t.Errorf("%s: %+v, %v, want %+v, %v", test.name, got, ok, test.want, test.ok)
		}
	}
}

func TestDoubtShows(t *testing.T) {
	c := measured(t, map[string][]int{"gws": {4, 4, 4}})
	for i, want := range []string{"4.00 ±0%", "4.00? ±0%", "4.00? ±0%"} {
		if i > 0 {
			c.samples[i].Result.Doubt = "it was late"
		}
		if i == 0 {
			c.samples[0].Result.Doubt = "it was late"
		}
		f, ok := c.figure("echo-32", c.options.modes[0].metrics[0], "gws")
		if got := cell(f, ok); got != want {
			t.Errorf("with doubts in %d of 3 rounds: %q, want %q", i+1, got, want)
		}
		short := c.shortCell(c.options.modes[0], 0, server.Contestant{Name: "gws"}, f, ok)
		if strings.Contains(short, "?") != strings.Contains(want, "?") {
			t.Errorf("with doubts in %d of 3 rounds: %q in the README, %q in the page", i+1, short, want)
		}
	}
}

// Every contestant is measured as often as asked for, and not always at the same place.
func TestSteps(t *testing.T) {
	o, err := parse([]string{"-modes", "echo-32,idle,block", "-only", "raw,gws,nbio-inline", "-rounds", "3"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range o.steps() {
		got = append(got, s.mode.name+" "+s.who.Name)
	}
	want := []string{
		"echo-32 raw", "echo-32 gws", "echo-32 nbio-inline", "idle raw", "idle gws", "idle nbio-inline", "block gws",
		"echo-32 gws", "echo-32 nbio-inline", "echo-32 raw", "block gws",
		"echo-32 nbio-inline", "echo-32 raw", "echo-32 gws",
	}
	if strings.Join(got, ",") != strings.Join(want, ",") {
		t.Errorf("%q, want %q", got, want)
	}
}

// The time left is that of what was seen, once it was.
func TestForecast(t *testing.T) {
	o, err := parse([]string{"-modes", "echo-32,block", "-only", "gws", "-rounds", "2"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	steps := o.steps() // echo-32, block, echo-32
	f := newForecast(o)
	if d := f.of(steps); d < 2*o.duration || d > time.Minute {
		t.Errorf("%v at the beginning", d)
	}
	f.took(steps[0], 10*time.Second)
	f.took(steps[1], 3*time.Second)
	if d := f.of(steps[2:]); d != 10*time.Second {
		t.Errorf("%v left of what has taken 10s before", d)
	}
}

// A run that says little says so.
func TestCaution(t *testing.T) {
	good := setting{Rounds: 5, Duration: time.Second, Processors: 2, Others: 0.4}
	for _, test := range []struct {
		want   string
		change func(*setting)
	}{
		{"", func(*setting) {}},
		{"three rounds", func(s *setting) { s.Rounds = 2 }},
		{"50ms only", func(s *setting) { s.Duration = 50 * time.Millisecond }},
		{"kept 1.5 processors of 2 busy", func(s *setting) { s.Others = 1.5 }},
	} {
		s := good
		test.change(&s)
		if got := s.caution(); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%+v: %q, want %q", s, got, test.want)
		}
	}
}

func TestTitles(t *testing.T) {
	s := setting{Versions: map[string]string{"github.com/gobwas/ws": "v1.5.0", "github.com/lesismal/nbio": "v1.6.12"}}
	for name, want := range map[string]string{
		"gobwas":      "gobwas 1.5.0",
		"nbio":        "nbio 1.6.12",
		"nbio-inline": "nbio 1.6.12, callbacks in the poller",
		"gws":         "gws",
		"duplex":      "Duplex, `Handler`",
	} {
		if got := s.title(name); got != want {
			t.Errorf("%s is called %q, not %q", name, got, want)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int]string{0: "0", 64: "64", 1000: "1,000", 10000: "10,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
