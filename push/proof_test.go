package push_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
)

// Readers that change their transport in mid-stream, whose lines are cut at any
// moment, and that stall, get every message once and in order, or are told by a reset
// that some are missing. Over real sockets, for as long as DUPLEX_STRESS says.
func TestEveryMessageOnceInOrder(t *testing.T) {
	duration := 5 * time.Second
	if s := os.Getenv("DUPLEX_STRESS"); s != "" {
		var err error
		if duration, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	w := newProof(t)
	var readers sync.WaitGroup
	all := make([]*wanderer, 12)
	for i := range all {
		r := w.newWanderer(i)
		all[i] = r
		readers.Go(r.run)
	}
	w.publish(duration)
	readers.Wait()

	resets, parts, by := 0, 0, make(map[string]int)
	for _, r := range all {
		resets += r.resets
		parts += r.parts
		for transport, n := range r.by {
			by[transport] += n
		}
	}
	t.Logf("%d messages; %d lines, received %v, %d resets", w.sent, parts, by, resets)
	if len(by) < 4 || resets == 0 {
		t.Errorf("the test is too mild: received %v, %d resets", by, resets)
	}
}

// proofChannels are the channels that are published to, by turns.
var proofChannels = []string{"a", "b", "c", "d"}

// A proof is a server with a single publisher, whose messages are [number of all,
// number in the channel, padding]; the last of a channel has the padding "end".
type proof struct {
	t      *testing.T
	server *push.Server
	url    string
	sent   int
	resets atomic.Int64 // that readers were told
}

func newProof(t *testing.T) *proof {
	p := &proof{t: t, server: &push.Server{HistoryMessages: 150}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: p.server, ReadHeaderTimeout: time.Minute, ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		c.(*net.TCPConn).SetWriteBuffer(8 << 10) // so that a reader who stalls is felt
		return ctx
	}}
	go srv.Serve(ln)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		p.server.Shutdown(ctx)
		srv.Close()
	})
	p.url = ln.Addr().String()
	return p
}

func (p *proof) publish(duration time.Duration) {
	padding := strings.Repeat("x", 700)
	counts := make(map[string]int)
	send := func(channel, padding string) {
		p.sent++
		counts[channel]++
		data := fmt.Appendf(nil, `[%d,%d,%q]`, p.sent, counts[channel], padding)
		if _, err := p.server.Publish(p.t.Context(), channel, data); err != nil {
			p.t.Error(err)
		}
	}
	random := rand.New(rand.NewPCG(1, 1))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(duration)
	late := end.Add(time.Minute) // a busy machine publishes less, and nobody falls behind for long
	for time.Now().Before(end) || p.resets.Load() == 0 && time.Now().Before(late) {
		<-tick.C
		for range random.IntN(12) {
			send(proofChannels[random.IntN(len(proofChannels))], padding)
		}
	}
	for _, channel := range proofChannels {
		send(channel, "end")
	}
}

// A wanderer reads some channels, by one transport after the other. All that it keeps
// between them is one position.
type wanderer struct {
	proof    *proof
	t        *testing.T
	random   *rand.Rand
	client   *http.Client
	channels []string
	at       string
	last     map[string]int  // number in the channel of its last message
	all      int             // number of all of the last message
	told     map[string]bool // a reset came after that
	ended    map[string]bool

	resets, parts int
	by            map[string]int
}

func (p *proof) newWanderer(i int) *wanderer {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			c.(*net.TCPConn).SetReadBuffer(8 << 10)
			c.(*net.TCPConn).SetLinger(0) // a cut is a reset of the connection
		}
		return c, err
	}
	r := &wanderer{
		proof: p, t: p.t, random: rand.New(rand.NewPCG(uint64(i), 2)),
		client:   &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}},
		channels: proofChannels[i%2 : 3+i%2],
		last:     make(map[string]int), told: make(map[string]bool), ended: make(map[string]bool), by: make(map[string]int),
	}
	r.begin()
	return r
}

// begin finds a position before the first message.
func (r *wanderer) begin() {
	resp, err := r.client.Get("http://" + r.proof.url + "/poll?wait=0&channel=" + strings.Join(r.channels, "&channel="))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Position string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Position == "" {
		r.t.Fatalf("no position: %v", err)
	}
	r.at = answer.Position
}

// run reads until it has had the last message of each channel.
func (r *wanderer) run() {
	parts := []func(ctx context.Context, n int){r.webSocket, r.events, r.longPoll, r.poll}
	late := time.Now().Add(5 * time.Minute)
	for len(r.ended) < len(r.channels) {
		if r.t.Failed() || time.Now().After(late) {
			r.t.Errorf("the reader stopped with %v", r.last)
			return
		}
		r.parts++
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Duration(1+r.random.IntN(1500))*time.Millisecond)
		parts[r.random.IntN(len(parts))](ctx, r.random.IntN(400))
		cancel()
	}
}

// stall takes nothing for a while, now and then.
func (r *wanderer) stall() {
	if r.random.IntN(150) == 0 {
		<-time.After(time.Duration(r.random.IntN(1000)) * time.Millisecond)
	}
}

