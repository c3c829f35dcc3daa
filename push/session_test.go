package push

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
)

// newTestCore returns a core with a memory for a broker.
func newTestCore(t *testing.T, limits limits, memory memoryLimits) *core {
	c := &core{limits: limits}
	m := newMemory(memory, c.hub.news)
	c.broker, c.hub.broker = m, m
	t.Cleanup(func() { checkMemory(t, m); m.close() })
	return c
}

// A wakeCounter is a session's line in tests that ask for the news themselves.
type wakeCounter struct{ n atomic.Int64 }

func (w *wakeCounter) wake()      { w.n.Add(1) }
func (w *wakeCounter) cut(ending) {}

// A peer is the client of a session, without anything between them.
type peer struct {
	t       *testing.T
	session session
	wakes   wakeCounter
	batch   batch
}

func newPeer(t *testing.T, c *core) *peer {
	p := &peer{t: t}
	p.session.init(c, &p.wakes)
	p.session.begin(FullGrant())
	t.Cleanup(p.session.close)
	return p
}

// send gives the session a text and returns what comes.
func (p *peer) send(text string) string {
	p.t.Helper()
	if end := p.session.receive(p.t.Context(), []byte(text)); end != nil {
		return fmt.Sprint("end ", end.code)
	}
	return p.news()
}

// news returns all that is new.
func (p *peer) news() string {
	p.t.Helper()
	text, more := p.session.next(&p.batch, 1<<20)
	if more {
		p.t.Error("there is more")
	}
	return string(text)
}

// brief shortens a text from the session: a message to its channel and data, a
// reply to its id and error.
func brief(t *testing.T, text string) string {
	t.Helper()
	var all []string
	for i, err := range protocol.Items([]byte(text)) {
		switch {
		case err != nil:
			t.Fatalf("%q: %v", text, err)
		case i.Error != nil:
			all = append(all, fmt.Sprintf("%d!%d", i.ID, i.Error.Code))
		case i.IsReply():
			all = append(all, fmt.Sprintf("%d", i.ID))
		case i.Reset != nil:
			all = append(all, fmt.Sprintf("reset %s (%s)", i.Reset.Channel, i.Reset.Reason))
		case i.IsMessage():
			all = append(all, i.Channel+string(i.Data))
		default:
			t.Errorf("%q has an item that is nothing", text)
		}
	}
	return strings.Join(all, ", ")
}

func (p *peer) want(text, want string) {
	p.t.Helper()
	if got := brief(p.t, text); got != want {
		p.t.Errorf("got  %s\nwant %s\nin   %s", got, want, text)
	}
}

// position returns the position in the first item of a text.
func position(t *testing.T, text string) (p Position) {
	t.Helper()
	for i, err := range protocol.Items([]byte(text)) {
		s := i.Message.Position
		if i.Result != nil {
			s = i.Result.Position
		}
		if err == nil {
			err = p.UnmarshalText([]byte(s))
		}
		if err != nil || p.IsZero() {
			t.Fatalf("%q has no position: %v", text, err)
		}
		break
	}
	return p
}

func TestSession(t *testing.T) {
	c := newTestCore(t, limits{}, memoryLimits{})
	for i := range 3 {
		publish(t, c.broker, "a", fmt.Sprint(i))
	}
	p := newPeer(t, c)

	p.want(p.send(`{"id":1,"command":"subscribe","channel":"a"}`), "1")
	p.want(p.news(), "")
	m := publish(t, c.broker, "a", "3")
	if p.wakes.n.Load() == 0 {
		t.Error("a message has not woken the session")
	}
	text := p.news()
	p.want(text, "a3")
	if got := position(t, text); got != m {
		t.Errorf("the message has position %v, want %v", got, m)
	}
	publish(t, c.broker, "b", "4")
	p.want(p.news(), "")

	p.want(p.send(`{"id":2,"command":"subscribe","channel":"b","history":5} {"id":3,"command":"publish","channel":"a","data":{"x": [ 5 ]}}`),
		`2, 3, b4, a{"x":[5]}`)
	p.want(p.send(`{"id":4,"command":"unsubscribe","channel":"a"}`), "4")
	publish(t, c.broker, "a", "6")
	publish(t, c.broker, "b", "7")
	p.want(p.news(), "b7")
	p.want(p.send(fmt.Sprintf(`{"id":5,"command":"subscribe","channel":"a","since":%q}`, m)), `5, a{"x":[5]}, a6`)

	p.session.close()
	publish(t, c.broker, "a", "8")
	p.want(p.news(), "")
	if n := len(c.hub.channels); n != 0 {
		t.Errorf("%d channels have readers after the only session's end", n)
	}
}

