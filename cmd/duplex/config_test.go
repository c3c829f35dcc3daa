package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// settingsFile writes a file of settings and returns its path.
func settingsFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "duplex.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// printed returns the lines of --print-config by setting.
func printed(t *testing.T, args ...string) map[string]string {
	t.Helper()
	got := duplex(t, nil, append([]string{"serve", "--print-config"}, args...)...)
	if got.code != exitOK || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	lines := map[string]string{}
	for line := range strings.Lines(got.stdout) {
		name, rest, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "# ")), ": ")
		lines[name] = rest
	}
	return lines
}

// A flag counts more than the environment, and that more than the file.
func TestConfigOrder(t *testing.T) {
	path := settingsFile(t, `# what this machine needs
max-lines: 1
max-depth: 2
max-wait: 3s
max-message: 4KiB
origin: [https://a.example, "*.b.example"]
allow:
  - 192.0.2.0/24
  - 2001:db8::1
count-private: true
issuer: "7 # 8"
deny: 10.0.0.0/8
`)
	t.Setenv("DUPLEX_MAX_DEPTH", "5")
	t.Setenv("DUPLEX_MAX_WAIT", "6s")
	t.Setenv("DUPLEX_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8")
	got := printed(t, "--config", path, "--max-wait", "7s")
	for name, want := range map[string]string{
		"max-lines":       "1 # file " + path + ":2",
		"max-depth":       "5 # environment DUPLEX_MAX_DEPTH",
		"max-wait":        "7s # flag",
		"max-message":     "4KiB # file " + path + ":5",
		"max-channels":    "200000 # default",
		"origin":          `["https://a.example", "*.b.example"] # file ` + path + ":6",
		"allow":           `[192.0.2.0/24, "2001:db8::1/128"] # file ` + path + ":7",
		"count-private":   "true # file " + path + ":10",
		"issuer":          `"7 # 8" # file ` + path + ":11",
		"deny":            "[10.0.0.0/8] # file " + path + ":12",
		"trusted-proxies": "[127.0.0.1/32, 10.0.0.0/8] # environment DUPLEX_TRUSTED_PROXIES",
	} {
		if got[name] != want {
			t.Errorf("%s: %s, want %s", name, got[name], want)
		}
	}
	t.Setenv("DUPLEX_CONFIG", path)
	if got := printed(t)["max-lines"]; got != "1 # file "+path+":2" {
		t.Errorf("with the file's name in the environment, max-lines is %s", got)
	}
}

// Each flag of serve can come from everywhere: what is printed, read again, is the same.
func TestConfigIsComplete(t *testing.T) {
	first := duplex(t, nil, "serve", "--print-config", "--origin", "https://a.example,*.b.example", "--max-lines", "7", "--allow", "::/0", "--insecure")
	if first.code != exitOK {
		t.Fatalf("%+v", first)
	}
	again := printed(t, "--config", settingsFile(t, first.stdout))
	newServe().Flags().VisitAll(func(f *pflag.Flag) {
		if slices.Contains(aboutSettings, f.Name) {
			return
		}
		value, source, _ := strings.Cut(again[f.Name], " # ")
		if value == "" || !strings.Contains(first.stdout, f.Name+": "+value+" # ") || value != `""` && value != "[]" && !strings.HasPrefix(source, "file ") {
			t.Errorf("--%s comes back as %q", f.Name, again[f.Name])
		}
		t.Setenv(variable(f.Name), "")
		if got := duplex(t, nil, "serve", "--print-config"); keySources[f.Name] == nil && (got.code != exitUsage || !strings.Contains(got.stderr, variable(f.Name)+" is empty")) {
			t.Errorf("an empty %s: %+v", variable(f.Name), got)
		}
		os.Unsetenv(variable(f.Name))
	})
}

