package push

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A tape is a stream of events, read event by event.
type tape struct {
	t     *testing.T
	body  io.ReadCloser
	lines *bufio.Scanner
}

// listen opens a stream of events, whose first block it returns too.
func (s *site) listen(query string, header ...string) (*tape, string) {
	s.t.Helper()
	resp := s.request("GET /events?"+query, "", header...)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		body, _ := io.ReadAll(resp.Body)
		s.t.Fatalf("status %d: %s", resp.StatusCode, body)
	}
	e := &tape{s.t, resp.Body, bufio.NewScanner(resp.Body)}
	e.lines.Buffer(nil, 1<<20)
	return e, e.next()
}

// next returns the next block, its lines with | between them; "" at the end.
func (e *tape) next() string {
	var lines []string
	for e.lines.Scan() {
		if e.lines.Text() == "" {
			break
		}
		lines = append(lines, e.lines.Text())
	}
	return strings.Join(lines, "|")
}

// id returns the id of a block.
func id(block string) string {
	_, after, _ := strings.Cut("|"+block, "|id: ")
	value, _, _ := strings.Cut(after, "|")
	return value
}

// datum returns the data of the message in a block.
func datum(block string) string {
	_, after, _ := strings.Cut(block, `"data":`)
	value, _, _ := strings.Cut(after, `,"time"`)
	return value
}

func (e *tape) want(data string) (block string) {
	e.t.Helper()
	block = e.next()
	if got := datum(block); got != data || id(block) == "" {
		e.t.Errorf("got %s, want a message with %s", block, data)
	}
	return block
}

// The id of an event is a place for all channels of the stream, whichever header or
// parameter brings it back; Last-Event-ID wins.
func TestEventsResume(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		e, first := s.listen("channel=a&channel=b")
		if !strings.HasPrefix(first, "retry: ") || id(first) == "" {
			t.Errorf("the first block is %s", first)
		}
		s.post("a", "1")
		s.post("b", "2")
		one := e.want("1")
		two := e.want("2")
		e.body.Close()
		s.post("a", "3")
		s.post("b", "4")
		for _, test := range []struct {
			query, last string
			want        []string
		}{
			{"channel=a&channel=b&since=" + id(one), "", []string{"2", "3", "4"}},
			{"channel=a&channel=b", id(one), []string{"2", "3", "4"}},
			{"channel=a&channel=b&since=" + id(one), id(two), []string{"3", "4"}},
			{"channel=b&channel=a&history=1", "", []string{"3", "4"}},
			{"channel=b&since=" + id(first), "", []string{"2", "4"}},
		} {
			var header []string
			if test.last != "" {
				header = append(header, "Last-Event-ID: "+test.last)
			}
			e, _ := s.listen(test.query, header...)
			for _, want := range test.want {
				e.want(want)
			}
			e.body.Close()
		}
	})
}

// An idle stream is kept alive, and so is its position.
func TestEventsKeepAlive(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		begin := time.Now()
		e, first := s.listen("channel=a")
		s.post("other", "1")
		block := e.next()
		if !strings.HasPrefix(block, ":|id: ") || id(block) == id(first) {
			t.Errorf("got %s, want a comment and a later id than %s", block, id(first))
		}
		if d := time.Since(begin); d != defaultKeepAlive {
			t.Errorf("after %v", d)
		}
		time.Sleep(2*defaultKeepAlive + time.Second) // two comments more, without an id
		s.post("a", "2")
		if got := e.next(); !strings.HasPrefix(got, ":|:|id: ") || datum(got) != "2" {
			t.Errorf("got %s", got)
		}
		e.body.Close()
	})
}