// The reply of subscribe tells where the subscription begins, whether there is a
// message or not.
func TestSubscribePosition(t *testing.T) {
	c := newTestCore(t, limits{}, memoryLimits{messages: 2})
	begin := c.broker.now()
	var at []Position
	for i := range 4 {
		at = append(at, publish(t, c.broker, "a", fmt.Sprint(i)))
	}
	now := publish(t, c.broker, "b", "4")
	for _, test := range []struct {
		options string
		want    Position
		text    string
	}{
		{``, now, ""},
		{`,"history":0`, now, ""},
		{`,"history":1`, at[2], "a3"},
		{`,"history":2`, at[1], "a2, a3"},
		{`,"history":1000`, at[1], "a2, a3"},
		{fmt.Sprintf(`,"since":%q`, at[2]), at[2], "a3"},
		{fmt.Sprintf(`,"since":%q,"history":2`, at[2]), at[2], "a3"},
		{fmt.Sprintf(`,"since":%q`, now), now, ""},
		{fmt.Sprintf(`,"since":%q`, begin), at[1], "reset a (too old), a2, a3"},
		{`,"since":"1.5"`, at[1], "reset a (recreated), a2, a3"},
	} {
		p := newPeer(t, c)
		text := p.send(`{"id":1,"command":"subscribe","channel":"a"` + test.options + `}`)
		if got := position(t, text); got != test.want {
			t.Errorf("%s: begins at %v, want %v", test.options, got, test.want)
		}
		p.want(text, strings.TrimSuffix("1, "+test.text, ", "))
	}
}

// A reader that the log leaves behind is told where it goes on.
func TestFallBehind(t *testing.T) {
	c := newTestCore(t, limits{}, memoryLimits{messages: 2})
	p := newPeer(t, c)
	p.send(`{"id":1,"command":"subscribe","channel":"a"} {"id":2,"command":"subscribe","channel":"b"}`)
	publish(t, c.broker, "b", "0")
	var at []Position
	for i := range 4 {
		at = append(at, publish(t, c.broker, "a", fmt.Sprint(i)))
	}
	text := p.news()
	p.want(text, "reset a (too old), b0, a2, a3")
	for i := range protocol.Items([]byte(text)) {
		if i.Reset != nil && i.Reset.Position != at[1].String() {
			t.Errorf("the reset is at %s, want %s", i.Reset.Position, at[1])
		}
	}
	publish(t, c.broker, "a", "5")
	p.want(p.news(), "a5")
}

// One encoding serves all readers: the text of a single message is the log's own.
func TestLoneMessageIsNotCopied(t *testing.T) {
	c := newTestCore(t, limits{}, memoryLimits{})
	p, q := newPeer(t, c), newPeer(t, c)
	p.send(`{"id":1,"command":"subscribe","channel":"a"}`)
	q.send(`{"id":1,"command":"subscribe","channel":"a"}`)
	publish(t, c.broker, "a", "1")
	x, _ := p.session.next(&p.batch, 1)
	y, _ := q.session.next(&q.batch, 1)
	if &x[0] != &y[0] {
		t.Error("two readers have two copies of the line")
	}
	if n := testing.AllocsPerRun(10, func() {
		publish(t, c.broker, "b", "1")
		p.session.next(&p.batch, 1)
	}); n > 6 {
		t.Errorf("publishing and looking for news takes %v allocations", n)
	}
}

func TestBatches(t *testing.T) {
	c := newTestCore(t, limits{}, memoryLimits{})
	p := newPeer(t, c)
	for i := range 10 {
		publish(t, c.broker, "a", fmt.Sprint(i))
	}
	p.session.receive(t.Context(), []byte(`{"id":1,"command":"subscribe","channel":"a","history":10}`))
	var all []string
	for more := true; more; {
		var text []byte
		text, more = p.session.next(&p.batch, 200)
		if len(text) == 0 {
			t.Fatal("nothing, though there was more")
		}
		if len(text) > 200+100 {
			t.Errorf("a text of %d bytes, asked for about 200", len(text))
		}
		all = append(all, brief(t, string(text)))
	}
	if len(all) < 4 || strings.Join(all, ", ") != "1, a0, a1, a2, a3, a4, a5, a6, a7, a8, a9" {
		t.Errorf("%d texts: %q", len(all), all)
	}
}

