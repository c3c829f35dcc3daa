// Package leak fails a package's tests when they leave goroutines behind. A
// goroutine that is left waits for something that will not come; in a server each
// connection would leave one.
package leak

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience is how long goroutines have to end after the last test. Those that are
// about to need microseconds; a loaded machine needs some more.
const patience = 5 * time.Second

// Main is a TestMain: it runs the tests, and then fails if they passed but left
// goroutines, whose stacks it prints.
//
//	func TestMain(m *testing.M) { leak.Main(m) }
func Main(m *testing.M) { os.Exit(run(m, patience, os.Stderr)) }

// run returns the exit code.
func run(m interface{ Run() int }, most time.Duration, w io.Writer) int {
	before := Running()
	if code := m.Run(); code != 0 {
		return code // a test that failed may well leave something
	}
	return report(w, Since(before, most))
}

// report prints what was left and returns the exit code.
func report(w io.Writer, left []Goroutine) int {
	if len(left) == 0 {
		return 0
	}
	fmt.Fprintf(w, "FAIL: %d goroutines left after all tests:\n", len(left))
	for _, g := range left {
		fmt.Fprintf(w, "\n%s\n", g.Stack)
	}
	return 1
}

// A Goroutine is one that runs or waits.
type Goroutine struct {
	ID    string // a number that is not used twice
	Stack string // as in a panic: ID and state, calls, and who made it
}

// Running returns all goroutines but the one that calls it and those of the
// runtime, which has its own.
func Running() []Goroutine {
	buf := make([]byte, 64<<10)
	n := runtime.Stack(buf, true)
	for n == len(buf) {
		buf = make([]byte, 2*len(buf))
		n = runtime.Stack(buf, true)
	}
	stacks := strings.Split(strings.TrimSpace(string(buf[:n])), "\n\n")
	var all []Goroutine
	for _, stack := range stacks[1:] { // the first is the caller's
		if g := parse(stack); !belongsToTesting(g.Stack) {
			all = append(all, g)
		}
	}
	return all
}

// parse reads "goroutine 7 [chan receive]:" and what follows it.
func parse(stack string) Goroutine {
	header, _, _ := strings.Cut(stack, " [")
	return Goroutine{ID: strings.TrimPrefix(header, "goroutine "), Stack: stack}
}

// belongsToTesting reports whether the goroutine is one that a test binary has
// for itself: those of os/signal are made when it fuzzes and never end.
func belongsToTesting(stack string) bool {
	return strings.Contains(stack, "created by os/signal.")
}

// Since waits until all goroutines that were not there before have ended, for at
// most that long, and returns those that have not.
func Since(before []Goroutine, most time.Duration) []Goroutine {
	known := make(map[string]bool)
	for _, g := range before {
		known[g.ID] = true
	}
	for end := time.Now().Add(most); ; {
		var left []Goroutine
		for _, g := range Running() {
			if !known[g.ID] {
				left = append(left, g)
			}
		}
		if len(left) == 0 || !time.Now().Before(end) {
			return left
		}
		// Yielding is not enough: some wait for a timer or the network.
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
}
