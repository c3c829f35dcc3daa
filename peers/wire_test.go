//go:build linux

package peers

import (
	"bufio"
	"bytes"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var tshark = part{program: "tshark", debian: "tshark"}

// A packet is what tshark tells of a TCP segment.
type packet struct {
	stream     int // number of the connection
	fromServer bool
	bytes      int    // of data
	seq, ack   int    // counted from the connection's first
	request    string // the target of the HTTP request that ends in it
	gap        bool   // what should have come before was not captured
}

// packetFields are what tshark prints of each packet.
var packetFields = []string{
	"tcp.srcport", "tcp.dstport", "tcp.stream", "tcp.len", "tcp.seq", "tcp.ack", "http.request.uri",
	"tcp.analysis.lost_segment", "tcp.analysis.ack_lost_segment",
}

// A capture is a tshark that looks at what goes to and from a port of this machine.
type capture struct {
	t      *testing.T
	port   string
	mark   net.Listener // a connection to it marks a place in the capture
	cmd    *exec.Cmd
	stderr bytes.Buffer
	lines  chan []string // of packets, their fields
}

// startCapture starts one for the port of a server. keys is the file with the keys of
// TLS, "" without TLS.
func startCapture(t *testing.T, port, keys string) *capture {
	t.Helper()
	mark, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mark.Close() })
	args := []string{"-n", "-l", "-Q", "-i", "lo", "-B", "32", "-f", "tcp port " + port + " or tcp port " + portOf(mark.Addr())}
	if keys == "" {
		args = append(args, "-d", "tcp.port=="+port+",http")
	} else {
		args = append(args, "-d", "tcp.port=="+port+",tls", "-d", "tls.port=="+port+",http", "-o", "tls.keylog_file:"+keys)
	}
	args = append(args, "-T", "fields", "-E", "occurrence=f")
	for _, f := range packetFields {
		args = append(args, "-e", f)
	}
	c := &capture{t: t, port: port, mark: mark, cmd: exec.Command(program(t, tshark), args...), lines: make(chan []string, 1000)}
	c.cmd.Env = append(c.cmd.Environ(), "TMPDIR="+t.TempDir())
	c.cmd.Stderr = &c.stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			c.lines <- strings.Split(s.Text(), "\t")
		}
	}()
	t.Cleanup(func() { c.end() })
	late := time.After(patience)
	for { // it does not tell when it is ready
		c.marked()
		select {
		case _, ok := <-c.lines:
			if !ok {
				c.end()
				t.Skipf("tshark may not capture here: %q", c.stderr.String())
			}
			return c
		case <-late:
			t.Fatal("tshark captures nothing")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// marked puts a mark into the capture and returns the port that it is known by.
func (c *capture) marked() string {
	c.t.Helper()
	m, err := net.Dial("tcp", c.mark.Addr().String())
	if err != nil {
		c.t.Fatal(err)
	}
	defer m.Close()
	return portOf(m.LocalAddr())
}

// end stops tshark.
func (c *capture) end() {
	c.cmd.Process.Signal(syscall.SIGINT)
	for range c.lines {
	}
	c.cmd.Wait()
}

// packets returns what has been captured until now, and whether that is all there was.
// It ends the capture.
func (c *capture) packets() (all []packet, whole bool) {
	c.t.Helper()
	last, late := c.marked(), time.After(patience)
	for {
		var f []string
		select {
		case f = <-c.lines:
		case <-late:
		}
		if f == nil {
			c.t.Fatalf("tshark ended, or has missed the end of the test: %q", c.stderr.String())
		}
		if f[0] == last {
			break
		}
		if f[0] != c.port && f[1] != c.port {
			continue // an earlier mark
		}
		n := func(i int) int { n, _ := strconv.Atoi(f[i]); return n }
		all = append(all, packet{
			stream: n(2), fromServer: f[0] == c.port, bytes: n(3), seq: n(4), ack: n(5),
			request: f[6], gap: f[7]+f[8] != "",
		})
	}
	c.end()
	dropped := strings.Contains(c.stderr.String(), "dropped") // by the system, before tshark got them
	return all, !dropped && !slices.ContainsFunc(all, func(p packet) bool { return p.gap })
}

func portOf(a net.Addr) string { return strconv.Itoa(a.(*net.TCPAddr).Port) }
