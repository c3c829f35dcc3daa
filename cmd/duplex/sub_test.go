package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
)

// A script is what a server does on the connections that come, one after the
// other. It gets the commands that the client began with.
type script []func(c *websocket.Conn, commands []protocol.Command)

// play runs a server by a script and returns its URL.
func play(t *testing.T, s script) string {
	t.Helper()
	acts := make(chan func(*websocket.Conn, []protocol.Command), len(s))
	for _, act := range s {
		acts <- act
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/connect" {
			http.NotFound(w, r)
			return
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol.Subprotocol}})
		if err != nil {
			return
		}
		defer c.CloseNow()
		_, text, err := c.Read(context.Background())
		if err != nil {
			t.Errorf("no commands: %v", err)
			return
		}
		var commands []protocol.Command
		for command, err := range protocol.Commands(text) {
			if err != nil {
				t.Errorf("the commands are %s: %v", text, err)
			}
			commands = append(commands, command)
		}
		select {
		case act := <-acts:
			act(c, commands)
		default:
			t.Error("a connection too many")
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// sends is an act that sends one text and then does the closing handshake.
func sends(code websocket.CloseCode, lines ...string) func(*websocket.Conn, []protocol.Command) {
	return func(c *websocket.Conn, _ []protocol.Command) {
		c.Write(context.Background(), websocket.Text, []byte(strings.Join(lines, "\n")))
		c.Close(code, "")
	}
}

// Messages come out as they came in, each on a line of its own, with fields that
// a later server adds, and without what would attack a terminal.
func TestSubPrints(t *testing.T) {
	url := play(t, script{sends(4000,
		`{"id":1,"result":{"position":"e.1"}}`,
		`{"channel":"a","position":"e.2","data":{"x":[1,2]},"new":{"y":1}}`,
		"{\n \"channel\": \"a\",\n \"position\": \"e.3\",\n \"data\": \"\u009b31m \u202e\\u001b\"\n}",
	)})
	got := duplex(t, nil, "sub", url, "a")
	want := result{exitFailure,
		`{"channel":"a","position":"e.2","data":{"x":[1,2]},"new":{"y":1}}` + "\n" +
			`{"channel":"a","position":"e.3","data":"\u009b31m \u202e\u001b"}` + "\n",
		"duplex sub: the server closed the connection with 4000\n"}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// After a break the subscriptions go on where each was, and only a message's
// position holds for all channels.
func TestSubResumes(t *testing.T) {
	began := make(chan []protocol.Command, 10)
	note := func(then func(*websocket.Conn, []protocol.Command)) func(*websocket.Conn, []protocol.Command) {
		return func(c *websocket.Conn, commands []protocol.Command) {
			began <- commands
			then(c, commands)
		}
	}
	replies := `{"id":1,"result":{"position":"e.1"}}` + "\n" + `{"id":2,"result":{"position":"e.2"}}`
	url := play(t, script{
		note(sends(websocket.CloseGoingAway, replies)),
		note(func(c *websocket.Conn, _ []protocol.Command) {
			c.Write(context.Background(), websocket.Text, []byte(replies+"\n"+`{"channel":"b","position":"e.9","data":1}`))
			c.Write(context.Background(), websocket.Text, []byte(`{"reset":{"channel":"a","reason":"too old","position":"e.8"}}`))
			c.CloseNow()
		}),
		note(sends(websocket.CloseTryAgainLater, replies, `{"channel":"a","position":"e.11","data":2}`)),
		note(sends(4499)),
	})
	got := duplex(t, nil, "sub", url, "a", "b", "a", "--history", "3")
	if got.code != exitFailure || got.stdout != `{"channel":"b","position":"e.9","data":1}`+"\n"+`{"channel":"a","position":"e.11","data":2}`+"\n" {
		t.Errorf("%+v", got)
	}
	for _, want := range []string{
		"no connection: the server closed the connection with 1001 (going away); trying again in ",
		"no connection: the connection broke: it ended without a close frame; trying again in ",
		`reset: messages of "a" may be lost: too old`,
		"no connection: the server closed the connection with 1013 (try again later); trying again in ",
		"duplex sub: the server closed the connection with 4499\n",
	} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("stderr is\n%s\nand does not hold %q", got.stderr, want)
		}
	}
	subscribe := func(id int64, channel, since string, history int) protocol.Command {
		return protocol.Command{ID: id, Command: protocol.Subscribe, Channel: channel, Since: since, History: history}
	}
	for i, want := range [][]protocol.Command{
		{subscribe(1, "a", "", 3), subscribe(2, "b", "", 3)},
		{subscribe(1, "a", "e.1", 0), subscribe(2, "b", "e.2", 0)},
		{subscribe(1, "a", "e.8", 0), subscribe(2, "b", "e.9", 0)},
		{subscribe(1, "a", "e.11", 0), subscribe(2, "b", "e.11", 0)},
	} {
		got := <-began
		if !slices.EqualFunc(got, want, func(a, b protocol.Command) bool {
			x, _ := json.Marshal(a)
			y, _ := json.Marshal(b)
			return string(x) == string(y)
		}) {
			t.Errorf("connection %d began with %+v, want %+v", i, got, want)
		}
	}
}

