package compare_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/compare"
	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
)

// A counter counts what goes through a client's connection.
type counter struct {
	net.Conn
	read, written *atomic.Int64
}

func (c counter) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func (c counter) Write(p []byte) (int, error) {
	c.written.Add(int64(len(p))) // before: the answer may be there when Write returns
	return c.Conn.Write(p)
}

// A bench is a push server whose traffic is counted, and a client that counts, too.
type bench struct {
	t             *testing.T
	meter         compare.Meter
	url           string
	client        *http.Client
	read, written atomic.Int64
}

// The protocols that a bench may speak.
const (
	plain = iota
	overTLS
	overHTTP2
)

func newBench(t *testing.T, protocol int, watch bool) *bench {
	b := &bench{t: t}
	srv := new(push.Server)
	mux := http.NewServeMux()
	mux.Handle("/comparisons", &b.meter)
	mux.Handle("/comparisons/", &b.meter)
	mux.Handle("/", b.meter.Count(srv))
	hs := httptest.NewUnstartedServer(mux)
	if watch {
		b.meter.Watch(hs.Config)
	}
	transport := new(http.Transport)
	if protocol != plain {
		hs.EnableHTTP2 = protocol == overHTTP2
		hs.StartTLS()
		transport = hs.Client().Transport.(*http.Transport)
	} else {
		hs.Start()
	}
	transport.DialContext = b.dial
	b.client = &http.Client{Transport: transport}
	b.url = hs.URL
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		srv.Shutdown(context.Background())
		hs.Close()
	})
	return b
}

func (b *bench) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	return counter{c, &b.read, &b.written}, err
}

func (b *bench) ask(method, path, body string) string {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

type report struct {
	Channel string
	Ways    map[string]compare.Figures
}

func (b *bench) report(method, path string) (r report) {
	b.t.Helper()
	// By another client: what it carries must not be counted.
	q, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	other := b.client.Transport.(*http.Transport).Clone()
	other.DialContext = nil
	defer other.CloseIdleConnections()
	resp, err := other.RoundTrip(q)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		b.t.Fatal(err)
	}
	return r
}

// until waits until a way's figures are those wanted, as the client's connection has
// seen them.
func (b *bench) until(channel, way string, ok func(compare.Figures) bool) compare.Figures {
	b.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		f := b.report("GET", "/comparisons/"+channel).Ways[way]
		if ok(f) {
			return f
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: %+v; the client has written %d and read %d", way, f, b.written.Load(), b.read.Load())
		}
		time.Sleep(5 * time.Millisecond) // another process's clock, the kernel's, is what is waited for
	}
}

func needTCPInfo(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux counts the bytes of a connection")
	}
}

// What the kernel has counted is to the byte what the client has seen, whatever other
// requests share the connection.
func TestPollsAreCountedToTheByte(t *testing.T) {
	needTCPInfo(t)
	b := newBench(t, plain, true)
	b.ask("POST", "/channels/before", "not counted, and on the same connection")
	channel := b.report("POST", "/comparisons").Channel
	var wantWritten, wantRead int64
	for i := range 5 {
		b.ask("POST", "/channels/"+channel, "not counted either")
		written, read := b.written.Load(), b.read.Load()
		b.ask("GET", fmt.Sprintf("/poll?wait=0&channel=%s&limit=%d", channel, i+1), "")
		wantWritten += b.written.Load() - written
		wantRead += b.read.Load() - read
		b.ask("GET", "/channels/"+channel, "")
	}
	f := b.until(channel, compare.Polling, func(f compare.Figures) bool { return f.Sent >= wantRead })
	if f.Requests != 5 || f.Received != wantWritten || f.Sent != wantRead || f.Estimate || f.Packets < 10 {
		t.Errorf("%+v, want 5 requests, %d received, %d sent", f, wantWritten, wantRead)
	}
	if other := b.report("GET", "/comparisons/"+channel).Ways[compare.LongPolling]; other != (compare.Figures{}) {
		t.Errorf("long polling: %+v", other)
	}
}