func TestCommandErrors(t *testing.T) {
	c := newTestCore(t, limits{message: 20, subscriptions: 2}, memoryLimits{channels: 2})
	p := newPeer(t, c)
	long := strings.Repeat("x", 256)
	for _, test := range []struct{ name, text, want string }{
		{"not JSON", `hello`, "0!100"},
		{"no id", `{"command":"subscribe","channel":"a"}`, "0!100"},
		{"no command", `{"id":1,"channel":"a"}`, "1!100"},
		{"unknown command", `{"id":1,"command":"Subscribe","channel":"a"}`, "1!101"},
		{"what is wrong does not hinder the rest", `{"id":1,"command":"x"} {"id":2,"command":"subscribe","channel":"a","colour":1} {"id":3,"channel":4}`, "1!101, 2, 3!100"},
		{"subscribed already", `{"id":1,"command":"subscribe","channel":"a"}`, "1!106"},
		{"not subscribed", `{"id":1,"command":"unsubscribe","channel":"b"}`, "1!107"},
		{"no channel", `{"id":1,"command":"subscribe"} {"id":2,"command":"unsubscribe"} {"id":3,"command":"publish","data":1}`, "1!102, 2!102, 3!102"},
		{"channel too long", `{"id":1,"command":"subscribe","channel":"` + long + `"}`, "1!102"},
		{"channel with a control character", `{"id":1,"command":"subscribe","channel":"a\u0085"}`, "1!102"},
		{"garbage for a position", `{"id":1,"command":"subscribe","channel":"b","since":"0"}`, "1!103"},
		{"negative history", `{"id":1,"command":"subscribe","channel":"b","history":-1}`, "1!100"},
		{"no data", `{"id":1,"command":"publish","channel":"c"}`, "1!104"},
		{"data of the longest length", `{"id":1,"command":"publish","channel":"c","data":"` + long[:18] + `"}`, "1"},
		{"data too long", `{"id":1,"command":"publish","channel":"c","data":"` + long[:19] + `"}`, "1!105"},
		{"null is data", `{"id":1,"command":"publish","channel":"c","data":null}`, "1"},
		{"as many subscriptions as allowed", `{"id":1,"command":"subscribe","channel":"b"}`, "1"},
		{"one more", `{"id":1,"command":"subscribe","channel":"c"}`, "1!108"},
		{"no room for another channel", `{"id":1,"command":"publish","channel":"d","data":1}`, "1!202"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.t = t
			p.want(p.send(test.text), test.want)
		})
	}
	c.draining.Store(true)
	p.t = t
	p.want(p.send(`{"id":1,"command":"publish","channel":"b","data":1}`), "1!203")
}

func TestCommandRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCore(t, limits{commands: 3}, memoryLimits{})
		p := newPeer(t, c)
		const burst = 3 * burstSeconds
		text := `{"id":1,"command":"publish","channel":"a","data":1}`
		for i := range burst {
			if got := brief(t, p.send(text)); got != "1" {
				t.Fatalf("command %d of the burst: %s", i, got)
			}
		}
		p.want(p.send(text), "1!201")
		p.want(p.send("{"), "0!201") // a faulty one counts too
		time.Sleep(time.Second)
		p.want(p.send(text+text+text+text), "1, 1, 1, 1!201")
		for i := range burst - 1 {
			if got := brief(t, p.send(text)); got != "1!201" {
				t.Fatalf("refusal %d: %s", i, got)
			}
		}
		if got := p.send(text); got != "end 4500" {
			t.Errorf("a line that does not heed refusals gets %q", got)
		}
		if history, _ := c.broker.history("a", Position{}, 0); len(history.messages) != burst+3 {
			t.Errorf("%d messages were published, want %d", len(history.messages), burst+3)
		}
	})
}

// Commands of one text take effect together: what another goroutine asks for in
// between is not given before all of them are done.
func TestTextIsWhole(t *testing.T) {
	c := newTestCore(t, limits{}, memoryLimits{})
	b := publish(t, c.broker, "b", "1")
	publish(t, c.broker, "a", "2")
	p := newPeer(t, c)
	p.session.setBusy(true)
	_, err := p.session.subscribe(protocol.Command{Channel: "a", Since: b.at(0).String()})
	if err != nil {
		t.Fatal(err)
	}
	p.want(p.news(), "") // else a2 would be before b1
	p.session.setBusy(false)
	p.want(p.send(fmt.Sprintf(`{"id":1,"command":"subscribe","channel":"b","since":%q}`, b.at(0))), "1, b1, a2")
}
