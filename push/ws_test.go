package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// A site is a push server with clients, in memory and in fake time.
type site struct {
	t      *testing.T
	server *Server
	web    *wstest.Server
}

// inMemory runs a test with a server.
func inMemory(t *testing.T, s *Server, test func(*testing.T, *site)) {
	synctest.Test(t, func(t *testing.T) {
		w := wstest.NewServer(s)
		defer s.Shutdown(t.Context())
		defer w.Close()
		test(t, &site{t, s, w})
	})
}

// A tab is a client with a WebSocket.
type tab struct {
	*websocket.Conn
	t      *testing.T
	stream *wstest.Stream
}

// dial connects a client, which waits for the server at most a minute of fake time
// at a time.
func (s *site) dial() *tab {
	s.t.Helper()
	c := &tab{t: s.t}
	conn, _, err := s.web.Dial(s.t.Context(), "/connect", &websocket.DialOptions{
		Subprotocols: []string{protocol.Subprotocol},
		Options:      websocket.Options{PingInterval: -1},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := s.web.Listener.DialContext(ctx, network, addr)
			if err == nil {
				c.stream = conn.(*wstest.Stream)
			}
			return conn, err
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	c.Conn = conn
	return c
}

func (c *tab) send(format string, args ...any) {
	c.t.Helper()
	if err := c.Write(c.t.Context(), websocket.Text, fmt.Appendf(nil, format, args...)); err != nil {
		c.t.Fatal(err)
	}
}

// read returns the next text, or the end.
func (c *tab) read() string {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	_, text, err := c.Read(ctx)
	if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
		return fmt.Sprintf("end %d %s", closed.Code, closed.Reason)
	}
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// want reads texts until they are what is wanted, or cannot become it.
func (c *tab) want(want string) {
	c.t.Helper()
	var got string
	for got == "" || strings.HasPrefix(want, got+", ") {
		text := c.read()
		ended := !strings.HasPrefix(text, "{")
		if !ended {
			text = brief(c.t, text)
		}
		if got != "" {
			got += ", "
		}
		got += text
		if ended {
			break
		}
	}
	if got != want {
		c.t.Errorf("got  %s\nwant %s", got, want)
	}
}

func (s *site) post(channel, data string) {
	s.t.Helper()
	resp, err := s.web.Client().Post("http://server.test/channels/"+channel, "application/json", strings.NewReader(data))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		s.t.Fatalf("POST to %s: status %d", channel, resp.StatusCode)
	}
	io.Copy(io.Discard, resp.Body)
}

func TestLine(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		a, b := s.dial(), s.dial()
		a.send(`{"id":1,"command":"subscribe","channel":"x"}`)
		a.want("1")
		b.send(`{"id":1,"command":"subscribe","channel":"x"}{"id":2,"command":"subscribe","channel":"y"}`)
		b.want("1, 2")
		b.send(`{"id":3,"command":"publish","channel":"x","data":{"hello":"world"}}`)
		b.want(`3, x{"hello":"world"}`)
		a.want(`x{"hello":"world"}`)
		s.post("y", "1")
		s.post("x", "2")
		a.want("x2")
		b.want("y1, x2")
		a.Close(websocket.CloseNormal, "")
		s.post("x", "3")
		b.want("x3")
		b.CloseNow()
		synctest.Wait()
		if n := len(s.server.core.hub.channels); n != 0 {
			t.Errorf("%d channels still have readers", n)
		}
	})
}

