package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// asCommand is the variable that makes the test's program the command itself, for
// tests that need a process of their own.
const asCommand = "DUPLEX_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	if os.Getenv(asIssuer) != "" {
		issuer()
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must come. It is only ever used up
// by a test that fails.
const patience = time.Minute

// A result is what one run of the command has left behind.
type result struct {
	code           int
	stdout, stderr string
}

// duplex runs the command to its end.
func duplex(t *testing.T, stdin io.Reader, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, stdin, &stdout, &stderr)
	if ctx.Err() != nil {
		t.Fatalf("duplex %q did not end; stdout %q, stderr %q", args, &stdout, &stderr)
	}
	return result{code, stdout.String(), stderr.String()}
}

// A running is a run of the command that goes on.
type running struct {
	t      *testing.T
	stdin  *io.PipeWriter
	lines  chan string // of stdout
	cancel func()      // what the first signal does
	code   chan int
	stderr *lockedBuffer
}

// start runs the command in the background. It has ended when the test has.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	in, stdin := io.Pipe()
	out, stdout := io.Pipe()
	r := &running{t, stdin, make(chan string, 1000), cancel, make(chan int, 1), new(lockedBuffer)}
	go func() {
		code := run(ctx, args, in, stdout, r.stderr)
		stdout.Close()
		r.code <- code
		close(r.code)
	}()
	go func() {
		defer close(r.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			r.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		cancel()
		stdin.Close()
		<-r.code
	})
	return r
}

// line returns the next line of stdout.
func (r *running) line() string {
	r.t.Helper()
	select {
	case line, ok := <-r.lines:
		if !ok {
			r.t.Fatalf("the command ended; stderr %q", r.stderr)
		}
		return line
	case <-time.After(patience):
		r.t.Fatalf("no line came; stderr %q", r.stderr)
	}
	panic("unreachable")
}

// find returns the rest of the next line of stdout that holds the text, from
// where it begins.
func (r *running) find(text string) string {
	r.t.Helper()
	for {
		line := r.line()
		if i := strings.Index(line, text); i >= 0 {
			return line[i:]
		}
	}
}

// wait returns the exit code.
func (r *running) wait() int {
	r.t.Helper()
	select {
	case code := <-r.code:
		return code
	case <-time.After(patience):
		r.t.Fatalf("the command did not end; stderr %q", r.stderr)
	}
	panic("unreachable")
}

// A lockedBuffer is a bytes.Buffer for more than one goroutine.
type lockedBuffer struct {
	mu      sync.Mutex
	b       bytes.Buffer
	written chan struct{} // closed at the next write; nil while nobody waits
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.written != nil {
		close(b.written)
		b.written = nil
	}
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// waitFor returns when the buffer holds the text.
func (b *lockedBuffer) waitFor(t *testing.T, text string) {
	t.Helper()
	late := time.After(patience)
	for {
		b.mu.Lock()
		if strings.Contains(b.b.String(), text) {
			b.mu.Unlock()
			return
		}
		if b.written == nil {
			b.written = make(chan struct{})
		}
		written := b.written
		b.mu.Unlock()
		select {
		case <-written:
		case <-late:
			t.Fatalf("%q does not come, only %q", text, b)
		}
	}
}
