package push

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/duplexgo/duplex/websocket"
)

// who asks who is present.
func (s *site) who(channel string) string {
	s.t.Helper()
	synctest.Wait()
	resp := s.request("GET /channels/"+channel+"/presence", "")
	body, _ := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(body))
}

func (s *site) wantWho(channel, want string) {
	s.t.Helper()
	if got := s.who(channel); got != want {
		s.t.Errorf("present in %s are %s, want %s", channel, got, want)
	}
}

// join subscribes a new line of a user to a channel.
func (s *site) join(user, channel string) *tab {
	s.t.Helper()
	c := s.dial()
	c.send(`{"id":1,"command":"auth","user":"%s"}{"id":2,"command":"subscribe","channel":"%s"}`, user, channel)
	c.want("1, 2")
	return c
}

// A user is present from the first line to the last; lines without a name count; who
// polls does not.
func TestPresence(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		s.wantWho("x", `{"users":[],"others":0}`)
		watcher := s.dial()
		watcher.send(`{"id":1,"command":"subscribe","channel":"x","presence":true}`)
		text := func(want string) {
			t.Helper()
			if got := watcher.read(); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
		if got := watcher.read(); !strings.HasSuffix(got, "\n"+`{"presence":{"channel":"x","users":[],"others":1}}`) {
			t.Errorf("got %s", got)
		}
		ann := s.join("ann", "x")
		text(`{"join":{"channel":"x","user":"ann"}}`)
		again := s.join("ann", "x")
		nobody := s.join("", "x")
		ben := s.join("ben", "x")
		text(`{"join":{"channel":"x","user":"ben"}}`)
		events, _ := s.listen("channel=x")
		poll := s.raw()
		defer poll.Close()
		io.WriteString(poll, "GET /poll?channel=x HTTP/1.1\r\nHost: server.test\r\n\r\n")
		s.wantWho("x", `{"users":["ann","ben"],"others":3}`)
		again.CloseNow()
		nobody.send(`{"id":3,"command":"auth","user":"eve"}`) // late
		nobody.want("3")
		text(`{"join":{"channel":"x","user":"eve"}}`)
		events.body.Close()
		ben.send(`{"id":3,"command":"unsubscribe","channel":"x"}`)
		ben.want("3")
		text(`{"leave":{"channel":"x","user":"ben"}}`)
		ann.Close(websocket.CloseNormal, "")
		text(`{"leave":{"channel":"x","user":"ann"}}`)
		s.wantWho("x", `{"users":["eve"],"others":1}`)
		watcher.send(`{"id":2,"command":"auth","user":"x"}{"id":3,"command":"auth","user":"y"}{"id":4,"command":"auth","user":"\u0000"}`)
		if got := watcher.read(); !strings.Contains(got, `{"join":{"channel":"x","user":"x"}}`) || !strings.Contains(got, `{"id":3,"error":{"code":110,`) || !strings.Contains(got, `{"id":4,"error":{"code":109,`) {
			t.Errorf("got %s", got)
		}
		for _, c := range []*tab{watcher, ben, nobody} {
			c.CloseNow()
		}
		s.wantWho("x", `{"users":[],"others":0}`)
	})
}

// A watcher that lags in the changes costs no queue: it gets the whole anew.
func TestPresenceLag(t *testing.T) {
	c := newTestCore(t, limits{}, memoryLimits{})
	w := newPeer(t, c)
	w.send(`{"id":1,"command":"subscribe","channel":"x","presence":true}`)
	comeAndGo := func(times int) {
		for range times {
			p := newPeer(t, c)
			p.send(`{"id":1,"command":"auth","user":"ann"}{"id":2,"command":"subscribe","channel":"x"}`)
			p.session.close()
		}
	}
	comeAndGo(2)
	if got := w.news(); strings.Count(got, "join") != 2 || strings.Count(got, "leave") != 2 || strings.Contains(got, "presence") {
		t.Errorf("got %s", got)
	}
	comeAndGo(maxPresenceLog)
	if got, want := w.news(), `{"presence":{"channel":"x","users":[],"others":1}}`; got != want {
		t.Errorf("got %.300s, want %s", got, want)
	}
	comeAndGo(1)
	if got := w.news(); strings.Count(got, "\n") != 1 {
		t.Errorf("got %s", got)
	}
}

// Of very many users only so many are known by name, and each leaves as it came.
func TestPresenceLimit(t *testing.T) {
	c := newTestCore(t, limits{}, memoryLimits{})
	var peers []*peer
	for i := range maxPresent + 5 {
		p := newPeer(t, c)
		p.send(fmt.Sprintf(`{"id":1,"command":"auth","user":"u%d"}{"id":2,"command":"subscribe","channel":"x"}`, i))
		peers = append(peers, p)
	}
	count := func(users, others int) {
		t.Helper()
		if who := c.hub.who("x"); len(who.Users) != users || who.Others != others {
			t.Errorf("%d users and %d others, want %d and %d", len(who.Users), who.Others, users, others)
		}
	}
	count(maxPresent, 5)
	peers[0].session.close()
	count(maxPresent-1, 5)
	peers[maxPresent].session.close()
	count(maxPresent-1, 4)
	for _, p := range peers {
		p.session.close()
	}
	count(0, 0)
}
