//go:build unix

package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// At the signal the keys are read at once, and what is wrong with them is said.
func TestReload(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(keys, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(testAPIKey)
	cmd := exec.CommandContext(t.Context(), program(t), "serve", "--listen", "127.0.0.1:0", "--api-key-file", keys)
	out, stderr := launch(t, cmd)
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatalf("%v, stderr %q", err, stderr)
	}
	for range 2 { // the rest of what it says: then it serves
		out.ReadString('\n')
	}
	url := strings.TrimSuffix(strings.TrimSpace(line[strings.Index(line, "http://"):]), "/console")
	status := func(key string) int { return (holder{t, url, key}).do("GET", "/channels", "").StatusCode }
	if got := status(testAPIKey); got != http.StatusOK {
		t.Fatalf("with the first key: %d", got)
	}
	other := strings.Repeat("another-key-", 4)
	write(other)
	cmd.Process.Signal(syscall.SIGHUP)
	stderr.waitFor(t, "have been read again")
	if old, now := status(testAPIKey), status(other); old != http.StatusUnauthorized || now != http.StatusOK {
		t.Errorf("with the old key %d, with the new one %d", old, now)
	}
	write("short")
	cmd.Process.Signal(syscall.SIGHUP)
	stderr.waitFor(t, "those read before go on to count")
	if got := status(other); got != http.StatusOK {
		t.Errorf("with the key from before a file that is wrong: %d", got)
	}
}