func TestSubprotocols(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		for _, test := range []struct {
			offers []string
			want   string // "400": refused
		}{
			{nil, ""},
			{[]string{"duplex.v1.json"}, "duplex.v1.json"},
			{[]string{"other", "duplex.v1.json"}, "duplex.v1.json"},
			{[]string{"other"}, "400"},
			{[]string{"duplex.v2.json", "duplex.v1.jsonx"}, "400"},
			{[]string{"Duplex.v1.json"}, "400"}, // letter case counts
		} {
			c, resp, err := s.web.Dial(t.Context(), "/connect", &websocket.DialOptions{Subprotocols: test.offers})
			switch {
			case test.want == "400":
				if err == nil || resp == nil {
					t.Errorf("%q: no refusal: %v", test.offers, err)
					continue
				}
				wantProblem(t, resp, 400, 0, "offer duplex.v1.json")
			case err != nil:
				t.Errorf("%q: %v", test.offers, err)
			case c.Subprotocol() != test.want:
				t.Errorf("%q: subprotocol %q, want %q", test.offers, c.Subprotocol(), test.want)
			}
			if err == nil {
				c.CloseNow()
			}
		}
	})
}

// A foreign page must not read along by a WebSocket, which browsers let it open.
func TestForeignOrigin(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		for origin, status := range map[string]int{"http://evil.example": 403, "null": 403, "http://server.test": 101} {
			c, resp, err := s.web.Dial(t.Context(), "/connect", &websocket.DialOptions{Header: http.Header{"Origin": {origin}}})
			if resp == nil || resp.StatusCode != status {
				t.Errorf("%s: %v, %v; want status %d", origin, resp, err, status)
			}
			if err == nil {
				c.CloseNow()
			}
		}
	})
}

func TestLineEnds(t *testing.T) {
	t.Run("binary message", func(t *testing.T) {
		inMemory(t, new(Server), func(t *testing.T, s *site) {
			c := s.dial()
			c.Write(t.Context(), websocket.Binary, []byte(`{"id":1}`))
			c.want("end 1003 commands are text")
		})
	})
	t.Run("message too long", func(t *testing.T) {
		inMemory(t, &Server{MaxMessage: 1000}, func(t *testing.T, s *site) {
			c := s.dial()
			c.send(`{"id":1,"command":"publish","channel":"x","data":"%s"}`, strings.Repeat("x", 998))
			c.want("1")
			c.send(`{"id":2,"command":"publish","channel":"x","data":"%s"}`, strings.Repeat("x", 999))
			c.want("2!105")
			go c.Write(t.Context(), websocket.Text, []byte(`{"id":3,"command":"publish","channel":"x","data":"`+strings.Repeat("x", 1000+roomForCommands)+`"}`))
			if got := c.read(); !strings.HasPrefix(got, "end 1009") {
				t.Errorf("got %s", got)
			}
		})
	})
	t.Run("too many commands", func(t *testing.T) {
		inMemory(t, &Server{CommandRate: 1}, func(t *testing.T, s *site) {
			c := s.dial()
			for range 2*burstSeconds + 1 {
				c.send(`{"id":1,"command":"unsubscribe","channel":"x"}`)
			}
			c.want(strings.Repeat("1!107, ", burstSeconds) + strings.Repeat("1!201, ", burstSeconds) + "end 4500 too many commands")
		})
	})
	t.Run("broken JSON does not end it", func(t *testing.T) {
		inMemory(t, new(Server), func(t *testing.T, s *site) {
			c := s.dial()
			c.send(`{`)
			c.want("0!100")
			c.send(`{"id":1,"command":"subscribe","channel":"x"}`)
			c.want("1")
			c.CloseNow()
		})
	})
}

// As many subscriptions as a line may have fit into one text, with the longest
// names and positions.
func TestComeBackWithAll(t *testing.T) {
	inMemory(t, &Server{MaxMessage: 1}, func(t *testing.T, s *site) {
		var text strings.Builder
		for i := range defaultMaxSubscriptions {
			fmt.Fprintf(&text, `{"id":%d,"command":"subscribe","channel":"%0255d","since":"%s"}`+"\n", i+1, i, strings.Repeat("1", 11)+"."+strings.Repeat("1", 12))
		}
		c := s.dial()
		c.send("%s", text.String())
		var got string
		for n := 0; n < defaultMaxSubscriptions; {
			got = c.read()
			if !strings.HasPrefix(got, "{") {
				t.Fatal(got)
			}
			n += strings.Count(got, `"result"`)
		}
		if strings.Count(got, "recreated") == 0 {
			t.Error("no reset")
		}
		c.CloseNow()
	})
}