// A reader that takes nothing lags in the log, costs no queue, delays nobody, and is
// cut off by the time for a write.
func TestStuckEvents(t *testing.T) {
	inMemory(t, &Server{HistoryMessages: 50}, func(t *testing.T, s *site) {
		conn := s.raw()
		defer conn.Close()
		io.WriteString(conn, "GET /events?channel=x HTTP/1.1\r\nHost: server.test\r\n\r\n")
		well, _ := s.listen("channel=x")
		synctest.Wait()
		conn.Peer().SetBuffer(0)
		for i := range 200 {
			s.post("x", fmt.Sprint(i))
			well.want(fmt.Sprint(i))
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if n := s.server.Stats().Lines[SSE]; n != 1 {
			t.Errorf("%d streams, want 1", n)
		}
		well.body.Close()
	})
}

// A slow reader is told what it has lost, and gets the rest in order.
func TestSlowEvents(t *testing.T) {
	inMemory(t, &Server{HistoryMessages: 20}, func(t *testing.T, s *site) {
		conn := s.raw()
		defer conn.Close()
		io.WriteString(conn, "GET /events?channel=x HTTP/1.1\r\nHost: server.test\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		e := &tape{t, resp.Body, bufio.NewScanner(resp.Body)}
		e.next()
		conn.Peer().SetBuffer(0)
		s.post("x", "0")
		synctest.Wait()
		for i := range 50 {
			s.post("x", fmt.Sprint(1+i))
		}
		conn.Peer().SetBuffer(64 << 10)
		e.want("0")
		if got := e.next(); !strings.HasPrefix(got, `event: reset|data: {"channel":"x","reason":"too old","position":"`) {
			t.Errorf("got %s", got)
		}
		for i := 31; i <= 50; i++ {
			e.want(fmt.Sprint(i))
		}
	})
}

func TestStreamRefusals(t *testing.T) {
	for path, want := range map[string]string{
		"/events":                                     "name the channels",
		"/events?channel=":                            "the name of the channel is missing",
		"/events?channel=a&since=x":                   "since is not a position",
		"/events?channel=a&history=-1":                "history must be a whole number",
		"/events?channel=a&channel=a":                 "already subscribed",
		"/events?" + strings.Repeat("channel=a&", 65): "more channels than",
		"/events?channel=%zz":                         "the query cannot be read",
		"/poll":                                       "name the channels",
		"/poll?channel=a&since=x":                     "since is not a position",
		"/poll?channel=a&wait=soon":                   "wait must be a number with a unit",
		"/poll?channel=a&wait=-1s":                    "wait must be a number with a unit",
		"/poll?channel=a&limit=0":                     "limit must be a whole number",
	} {
		resp := do(t, new(Server), "GET", path, "")
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 400 || !strings.Contains(string(body), want) {
			t.Errorf("%.60s: status %d, %s, want %q", path, resp.StatusCode, body, want)
		}
	}
	if resp := do(t, new(Server), "GET", "/events?channel=a", "", "Last-Event-ID: x"); resp.StatusCode != 400 {
		t.Errorf("a garbage Last-Event-ID: status %d", resp.StatusCode)
	}
	for _, path := range []string{"/events?channel=a", "/poll?channel=a"} {
		if resp := do(t, new(Server), "HEAD", path, ""); resp.StatusCode != 405 {
			t.Errorf("HEAD %s: status %d", path, resp.StatusCode)
		}
	}
}

// Who comes after a shutdown has begun is refused; who is there is told.
func TestStreamsAtShutdown(t *testing.T) {
	inMemory(t, &Server{ShutdownDelay: 3 * time.Second}, func(t *testing.T, s *site) {
		e, _ := s.listen("channel=a")
		poll := make(chan string)
		go func() {
			resp := s.request("GET /poll?channel=a", "")
			body, _ := io.ReadAll(resp.Body)
			poll <- string(body)
		}()
		synctest.Wait()
		go s.server.Shutdown(t.Context())
		time.Sleep(time.Second)
		if resp := s.request("GET /readyz", ""); resp.StatusCode != 503 {
			t.Errorf("/readyz: status %d", resp.StatusCode)
		}
		s.post("b", "1") // all else goes on for a while
		time.Sleep(3 * time.Second)
		if got := e.next(); got != `event: end|data: {"code":1001,"reason":"the server is shutting down"}` {
			t.Errorf("got %s", got)
		}
		if got := <-poll; !strings.HasPrefix(got, `{"messages":[],`) {
			t.Errorf("the poll is answered %s", got)
		}
		for _, path := range []string{"/events?channel=a", "/poll?channel=a&wait=0"} {
			wantProblem(t, s.request("GET "+path, ""), 503, 203, "")
		}
		if resp := s.request("GET /healthz", ""); resp.StatusCode != 200 {
			t.Errorf("/healthz: status %d", resp.StatusCode)
		}
	})
}
