//go:build unix

package packaging

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A series is what a metric is, from the beginning, once a minute, in Prometheus's
// notation for tests: 0+5x30 begins at 0 and grows by 5, 30 times.
type series map[string]string

// An alarm is a rule of alerts.yaml with a server that it is for, and one that is just
// not bad enough for it. It takes a while until the alarm is raised.
type alarm struct {
	name       string
	bad, good  series
	not, after string // when it is not raised yet, and when it is
}

var alarms = []alarm{
	{
		name: "DuplexDown",
		bad:  series{`up{job="duplex"}`: "1 1 0x30"},
		good: series{`up{job="duplex"}`: "1x30", `up{job="other"}`: "0x30"},
		not:  "2m45s", after: "3m",
	},
	{
		name: "DuplexNearlyFull",
		bad:  series{`duplex_lines{transport="websocket"}`: "80000x30", `duplex_lines{transport="sse"}`: "10001x30"},
		good: series{`duplex_lines{transport="websocket"}`: "80000x30", `duplex_lines{transport="sse"}`: "10000x30"},
		not:  "4m45s", after: "5m",
	},
	{
		name: "DuplexTurnsClientsAway",
		bad:  series{`duplex_refusals_total{code="205"}`: "0 0 3x30"}, // a single burst
		good: series{`duplex_refusals_total{code="205"}`: "3x30", `duplex_refusals_total{code="109"}`: "0+100x30"},
		not:  "3m45s", after: "4m",
	},
	{
		name: "DuplexFails",
		bad:  series{`duplex_refusals_total{code="200"}`: "0+1x30"},
		good: series{`duplex_refusals_total{code="200"}`: "0 0 3x30", `duplex_refusals_total{code="203"}`: "0+100x30"},
		not:  "5m45s", after: "6m",
	},
	{
		name: "DuplexForgetsTooEarly",
		bad:  series{`duplex_resets_total{reason="too old"}`: "0+1x30"},
		good: series{`duplex_resets_total{reason="too old"}`: "0 1 2 3 4 5 6 7 8 9x30", `duplex_resets_total{reason="recreated"}`: "0+100x30"},
		not:  "5m", after: "15m",
	},
	{
		name: "DuplexLinesBreak", // 1,000 clients, whose lines last for 45 seconds, or for a minute
		bad:  series{`duplex_lines{transport="websocket"}`: "1000x60", `duplex_lines_closed_total{transport="websocket"}`: "0+1334x60"},
		good: series{`duplex_lines{transport="websocket"}`: "1000x60", `duplex_lines_closed_total{transport="websocket"}`: "0+1000x60", `duplex_lines_closed_total{transport="poll"}`: "0+60000x60"},
		not:  "14m", after: "16m", // ten minutes after the five that are averaged
	},
	{
		name: "DuplexHistoryFull",
		bad:  series{`duplex_bytes`: "260000000x60"},
		good: series{`duplex_bytes`: "250000000x60"},
		not:  "14m45s", after: "15m",
	},
	{
		name: "DuplexFilesNearlyUsed",
		bad:  series{`process_open_fds{job="duplex"}`: "950x30", `process_max_fds{job="duplex"}`: "1000x30"},
		good: series{`process_open_fds{job="duplex"}`: "850x30", `process_max_fds{job="duplex"}`: "1000x30", `process_open_fds{job="other"}`: "999x30", `process_max_fds{job="other"}`: "1000x30"},
		not:  "4m45s", after: "5m",
	},
}

// Each alarm is raised for a server that it is for, when it has been so for long enough,
// with what the rule says of it; and not for one that is nearly so.
func TestAlerts(t *testing.T) {
	promtool := program(t, "promtool", "prometheus")
	rules := readRules(t)
	if len(rules) != len(alarms) {
		t.Errorf("%d rules, and %d alarms that are tried", len(rules), len(alarms))
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", "alerts.yaml").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, a := range alarms {
		t.Run(a.name, func(t *testing.T) {
			r, ok := rules[a.name]
			if !ok {
				t.Fatal("there is no such rule")
			}
			bad, good := promtoolTest(a.name, a.bad), promtoolTest(a.name, a.good)
			bad.expect(a.not)
			bad.expect(a.after, r)
			good.expect(a.not)
			good.expect(a.after)
			good.expect("30m")
			runPromtool(t, promtool, bad, good)
		})
	}
}

// A rule is what an alarm says.
type rule struct{ severity, summary string }

func readRules(t *testing.T) map[string]rule {
	t.Helper()
	text, err := os.ReadFile("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string]rule{}
	for _, found := range regexp.MustCompile(`(?s)alert: (\w+)\n.*?severity: (\w+).*?summary: "(.*?)"\n`).FindAllStringSubmatch(string(text), -1) {
		rules[found[1]] = rule{found[2], strings.ReplaceAll(found[3], "{{ $labels.instance }}", instance)}
	}
	return rules
}

const instance = "push.example.com:443"

// These are the form of promtool's tests.
type (
	ruleTest struct {
		Interval string        `json:"interval"`
		Input    []inputSeries `json:"input_series"`
		Expect   []expectation `json:"alert_rule_test"`
	}
	inputSeries struct {
		Series string `json:"series"`
		Values string `json:"values"`
	}
	expectation struct {
		At     string           `json:"eval_time"`
		Name   string           `json:"alertname"`
		Alerts []map[string]any `json:"exp_alerts"`
	}
)

func promtoolTest(name string, in series) *ruleTest {
	test := &ruleTest{Interval: "1m"}
	for metric, values := range in {
		label := fmt.Sprintf("instance=%q", instance)
		if head, ok := strings.CutSuffix(metric, "}"); ok {
			metric = head + "," + label + "}"
		} else {
			metric += "{" + label + "}"
		}
		test.Input = append(test.Input, inputSeries{metric, values})
	}
	test.Expect = []expectation{{At: "0s", Name: name, Alerts: []map[string]any{}}}
	return test
}

// expect has the test want that the alarm is raised at a time, as rules say; none: it is
// not.
func (test *ruleTest) expect(at string, raised ...rule) {
	e := expectation{At: at, Name: test.Expect[0].Name, Alerts: []map[string]any{}}
	for _, r := range raised {
		labels := map[string]string{"severity": r.severity, "instance": instance}
		for _, s := range test.Input { // what is not summed up keeps its job
			if strings.HasPrefix(s.Series, "up{") || strings.HasPrefix(s.Series, "process_") {
				labels["job"] = "duplex"
			}
		}
		e.Alerts = append(e.Alerts, map[string]any{"exp_labels": labels, "exp_annotations": map[string]string{"summary": r.summary}})
	}
	test.Expect = append(test.Expect, e)
}

// runPromtool runs tests, in a file whose JSON is YAML.
func runPromtool(t *testing.T, promtool string, tests ...*ruleTest) {
	t.Helper()
	rules, err := filepath.Abs("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(map[string]any{"rule_files": []string{rules}, "evaluation_interval": "15s", "tests": tests}, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "test.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%v: %s\nthe tests are %s", err, out, text)
	}
}
