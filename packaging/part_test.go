//go:build unix

package packaging

import (
	"bytes"
	"os"
	"os/exec"
	"sync"
	"testing"
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
