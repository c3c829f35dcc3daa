//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What docs/tokens.md tells people to type does what it says.
func TestTokensDocument(t *testing.T) {
	for _, tool := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil && os.Getenv("CI") == "" {
			t.Skipf("there is no %s", tool)
		}
	}
	text, err := os.ReadFile("../../docs/tokens.md")
	if err != nil {
		t.Fatal(err)
	}
	shell := newDocShell(t)
	blocks := regexp.MustCompile("(?ms)^```([a-z ]+)\n(.*?)^```").FindAllStringSubmatch(string(text), -1)
	url, said, answers := "", "", 0
	for _, block := range blocks {
		switch kind, body := block[1], block[2]; kind {
		case "sh server":
			lines := strings.SplitAfter(strings.TrimSuffix(body, "\n"), "\n")
			shell.run("", strings.Join(lines[:len(lines)-1], ""))
			args := strings.Fields(lines[len(lines)-1])[2:]
			for i, arg := range args {
				if strings.HasSuffix(arg, ".key") {
					args[i] = filepath.Join(shell.dir, arg)
				}
			}
			_, url = startServe(t, args...)
		case "sh":
			said = shell.run(url, body)
		case "text":
			answers++
			if !documented(body).MatchString(said) {
				t.Errorf("it says\n%s\nand not, as documented,\n%s", said, body)
			}
		case "js":
			shell.backend(url, body)
		case "js page":
			shell.page(url, body)
		}
	}
	if answers < 3 {
		t.Errorf("only %d answers were compared", answers)
	}
}

// documented makes an expression of an answer in which P1 is any position and T any
// time.
func documented(answer string) *regexp.Regexp {
	e := regexp.QuoteMeta(answer)
	e = regexp.MustCompile(`P\d`).ReplaceAllString(e, `[0-9a-z.]+`)
	return regexp.MustCompile(`^` + strings.ReplaceAll(e, `"T"`, `"[-0-9T:.]+Z"`) + `$`)
}

// A docShell runs what stands in documents, in a folder of its own, with this
// program as the command duplex.
type docShell struct {
	*testing.T
	dir string
	env []string
}

func newDocShell(t *testing.T) docShell {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, bin := t.TempDir(), t.TempDir()
	shim := "#!/bin/sh\n" + asCommand + "=1 exec '" + self + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "duplex"), []byte(shim), 0o700); err != nil {
		t.Fatal(err)
	}
	return docShell{t, dir, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))}
}

// run runs a script, with the server's URL for the one in the documents, and returns
// its output.
func (s docShell) run(url, script string) string {
	s.Helper()
	return s.output("bash", "-e", "-c", strings.ReplaceAll(script, "http://127.0.0.1:8080", url))
}

func (s docShell) output(name string, args ...string) string {
	s.Helper()
	cmd := exec.CommandContext(s.Context(), name, args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.Fatalf("%s %q: %v, stderr %q", name, args, err, &stderr)
	}
	return string(out)
}

// webSockets is what Node 20 needs to have WebSockets. Later ones know the word.
const webSockets = "--experimental-websocket"

// node runs a program in Node, if there is one that has what is asked for.
func (s docShell) node(has, program string) (output string, ran bool) {
	s.Helper()
	if err := exec.CommandContext(s.Context(), "node", webSockets, "-e", "if (!("+has+")) process.exit(1)").Run(); err != nil && os.Getenv("CI") == "" {
		s.Logf("there is no node with %s", has)
		return "", false
	}
	return s.output("node", webSockets, "--input-type=module", "-e", program), true
}

// backend runs the program that makes a token, and checks what the token is good for:
// its user's channels, and the rooms of these names, * among them, and no others.
func (s docShell) backend(url, program string) {
	s.Helper()
	output, ran := s.node("true", program)
	if !ran {
		return
	}
	token := strings.TrimSpace(output)
	for channel, want := range map[string]int{"user:42": 200, "room:tea": 200, "room:*": 200, "room:coffee": 403, "user:43": 403} {
		h := holder{s.T, url, token}
		if resp := h.do("GET", "/channels/"+channel, ""); resp.StatusCode != want {
			s.Errorf("with the token from node, %s is answered %s, want %d", channel, resp.Status, want)
		}
	}
}

// page runs the program of a page, which must get the answers to its commands. Its
// backend is the file with the token that was made before.
func (s docShell) page(url, program string) {
	s.Helper()
	const before = `
		import { readFileSync } from "node:fs";
		globalThis.fetch = async () => ({ text: async () => readFileSync("42.token", "utf8").trim() });
	`
	const after = `
		line.addEventListener("message", ({ data }) => { if (data.includes('"id":2')) line.close(); });
	`
	program = strings.ReplaceAll(program, "ws://127.0.0.1:8080", "ws"+strings.TrimPrefix(url, "http"))
	output, ran := s.node("globalThis.WebSocket", before+program+after)
	if ran && (!strings.Contains(output, "user: '42'") || !strings.Contains(output, "id: 2, result: { position:") || strings.Contains(output, "error")) {
		s.Errorf("the page hears %s", output)
	}
}
