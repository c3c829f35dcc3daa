//go:build linux

package peers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A figures is what these tests look at of a result of duplex bench --json.
type figures struct {
	Stopped     string
	Connections struct{ Wanted, Opened, Lost int }
	Messages    struct {
		Sent, Received, Missing uint64
		PerSecond               float64 `json:"per_second"`
		BytesPerSecond          float64 `json:"bytes_per_second"`
	}
	Latency struct {
		Count                    uint64
		Mean, P50, P90, P99, Max float64
		P999                     float64 `json:"p99.9"`
	} `json:"latency_seconds"`
	Compression struct {
		Agreed string
		Share  float64 `json:"wire_share"`
	}
	Errors []struct {
		Kind    string
		Count   int
		Example string
	}
	Server struct {
		Gone    string
		CPU     float64 `json:"cpu_seconds"`
		PerConn float64 `json:"resident_bytes_per_connection"`
	}
}

// buildDuplex builds the command and returns its file.
func buildDuplex(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "duplex")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", file, "../cmd/duplex").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

// A target is a running server to put load on.
type target struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
	url   string
}

// targets are the servers that others have written.
var targets = map[string]func(t *testing.T, mode ...string) *target{
	"Python's websockets": func(t *testing.T, mode ...string) *target {
		return startTarget(t, pythonScript(context.Background(), t, "echo.py", mode...))
	},
	"ws for Node.js": func(t *testing.T, mode ...string) *target {
		return startTarget(t, nodeJS(context.Background(), t, "ws", "echo.js", mode...))
	},
}

// startTarget runs a server; it is killed at the end of the test.
func startTarget(t *testing.T, cmd *exec.Cmd) *target {
	t.Helper()
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("the server's stderr: %q", stderr)
		}
	})
	s := &target{t: t, cmd: cmd, lines: bufio.NewScanner(stdout)}
	s.url = fmt.Sprintf("ws://127.0.0.1:%d/", s.next().Port)
	return s
}

// next returns the next line of the server.
func (s *target) next() (line struct {
	Port int
	Busy bool
}) {
	s.t.Helper()
	if !s.lines.Scan() {
		s.t.Fatalf("the server has ended: %v", s.lines.Err())
	}
	if err := json.Unmarshal(s.lines.Bytes(), &line); err != nil {
		s.t.Fatalf("the server said %q: %v", s.lines.Text(), err)
	}
	return line
}

// bench puts load on the server. while, if it is not nil, is called once that is
// under way.
func (s *target) bench(command string, while func(), args ...string) (f figures, stderr string, code int) {
	t := s.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, command, append([]string{"bench", s.url, "--json", "--warmup", "100ms", "--pid", strconv.Itoa(s.cmd.Process.Pid)}, args...)...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if while != nil {
		while()
	}
	err := cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || !exit.Exited()) {
		t.Fatalf("duplex bench %q: %v, stderr %q", args, err, &problems)
	}
	if err := json.Unmarshal(out.Bytes(), &f); err != nil {
		t.Fatalf("duplex bench %q said %q: %v; stderr %q", args, &out, err, &problems)
	}
	return f, problems.String(), cmd.ProcessState.ExitCode()
}

// benchTests are run with each target; a server is started in the given mode.
var benchTests = []struct {
	name, mode string
	test       func(t *testing.T, s *target, command string)
}{
	{"echo", "echo", benchEcho},
	{"room", "room", benchRoom},
	{"idle", "echo", benchIdle},
	{"killed", "echo", func(t *testing.T, s *target, command string) {
		benchDeath(t, s, command, syscall.SIGKILL, []string{"ended", "reset"}, "messages had come", "the process has ended")
	}},
	{"stopped", "echo", func(t *testing.T, s *target, command string) {
		benchDeath(t, s, command, syscall.SIGSTOP, []string{"no answer in time"}, "nothing has come for 1s", "")
	}},
}

func TestBench(t *testing.T) {
	command := buildDuplex(t)
	for name, start := range targets {
		for _, b := range benchTests {
			t.Run(name+", "+b.name, func(t *testing.T) { b.test(t, start(t, b.mode), command) })
		}
	}
}

// well checks what holds of every run in which nothing goes wrong.
func (f *figures) well(t *testing.T, code int, stderr string, conns int) {
	t.Helper()
	if c := f.Connections; code != 0 || stderr != "" || f.Stopped != "" || len(f.Errors) > 0 || c.Wanted != conns || c.Opened != conns || c.Lost != 0 || f.Messages.Missing != 0 {
		t.Errorf("exit code %d, stderr %q: %+v", code, stderr, f)
	}
	l := f.Latency
	if l.Count != f.Messages.Sent || l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.P999 || l.P999 > l.Max || l.Max < l.Mean || l.Max > patience.Seconds() {
		t.Errorf("%d messages sent, latency %+v", f.Messages.Sent, l)
	}
}