// A peer that takes nothing delays nobody, costs no queue, and is cut off.
func TestStuckPeer(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		stuck, well := s.dial(), s.dial()
		for _, c := range []*tab{stuck, well} {
			c.send(`{"id":1,"command":"subscribe","channel":"x"}`)
			c.want("1")
		}
		stuck.stream.Peer().SetBuffer(0)
		begin := time.Now()
		for i := range 100 {
			s.post("x", fmt.Sprint(i))
			well.want(fmt.Sprint("x", i))
		}
		if d := time.Since(begin); d > 10*tick {
			t.Errorf("beside a stuck peer 100 messages have taken %v", d)
		}
		if n := s.server.lines.registry.Len(); n != 2 {
			t.Errorf("%d lines, want 2", n)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if n := s.server.lines.registry.Len(); n != 1 {
			t.Errorf("%d lines after the time for a write, want 1", n)
		}
		s.post("x", "100")
		well.want("x100")
		stuck.CloseNow()
		well.CloseNow()
	})
}

// A slow reader gets what it has missed with few writes, and is told if that is
// not all.
func TestSlowReaderCatchesUp(t *testing.T) {
	inMemory(t, &Server{HistoryMessages: 50}, func(t *testing.T, s *site) {
		c := s.dial()
		c.send(`{"id":1,"command":"subscribe","channel":"x"}`)
		c.want("1")
		line := c.stream.Peer()
		line.SetBuffer(0)
		s.post("x", "0") // a worker is in the middle of sending this
		synctest.Wait()
		before := line.Stats().Writes
		var want []string
		for i := range 40 {
			s.post("x", fmt.Sprint(1+i))
			want = append(want, fmt.Sprint("x", 1+i))
		}
		line.SetBuffer(64 << 10)
		c.want("x0")
		c.want(strings.Join(want, ", "))
		if n := line.Stats().Writes - before; n > 2 {
			t.Errorf("catching up with 40 messages takes %d writes", n)
		}

		line.SetBuffer(0)
		s.post("x", "41")
		synctest.Wait()
		for i := range 60 {
			s.post("x", fmt.Sprint(42+i))
		}
		line.SetBuffer(64 << 10)
		c.want("x41")
		text := c.read()
		if got := brief(t, text); !strings.HasPrefix(got, "reset x (too old), x52, x53, ") || !strings.HasSuffix(got, ", x101") {
			t.Errorf("got %s", got)
		}
		c.CloseNow()
	})
}

// What is more than goes into one text comes in several, of about the same size.
func TestCatchUpInSeveralTexts(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		const messages, size = 200, 1000
		for i := range messages {
			s.post("x", fmt.Sprintf(`"%0*d"`, size, i))
		}
		c := s.dial()
		c.send(`{"id":1,"command":"subscribe","channel":"x","history":%d}`, messages)
		for got := 0; got < messages; {
			text := c.read()
			if len(text) > maxBatch+2*size {
				t.Errorf("a text of %d bytes", len(text))
			}
			for i, err := range protocol.Items([]byte(text)) {
				switch {
				case err != nil:
					t.Fatalf("%s: %v", text, err)
				case i.IsMessage() && string(i.Data) != fmt.Sprintf(`"%0*d"`, size, got):
					t.Fatalf("message %d is %s", got, i.Data)
				case i.IsMessage():
					got++
				}
			}
		}
		c.CloseNow()
	})
}