func TestSubSince(t *testing.T) {
	url := play(t, script{func(c *websocket.Conn, commands []protocol.Command) {
		for _, command := range commands {
			if command.Since != "e.7" {
				t.Errorf("subscribed with %+v", command)
			}
		}
		c.Close(4000, "")
	}})
	duplex(t, nil, "sub", url, "a", "b", "--since", "e.7")
}

// What cannot get better by trying again ends the command.
func TestSubRefused(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"a bad channel", `{"id":2,"error":{"code":102,"message":"too long"}}`, `the server refused the subscription to "b": too long (102)`},
		{"another error", `{"error":{"code":100,"message":"what?"}}`, "the server refused: what? (100)"},
		{"not the protocol", `{"id":1,`, "the server does not speak duplex.v1.json as it says: unexpected EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := play(t, script{func(c *websocket.Conn, _ []protocol.Command) {
				c.Write(context.Background(), websocket.Text, []byte(test.text))
				c.Read(context.Background())
			}})
			want := result{exitFailure, "", "duplex sub: " + test.want + "\n"}
			if got := duplex(t, nil, "sub", url, "a", "b"); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

// An error that passes by is none to end with.
func TestSubTriesAgain(t *testing.T) {
	url := play(t, script{
		func(c *websocket.Conn, _ []protocol.Command) {
			c.Write(context.Background(), websocket.Text, []byte(`{"id":1,"error":{"code":203,"message":"shutting down"}}`))
			c.Read(context.Background())
		},
		sends(4000),
	})
	got := duplex(t, nil, "sub", url, "a")
	if !strings.HasPrefix(got.stderr, `no connection: the server refused the subscription to "a": shutting down (203); trying again in `) {
		t.Errorf("%+v", got)
	}
}

// The first connection must come about: the URL may be wrong.
func TestSubNotAPushServer(t *testing.T) {
	_, url := startEcho(t)
	got := duplex(t, nil, "sub", url, "a")
	if got.code != exitFailure || !strings.Contains(got.stderr, "does not speak duplex.v1.json, so this is no push server") {
		t.Errorf("%+v", got)
	}
	srv := httptest.NewServer(http.NotFoundHandler())
	got = duplex(t, nil, "sub", srv.URL, "a")
	if got.code != exitFailure || !strings.Contains(got.stderr, "/connect: the server answered 404") {
		t.Errorf("%+v", got)
	}
	srv.Close()
	got = duplex(t, nil, "sub", srv.URL, "a")
	if got.code != exitFailure || !strings.Contains(got.stderr, "nothing listens there") {
		t.Errorf("%+v", got)
	}
}

func TestSubSignal(t *testing.T) {
	closed := make(chan error, 1)
	url := play(t, script{func(c *websocket.Conn, _ []protocol.Command) {
		c.Write(context.Background(), websocket.Text, []byte(`{"channel":"a","position":"e.9","data":1}`))
		_, _, err := c.Read(context.Background())
		closed <- err
	}})
	r := start(t, "sub", url, "a")
	r.find(`"e.9"`)
	r.cancel()
	if code := r.wait(); code != exitOK || r.stderr.String() != "" {
		t.Errorf("exit code %d, stderr %q", code, r.stderr)
	}
	wantCode(t, <-closed, websocket.CloseNormal)
}

// A signal ends the wait for the next try, too.
func TestSubSignalWhileWaiting(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol.Subprotocol}})
		if err == nil {
			c.CloseNow()
		}
	}))
	t.Cleanup(srv.Close)
	r := start(t, "sub", srv.URL, "a")
	r.stderr.waitFor(t, "trying again")
	r.cancel()
	if code := r.wait(); code != exitOK {
		t.Errorf("exit code %d, stderr %q", code, r.stderr)
	}
}

// The longest names that a line may be subscribed to fit into one text.
func TestSubLongNames(t *testing.T) {
	s := sub{}
	for i := range 128 {
		s.channels = append(s.channels, fmt.Sprint(i)+strings.Repeat("<", 252))
	}
	if n := len(s.subscriptions()); n > 128<<10 {
		t.Errorf("the subscriptions have %d bytes", n)
	}
}
