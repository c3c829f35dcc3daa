package leak

import (
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

// leaky waits in a function whose name can be looked for.
func leaky(begun chan<- struct{}, end <-chan struct{}) {
	begun <- struct{}{}
	<-end
}

// leak starts a goroutine that lasts until end is closed.
func leak(end <-chan struct{}) {
	begun := make(chan struct{})
	go leaky(begun, end)
	<-begun
}

func TestSinceFindsWhatIsLeft(t *testing.T) {
	before := Running()
	end := make(chan struct{})
	leak(end)
	left := Since(before, 0)
	if len(left) != 1 || !strings.Contains(left[0].Stack, "leak.leaky(") || !strings.Contains(left[0].Stack, "created by") {
		t.Errorf("left: %+v; want the goroutine of leaky", left)
	}
	close(end)
	if left := Since(before, patience); len(left) != 0 {
		t.Errorf("left after its end: %+v", left)
	}
}

// One that takes its time to end is none that is left.
func TestSinceIsPatient(t *testing.T) {
	before := Running()
	end := make(chan struct{})
	leak(end)
	time.AfterFunc(20*time.Millisecond, func() { close(end) })
	if left := Since(before, patience); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

func TestSinceForgivesWhatWasThere(t *testing.T) {
	end := make(chan struct{})
	leak(end)
	before := Running()
	if len(before) == 0 {
		t.Fatal("Running does not see the goroutine")
	}
	if left := Since(before, 0); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
	close(end)
}

// tests stands for a testing.M.
type tests func() int

func (f tests) Run() int { return f() }

func TestRun(t *testing.T) {
	end := make(chan struct{})
	defer close(end)
	for _, row := range []struct {
		name  string
		tests tests
		code  int
		says  string
	}{
		{"passed, nothing left", func() int { return 0 }, 0, ""},
		{"passed, one left", func() int { leak(end); return 0 }, 1, "leak.leaky("},
		{"failed, nothing left", func() int { return 2 }, 2, ""},
		{"failed, one left", func() int { leak(end); return 2 }, 2, ""},
	} {
		var said strings.Builder
		code := run(row.tests, 0, &said)
		if code != row.code || !strings.Contains(said.String(), row.says) || row.says == "" && said.Len() > 0 {
			t.Errorf("%s: %d, %q; want %d, %q", row.name, code, said.String(), row.code, row.says)
		}
	}
}

// More stacks than fit into the first buffer.
func TestRunningOfMany(t *testing.T) {
	before := Running()
	end := make(chan struct{})
	for range 2000 {
		leak(end)
	}
	if left := Since(before, 0); len(left) != 2000 {
		t.Errorf("%d of 2000 found", len(left))
	}
	close(end)
	if left := Since(before, patience); len(left) != 0 {
		t.Errorf("%d left after their end", len(left))
	}
}
