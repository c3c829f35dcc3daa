//go:build unix

package packaging

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A Prometheus that scrapes a server has an answer to everything that the dashboard
// asks it, and can evaluate every rule.
func TestDashboard(t *testing.T) {
	prometheus := program(t, "prometheus", "prometheus")
	server, key := startServer(t)
	p := startPrometheus(t, prometheus, server, key)
	use(t, server, key)
	for _, query := range dashboardQueries(t) {
		p.wantAnswer(t, query)
	}
	p.wantRules(t)
}

// startServer starts a push server with a key, and returns its URL and the key.
func startServer(t *testing.T) (url, key string) {
	t.Helper()
	duplex := filepath.Join(t.TempDir(), "duplex")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", duplex, "../cmd/duplex").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	key = strings.Repeat("k", 32)
	cmd := exec.CommandContext(t.Context(), duplex, "serve", "--listen", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "DUPLEX_API_KEY="+key)
	return serving(t, cmd), key
}

// use has the server count something of everything.
func use(t *testing.T, url, key string) {
	t.Helper()
	for _, request := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/channels/news", "hello", 200},
		{"POST", "/channels/news", "hello again", 200},
		{"POST", "/channels/%01", "refused", 400},
		{"GET", "/poll?channel=news&wait=0", "", 200},
		{"GET", "/poll?channel=news&wait=0&since=1.1", "", 200}, // another process's: a reset
		{"GET", "/poll?channel=news&wait=0&since=garbage", "", 400},
	} {
		req, err := http.NewRequestWithContext(t.Context(), request.method, url+request.path, strings.NewReader(request.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != request.status {
			t.Errorf("%s %s: %s", request.method, request.path, resp.Status)
		}
	}
}

// A prometheusServer is one at work.
type prometheusServer struct {
	url  string
	said *output
}

// startPrometheus starts a Prometheus that scrapes a server, and has the rules.
func startPrometheus(t *testing.T, program, server, key string) *prometheusServer {
	t.Helper()
	folder := t.TempDir()
	rules, err := filepath.Abs("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{ // which is YAML
		"global":     map[string]string{"scrape_interval": "1s", "evaluation_interval": "1s"},
		"rule_files": []string{rules},
		"scrape_configs": []any{map[string]any{
			"job_name":       "duplex",
			"authorization":  map[string]string{"credentials": key},
			"static_configs": []any{map[string][]string{"targets": {strings.TrimPrefix(server, "http://")}}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "prometheus.yml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freeAddress(t)
	p := &prometheusServer{url: "http://" + addr, said: new(output)}
	cmd := exec.CommandContext(t.Context(), program, "--config.file", file, "--web.listen-address", addr, "--storage.tsdb.path", filepath.Join(folder, "data"))
	cmd.Stdout, cmd.Stderr = p.said, p.said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("Prometheus says %s", p.said)
		}
	})
	return p
}

// freeAddress returns an address of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// ask asks Prometheus, and puts the data of its answer into v.
func (p *prometheusServer) ask(path string, query url.Values, v any) error {
	resp, err := http.Get(p.url + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: v}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return errors.New(answer.Error)
	}
	return nil
}

// wantAnswer waits until Prometheus has an answer to a query.
func (p *prometheusServer) wantAnswer(t *testing.T, query string) {
	t.Helper()
	eventually(t, query, func() error {
		var data struct{ Result []any }
		err := p.ask("/api/v1/query", url.Values{"query": {query}}, &data)
		if err == nil && len(data.Result) == 0 {
			err = errors.New("the answer is empty")
		}
		return err
	})
}

// wantRules waits until Prometheus has evaluated all rules.
func (p *prometheusServer) wantRules(t *testing.T) {
	t.Helper()
	eventually(t, "the rules", func() error {
		var data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError, State string }
			}
		}
		if err := p.ask("/api/v1/rules", nil, &data); err != nil {
			return err
		}
		n := 0
		for _, g := range data.Groups {
			for _, r := range g.Rules {
				n++
				if r.Health != "ok" || r.State != "inactive" {
					return fmt.Errorf("%+v", r)
				}
			}
		}
		if n != len(alarms) {
			return fmt.Errorf("%d rules, and not %d", n, len(alarms))
		}
		return nil
	})
}

// dashboardQueries returns what the dashboard asks, with its variables as they are
// when nothing is chosen.
func dashboardQueries(t *testing.T) (queries []string) {
	t.Helper()
	text, err := os.ReadFile("grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Type, Definition, AllValue string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	variables := []string{"$__rate_interval", "1m"}
	for _, v := range board.Templating.List {
		if v.Type != "query" {
			continue
		}
		variables = append(variables, "$"+v.Name, v.AllValue)
		metric, label, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(v.Definition, "label_values("), ")"), ", ")
		if !ok {
			t.Errorf("the variable %s is %s", v.Name, v.Definition)
		}
		queries = append(queries, fmt.Sprintf("count by (%s) (%s) and on (%s) up", label, metric, label))
	}
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			queries = append(queries, target.Expr)
		}
	}
	if len(queries) < 20 {
		t.Errorf("only %d queries", len(queries))
	}
	for i, q := range queries {
		queries[i] = strings.NewReplacer(variables...).Replace(q)
		if strings.Contains(queries[i], "$") {
			t.Errorf("a variable is not known in %s", q)
		}
	}
	return queries
}
