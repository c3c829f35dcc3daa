// Package peers tests Duplex against WebSocket implementations that others have
// written. Those that are not installed are skipped, but not where the variable
// CI is set: there a test that did not run would look like one that passed.
package peers

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for another process. It is only ever used up
// by a test that fails.
const patience = 30 * time.Second

// missing skips the test because a peer is not there.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed, and CI must have it", what)
	}
	t.Skipf("%s is not installed", what)
}