func benchEcho(t *testing.T, s *target, command string) {
	f, stderr, code := s.bench(command, nil, "-c", "20", "--in-flight", "4", "--size", "1KiB", "--duration", "1s", "--max-errors", "0")
	f.well(t, code, stderr, 20)
	m := f.Messages
	if size := m.BytesPerSecond / m.PerSecond; size != 1024 {
		t.Errorf("a message has %v bytes", size)
	}
	// What is on its way is the rate times the latency (Little's law), but for messages
	// that were under way when the measurement began or ended: on a busy machine, for
	// a part of it.
	if inFlight := m.PerSecond * f.Latency.Mean; inFlight < 20 || inFlight > 160 {
		t.Errorf("%.0f messages a second and %v s are %.1f messages on their way, and 80 were", m.PerSecond, f.Latency.Mean, inFlight)
	}
	if f.Server.CPU <= 0 || f.Server.CPU > 10 || f.Server.Gone != "" {
		t.Errorf("the server: %+v", f.Server)
	}

	f, stderr, code = s.bench(command, nil, "-c", "7", "--rate", "400", "--binary", "--duration", "500ms")
	f.well(t, code, stderr, 7)
	if n := f.Messages.Sent; n < 199 || n > 201 {
		t.Errorf("%d messages in half a second at 400 a second", n)
	}
}

func benchRoom(t *testing.T, s *target, command string) {
	f, stderr, code := s.bench(command, nil, "--mode", "broadcast", "-c", "10", "--in-flight", "2", "--duration", "300ms")
	f.well(t, code, stderr, 11)
	if m := f.Messages; m.Received == 0 || m.Sent == 0 || m.Sent%10 != 0 {
		t.Errorf("%d deliveries of %d to 10 connections", m.Received, m.Sent)
	}
}

func benchIdle(t *testing.T, s *target, command string) {
	f, stderr, code := s.bench(command, nil, "--mode", "idle", "-c", "300", "--duration", "100ms")
	f.well(t, code, stderr, 300)
	if each := f.Server.PerConn; each < 500 || each > 1<<20 {
		t.Errorf("a connection costs the server %v bytes", each)
	}
}

// A server that is killed, and one that does nothing any more, end the run, which
// says so, and what was measured before is there.
func benchDeath(t *testing.T, s *target, command string, signal os.Signal, kinds []string, says, gone string) {
	f, stderr, code := s.bench(command, func() {
		if line := s.next(); !line.Busy {
			t.Errorf("the server said %+v", line)
		}
		s.cmd.Process.Signal(signal)
	}, "-c", "20", "--duration", (2 * patience).String(), "--warmup", "0s", "--timeout", "1s", "--max-errors", "5")
	if code != 1 || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	for _, want := range []string{"the run ended early, after ", "all connections were lost; most often: connection ", says, "missed: 20 connections failed, and --max-errors is 5"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr is %q, and does not say %q", stderr, want)
		}
	}
	failed := 0
	for _, e := range f.Errors {
		failed += e.Count
		if !slices.Contains(kinds, e.Kind) || !strings.Contains(e.Example, says) {
			t.Errorf("an error is %+v, want one of %q that says %q", e, kinds, says)
		}
	}
	if failed != 20 || f.Connections.Lost != 20 || f.Stopped == "" || f.Server.Gone != gone {
		t.Errorf("%d failed: %+v", failed, f)
	}
	if f.Messages.Received < 900 || f.Messages.Missing != 20 || f.Latency.P50 <= 0 {
		t.Errorf("before its end: %+v, latency %+v", f.Messages, f.Latency)
	}
}

// A server with zlib takes every window and both takeovers, and refuses what refers
// farther back than was agreed on.
func TestBenchCompressed(t *testing.T) {
	command := buildDuplex(t)
	lines := filepath.Join(t.TempDir(), "lines")
	var text bytes.Buffer
	for i := range 60 {
		fmt.Fprintf(&text, "{\"number\":%d,\"text\":%q}\n", i, strings.Repeat(fmt.Sprintf("some text of %d, ", i*7919), i))
	}
	if err := os.WriteFile(lines, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, start := range targets {
		t.Run(name, func(t *testing.T) {
			s := start(t, "deflate", "{}")
			for bits := 9; bits <= 15; bits++ { // zlib does not compress with 8
				for _, forget := range []string{"--no-takeover=false", "--no-takeover"} {
					f, stderr, code := s.bench(command, nil, "--compress", "--window-bits", strconv.Itoa(bits), forget, "--file", lines, "-c", "3", "--in-flight", "4", "--duration", "150ms", "--max-errors", "0")
					f.well(t, code, stderr, 3)
					if c := f.Compression; !strings.Contains(c.Agreed, fmt.Sprintf("server_max_window_bits=%d", bits)) && bits < 15 || strings.Contains(c.Agreed, "server_no_context_takeover") != (forget == "--no-takeover") || c.Share < 0.01 || c.Share > 0.5 {
						t.Errorf("%d bits, %s: %+v", bits, forget, c)
					}
				}
			}
			f, stderr, code := s.bench(command, nil, "--compress", "--size", "70KiB", "--binary", "-c", "2", "--duration", "150ms", "--max-errors", "0")
			f.well(t, code, stderr, 2)
		})
	}
}
