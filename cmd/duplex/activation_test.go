//go:build unix

package main

import (
	"bufio"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// activate starts serve as a service manager does, with sockets from descriptor 3 on,
// and returns its output.
func activate(t *testing.T, sockets []*os.File, count string, environ []string, args ...string) (*exec.Cmd, *bufio.Reader, *lockedBuffer) {
	t.Helper()
	// Only the process itself knows its id.
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" serve "$@"`, program(t)}, args...)...)
	cmd.ExtraFiles = sockets
	stdout, stderr := launch(t, cmd, append([]string{envListenFDs + "=" + count}, environ...)...)
	return cmd, stdout, stderr
}

// passed returns a socket to pass, and its address.
func passed(t *testing.T, network, addr string) (*os.File, string) {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	file, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file, ln.Addr().String()
}

// The service manager's socket is served, and it is told of the beginning and the end.
func TestSocketActivation(t *testing.T) {
	heard, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer heard.Close()
	state := func() string {
		text := make([]byte, 100)
		n, err := heard.Read(text)
		if err != nil {
			t.Error(err)
		}
		return string(text[:n])
	}
	socket, addr := passed(t, "tcp", "127.0.0.1:0")
	cmd, out, stderr := activate(t, []*os.File{socket}, "1", []string{envNotifySocket + "=" + heard.LocalAddr().String()})
	if line, err := out.ReadString('\n'); err != nil || !strings.Contains(line, "http://"+addr+"/console") {
		t.Fatalf("it says %q, %v; stderr %q", line, err, stderr)
	}
	if got := state(); got != "READY=1" {
		t.Errorf("the manager hears %q", got)
	}
	resp, err := http.Get("http://" + addr + "/healthz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	cmd.Process.Signal(syscall.SIGTERM)
	if got := state(); got != "STOPPING=1" {
		t.Errorf("the manager hears %q", got)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends with %v; stderr %q", err, stderr)
	}
}

// What cannot be served is said, and nothing else is served instead.
func TestSocketActivationRefused(t *testing.T) {
	one, _ := passed(t, "tcp", "127.0.0.1:0")
	two, _ := passed(t, "tcp", "127.0.0.1:0")
	public, _ := passed(t, "tcp", "0.0.0.0:0")
	local, _ := passed(t, "unix", filepath.Join(t.TempDir(), "socket"))
	for _, test := range []struct {
		sockets []*os.File
		count   string
		names   string
		args    []string
		want    string
	}{
		{[]*os.File{one, two}, "2", "", nil, "passes 2 sockets, more than one of them for --listen"},
		{[]*os.File{one, two}, "2", "duplex.socket:duplex.socket", nil, "more than one of them for --listen"},
		{[]*os.File{one, two}, "2", "redirect-from:redirect-from", nil, "more than one of them for --redirect-from"},
		{[]*os.File{one, two}, "2", "duplex.socket:redirect-from", nil, "which this server does not speak"},
		{[]*os.File{one, two}, "2", "duplex.socket:redirect-from", []string{"--tls-self-signed", "--redirect-from", "127.0.0.1:0"}, "leave the setting away"},
		{[]*os.File{local}, "1", "", nil, "not one of TCP"},
		{[]*os.File{one, local}, "2", "duplex.socket:redirect-from", nil, "the socket for --redirect-from that the service manager passes is not one of TCP"},
		{nil, "1", "", nil, "cannot be used"},
		{nil, "many", "", nil, "is no number"},
		{[]*os.File{one}, "1", "", []string{"--listen", "127.0.0.1:0"}, "leave the setting away"},
		{[]*os.File{public}, "1", "", nil, "of the service manager would let everybody"},
	} {
		cmd, out, stderr := activate(t, test.sockets, test.count, []string{envListenNames + "=" + test.names}, test.args...)
		line, _ := out.ReadString('\n')
		if err := cmd.Wait(); err == nil || line != "" || !strings.Contains(stderr.String(), test.want) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s, %q, %q: %v, it says %q and %q, want %q", test.count, test.names, test.args, err, line, stderr, test.want)
		}
	}
}

// Variables that were meant for another process, whose child this is, change nothing.
func TestSocketOfAnother(t *testing.T) {
	t.Setenv(envListenPID, "1")
	t.Setenv(envListenFDs, "1")
	startServe(t)
}
