//go:build unix

package main

import (
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/duplexgo/duplex/websocket"
)

// process runs an echo server as a process of its own and returns its URL.
func process(t *testing.T) (*exec.Cmd, string, *lockedBuffer) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t), "echo", "--listen", "127.0.0.1:0")
	stdout, stderr := launch(t, cmd)
	line, err := stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("it says %q, %v; stderr %q", line, err, stderr)
	}
	_, url, _ := strings.Cut(strings.TrimSpace(line), "Echo on ")
	return cmd, url, stderr
}

func TestSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		cmd, url, stderr := process(t)
		c := dial(t, url, nil)
		// The answer to a message shows that the server's handshake is over, too.
		if err := c.Write(t.Context(), websocket.Text, nil); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		cmd.Process.Signal(sig)
		_, _, err := c.Read(t.Context())
		wantCode(t, err, websocket.CloseGoingAway)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: it ends with %v, stderr %q", sig, err, stderr)
		}
	}
}

// A client that does not answer the close frame holds up the orderly end. A second
// signal does not wait for it.
func TestSecondSignal(t *testing.T) {
	cmd, url, stderr := process(t)
	conn, br := upgrade(t, url)
	io.WriteString(conn, "\x81\x80\x00\x00\x00\x00") // an empty message, answered when the handshake is over
	if _, err := io.ReadFull(br, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	stderr.waitFor(t, "shutting down")
	if n, err := io.ReadFull(br, make([]byte, 2)); err != nil {
		t.Fatalf("%d bytes of a close frame, %v", n, err)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v, not by the signal; stderr %q", cmd.ProcessState, stderr)
	}
}
