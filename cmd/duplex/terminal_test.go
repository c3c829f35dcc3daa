package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// Each of these does something to some terminal, or to who reads it.
var attacks = []struct{ name, text, want string }{
	{"colour", "\x1b[31mred", `\x1b[31mred`},
	{"window title", "\x1b]0;root\x07", `\x1b]0;root\x07`},
	{"clipboard", "\x1b]52;c;cm0=\x1b\\", `\x1b]52;c;cm0=\x1b\`},
	{"answer that is typed in", "\x1bP$q\"p\x1b\\", `\x1bP$q"p\x1b\`},
	{"8-bit control sequence", "\u009b31m", `\u009b31m`},
	{"8-bit control sequence as a lone byte", "\x9b31m", `\x9b31m`},
	{"line overwritten", "rm -rf /\rls", `rm -rf /\rls`},
	{"character overwritten", "a\bb\x7f", `a\x08b\x7f`},
	{"second line", "one\ntwo\r\nthree\vfour\ffive", `one\ntwo\r\nthree\x0bfour\x0cfive`},
	{"second line in Unicode", "one\u2028two\u2029three\u0085four", `one\u2028two\u2029three\u0085four`},
	{"text turned around", "\u202egnp.exe \u2066x\u2069 \u200f", `\u202egnp.exe \u2066x\u2069 \u200f`},
	{"end of text", "\x00\x04\x1a", `\x00\x04\x1a`},
	{"tab", "a\tb", `a\tb`},
}

func TestVisible(t *testing.T) {
	for _, a := range attacks {
		if got := visible(a.text); got != a.want {
			t.Errorf("%s: %q, want %q", a.name, got, a.want)
		}
	}
	for _, plain := range []string{"", "hello", `{"a":"\n\\"}`, "grüße 世界 \U0001F469\u200d\U0001F4BB", "\ufffd"} {
		if got := visible(plain); got != plain {
			t.Errorf("%q became %q", plain, got)
		}
	}
}

// JSON is escaped in its own way: the value stays.
func TestVisibleJSON(t *testing.T) {
	for _, a := range attacks {
		raw, err := json.Marshal(a.text)
		if err != nil {
			t.Fatal(err)
		}
		got := visibleJSON(string(raw))
		if strings.ContainsFunc(got, unicode.IsControl) || strings.ContainsAny(got, "\u2028\u2029\u202e\u2066") {
			t.Errorf("%s: %q still does something", a.name, got)
		}
		var want, back string
		json.Unmarshal(raw, &want)
		if err := json.Unmarshal([]byte(got), &back); err != nil || back != want {
			t.Errorf("%s: %s is %q, error %v; want %q", a.name, got, back, err, want)
		}
	}
}

func FuzzVisible(f *testing.F) {
	for _, a := range attacks {
		f.Add(a.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := visible(text)
		if i := strings.IndexFunc(got, hidden); i >= 0 {
			t.Errorf("%q holds a character that must not be there at %d", got, i)
		}
		if visible(got) != got {
			t.Errorf("%q would be escaped again", got)
		}
	})
}

func TestNothingIsATerminalInAPipe(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for name, f := range map[string]any{"file": file, "pipe": w, "buffer": new(strings.Builder)} {
		if isTerminal(f) {
			t.Errorf("a %s is taken for a terminal", name)
		}
		if got := paint(f, bold, "x"); got != "x" {
			t.Errorf("to a %s goes %q", name, got)
		}
	}
}