func TestConfigWrong(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"max-line: 1", `:1: there is no setting "max-line": is it max-lines?`},
		{"\nmax_wait: 1s", `:2: there is no setting "max_wait": is it max-wait?`},
		{"colour: red", `there is no setting "colour": 'duplex serve --print-config' prints them all`},
		{"config: x", `there is no setting "config"`},
		{"api-key: nobody-sees", "put it into a file of its own, and name that as api-key-file"},
		{"token-key: nobody-sees", "name that as token-key-file"},
		{"max-lines: 1\nmax-lines: 2", ":2: max-lines is in line 1 already"},
		{"max-lines: many", `:1: invalid argument "many" for "--max-lines" flag: a whole number is wanted`},
		{"max-wait: 5", "a time has a unit"},
		{"insecure: perhaps", `"perhaps"`},
		{"max-lines:", "max-lines: it has no value"},
		{"max-lines: {a: b}", "a plain value is wanted"},
		{"origin: [[a]]", "the items of a list are plain values"},
		{"max-lines: &a 1\nmax-depth: *a", "a plain value is wanted"},
		{"max-lines: [1", "duplex.yaml: yaml: "},
		{"- max-lines", "each line is a setting"},
		{"max-lines", "each line is a setting"},
		{"max-lines: 1\n---\nmax-lines: 2", "more than one document"},
		{"max-lines: 0", "--max-lines must be at least 1"},
		{strings.Repeat("# comment\n", maxConfig/10+1), "is longer than"},
	} {
		path := settingsFile(t, test.text)
		got := duplex(t, nil, "serve", "--listen", "127.0.0.1:0", "--config", path)
		if got.code != exitUsage || got.stdout != "" || strings.Count(got.stderr, "\n") != 1 || !strings.Contains(got.stderr, test.want) || strings.Contains(got.stderr, "nobody-sees") {
			t.Errorf("%.100q: %+v, want %q", test.text, got, test.want)
		}
	}
	for _, empty := range []string{"", "\n", "# nothing\n", "---\n", "null"} {
		if got := printed(t, "--config", settingsFile(t, empty))["max-lines"]; got != "100000 # default" {
			t.Errorf("%q: max-lines is %s", empty, got)
		}
	}
	if got := duplex(t, nil, "serve", "--config", filepath.Join(t.TempDir(), "none")); got.code != exitFailure || !strings.Contains(got.stderr, "cannot read the settings") {
		t.Errorf("%+v", got)
	}
	t.Setenv("DUPLEX_MAX_LINES", "many")
	if got := duplex(t, nil, "serve"); got.code != exitUsage || !strings.Contains(got.stderr, "the environment variable DUPLEX_MAX_LINES: invalid argument") {
		t.Errorf("%+v", got)
	}
}

// One source of keys that counts more takes the place of all others: nobody wants the
// file's keys to go on to count beside those that were given now.
func TestConfigKeys(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte(testAPIKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := settingsFile(t, "api-key-file: "+keys+"\njwks-url: https://issuer.example/\n")
	got := printed(t, "--config", path)
	if got["api-key-file"] != keys+" # file "+path+":1" || got["jwks-url"] != `"https://issuer.example/" # file `+path+":2" {
		t.Errorf("%q, %q", got["api-key-file"], got["jwks-url"])
	}
	_, url := startServe(t, "--config", path)
	if resp := (holder{t, url, testAPIKey}).do("GET", "/channels", ""); resp.StatusCode != 200 {
		t.Errorf("with the key of the file: %s", resp.Status)
	}
	t.Setenv(envTokenKey, testSecret)
	got = printed(t, "--config", path)
	for _, value := range got {
		if strings.Contains(value, testSecret) {
			t.Errorf("a secret is shown: %s", value)
		}
	}
	if !strings.HasPrefix(got["jwks-url"], `""`) {
		t.Errorf("the variable and the file are both sources of keys for tokens: %s", got["jwks-url"])
	}
	os.Unsetenv(envTokenKey)
	t.Setenv(envJWKSURL, "https://ann:nobody-sees@issuer.example/keys")
	if got := printed(t)["jwks-url"]; got != `"https://ann:xxxxx@issuer.example/keys" # environment DUPLEX_JWKS_URL` {
		t.Errorf("jwks-url is %s", got)
	}
}

// A variable that is misspelt is told of, one that is made up by others is not.
func TestConfigVariables(t *testing.T) {
	t.Setenv("DUPLEX_MAX_LINE", "1")
	t.Setenv("DUPLEX_SERVICE_PORT_HTTP", "8080")
	r, _ := startServe(t)
	r.stderr.waitFor(t, "variable=DUPLEX_MAX_LINE nearest=DUPLEX_MAX_LINES")
	if strings.Contains(r.stderr.String(), "SERVICE") {
		t.Errorf("stderr %q", r.stderr)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"max-lines", "max-depth", "listen", "tls-key"}
	for wrong, want := range map[string]string{"max-line": "max-lines", "MAX_LINES": "max-lines", "lisetn": "listen", "tlskey": "tls-key", "colour": "", "": "", "x": ""} {
		if got := nearest(wrong, names); got != want {
			t.Errorf("%q: %q, want %q", wrong, got, want)
		}
	}
}
