//go:build unix

package main

import (
	"os"
	"os/exec"
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
	shell := newDocShell(t)
	url, said, answers := "", "", 0
	for _, block := range docBlocks(t, "tokens.md") {
		switch kind, body := block.kind, block.body; kind {
		case "sh server":
			url = shell.serve(body)
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