// The first request of a comparison may come on a connection that has carried much
// before there was one, and rests at the time or does not.
func TestOldConnection(t *testing.T) {
	needTCPInfo(t)
	for _, protocol := range []int{plain, overTLS} {
		t.Run(fmt.Sprintf("TLS %v", protocol == overTLS), func(t *testing.T) {
			b := newBench(t, protocol, true)
			for range 3 {
				b.ask("POST", "/channels/x", strings.Repeat("y", 5000))
			}
			for _, rests := range []bool{true, false} {
				var r report
				if rests {
					r = b.report("POST", "/comparisons")
				} else if err := json.Unmarshal([]byte(b.ask("POST", "/comparisons", "")), &r); err != nil {
					t.Fatal(err)
				}
				channel := r.Channel
				written, read := b.written.Load(), b.read.Load()
				b.ask("GET", "/poll?wait=1ms&channel="+channel, "")
				written, read = b.written.Load()-written, b.read.Load()-read
				f := b.until(channel, compare.LongPolling, func(f compare.Figures) bool { return f.Sent >= read })
				if f.Received != written || f.Sent != read || f.Requests != 1 {
					t.Errorf("rests %v: %+v, want %d received, %d sent", rests, f, written, read)
				}
				b.ask("DELETE", "/comparisons/"+channel, "")
				b.ask("POST", "/channels/x", "when nothing is compared")
			}
		})
	}
}

// TLS is a part of what goes over the wire.
func TestTLS(t *testing.T) {
	needTCPInfo(t)
	b := newBench(t, overTLS, true)
	channel := b.report("POST", "/comparisons").Channel
	b.ask("GET", "/poll?wait=0&channel="+channel, "")
	f := b.until(channel, compare.Polling, func(f compare.Figures) bool { return f.Sent == b.read.Load() })
	if f.Received != b.written.Load() || f.Received < 400 {
		t.Errorf("%+v, the client has written %d and read %d", f, b.written.Load(), b.read.Load())
	}
}

// A stream is counted while it goes on.
func TestStream(t *testing.T) {
	needTCPInfo(t)
	b := newBench(t, plain, true)
	channel := b.report("POST", "/comparisons").Channel
	r, _ := http.NewRequestWithContext(t.Context(), "GET", b.url+"/events?channel="+channel, nil)
	resp, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "id:") {
	}
	written := b.written.Load()
	http.Post(b.url+"/channels/"+channel, "", strings.NewReader("news"))
	for lines.Scan() && !strings.Contains(lines.Text(), "news") {
	}
	f := b.until(channel, compare.SSE, func(f compare.Figures) bool { return f.Sent == b.read.Load() })
	if f.Received != written || f.Requests != 1 {
		t.Errorf("%+v, want %d received", f, written)
	}
}

// A WebSocket is counted from its handshake to its end, by the kernel or by what goes
// through.
func TestWebSocket(t *testing.T) {
	for _, watch := range []bool{true, false} {
		t.Run(fmt.Sprintf("watched %v", watch), func(t *testing.T) {
			if watch {
				needTCPInfo(t)
			}
			b := newBench(t, plain, watch)
			channel := b.report("POST", "/comparisons").Channel
			c, _, err := websocket.Dial(t.Context(), strings.Replace(b.url, "http", "ws", 1)+"/connect?channel="+channel,
				&websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}, DialContext: b.dial})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			c.Write(t.Context(), websocket.Text, fmt.Appendf(nil, `{"id":1,"command":"subscribe","channel":%q}`, channel))
			if _, _, err := c.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.report("GET", "/comparisons/"+channel)
			http.Post(b.url+"/channels/"+channel, "", strings.NewReader(strings.Repeat("n", 300)))
			if _, _, err := c.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			f := b.until(channel, compare.WebSocket, func(f compare.Figures) bool { return f.Sent == b.read.Load() })
			if f.Received != b.written.Load() || f.Requests != 1 || f.Estimate == watch {
				t.Errorf("%+v, the client has written %d and read %d", f, b.written.Load(), b.read.Load())
			}
			c.Close(websocket.CloseNormal, "")
			b.until(channel, compare.WebSocket, func(f compare.Figures) bool { return f.Sent >= b.read.Load() && f.Received >= b.written.Load() })
		})
	}
}

// Where nobody can ask the kernel, and where requests share a connection, the figures are
// near, and say so.
func TestEstimate(t *testing.T) {
	for _, test := range []struct {
		protocol int
		watch    bool
	}{{plain, false}, {overHTTP2, true}} {
		b := newBench(t, test.protocol, test.watch)
		channel := b.report("POST", "/comparisons").Channel
		b.ask("GET", "/poll?wait=0&channel="+channel, "")
		f := b.report("GET", "/comparisons/"+channel).Ways[compare.Polling]
		near := func(got, want int64) bool { return got > want*95/100-5 && got < want*130/100 }
		// HTTP/2 has work of its own to do before the first request.
		if !f.Estimate || f.Packets != 0 || test.protocol == plain && (!near(f.Received, b.written.Load()) || !near(f.Sent, b.read.Load())) {
			t.Errorf("%+v, the client has written %d and read %d", f, b.written.Load(), b.read.Load())
		}
	}
}

