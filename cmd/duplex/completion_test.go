package main

import (
	"os/exec"
	"strings"
	"testing"
)

func TestCompletion(t *testing.T) {
	for _, shell := range shells {
		got := duplex(t, nil, "completion", shell)
		if got.code != exitOK || got.stderr != "" || !strings.Contains(got.stdout, "__complete") {
			t.Errorf("%s: code %d, stderr %q, %d bytes", shell, got.code, got.stderr, len(got.stdout))
		}
		if path, err := exec.LookPath(shell); err == nil {
			cmd := exec.CommandContext(t.Context(), path, "-n")
			cmd.Stdin = strings.NewReader(got.stdout)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s does not understand it: %v, %s", shell, err, out)
			}
		}
	}
	for _, args := range [][]string{{"completion"}, {"completion", "tcsh"}, {"completion", "bash", "zsh"}} {
		if got := duplex(t, nil, args...); got.code != exitUsage || got.stdout != "" || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

// What the scripts ask for when a person presses the key.
func TestComplete(t *testing.T) {
	for _, test := range []struct {
		words []string
		want  string
	}{
		{[]string{"ser"}, "serve\t"},
		{[]string{"serve", "--max-m"}, "--max-message\t"},
		{[]string{"completion", "z"}, "zsh\n"},
	} {
		if got := duplex(t, nil, append([]string{"__complete"}, test.words...)...); !strings.HasPrefix(got.stdout, test.want) {
			t.Errorf("%q: %+v", test.words, got)
		}
	}
}
