//go:build linux

package peers

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/compare"
	"github.com/duplexgo/duplex/push/console"
)

// What the server says that the four ways have cost is what tshark has seen on the wire, to
// the byte and to the packet. One packet may be missing or too many; and one byte, for
// the kernel does not tell whether a connection was reset or closed.
func TestComparisonOnTheWire(t *testing.T) {
	program(t, tshark)
	duplex := buildDuplex(t)
	command := func(args ...string) compared {
		return func(t *testing.T, url string) map[string]compare.Figures {
			args := append([]string{"compare", url, "--insecure", "--json", "--rate", "10", "--poll-every", "200ms"}, args...)
			return figuresOf(t, exec.CommandContext(t.Context(), duplex, args...))
		}
	}
	for _, test := range []struct {
		name   string
		secure bool
		run    compared
	}{
		{"command", false, command("--for", "2s")},
		{"command, one message or two", false, command("--for", "200ms")},
		{"command, 2 KiB", false, command("--for", "2s", "--size", "2KiB")},
		{"command, 60 KiB", false, command("--for", "1s", "--size", "60KiB")},
		{"command, TLS", true, command("--for", "2s")},
		{"page", false, comparePage},
		{"page, TLS", true, comparePage},
	} {
		t.Run(test.name, func(t *testing.T) {
			for range 3 {
				if compareWithWire(t, test.secure, test.run) {
					return
				}
			}
			t.Skip("this machine is too busy for tshark to get all packets")
		})
	}
}

// A compared runs a comparison on a server and returns its figures when nothing more
// comes.
type compared func(t *testing.T, url string) map[string]compare.Figures

// compareWithWire reports whether the capture was whole, for else it says nothing.
func compareWithWire(t *testing.T, secure bool, run compared) bool {
	url, keys := startComparing(t, secure)
	c := startCapture(t, url[strings.LastIndex(url, ":")+1:], keys)
	figures := run(t, url)
	packets, whole := c.packets()
	if !whole {
		t.Log("some packets were not captured: once more")
		return false
	}
	wire := costs(packets)
	for _, way := range compare.Ways {
		got, want := figures[way], wire[way]
		bytes, packets := want.Received-got.Received, want.Packets-got.Packets
		if got.Requests != want.Requests || got.Sent != want.Sent || bytes < 0 || bytes > 1 || packets < -1 || packets > 1 || got.Estimate {
			t.Errorf("%s: the server says %+v, and on the wire were %+v", way, got, want)
		}
		if want.Requests == 0 {
			t.Errorf("%s: on the wire was nothing", way)
		}
	}
	return true
}

// startComparing starts a server as duplex serve has it, which writes the keys of TLS to a
// file.
func startComparing(t *testing.T, secure bool) (url, keys string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	srv := &push.Server{LiteralHosts: true}
	desk := console.Attach(ctx, srv)
	hs := &http.Server{Handler: desk.Count(srv), ErrorLog: log.New(io.Discard, "", 0)} // Chromium tries the certificate
	desk.Watch(hs)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url = "http://" + ln.Addr().String()
	if secure {
		url, keys = "https://"+ln.Addr().String(), filepath.Join(t.TempDir(), "keys")
		file, err := os.Create(keys)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		pair := newCertificate(t).pair
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}, KeyLogWriter: file})
	}
	served := make(chan struct{})
	go func() { hs.Serve(ln); close(served) }()
	t.Cleanup(func() {
		cancel()
		srv.Shutdown(context.Background())
		hs.Close()
		<-served
	})
	return url, keys
}

// figuresOf runs duplex compare.
func figuresOf(t *testing.T, cmd *exec.Cmd) map[string]compare.Figures {
	t.Helper()
	var report struct{ Ways map[string]compare.Figures }
	cmd.Stderr = new(strings.Builder)
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &report)
	}
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, cmd.Stderr)
	}
	return report.Ways
}

