package metrics

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/duplexgo/duplex/push"
)

// names returns the names of all metrics that a server with Attach has.
func names(t *testing.T) (all []string) {
	t.Helper()
	described := make(chan *prometheus.Desc, 1000)
	for _, c := range append(newCounters().all(), gauges{new(push.Server)}) {
		c.Describe(described)
	}
	close(described)
	for d := range described {
		all = append(all, regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(d.String())[1])
	}
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		all = append(all, f.GetName())
	}
	return all
}

var metricName = regexp.MustCompile(`\b(?:duplex|go|process)_[a-z_]+\b`)

// What the dashboard draws, the alerts watch and the document explains is there; and
// nothing that is there is left out by the document or the dashboard.
func TestNames(t *testing.T) {
	known := names(t)
	for path, whole := range map[string]bool{"../../packaging/grafana.json": true, "../../docs/operations.md": true, "../../packaging/alerts.yaml": false} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, ".json") && !json.Valid(text) {
			t.Errorf("%s is not JSON", path)
		}
		used := metricName.FindAllString(string(text), -1)
		for _, name := range used {
			if !slices.Contains(known, name) {
				t.Errorf("%s: there is no metric %s", path, name)
			}
		}
		for _, name := range known {
			if whole && strings.HasPrefix(name, "duplex_") && !slices.Contains(used, name) {
				t.Errorf("%s does not have %s", path, name)
			}
		}
	}
}