// A connection that the server closes is closed at once, though it is still asked what
// that has cost.
func TestClosedByServer(t *testing.T) {
	needTCPInfo(t)
	b := newBench(t, plain, true)
	channel := b.report("POST", "/comparisons").Channel
	host := strings.TrimPrefix(b.url, "http://")
	before := descriptors(t)
	const rounds = 20
	var written, read int64
	for range rounds {
		c, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		n, _ := fmt.Fprintf(c, "GET /poll?wait=0&channel=%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", channel, host)
		answer, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		written, read = written+int64(n), read+int64(len(answer))
	}
	// Three packets each to open it, three to close it, a question and an answer.
	f := b.until(channel, compare.Polling, func(f compare.Figures) bool { return f.Packets >= 8*rounds })
	if f.Received != written || f.Sent != read || f.Requests != rounds {
		t.Errorf("%+v, want %d received, %d sent", f, written, read)
	}
	b.until(channel, compare.Polling, func(compare.Figures) bool { return descriptors(t) < before+rounds/2 })
}

// descriptors returns how many this process has.
func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// What a client closes costs three packets more.
func TestClosedByClient(t *testing.T) {
	needTCPInfo(t)
	b := newBench(t, plain, true)
	channel := b.report("POST", "/comparisons").Channel
	b.ask("GET", "/poll?wait=0&channel="+channel, "")
	open := b.until(channel, compare.Polling, func(f compare.Figures) bool { return f.Packets >= 5 })
	b.client.CloseIdleConnections()
	f := b.until(channel, compare.Polling, func(f compare.Figures) bool { return f.Packets >= open.Packets+3 })
	if f.Received != open.Received || f.Sent != open.Sent {
		t.Errorf("%+v, and before the end %+v", f, open)
	}
}

// Requests that belong to no comparison are nobody's.
func TestOthersAreNotCounted(t *testing.T) {
	b := newBench(t, plain, true)
	channel := b.report("POST", "/comparisons").Channel
	for _, path := range []string{"/poll?wait=0&channel=other", "/poll?wait=0&channel=" + channel + "x", "/channels/" + channel, "/healthz?channel=" + channel} {
		b.ask("GET", path, "")
	}
	for way, f := range b.report("GET", "/comparisons/"+channel).Ways {
		if f != (compare.Figures{}) {
			t.Errorf("%s: %+v", way, f)
		}
	}
}

func ask(m *compare.Meter, method, path string) (int, report) {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	var r report
	json.Unmarshal(w.Body.Bytes(), &r)
	return w.Code, r
}

// A comparison that nobody asks for ends; one that is asked for goes on.
func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(compare.Meter)
		_, kept := ask(m, "POST", "/comparisons")
		_, left := ask(m, "POST", "/comparisons")
		for range 3 {
			time.Sleep(compare.Lease * 2 / 3)
			if code, _ := ask(m, "GET", "/comparisons/"+kept.Channel); code != 200 {
				t.Fatalf("one that is asked for: %d", code)
			}
		}
		if code, _ := ask(m, "GET", "/comparisons/"+left.Channel); code != 404 {
			t.Errorf("one that nobody asks for: %d", code)
		}
		if code, _ := ask(m, "DELETE", "/comparisons/"+kept.Channel); code != 204 {
			t.Errorf("ending: %d", code)
		}
		if code, _ := ask(m, "GET", "/comparisons/"+kept.Channel); code != 404 {
			t.Errorf("after its end: %d", code)
		}
	})
}

func TestMeterLimitsAndMethods(t *testing.T) {
	m := new(compare.Meter)
	var channels []string
	for range compare.MaxComparisons {
		code, r := ask(m, "POST", "/x/comparisons")
		if code != 201 || !strings.HasPrefix(r.Channel, compare.Prefix) || len(r.Ways) != 4 {
			t.Fatalf("%d, %+v", code, r)
		}
		channels = append(channels, r.Channel)
	}
	if code, _ := ask(m, "POST", "/comparisons"); code != 503 {
		t.Errorf("one too many: %d", code)
	}
	for _, channel := range channels {
		ask(m, "DELETE", "/comparisons/"+channel)
	}
	if code, r := ask(m, "POST", "/comparisons"); code != 201 {
		t.Errorf("when there is room again: %d", code)
	} else {
		defer ask(m, "DELETE", "/comparisons/"+r.Channel)
	}
	for _, test := range []struct {
		method, path string
		code         int
	}{{"GET", "/comparisons", 405}, {"PUT", "/comparisons/x", 405}, {"GET", "/comparisons/x", 404}, {"GET", "/x", 404}} {
		if code, _ := ask(m, test.method, test.path); code != test.code {
			t.Errorf("%s %s: %d, want %d", test.method, test.path, code, test.code)
		}
	}
}
