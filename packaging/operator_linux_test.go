package packaging

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// A block is a fenced one of a document. The words after its language say how it is to
// be typed: "look" again until it shows what is documented, "fails" with an error, in a
// "second" terminal, and so on.
type block struct {
	kind []string
	body string
}

func (b block) is(word string) bool { return slices.Contains(b.kind, word) }

func blocks(t *testing.T, document string) (found []block) {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range regexp.MustCompile("(?ms)^```([a-z ]+)\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		found = append(found, block{strings.Fields(b[1]), strings.ReplaceAll(b[2], "linux-amd64", "linux-"+runtime.GOARCH)})
	}
	return found
}

// documented makes an expression of an answer, in which P1 is any position and T any
// time.
func documented(answer string) *regexp.Regexp {
	e := regexp.QuoteMeta(answer)
	e = regexp.MustCompile(`P\d`).ReplaceAllString(e, `[0-9a-z.]+`)
	return regexp.MustCompile(`^` + regexp.MustCompile(`\bT\b`).ReplaceAllString(e, `[-0-9T:.]+Z?`) + `$`)
}

// An operator types at a terminal of a machine: in one shell, whose folder and
// variables stay.
type operator struct {
	*machine
	stdin  io.Writer
	stdout *bufio.Reader
	last   block  // what was typed
	said   string // the answer to it
}

// typed is where the shell finds what is typed, and end is what ends its answer.
const (
	typed = "/run/typed"
	end   = "\x1e"
)

func newOperator(m *machine) *operator {
	m.t.Helper()
	o := &operator{machine: m}
	shell := m.command(m.t.Context(), "bash", "-o", "pipefail")
	read, write := io.Pipe()
	shell.Stdout, shell.Stderr = write, write
	stdin, err := shell.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() { write.CloseWithError(shell.Wait()) }()
	m.t.Cleanup(func() { stdin.Close() })
	o.stdin, o.stdout = stdin, bufio.NewReader(read)
	fmt.Fprintf(o.stdin, "cd; trap 'echo %sit fails: $BASH_COMMAND' ERR\n", end)
	return o
}

// typeIn has the shell run a script, and returns what it says, and the first command
// that fails.
func (o *operator) typeIn(script string) (said string, failed error) {
	o.t.Helper()
	o.write(typed, script, 0o600)
	fmt.Fprintf(o.stdin, ". %s < /dev/null; echo %s\n", typed, end)
	late := time.AfterFunc(patience, func() { o.init.Process.Kill() })
	defer late.Stop()
	for {
		line, err := o.stdout.ReadString('\n')
		if err != nil {
			o.t.Fatalf("the shell ends: %v; typed was\n%s", err, script)
		}
		text, mark, marked := strings.Cut(line, end)
		said += text
		switch mark = strings.TrimSuffix(mark, "\n"); {
		case !marked:
		case mark == "":
			return said, failed
		case failed == nil:
			failed = errors.New(mark)
		}
	}
}

// do types a block, and holds it to what its kind says of failing.
func (o *operator) do(b block) {
	o.t.Helper()
	said, failed := o.typeIn(b.body)
	if (failed != nil) != b.is("fails") && !b.is("look") {
		o.t.Fatalf("%v; typed was\n%sanswered\n%s", failed, b.body, said)
	}
	o.last, o.said = b, said
}

// compare holds the last answer to what is documented.
func (o *operator) compare(want block) {
	o.t.Helper()
	right := func() error {
		if !documented(want.body).MatchString(o.said) {
			return fmt.Errorf("typed was\n%sanswered\n%sand not, as documented,\n%s", o.last.body, o.said, want.body)
		}
		return nil
	}
	if o.last.is("look") {
		o.eventually("it is as documented", func() error {
			if right() != nil {
				o.do(o.last)
			}
			return right()
		})
	} else if err := right(); err != nil {
		o.t.Fatal(err)
	}
}

// A terminal runs a program that goes on.
type terminal struct {
	m    *machine
	said output
	seen int
}

func newTerminal(m *machine, script string) *terminal {
	m.t.Helper()
	term := &terminal{m: m}
	cmd := m.command(m.t.Context(), "bash", "-c", script)
	cmd.Stdout, cmd.Stderr = &term.said, &term.said
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	go cmd.Wait()
	return term
}

// shows waits until the terminal shows some lines that it has not shown before. Others
// may come before them, such as what a client says of its connection, but no message.
func (term *terminal) shows(lines string) {
	term.m.t.Helper()
	e := regexp.MustCompile("(?m)" + strings.TrimSuffix(documented(lines).String(), "$"))
	term.m.eventually("another terminal shows\n"+lines, func() error {
		said := term.said.String()[term.seen:]
		at := e.FindStringIndex(said)
		if at == nil {
			return fmt.Errorf("it shows %q", said)
		}
		if before := said[:at[0]]; regexp.MustCompile(`(?m)^\{`).MatchString(before) {
			term.m.t.Errorf("another terminal shows, before what is documented,\n%s", before)
		}
		term.seen += at[1]
		return nil
	})
}
