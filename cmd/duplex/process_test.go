//go:build unix

package main

import (
	"bufio"
	"os"
	"os/exec"
	"testing"
)

// program is the file of this test, which is the command where asCommand is set.
func program(t *testing.T) string {
	t.Helper()
	file, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// launch starts a program that is the command, as a process of its own, which is killed
// at the end of the test. environ is added to the environment.
func launch(t *testing.T, cmd *exec.Cmd, environ ...string) (stdout *bufio.Reader, stderr *lockedBuffer) {
	t.Helper()
	cmd.Env = append(append(os.Environ(), asCommand+"=1"), environ...)
	stderr = new(lockedBuffer)
	cmd.Stderr = stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return bufio.NewReader(pipe), stderr
}
