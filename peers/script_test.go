package peers

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// nodeJS returns the command that runs a script in testdata which needs a module, of
// Debian's package node-MODULE or of a folder in NODE_PATH. It is killed when ctx ends.
func nodeJS(ctx context.Context, t *testing.T, module, script string, args ...string) *exec.Cmd {
	t.Helper()
	// Debian's packages lie where only Debian's own node looks.
	path := append(filepath.SplitList(os.Getenv("NODE_PATH")), "/usr/share/nodejs")
	env := append(os.Environ(), "NODE_PATH="+strings.Join(path, string(filepath.ListSeparator)))
	look := exec.CommandContext(ctx, "node", "-e", "require.resolve(process.argv[1])", module)
	look.Env = env
	if look.Run() != nil {
		missing(t, module+" for Node.js (Debian: nodejs and node-"+module+")")
	}
	cmd := exec.CommandContext(ctx, "node", append([]string{filepath.Join("testdata", script)}, args...)...)
	cmd.Env = env
	return cmd
}

// interpreter is the one that the distribution's packages are installed for.
const interpreter = "/usr/bin/python3"

// pythonScript returns the command that runs a script in testdata which needs Python's
// websockets. It is killed when ctx ends.
func pythonScript(ctx context.Context, t *testing.T, script string, args ...string) *exec.Cmd {
	t.Helper()
	if exec.CommandContext(ctx, interpreter, "-c", "import websockets").Run() != nil {
		missing(t, "Python's websockets (Debian: python3-websockets)")
	}
	return exec.CommandContext(ctx, interpreter, append([]string{filepath.Join("testdata", script)}, args...)...)
}