// message checks a message and remembers its position.
func (r *wanderer) message(transport string, m protocol.Message) {
	var data struct {
		all, number int
		padding     string
	}
	if err := json.Unmarshal(m.Data, &[]any{&data.all, &data.number, &data.padding}); err != nil {
		r.t.Errorf("%s: %s: %v", transport, m.Data, err)
	}
	next := r.last[m.Channel] + 1
	switch told := r.told[m.Channel]; {
	case !told && data.number != next:
		r.t.Errorf("%s: message %d of %s comes where %d is next, without a reset", transport, data.number, m.Channel, next)
	case told && data.number <= next:
		r.t.Errorf("%s: message %d of %s comes after a reset where %d was next: nothing was missing", transport, data.number, m.Channel, next)
	case data.all <= r.all:
		r.t.Errorf("%s: message %d of all comes after %d", transport, data.all, r.all)
	}
	r.last[m.Channel], r.all, r.at = data.number, data.all, m.Position
	r.told[m.Channel] = false
	r.by[transport]++
	if data.padding == "end" {
		r.ended[m.Channel] = true
	}
}

func (r *wanderer) reset(reset protocol.Reset) {
	if reset.Reason != protocol.TooOld {
		r.t.Errorf("a reset because %s", reset.Reason)
	}
	r.told[reset.Channel] = true
	r.resets++
	r.proof.resets.Add(1)
}

func (r *wanderer) query() string {
	return url.Values{"channel": r.channels, "since": {r.at}}.Encode()
}

func (r *wanderer) webSocket(ctx context.Context, n int) {
	c, _, err := websocket.Dial(ctx, "ws://"+r.proof.url+"/connect", &websocket.DialOptions{
		Subprotocols: []string{protocol.Subprotocol}, DialContext: r.client.Transport.(*http.Transport).DialContext,
	})
	if err != nil {
		return
	}
	defer c.CloseNow()
	var text []byte
	for i, channel := range r.channels {
		text = fmt.Appendf(text, `{"id":%d,"command":"subscribe","channel":%q,"since":%q}`, i+1, channel, r.at)
	}
	if c.Write(ctx, websocket.Text, text) != nil {
		return
	}
	for n > 0 {
		_, text, err := c.Read(ctx)
		if err != nil {
			return
		}
		for item, err := range protocol.Items(text) {
			switch {
			case err != nil || item.Error != nil:
				r.t.Errorf("%s: %v", text, err)
			case item.Reset != nil:
				r.reset(*item.Reset)
			case item.IsMessage():
				r.message("websocket", item.Message)
				n--
			}
		}
		r.stall()
	}
}

func (r *wanderer) events(ctx context.Context, n int) {
	resp := r.get(ctx, "/events?"+r.query())
	if resp == nil {
		return
	}
	defer resp.Body.Close()
	block := make(map[string]string)
	for lines := bufio.NewScanner(resp.Body); n > 0 && lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ": "); ok {
			block[name] = value
			continue
		} else if lines.Text() != "" {
			continue
		}
		r.event(block)
		clear(block)
		n--
		r.stall()
	}
}

// event takes one event of a stream.
func (r *wanderer) event(block map[string]string) {
	var err error
	switch {
	case block["event"] == "reset":
		var reset protocol.Reset
		if err = json.Unmarshal([]byte(block["data"]), &reset); err == nil {
			r.reset(reset)
		}
	case block["data"] != "":
		var m protocol.Message
		if err = json.Unmarshal([]byte(block["data"]), &m); err == nil {
			r.message("sse", m)
		}
		if block["id"] != m.Position {
			r.t.Errorf("the id is %s, the position %s", block["id"], m.Position)
		}
	}
	if block["id"] != "" {
		r.at = block["id"]
	}
	if err != nil {
		r.t.Error(err)
	}
}

func (r *wanderer) longPoll(ctx context.Context, n int) {
	for ; n > 0 && r.ask(ctx, "long poll", "5s"); n -= 50 {
		r.stall()
	}
}

func (r *wanderer) poll(ctx context.Context, n int) {
	for ; n > 0 && r.ask(ctx, "poll", "0"); n -= 50 {
		r.stall()
	}
}

// ask polls once. What has not come whole has not come.
func (r *wanderer) ask(ctx context.Context, transport, wait string) bool {
	resp := r.get(ctx, fmt.Sprintf("/poll?%s&wait=%s&limit=%d", r.query(), wait, 1+r.random.IntN(300)))
	if resp == nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return false
	}
	var answer struct {
		Messages []protocol.Message
		Position string
		Reset    []protocol.Reset
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Position == "" {
		r.t.Errorf("%s: %v", body, err)
		return false
	}
	for _, reset := range answer.Reset {
		r.reset(reset)
	}
	for _, m := range answer.Messages {
		r.message(transport, m)
	}
	r.at = answer.Position
	return true
}

func (r *wanderer) get(ctx context.Context, path string) *http.Response {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.proof.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		r.t.Errorf("%s: %s", path, body)
		return nil
	}
	return resp
}
