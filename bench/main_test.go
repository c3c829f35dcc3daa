package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/duplexgo/duplex/bench/load"
	"github.com/duplexgo/duplex/bench/server"
)

// TestMain lets the test's program be the processes that the comparison starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && (os.Args[1] == server.ChildArg || os.Args[1] == load.ChildArg) {
		if err := run(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Every contestant answers right in every mode: the generator checks every message.
func TestContestantsAnswerRight(t *testing.T) {
	for _, s := range suites {
		t.Run(s.name, func(t *testing.T) { answerRight(t, s) })
	}
}

func answerRight(t *testing.T, s suite) {
	o, err := parse([]string{"-suite", s.name, "-idle", "20", "-many", "20", "-receivers", "30", "-settle", "10ms", "-warm", "1ms", "-duration", "20ms", "-rounds", "1"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for i := range o.modes {
		j := &o.modes[i].job
		j.Conns = min(j.Conns, 30)
		j.Rate = min(j.Rate, 1000)
		j.Duration = min(j.Duration, 100*time.Millisecond)
		if j.Size == 1<<20 {
			j.Conns = 2
		}
	}
	c := compare(o, io.Discard)
	for _, s := range c.samples {
		if s.Error != "" {
			t.Errorf("%s, %s: %s", s.Mode, s.Contestant, s.Error)
		}
	}
	for _, m := range o.modes {
		for _, who := range o.contestants {
			for _, metric := range m.metrics {
				f, ok := c.figure(m.name, metric, who.Name)
				if ok != m.can(who) {
					t.Errorf("%s, %s: measured: %v", m.name, who.Name, ok)
				}
				if ok && m.job.Kind != load.Idle && m.job.Kind != load.PackedIdle && m.job.Kind != load.Audience && f.Median <= 0 {
					t.Errorf("%s, %s: %s is %v", m.name, who.Name, metric.name, f.Median)
				}
			}
		}
	}
	if got := len(c.outcomes()); got != len(s.goals()) {
		t.Errorf("the comparison has an outcome for %d of %d goals", got, len(s.goals()))
	}
	var tables bytes.Buffer
	var page, short bytes.Buffer
	if err := errors.Join(c.writeTables(&tables), c.writeDocument(&page), c.writeShort(&short), c.failure()); err != nil {
		t.Error(err)
	}
	for _, who := range s.contestants {
		if !strings.Contains(tables.String(), "\n"+who.Name+" ") {
			t.Errorf("%s is in no table", who.Name)
		}
		row := "\n| " + c.setting().title(who.Name) + " |"
		if !strings.Contains(page.String(), row) || !strings.Contains(short.String(), row) {
			t.Errorf("%s is not in the page and the README's table", who.Name)
		}
	}
	for _, title := range c.titles() {
		if notes[title] == "" || !strings.Contains(page.String(), "\n## "+title+"\n\n"+notes[title]) {
			t.Errorf("the page has not the table %q with a note that says how to read it", title)
		}
	}
}

// A measurement that went wrong must not look like one that went well.
func TestFailureIsLoud(t *testing.T) {
	var progress bytes.Buffer
	o, err := parse([]string{"-only", "gws,gobwas", "-modes", "echo-32", "-rounds", "2", "-duration", "10ms", "-warm", "1ms"}, &progress)
	if err != nil {
		t.Fatal(err)
	}
	o.modes[0].job.Path = "/nowhere"
	c := compare(o, &progress)
	if c.failure() == nil {
		t.Error("no failure")
	}
	if n := strings.Count(progress.String(), "FAILED"); n != 4 {
		t.Errorf("%d of 4 failures were told at once:\n%s", n, &progress)
	}
	var tables bytes.Buffer
	if err := c.writeTables(&tables); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(tables.String(), "FAILED"); n != 4 {
		t.Errorf("%d of 4 cells say FAILED:\n%s", n, &tables)
	}
	if len(c.outcomes()) > 0 {
		t.Error("goals were judged by failures")
	}
	var page bytes.Buffer
	if err := c.writeDocument(&page); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(page.String(), "\n- echo-32, g"); n != 4 {
		t.Errorf("%d of 4 failures are in the page:\n%s", n, &page)
	}
}

// Only the whole comparison, as it is meant, changes documents unasked.
func TestWhatIsWritten(t *testing.T) {
	for args, want := range map[string]bool{
		"":                      true,
		"-json":                 true,
		"-quick":                false,
		"-modes echo-32":        false,
		"-rounds 9":             false,
		"-write=false":          false,
		"-write -rounds 9":      true,
		"-write -quick -json":   true,
		"-cpuprofile somewhere": false,
		"-suite push":           true,
		"-suite push -json":     true,
		"-suite push -quick":    false,
	} {
		if o, err := parse(strings.Fields(args), io.Discard); err != nil || o.write != want {
			t.Errorf("%s: writes: %v, %v", args, o.write, err)
		}
	}
}

func TestProfiles(t *testing.T) {
	dir := t.TempDir()
	o, err := parse([]string{"-only", "duplex", "-modes", "echo-32", "-rounds", "1", "-duration", "10ms", "-cpuprofile", dir}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := compare(o, io.Discard).failure(); err != nil {
		t.Fatal(err)
	}
	if s, err := os.Stat(dir + "/duplex-echo-32-1.pprof"); err != nil || s.Size() == 0 {
		t.Error("no profile was written:", err)
	}
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-only nobody":                      "raw",
		"-modes nothing":                    "echo-32",
		"-rounds 0":                         "positive",
		"-duration -1s":                     "positive",
		"echo":                              "not a flag",
		"-quick -rounds x":                  "invalid value",
		"-idle 0":                           "positive",
		"-settle -1s":                       "not negative",
		"-many 0":                           "positive",
		"-receivers 0":                      "positive",
		"-write -only gws":                  "lost",
		"-suite nothing":                    "websocket and push",
		"-suite push -only gws":             "centrifuge",
		"-suite push -modes echo-32":        "fan-1",
		"-only push":                        "gws",
		"-suite push -only push -modes own": "",
		"-only gws,gws,raw":                 "",
		"-quick -rounds 3":                  "",
	} {
		o, err := parse(strings.Fields(args), io.Discard)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
		if args == "-only gws,gws,raw" && (len(o.contestants) != 2 || len(o.modes) != len(o.suite.modes(o))) {
			t.Errorf("%s: %d contestants, %d modes", args, len(o.contestants), len(o.modes))
		}
		if args == "-quick -rounds 3" && (o.rounds != 3 || o.duration != 50*time.Millisecond) {
			t.Errorf("%s: %d rounds of %v", args, o.rounds, o.duration)
		}
	}
	var help bytes.Buffer
	if _, err := parse([]string{"-help"}, &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "-cpuprofile") {
		t.Errorf("%v: %s", err, &help)
	}
}

// three returns samples of one metric: the microseconds of each round.
func three(contestant string, us ...int) (samples []sample) {
	for i, v := range us {
		samples = append(samples, sample{Mode: "echo-32", Contestant: contestant, Round: i + 1,
			Result: load.Result{Messages: 1000, Wall: time.Second, Server: time.Duration(v) * time.Millisecond}})
	}
	return samples
}

func TestMediansAndGoals(t *testing.T) {
	o, err := parse([]string{"-modes", "echo-32"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c := &comparison{options: o}
	for who, us := range map[string][]int{
		"raw": {10, 2, 12}, "duplex": {6, 9, 8, 7}, "duplex-conn": {20, 20, 20},
		"gobwas": {11, 10, 9}, "gorilla": {30, 20, 10}, "gws": {12, 12, 12}, "coder": {13, 13, 13},
		"nbio": {14}, "nbio-inline": {11},
	} {
		c.samples = append(c.samples, three(who, us...)...)
	}
	f, _ := c.figure("echo-32", o.modes[0].metrics[0], "duplex")
	if f != (figure{Median: 7.5, Min: 6, Max: 9, Rounds: 4}) {
		t.Errorf("%+v", f)
	}
	want := []outcome{
		{Goal: "echo-32: callbacks to the floor", Value: 0.75, Bound: 1.05, AtMost: true, Met: true},
		{Goal: "echo-32: callbacks to the best other library", Value: 0.75, Bound: 0.75, AtMost: true, Met: true, Floor: 1},
		{Goal: "echo-32: blocking to the best other with a goroutine a connection", Value: 2, Bound: 0.95, AtMost: true, Met: false, Floor: 1},
	}
	got := c.outcomes()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
	var out bytes.Buffer
	if err := c.writeJSON(&out); err != nil {
		t.Fatal(err)
	}
	var read struct {
		Samples []sample
		Figures []struct {
			Contestant string
			Median     float64
		}
		Goals []outcome
	}
	if err := json.Unmarshal(out.Bytes(), &read); err != nil {
		t.Fatal(err)
	}
	if len(read.Samples) != len(c.samples) || len(read.Figures) != 18 || len(read.Goals) != 3 || read.Figures[1].Median != 7.5 {
		t.Errorf("%s", &out)
	}
}

// Half of the time of two processors was idle, or waited for a disk.
func TestBusy(t *testing.T) {
	const before = "cpu  100 0 100 200 50 0 0 0 7 7\ncpu0 1 2 3 4\n"
	const after = "cpu  110 5 105 215 55 0 0 0 9 9\ncpu0 1 2 3 4\n"
	if got, want := busyBetween(before, after), float64(runtime.NumCPU())/2; got != want {
		t.Errorf("%v processors, want %v", got, want)
	}
	if got := busyBetween(before, before) + busyBetween("", ""); got != 0 {
		t.Errorf("nothing has happened, and %v processors were busy", got)
	}
}
