package push

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
)

// A polled is the answer to a poll.
type polled struct {
	Messages []protocol.Message
	Position string
	Reset    []protocol.Reset
}

// poll asks once.
func (s *site) poll(query string, header ...string) polled {
	s.t.Helper()
	resp := s.request("GET /poll?"+query, "", header...)
	body, err := io.ReadAll(resp.Body)
	var p polled
	if err == nil {
		err = json.Unmarshal(body, &p)
	}
	if err != nil || resp.StatusCode != 200 || p.Position == "" {
		s.t.Errorf("%s: status %d, %s, %v", query, resp.StatusCode, body, err)
	}
	return p
}

// data returns the data of the messages.
func (p polled) data() string {
	var all []string
	for _, m := range p.Messages {
		all = append(all, string(m.Data))
	}
	return strings.Join(all, " ")
}

// Polls one after the other get each message once, in the order of all channels,
// however many go into an answer.
func TestPoll(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		var want []string
		for i := range 20 {
			s.post([]string{"a", "b", "other"}[i%3], fmt.Sprint(i))
			if i%3 < 2 {
				want = append(want, fmt.Sprint(i))
			}
		}
		for limit := range 8 {
			query, got := "channel=a&channel=b&wait=0", []string{}
			if limit > 0 {
				query += fmt.Sprint("&since=", s.first(), "&limit=", limit)
			}
			for {
				p := s.poll(query)
				if len(p.Messages) == 0 {
					break
				}
				if limit > 0 && len(p.Messages) > limit {
					t.Errorf("%d messages, want at most %d", len(p.Messages), limit)
				}
				got = append(got, strings.Fields(p.data())...)
				query = fmt.Sprintf("channel=a&channel=b&wait=0&since=%s&limit=%d", p.Position, max(1, limit))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("limit %d: got %s, want %s", limit, got, want)
			}
		}
	})
}

// first returns the position before all messages.
func (s *site) first() string { return s.server.core.broker.now().at(0).String() }

func TestPollWaits(t *testing.T) {
	for _, test := range []struct {
		query string
		post  time.Duration // 0: nothing comes
		want  time.Duration
	}{
		{"channel=a", 0, 25 * time.Second},
		{"channel=a&wait=10s", 0, 10 * time.Second},
		{"channel=a&wait=1h", 0, time.Minute},
		{"channel=a&wait=0", 0, 0},
		{"channel=a&wait=10s", 3 * time.Second, 3 * time.Second},
		{"channel=b&channel=a", 3 * time.Second, 3 * time.Second},
		{"channel=b", 3 * time.Second, 25 * time.Second},
		{"channel=a&since=1.1", 0, 0}, // a reset does not wait
	} {
		inMemory(t, new(Server), func(t *testing.T, s *site) {
			begin := time.Now()
			if test.post > 0 {
				time.AfterFunc(test.post, func() { s.server.Publish(t.Context(), "a", json.RawMessage("1")) })
			}
			p := s.poll(test.query)
			if d := time.Since(begin); d != test.want {
				t.Errorf("%s: answered after %v, want %v", test.query, d, test.want)
			}
			if news := test.post == test.want && test.post > 0; news != (p.data() == "1") {
				t.Errorf("%s: got %s", test.query, p.data())
			}
			time.Sleep(time.Minute)
			if n := s.server.Stats(); n.Lines[Poll] != 0 || n.Subscriptions != 0 {
				t.Errorf("%s: left are %+v", test.query, n)
			}
		})
	}
}

func TestPollReset(t *testing.T) {
	inMemory(t, &Server{HistoryMessages: 2}, func(t *testing.T, s *site) {
		for i := range 4 {
			s.post("a", fmt.Sprint(i))
		}
		p := s.poll("channel=a&channel=b&since=" + s.first())
		if p.data() != "2 3" || len(p.Reset) != 1 || p.Reset[0].Channel != "a" || p.Reset[0].Reason != protocol.TooOld {
			t.Errorf("got %+v", p)
		}
		p = s.poll("channel=a&channel=b&since=1.1")
		if p.data() != "2 3" || len(p.Reset) != 2 || p.Reset[1].Reason != protocol.Recreated {
			t.Errorf("got %+v", p)
		}
	})
}

// A token of one transport is one of every other.
func TestPositionsInterchange(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		s.post("a", "0")
		p := s.poll("channel=a&channel=b")
		s.post("b", "1")
		e, _ := s.listen("channel=a&channel=b&since=" + p.Position)
		block := e.want("1")
		e.body.Close()
		s.post("a", "2")
		c := s.dial()
		c.send(`{"id":1,"command":"subscribe","channel":"a","since":"%s"}{"id":2,"command":"subscribe","channel":"b","since":"%[1]s"}`, id(block))
		text := c.read()
		if got := brief(t, text); got != "1, 2, a2" {
			t.Errorf("got %s", got)
		}
		c.CloseNow()
		var last string
		for i, err := range protocol.Items([]byte(text)) {
			if err == nil && i.IsMessage() {
				last = i.Message.Position
			}
		}
		s.post("b", "3")
		if got := s.poll("channel=a&channel=b&since=" + last).data(); got != "3" {
			t.Errorf("got %s", got)
		}
		if got := s.poll("channel=a&channel=b&wait=0&since=" + p.Position).data(); got != "1 2 3" {
			t.Errorf("got %s", got)
		}
		resp := s.request("GET /channels/a?since="+id(block), "")
		if body, _ := io.ReadAll(resp.Body); !strings.Contains(string(body), `"data":2`) || strings.Contains(string(body), `"data":0`) {
			t.Errorf("history is %s", body)
		}
		synctest.Wait()
	})
}

// A client that goes while it waits leaves nothing.
func TestPollGone(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		conn := s.raw()
		io.WriteString(conn, "GET /poll?channel=a HTTP/1.1\r\nHost: server.test\r\n\r\n")
		synctest.Wait()
		if n := s.server.Stats().Lines[Poll]; n != 1 {
			t.Errorf("%d polls wait, want 1", n)
		}
		conn.Close()
		synctest.Wait()
		if n := s.server.Stats().Lines[Poll]; n != 0 {
			t.Errorf("%d polls wait, want 0", n)
		}
	})
}
