package peers

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/duplexgo/duplex/websocket"
)

// A part is a program of somebody else's that stands between a client and a server, or
// looks at what goes between them.
type part struct {
	program string // in PATH or /usr/sbin
	debian  string // its package
	args    []string
	config  string // of its file, whose name in args is CONFIG; PORT, DIR and others are put in
}

// noParts leaves out the tests with parts: few machines have them all.
const noParts = "DUPLEX_NO_PARTS"

// program finds a program that a user's PATH need not lead to.
func program(t *testing.T, p part) string {
	t.Helper()
	if os.Getenv(noParts) != "" {
		t.Skipf("%s is set: %s is not looked for", noParts, p.program)
	}
	for _, name := range []string{p.program, filepath.Join("/usr/sbin", p.program)} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, p.program+" (Debian: "+p.debian+")")
	return ""
}

// freePort returns a port of 127.0.0.1 that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// start runs the program until the test ends, and returns its address when it
// listens.
func (p part) start(t *testing.T, replace ...string) string {
	t.Helper()
	path := program(t, p)
	dir, port := t.TempDir(), freePort(t)
	os.Chmod(dir, 0o755) // for programs that put on another user
	config := filepath.Join(dir, "config")
	r := strings.NewReplacer(append([]string{"PORT", port, "DIR", dir, "CONFIG", config}, replace...)...)
	if err := os.WriteFile(config, []byte(r.Replace(p.config)), 0o644); err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, a := range p.args {
		args = append(args, r.Replace(a))
	}
	cmd := exec.Command(path, args...)
	output := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(2 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s said %q", p.program, output)
		}
	})
	addr := "127.0.0.1:" + port
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) { // it does not tell when it is ready
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return addr
		}
		select {
		case <-ended:
			t.Fatalf("%s ended: %q", p.program, output)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen: %q", p.program, output)
		}
	}
}

// An echo is a server that sends everything back, and what it knows of it.
type echo struct {
	registry websocket.Registry
	limits   websocket.Limits
	clients  chan string // the addresses of clients
	handler  http.Handler
}

func newEcho() *echo {
	e := &echo{clients: make(chan string, 100)}
	h := &websocket.Handler{
		AcceptOptions: websocket.AcceptOptions{Registry: &e.registry},
		Message: func(c *websocket.Conn, kind websocket.MessageType, p []byte) {
			c.Write(context.Background(), kind, p)
		},
	}
	e.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.clients <- e.limits.ClientAddr(r).String()
		h.ServeHTTP(w, r)
	})
	return e
}

// through sends messages there and back, and closes in order.
func through(t *testing.T, url string, o *websocket.DialOptions) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, url, o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	for _, n := range []int{0, 1, 126, 70_000, 1 << 20} {
		p := bytes.Repeat([]byte{'x'}, n)
		if err := c.Write(ctx, websocket.Binary, p); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || !bytes.Equal(got, p) {
			t.Fatalf("of %d bytes came back %d, %v", n, len(got), err)
		}
	}
	if err := c.Close(websocket.CloseNormal, "bye"); err != nil {
		t.Errorf("closing: %v", err)
	}
}
