package push

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
)

// All transports share the limit of lines; who is refused is told to come back.
func TestMaxLines(t *testing.T) {
	inMemory(t, &Server{MaxLines: 2}, func(t *testing.T, s *site) {
		c := s.dial()
		e, _ := s.listen("channel=a")
		for _, path := range []string{"/events?channel=a", "/poll?channel=a&wait=0"} {
			resp := s.request("GET "+path, "")
			if resp.Header.Get("Retry-After") == "" {
				t.Errorf("%s: no Retry-After", path)
			}
			wantProblem(t, resp, 503, 205, "2 lines")
		}
		if _, resp, err := s.web.Dial(t.Context(), "/connect", nil); err == nil || resp == nil || resp.StatusCode != 503 {
			t.Errorf("a third WebSocket: %v, %v", resp, err)
		}
		c.CloseNow()
		synctest.Wait()
		s.poll("channel=a&wait=0")
		e.body.Close()
		resp := s.request("GET /connect", "") // no WebSocket: must not count
		if resp.StatusCode < 400 {
			t.Errorf("a plain GET of /connect: status %d", resp.StatusCode)
		}
		synctest.Wait()
		if n := s.server.core.crowd.all; n != 0 {
			t.Errorf("%d lines are left", n)
		}
	})
}

// Publishers over HTTP are limited each by itself, by user or by address, and
// administrators are not.
func TestPublishRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{PublishRate: 1, Authorize: newBouncer().authorize}
		post := func(token string) *http.Response {
			return do(t, s, "POST", "/channels/a", "1", "Authorization: Bearer "+token)
		}
		for range burstSeconds {
			if resp := post("ann"); resp.StatusCode != 200 {
				t.Fatalf("status %d", resp.StatusCode)
			}
		}
		resp := post("ann")
		if resp.Header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After is %q", resp.Header.Get("Retry-After"))
		}
		wantProblem(t, resp, 429, 204, "")
		if resp := post("ben"); resp.StatusCode != 200 {
			t.Errorf("another user: status %d", resp.StatusCode)
		}
		for range 2 * burstSeconds {
			if resp := post("admin"); resp.StatusCode != 200 {
				t.Fatalf("an administrator: status %d", resp.StatusCode)
			}
		}
		time.Sleep(time.Second)
		if resp := post("ann"); resp.StatusCode != 200 {
			t.Errorf("a second later: status %d", resp.StatusCode)
		}
		resp = do(t, s, "POST", "/channels", `[{"channel":"a","data":1},{"channel":"a","data":2}]`, jsonType, "Authorization: Bearer ann")
		if body, _ := io.ReadAll(resp.Body); strings.Count(string(body), `{"error":{"code":204,`) != 2 {
			t.Errorf("a batch: %s", body)
		}
	})
}

func TestPublisher(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1:80": "address 192.0.2.1", "[::ffff:192.0.2.1]:80": "address 192.0.2.1",
		"[2001:db8::1:2:3:4]:80": "address 2001:db8::", "[2001:db8::9]:81": "address 2001:db8::", "[fe80::1%eth0]:80": "address fe80::", "@": "address @",
	} {
		if got := publisher(&Grant{}, &http.Request{RemoteAddr: addr}, nil); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// The memory for publishers has an end.
func TestManyPublishers(t *testing.T) {
	var r rates
	for i := range 3 * maxPublishers {
		r.take(fmt.Sprint(i), 1)
	}
	if n := len(r.publishers); n > maxPublishers {
		t.Errorf("%d publishers are known", n)
	}
}

func TestBatch(t *testing.T) {
	many := func(n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(`{"channel":"a","data":1},`, n), ",") + "]"
	}
	for _, test := range []struct {
		name, body string
		header     []string
		status     int
		want       string
	}{
		{"in order", `[{"channel":"a","data":1},{"channel":"b","data":"x"},{"channel":"a","data":null}]`, []string{jsonType}, 200, ""},
		{"each by itself", `[{"channel":"a"},{"channel":"\u0000","data":1},{"channel":"a","data":"` + strings.Repeat("x", 99) + `"},{"channel":"a","data":1,"key":" "},{"channel":"a","data":5}]`, []string{jsonType}, 200, "104 102 105 100"},
		{"most", many(1000), []string{jsonType}, 200, ""},
		{"more", many(1001), []string{jsonType}, 400, "1001 messages"},
		{"none", `[]`, []string{jsonType}, 400, "0 messages"},
		{"no array", `{"channel":"a","data":1}`, []string{jsonType}, 400, "no array"},
		{"a member of a wrong type", `[{"channel":1}]`, []string{jsonType}, 400, "no array"},
		{"cut off", `[{"channel":"a","data":1}`, []string{jsonType}, 400, "no array"},
		{"something after it", `[{"channel":"a","data":1}] 2`, []string{jsonType}, 400, "after top-level value"},
		{"no JSON", many(1), nil, 415, "application/json"},
		{"too long", `[{"channel":"a","data":"` + strings.Repeat("x", maxBatchBytes) + `"}]`, []string{jsonType}, 413, "longer than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &Server{MaxMessage: 50}
			resp := do(t, s, "POST", "/channels", test.body, test.header...)
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != test.status {
				t.Fatalf("status %d, want %d: %s", resp.StatusCode, test.status, body)
			}
			if test.status != 200 {
				if !strings.Contains(string(body), test.want) || s.Stats().Messages != 0 {
					t.Errorf("got %s, and %d messages", body, s.Stats().Messages)
				}
				return
			}
			var answer struct {
				Results []struct {
					Position Position
					Error    *protocol.Error
				}
			}
			if err := json.Unmarshal(body, &answer); err != nil {
				t.Fatal(err)
			}
			var codes []string
			last := uint64(0)
			for _, r := range answer.Results {
				if r.Error != nil {
					codes = append(codes, fmt.Sprint(int(r.Error.Code)))
				} else if r.Position.seq != last+1 {
					t.Errorf("position %v after %d", r.Position, last)
				} else {
					last++
				}
			}
			if got := strings.Join(codes, " "); got != test.want || len(codes)+int(last) != len(answer.Results) {
				t.Errorf("errors %s, want %s", got, test.want)
			}
		})
	}
}

func TestListOfChannels(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		for _, name := range []string{"b", "a", "b", "ab", "c"} {
			s.post(name, "1")
		}
		e, _ := s.listen("channel=b&channel=d")
		defer e.body.Close()
		for query, want := range map[string]string{
			"":                           "a:1:0 ab:1:0 b:2:1 c:1:0 d:0:1",
			"?limit=2":                   "a:1:0 ab:1:0 ...",
			"?limit=2&after=ab":          "b:2:1 c:1:0 ...",
			"?after=b":                   "c:1:0 d:0:1",
			"?prefix=a":                  "a:1:0 ab:1:0",
			"?prefix=a&after=a&limit=99": "ab:1:0",
			"?prefix=x":                  "",
		} {
			resp := s.request("GET /channels"+query, "")
			var list struct {
				Channels []listed
				More     bool
			}
			if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range list.Channels {
				got = append(got, fmt.Sprintf("%s:%d:%d", c.Channel, c.Messages, c.Subscribers))
				if (c.Position == "") != (c.Messages == 0) || (c.Bytes == 0) != (c.Messages == 0) {
					t.Errorf("%+v", c)
				}
			}
			if list.More {
				got = append(got, "...")
			}
			if s := strings.Join(got, " "); s != want {
				t.Errorf("%s: %s, want %s", query, s, want)
			}
		}
	})
}
