//go:build unix

package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What these documents tell people to type, in each language, does what they say.
func TestDocuments(t *testing.T) {
	for document, least := range map[string]int{"http.md": 6, "getting-started.md": 5, "cookbook.md": 1} {
		t.Run(document, func(t *testing.T) {
			shell := newDocShell(t)
			url, said, answers := "", "", 0
			for _, block := range docBlocks(t, document) {
				switch kind, body := block.kind, strings.ReplaceAll(block.body, "http://127.0.0.1:8080", url); kind {
				case "sh build":
					shell.build(body)
				case "sh server":
					url = shell.serve(body)
				case "sh":
					said = shell.output("bash", "-e", "-c", body)
				case "sh forever":
					said = shell.firstLine(body)
				case "python":
					said = shell.output("python3", "-c", body)
				case "js":
					said = shell.output("node", "--input-type=module", "-e", body)
				case "go":
					said = shell.goRun(body)
				case "text":
					answers++
					if !documented(body).MatchString(said) {
						t.Errorf("it says\n%s\nand not, as documented,\n%s", said, body)
					}
				}
			}
			if answers < least {
				t.Errorf("only %d answers were compared", answers)
			}
		})
	}
}

// Every server that a document starts has settings that there are.
func TestServersInDocuments(t *testing.T) {
	settings := filepath.Join(t.TempDir(), "duplex.yaml")
	if err := os.WriteFile(settings, []byte("max-lines: 5000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	documents, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, document := range documents {
		for _, block := range docBlocks(t, filepath.Base(document)) {
			for _, line := range regexp.MustCompile(`(?m)^(?:sudo )?duplex (serve .*)`).FindAllStringSubmatch(block.body, -1) {
				line, _, _ := strings.Cut(line[1], "|")
				args := strings.Fields(strings.ReplaceAll(line, "/etc/duplex/duplex.yaml", settings))
				if got := duplex(t, nil, append(args, "--print-config")...); got.code != exitOK {
					t.Errorf("%s: %q: %+v", document, line, got)
				}
				count++
			}
		}
	}
	if count < 5 {
		t.Errorf("only %d were found", count)
	}
}

// A docBlock is a fenced block of a document.
type docBlock struct{ kind, body string }

func docBlocks(t *testing.T, document string) (blocks []docBlock) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs", document))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?ms)^```([a-z ]+)\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, docBlock{block[1], block[2]})
	}
	return blocks
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
	if _, err := exec.LookPath(name); err != nil && os.Getenv("CI") == "" {
		s.Skipf("there is no %s", name)
	}
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

// serve runs all but the last line of a script, and with the arguments of that a
// server, whose URL it returns.
func (s docShell) serve(script string) (url string) {
	s.Helper()
	lines := strings.SplitAfter(strings.TrimSuffix(script, "\n"), "\n")
	s.run("", strings.Join(lines[:len(lines)-1], ""))
	args := strings.Fields(lines[len(lines)-1])[2:]
	for i, arg := range args {
		if strings.HasSuffix(arg, ".key") {
			args[i] = filepath.Join(s.dir, arg)
		}
	}
	_, url = startServe(s.T, args...)
	return url
}

// build runs a script that builds the command in the repository and installs it: here,
// into a folder.
func (s docShell) build(script string) {
	s.Helper()
	made := s.TempDir()
	script = strings.NewReplacer("-o duplex", "-o "+made+"/duplex", "sudo install duplex /usr/local/bin/", "install "+made+"/duplex "+made+"/installed").Replace(script)
	build := exec.CommandContext(s.Context(), "bash", "-e", "-c", script)
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		s.Fatalf("%s: %v\n%s", script, err, out)
	}
	if said := s.output(made+"/installed", "--version"); !strings.HasPrefix(said, "duplex ") {
		s.Errorf("what was installed says %q", said)
	}
}

// firstLine runs a script that does not end until it has said one line.
func (s docShell) firstLine(script string) string {
	s.Helper()
	cmd := exec.CommandContext(s.Context(), "bash", "-c", "exec "+script)
	cmd.Dir, cmd.Env = s.dir, s.env
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		s.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		s.Fatalf("%s: %v", script, err)
	}
	return line
}

// goRun runs a program of the standard library, and returns its output.
func (s docShell) goRun(program string) string {
	s.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "main.go"), []byte(program), 0o600); err != nil {
		s.Fatal(err)
	}
	return s.output("go", "run", "main.go")
}
