package token

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAPIKeys(t *testing.T) {
	const one, two = "0123456789abcdef", "fedcba9876543210/+=~"
	keys, err := ParseAPIKeys([]byte("\uFEFF# of the backend\r\n" + one + "\r\n\n  " + two + " \n#" + one + "X\n"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{
		one: true, two: true,
		"": false, one[:15]: false, one + "0": false, " " + one: false, strings.ToUpper(one): false,
		one + "\n" + two: false, one + "X": false, "# of the backend": false, strings.Repeat(one, 100): false,
	} {
		if got := keys.Has(key); got != want {
			t.Errorf("%.40q is one: %v", key, got)
		}
	}
	var none *APIKeys
	if none.Has("") || none.Has(one) || new(APIKeys).Has("") || none.Reload() != nil {
		t.Error("no keys have one")
	}
	longest := strings.Repeat("a", maxAPIKey)
	if keys, err := ParseAPIKeys([]byte(longest)); err != nil || !keys.Has(longest) {
		t.Errorf("the longest key: %v", err)
	}
	for _, test := range []struct{ text, want string }{
		{"", "no API key"},
		{"# nothing\n\n", "no API key"},
		{one + "\nshort", "line 2: an API key has 16 to 512 characters, this one has 5"},
		{longest + "a", "line 1: an API key has 16 to 512 characters, this one has 513"},
		{one + " " + two, "line 1: an API key is of visible ASCII"},
		{one + "é", "line 1: an API key is of visible ASCII"},
		{one + "\x7f", "line 1: an API key is of visible ASCII"},
		{strings.Repeat(one+"\n", maxAPIKeys+1), "101 API keys, more than 100"},
	} {
		if _, err := ParseAPIKeys([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.40q: %v, want %s", test.text, err, test.want)
		}
	}
}

// A key is replaced while the server runs: both count for a while, then one.
func TestAPIKeyFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const one, two = "the first API key", "the second API key"
		before, after := strings.ReplaceAll(one, " ", "-"), strings.ReplaceAll(two, " ", "-")
		path := filepath.Join(t.TempDir(), "keys")
		write(t, path, before)
		keys, err := OpenAPIKeys(path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			text   string
			before bool
			after  bool
		}{{before, true, false}, {before + "\n" + after, true, true}, {after, false, true}} {
			write(t, path, step.text)
			time.Sleep(fileInterval)
			if keys.Has(before) != step.before || keys.Has(after) != step.after {
				t.Errorf("with %q in the file, the first counts: %v, the second: %v", step.text, keys.Has(before), keys.Has(after))
			}
		}
		write(t, path, before)
		if err := keys.Reload(); err != nil || !keys.Has(before) || keys.Has(after) {
			t.Errorf("after Reload: %v", err)
		}
	})
}