// A client that sends commands and reads no replies is not read from for long:
// its replies do not pile up.
func TestClientReadsNoReplies(t *testing.T) {
	inMemory(t, &Server{CommandRate: -1}, func(t *testing.T, s *site) {
		c := s.dial()
		c.send(`{"id":1,"command":"subscribe","channel":"x"}`)
		c.want("1")
		c.stream.Peer().SetBuffer(0)
		s.post("x", "1") // a worker is in the middle of sending this
		synctest.Wait()
		const commands, many = 100, 1_000_000
		text := []byte(strings.Repeat(`{"id":1,"command":"x"}`, commands))
		sent := 0
		for sent < many && c.Write(t.Context(), websocket.Text, text) == nil {
			sent += commands
		}
		// Half of what it took was replied to, the other half is under way to the
		// server, where a line has room for 64 KiB.
		const reply = len(`{"id":1,"error":{"code":101,"message":"no command is called \"x\""}}`)
		if limit := 2 * (64<<10/reply + 64<<10/len(text)*commands); sent > limit || sent == 0 {
			t.Errorf("took %d commands, want at most %d", sent, limit)
		}
		c.CloseNow()
	})
}

func TestShutdown(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		well, stuck := s.dial(), s.dial()
		stuck.send(`{"id":1,"command":"subscribe","channel":"x"}`)
		stuck.want("1")
		stuck.stream.Peer().SetBuffer(0)
		s.post("x", "1")
		ended := make(chan string)
		go func() { ended <- well.read() }()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := s.server.Shutdown(ctx); err != context.DeadlineExceeded {
			t.Errorf("with a stuck line: %v", err)
		}
		if d := time.Since(begin); d != time.Second {
			t.Errorf("took %v, the context has a second", d)
		}
		if got := <-ended; got != "end 1001 " {
			t.Errorf("the line has ended with %s", got)
		}
		synctest.Wait()
		if n := s.server.lines.registry.Len(); n != 0 {
			t.Errorf("%d lines are left", n)
		}
		if _, resp, err := s.web.Dial(t.Context(), "/connect", nil); err == nil || resp == nil || resp.StatusCode != 503 {
			t.Errorf("a new line: %v, %v", resp, err)
		}
		stuck.CloseNow()
	})
}

// A thousand subscribers of a channel cost one encoding, and a write each.
func TestManySubscribers(t *testing.T) {
	const n = 300
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		tabs := make([]*tab, n)
		for i := range tabs {
			tabs[i] = s.dial()
			tabs[i].send(`{"id":1,"command":"subscribe","channel":"x"}`)
			tabs[i].want("1")
		}
		for i := range 3 {
			s.post("x", fmt.Sprint(i))
		}
		for i, c := range tabs {
			c.want("x0, x1, x2")
			if i%2 == 0 {
				c.CloseNow()
			}
		}
		s.post("x", "3")
		for i, c := range tabs {
			if i%2 != 0 {
				c.want("x3")
				c.CloseNow()
			}
		}
	})
}

// A message that is too old is not given out because somebody else listens.
func TestHistoryAgeOfAnOpenChannel(t *testing.T) {
	inMemory(t, &Server{HistoryAge: time.Minute}, func(t *testing.T, s *site) {
		first := s.dial()
		first.send(`{"id":1,"command":"subscribe","channel":"a"}`)
		first.read()
		ended := make(chan struct{})
		go func() { // answers pings
			defer close(ended)
			for strings.HasPrefix(first.read(), "{") {
			}
		}()
		defer func() { first.CloseNow(); <-ended }()
		s.post("a", "1")
		time.Sleep(50 * time.Second)
		s.post("a", "2")
		time.Sleep(30 * time.Second)
		second := s.dial()
		second.send(`{"id":1,"command":"subscribe","channel":"a","history":9}`)
		if got := second.read(); strings.Contains(got, `"data":1`) || !strings.Contains(got, `"data":2`) {
			t.Errorf("after 80 s, with an age of a minute: %s", got)
		}
	})
}