// comparePage runs a comparison on the console's page in Chromium, where the ways and the
// page itself share connections. After a while the page is kept from publishing and
// polling, and stays as it is.
func comparePage(t *testing.T, url string) map[string]compare.Figures {
	page := openPage(t, url+"/console/compare", chromedp.Flag("ignore-certificate-errors", true))
	channel := run[string](t, page, `
		const {fetch} = window, {send} = WebSocket.prototype;
		let enough = false, channel;
		window.fetch = (url, init) => {
			channel ??= new URL(url, location).searchParams.get("channel");
			return enough && String(url).includes("/poll") ? new Promise(() => {}) : fetch(url, init);
		};
		WebSocket.prototype.send = function (text) { enough && text.includes("publish") || send.call(this, text); };
		for (const [id, value] of [["rate", 5], ["interval", 500]]) document.getElementById(id).value = value;
		document.getElementById("go").click();
		const timer = setInterval(() => {
			if (![...document.querySelectorAll("#rows tr:first-child td")].every((cell) => Number(cell.textContent) > 9)) return;
			clearInterval(timer);
			enough = true;
			ok(channel);
		}, 50);
	`)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	ask := func() map[string]compare.Figures {
		resp, err := client.Get(url + "/console/api/comparisons/" + channel)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var report struct{ Ways map[string]compare.Figures }
		if err := json.NewDecoder(resp.Body).Decode(&report); err != nil {
			t.Fatal(err)
		}
		return report.Ways
	}
	for before := ask(); ; {
		time.Sleep(300 * time.Millisecond) // until nothing has come for that long
		now := ask()
		if maps.Equal(before, now) {
			return now
		}
		before = now
	}
}

// A request is one on the wire, and what it has cost.
type request struct {
	way             string
	asked, answered int // where its data begins, in both directions
	cost            compare.Figures
}

// A stream is the requests of a connection. What opens the connection is of the first.
type stream struct {
	requests []request
	next     map[bool]int // where new data begins, by whether the server sends it
}

// take counts a packet for the request that it belongs to.
func (s *stream) take(p packet) {
	r := &s.requests[len(s.requests)-1]
	if p.request != "" && r.cost.Requests > 0 {
		s.requests = append(s.requests, request{asked: p.seq, answered: s.next[true]})
		r = &s.requests[len(s.requests)-1]
	}
	if p.request != "" {
		r.way, r.cost.Requests = wayOf(p.request), 1
	}
	if p.bytes == 0 {
		r = s.acknowledged(p)
	}
	r.cost.Packets++
	fresh := p.seq + p.bytes - s.next[p.fromServer]
	if p.bytes == 0 || fresh <= 0 {
		return // nothing, or sent again
	}
	s.next[p.fromServer] += fresh
	if p.fromServer {
		r.cost.Sent += int64(fresh)
	} else {
		r.cost.Received += int64(fresh)
	}
}

// acknowledged returns the request whose data a packet acknowledges.
func (s *stream) acknowledged(p packet) *request {
	for i := len(s.requests) - 1; ; i-- {
		r := &s.requests[i]
		if i == 0 || p.fromServer && r.asked < p.ack || !p.fromServer && r.answered < p.ack {
			return r
		}
	}
}

// costs adds up what each way has cost.
func costs(packets []packet) map[string]compare.Figures {
	streams := make(map[int]*stream)
	for _, p := range packets {
		if streams[p.stream] == nil {
			streams[p.stream] = &stream{make([]request, 1), map[bool]int{false: 1, true: 1}}
		}
		streams[p.stream].take(p)
	}
	sums := make(map[string]compare.Figures)
	for _, s := range streams {
		for _, r := range s.requests {
			sum := sums[r.way]
			sum.Requests += r.cost.Requests
			sum.Received += r.cost.Received
			sum.Sent += r.cost.Sent
			sum.Packets += r.cost.Packets
			sums[r.way] = sum
		}
	}
	return sums
}

// wayOf returns the way that a request belongs to, "" if it is none of a comparison.
func wayOf(target string) string {
	path, query, _ := strings.Cut(target, "?")
	switch {
	case !strings.Contains(query, "channel="+compare.Prefix):
		return ""
	case path == "/events":
		return compare.SSE
	case path == "/connect":
		return compare.WebSocket
	case path == "/poll" && strings.Contains(query, "wait=0"):
		return compare.Polling
	case path == "/poll":
		return compare.LongPolling
	}
	return ""
}
