package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/console"
	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// An hour is what a server answers that is in use for more than an hour, by path and
// query: one after the other where a page asks for a path again, and then the last. It is
// from a real server in fake time. So all that a page shows of it fits together, and is
// nearly the same each time.
type hour map[string][]string

const nothing = "/console/api/look?limit=25&prefix=nothing" // a filter that no name has

func newHour(t *testing.T) hour {
	h := make(hour)
	synctest.Test(t, func(t *testing.T) { h.record(t) })
	return h
}

func (h hour) record(t *testing.T) {
	time.Sleep(9*time.Hour + 26*time.Minute + 7*time.Second) // of the day
	ctx, cancel := context.WithCancel(t.Context())
	srv := &push.Server{MaxMessage: 4 << 10, WebSocket: websocket.Options{PingInterval: -1, WriteTimeout: time.Hour}}
	console.Attach(ctx, srv)
	time.Sleep(time.Second / 2) // nothing is published in the moment of a sample
	web := wstest.NewServer(srv)
	clients := traffic{t: t, srv: srv, web: web, ctx: ctx, dice: rand.New(rand.NewPCG(7, 11))}
	for second := range 82 * 60 {
		clients.second(second)
		time.Sleep(time.Second)
	}
	keep := func(path string) {
		status, text := ask(srv, "GET", path, "")
		if status != 200 {
			t.Errorf("%s: status %d", path, status)
		}
		h[path] = append(h[path], text)
	}
	keep("/console/api/history")
	for second := range 80 {
		clients.second(82*60 + second)
		time.Sleep(time.Second)
		if second%2 == 1 {
			keep("/console/api/look?limit=25&prefix=")
			keep(nothing)
		}
	}
	for _, channel := range srv.ChannelStats("", 100) {
		path := "/channels/" + url.PathEscape(channel.Channel)
		keep(path + "?limit=5")
		keep(path + "/presence")
	}
	cancel()
	srv.Shutdown(context.Background())
	web.Close()
	synctest.Wait()
}

// serve serves the hour to one tab, beside the console's pages.
func (h hour) serve(t *testing.T) *httptest.Server {
	var mu sync.Mutex
	pages, asked := console.Handler(), make(map[string]int)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.RequestURI()
		answers := h[path]
		if answers == nil {
			pages.ServeHTTP(w, r)
			return
		}
		mu.Lock()
		n := min(asked[r.URL.Path], len(answers)-1)
		asked[r.URL.Path]++
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, answers[n])
	}))
	t.Cleanup(web.Close)
	return web
}

// traffic is what the clients of a small service do all day.
type traffic struct {
	t    *testing.T
	srv  *push.Server
	web  *wstest.Server
	ctx  context.Context
	dice *rand.Rand
	bid  float64
	line *wstest.Stream // of the last client by WebSocket, on the server's side
}

// second is what happens within a second.
func (tr *traffic) second(n int) {
	if n == 0 {
		for _, user := range []string{"ada", "grace", "linus", "barbara"} {
			tr.listen(user, "news", "builds", "chat/lobby")
		}
		for range 6 {
			tr.listen("", "prices/eur-usd", "prices/usd-jpy")
		}
		tr.bid = 1.08
	}
	switch {
	case n%400 == 100 && n < 3600:
		tr.listen("", "prices/eur-usd")
	case n%1500 == 700:
		tr.stream("prices/eur-usd", 1100)
		tr.stream("news", 2000)
	case n%1800 == 900:
		tr.line.SetBuffer(0) // nothing reaches this client for a while
	case n%1800 == 960:
		tr.line.SetBuffer(64 << 10)
		go tr.poll("builds", 1200)
		go tr.poll("chat/lobby", 1000)
	}
	busy := 1 + .8*math.Sin(float64(n)/700) + .15*math.Sin(float64(n)/60)
	for range int(busy*2 + tr.dice.Float64()) {
		tr.bid += (tr.dice.Float64() - .5) / 2000
		tr.publish("prices/eur-usd", fmt.Sprintf(`{"bid":%.5f,"ask":%.5f}`, tr.bid, tr.bid+.00012))
	}
	often := func(seconds int) bool { return tr.dice.IntN(seconds) == 0 }
	if often(4) {
		tr.publish("prices/usd-jpy", fmt.Sprintf(`{"bid":%.3f}`, 150+tr.dice.Float64()))
	}
	if often(45) {
		tr.publish("chat/lobby", []string{
			`"Anyone for lunch?"`, `"The new dashboards are up. Tell me what you miss in them, and I will see to it before the weekend; until then the old ones stay where they are."`, `"Looks good to me"`, `"On my way"`,
		}[tr.dice.IntN(4)])
	}
	if often(90) {
		tr.publish("builds", fmt.Sprintf(`{"event":"deploy","service":"checkout","version":"2.14.%d","took_ms":%d,"by":["ada","grace"]}`, n/90, 3000+tr.dice.IntN(3000)))
	}
	if n%600 == 340 {
		tr.publish("news", `"The morning edition is out."`)
	}
	if n%1300 == 400 {
		for range 8 + tr.dice.IntN(8) {
			ask(tr.srv, "POST", "/channels/news", strings.Repeat("x", 5<<10))
		}
	}
}

func (tr *traffic) publish(channel, data string) { publish(tr.t, tr.srv, channel, data) }

// listen is a client by WebSocket.
func (tr *traffic) listen(user string, channels ...string) {
	c, _, err := tr.web.Dial(tr.ctx, "/connect", &websocket.DialOptions{
		Subprotocols: []string{protocol.Subprotocol},
		Options:      websocket.Options{PingInterval: -1},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := tr.web.Listener.DialContext(ctx, network, addr)
			if err == nil {
				tr.line = c.(*wstest.Stream).Peer()
			}
			return c, err
		},
	})
	if err != nil {
		tr.t.Fatal(err)
	}
	text := fmt.Sprintf(`{"id":1,"command":"auth","user":%q}`, user)
	for _, channel := range channels {
		text += fmt.Sprintf(`{"id":2,"command":"subscribe","channel":%q}`, channel)
	}
	if err := c.Write(tr.ctx, websocket.Text, []byte(text)); err != nil {
		tr.t.Fatal(err)
	}
	go func() {
		defer c.CloseNow()
		for {
			if _, _, err := c.Read(tr.ctx); err != nil {
				return
			}
		}
	}()
}

// poll is a client by long polling, for some seconds.
func (tr *traffic) poll(channel string, seconds int) {
	answer := struct{ Position string }{}
	for end := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(end) && tr.ctx.Err() == nil; {
		_, text := ask(tr.srv, "GET", "/poll?wait=25s&channel="+url.QueryEscape(channel)+"&since="+answer.Position, "")
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			tr.t.Errorf("polling: %v: %s", err, text)
			return
		}
	}
}

// stream is a client by server-sent events, for some seconds.
func (tr *traffic) stream(channel string, seconds int) {
	ctx, cancel := context.WithTimeout(tr.ctx, time.Duration(seconds)*time.Second)
	r, err := http.NewRequestWithContext(ctx, "GET", "http://server.test/events?channel="+url.QueryEscape(channel), nil)
	if err != nil {
		tr.t.Fatal(err)
	}
	resp, err := tr.web.Client().Do(r)
	if err != nil {
		tr.t.Fatal(err)
	}
	go func() {
		defer cancel()
		defer resp.Body.Close()
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		}
	}()
}
