//go:build unix

package packaging

import (
	"bytes"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// noParts leaves out the tests that need software which few machines have.
const noParts = "DUPLEX_NO_PARTS"

// program finds a program, which is in a package of Debian.
func program(t *testing.T, name, debian string) string {
	t.Helper()
	if os.Getenv(noParts) != "" {
		t.Skipf("%s is set: %s is not looked for", noParts, name)
	}
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") != "":
		t.Fatalf("%s (Debian: %s) is not installed, and CI must have it", name, debian)
	}
	t.Skipf("%s (Debian: %s) is not installed", name, debian)
	return ""
}

// An output is what a program has said so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// patience is how long a test waits for another process. It is only ever used up by a
// test that fails.
const patience = 60 * time.Second

// eventually waits until something does not fail any more.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) { // it does not tell when
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
	}
}
