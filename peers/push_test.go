package peers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os/exec"
	"sync"
	"testing"

	"github.com/duplexgo/duplex/push"
)

// readers are programs that others have written, or that stand on a library of
// others, and read the channel "news". They write a message a line.
var readers = map[string]func(t *testing.T, address string) *exec.Cmd{
	"Python's websockets": func(t *testing.T, address string) *exec.Cmd {
		return pythonScript(t.Context(), t, "subscriber.py", "ws://"+address+"/connect", "news")
	},
	"eventsource for Node.js": func(t *testing.T, address string) *exec.Cmd {
		return nodeJS(t.Context(), t, "eventsource", "events.js", "http://"+address+"/events?channel=news&history=1000")
	},
	// What a stream is to somebody at a terminal. The shell does what an EventSource
	// does by itself: it comes back with the last id.
	"curl": func(t *testing.T, address string) *exec.Cmd {
		if _, err := exec.LookPath("curl"); err != nil {
			missing(t, "curl")
		}
		const script = `
			url=$1 id=
			while :; do
				while IFS= read -r line; do
					case $line in
					"id: "*) id=${line#id: } ;;
					"event: "*) echo "{\"gap\": \"${line#event: }\"}" ;;
					"data: "*) printf '%s\n' "${line#data: }" ;;
					esac
				done < <(curl -sSN ${id:+-H "Last-Event-ID: $id"} "$url")
			done`
		return exec.CommandContext(t.Context(), "bash", "-c", script, "bash", "http://"+address+"/events?channel=news&history=1000")
	},
}

// Every reader gets every message once and in order, though its lines break.
func TestPush(t *testing.T) {
	for name, reader := range readers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testReader(t, reader)
		})
	}
}

func testReader(t *testing.T, reader func(*testing.T, string) *exec.Cmd) {
	server := new(push.Server)
	web := httptest.NewServer(server)
	cutter := newCutter(t, web.Listener.Addr().String())
	t.Cleanup(web.Close)
	t.Cleanup(func() { cutter.cut() })
	got := lines(t, reader(t, cutter.Addr().String()))
	const rounds, each = 3, 200
	for round := range rounds {
		for i := range each {
			data := fmt.Appendf(nil, `{"n":%d,"text":"naïve €"}`, round*each+i)
			if _, err := server.Publish(context.Background(), "news", data); err != nil {
				t.Fatal(err)
			}
			if i == each/2 && round > 0 {
				cutter.cut()
			}
		}
		for i := range each {
			var m struct {
				Channel, Position string
				Data              struct {
					N    int
					Text string
				}
				Gap any
			}
			line, err := got()
			if err != nil {
				t.Fatalf("message %d: %v", round*each+i, err)
			}
			if err := json.Unmarshal(line, &m); err != nil || m.Gap != nil {
				t.Fatalf("instead of message %d the reader got %q (%v)", round*each+i, line, err)
			}
			if want := round*each + i; m.Channel != "news" || m.Position == "" || m.Data.N != want || m.Data.Text != "naïve €" {
				t.Fatalf("instead of message %d the reader got %s", want, line)
			}
		}
	}
	if n := cutter.lines(); n < rounds {
		t.Errorf("the reader has had %d lines, and %d were cut", n, rounds-1)
	}
}

// lines starts a reader, and returns its lines one by one. It is killed at the end.
func lines(t *testing.T, cmd *exec.Cmd) func() ([]byte, error) {
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		stop()
		cancel()
		cmd.Process.Kill()
		io.Copy(io.Discard, stdout)
		cmd.Wait()
		if t.Failed() {
			t.Logf("the reader's stderr: %q", stderr)
		}
	})
	all := bufio.NewReader(stdout)
	return func() ([]byte, error) { return all.ReadBytes('\n') }
}

// A cutter stands between readers and the server, and cuts their lines. It is no
// listener of the server's: a parked connection does not ask the net.Conn that it
// came by.
type cutter struct {
	net.Listener
	to   string
	mu   sync.Mutex
	ends []*net.TCPConn // both of each line
	came int            // how many lines
	work sync.WaitGroup
}

func newCutter(t *testing.T, to string) *cutter {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: ln, to: to}
	c.work.Go(c.serve)
	t.Cleanup(func() {
		ln.Close()
		c.cut()
		c.work.Wait()
	})
	return c
}

func (c *cutter) serve() {
	for {
		front, err := c.Accept()
		if err != nil {
			return
		}
		back, err := net.Dial("tcp", c.to)
		if err != nil {
			front.Close()
			continue
		}
		a, b := front.(*net.TCPConn), back.(*net.TCPConn)
		c.mu.Lock()
		c.came++
		c.ends = append(c.ends, a, b)
		c.mu.Unlock()
		for _, way := range [][2]*net.TCPConn{{a, b}, {b, a}} {
			c.work.Go(func() {
				io.Copy(way[0], way[1])
				way[0].Close()
				way[1].Close()
			})
		}
	}
}

// cut resets the lines that are there.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, end := range c.ends {
		end.SetLinger(0)
		end.Close()
	}
	c.ends = nil
}

func (c *cutter) lines() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.came
}
