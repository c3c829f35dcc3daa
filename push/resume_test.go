package push

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/duplexgo/duplex/push/protocol"
)

// A world is what has really been published, to hold against what clients see.
type world struct {
	mu   sync.Mutex
	seqs map[string][]uint64 // of each channel, ascending
}

func newWorld() *world { return &world{seqs: make(map[string][]uint64)} }

// publish publishes to a channel and reports whether that worked.
func (w *world) publish(t *testing.T, c *core, channel string) bool {
	p, err := c.broker.publish(t.Context(), channel, json.RawMessage(`0`))
	if err != nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	i, _ := slices.BinarySearch(w.seqs[channel], p.seq)
	w.seqs[channel] = slices.Insert(w.seqs[channel], i, p.seq)
	return true
}

// between counts the messages of a channel above from and up to to.
func (w *world) between(channel string, from, to uint64) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, _ := slices.BinarySearch(w.seqs[channel], from+1)
	j, _ := slices.BinarySearch(w.seqs[channel], to+1)
	return max(0, j-i)
}

const forever = math.MaxUint64 - 1

// A witness is a client that knows where it is in each channel and checks that
// all that it gets is exactly what comes next.
type witness struct {
	world   *world
	names   []string
	begin   map[string]uint64 // where its channels began
	at      map[string]uint64 // where it is now
	got     map[string]int    // messages
	gaps    []gap
	ids     map[int64]string // subscriptions that have not been answered
	last    Position         // of the last message
	strict  bool             // every reset must be for a message that there was
	problem string
}

// A gap is what a reset has told of.
type gap struct {
	channel  string
	from, to uint64
}

func newWitness(w *world, names []string) *witness {
	return &witness{world: w, names: names, begin: make(map[string]uint64), at: make(map[string]uint64), got: make(map[string]int)}
}

func (w *witness) fail(format string, args ...any) {
	if w.problem == "" {
		w.problem = fmt.Sprintf(format, args...)
	}
}

func (w *witness) take(text []byte) {
	for i, err := range protocol.Items(text) {
		switch {
		case err != nil:
			w.fail("%q: %v", text, err)
		case i.Error != nil:
			w.fail("error %v", i.Error)
		case i.IsReply():
			w.subscribed(w.ids[i.ID], w.seq(i.Result.Position))
		case i.Reset != nil:
			w.reset(i.Reset)
		default:
			w.message(i.Message)
		}
	}
}

func (w *witness) seq(position string) uint64 {
	var p Position
	if err := p.UnmarshalText([]byte(position)); err != nil {
		w.fail("position %q: %v", position, err)
	}
	return p.seq
}

// subscribed takes the reply. If messages are missing before its position, a
// reset must follow, or the next message shows it.
func (w *witness) subscribed(channel string, seq uint64) {
	at, before := w.at[channel]
	switch {
	case !before:
		w.begin[channel], w.at[channel] = seq, seq
	case seq < at:
		w.fail("subscribed to %s since %d or later, and it begins at %d", channel, at, seq)
	case w.world.between(channel, at, seq) == 0:
		w.at[channel] = seq
	}
}

func (w *witness) reset(r *protocol.Reset) {
	seq, at := w.seq(r.Position), w.at[r.Channel]
	if seq < at {
		w.fail("reset of %s goes back from %d to %d", r.Channel, at, seq)
	}
	if w.strict && w.world.between(r.Channel, at, seq) == 0 {
		w.fail("reset of %s from %d to %d without a message in between", r.Channel, at, seq)
	}
	w.gaps = append(w.gaps, gap{r.Channel, at, seq})
	w.at[r.Channel] = seq
}

// message checks that nothing is before this message that has not come, in any
// channel: so its position is good for all of them.
func (w *witness) message(m protocol.Message) {
	seq := w.seq(m.Position)
	if at, ok := w.at[m.Channel]; !ok || seq <= at {
		w.fail("message %d of %s, which is at %d (subscribed: %v)", seq, m.Channel, at, ok)
	}
	for channel, at := range w.at {
		if n := w.world.between(channel, at, seq-1); n > 0 {
			w.fail("message %d of %s, but %d messages of %s from %d on have not come", seq, m.Channel, n, channel, at)
		}
	}
	w.at[m.Channel] = seq
	w.got[m.Channel]++
	w.last.UnmarshalText([]byte(m.Position))
}

// complete returns what is wrong in the end, when everything must have come: each
// message since the beginning once, but for those that a reset told of.
func (w *witness) complete() string {
	for _, channel := range w.names {
		begin, ok := w.begin[channel]
		want := w.world.between(channel, begin, forever)
		for _, g := range w.gaps {
			if g.channel == channel {
				want -= w.world.between(channel, g.from, g.to)
			}
		}
		if got := w.got[channel]; !ok || got != want {
			w.fail("%s: %d messages have come, %d were to come (subscribed: %v)", channel, got, want, ok)
		}
	}
	return w.problem
}

// subscribeAll is the text with which a client comes back: each channel since its
// own position, or all since that of the last message.
func (w *witness) subscribeAll(random *rand.Rand, epoch Position) string {
	var text strings.Builder
	one := random.IntN(2) == 0 && !w.last.IsZero()
	w.ids = make(map[int64]string)
	for i, channel := range w.names {
		w.ids[int64(i+1)] = channel
		since := ""
		if at, ok := w.at[channel]; ok {
			since = epoch.at(at).String()
			if one && w.last.seq >= at {
				since = w.last.String()
			}
		}
		fmt.Fprintf(&text, `{"id":%d,"command":"subscribe","channel":%q,"since":%q}`, i+1, channel, since)
	}
	return text.String()
}

// Clients with random channels read in random portions, lose what is under way,
// and come back: what they get is held against all that was published.
func TestResume(t *testing.T) {
	for _, test := range []struct {
		name   string
		memory memoryLimits
	}{
		{"everything is kept", memoryLimits{}},
		{"short logs", memoryLimits{messages: 5}},
		{"few bytes", memoryLimits{bytes: 3000}},
		{"few channels", memoryLimits{channels: 4, messages: 50}},
	} {
		t.Run(test.name, func(t *testing.T) {
			resets := 0
			for seed := range uint64(25) {
				resets += testResume(t, seed, test.memory)
			}
			if kept := test.memory == (memoryLimits{}); kept != (resets == 0) {
				t.Errorf("%d resets", resets)
			}
		})
	}
}

func testResume(t *testing.T, seed uint64, memory memoryLimits) (resets int) {
	type client struct {
		*witness
		*peer // nil: away
	}
	random := rand.New(rand.NewPCG(seed, 1))
	c := newTestCore(t, limits{}, memory)
	world, names := newWorld(), []string{"a", "b", "c", "d", "e", "f"}
	connect := func(cl *client) {
		cl.peer = newPeer(t, c)
		cl.session.receive(t.Context(), []byte(cl.subscribeAll(random, c.broker.now())))
	}
	clients := make([]client, 3)
	for i := range clients {
		n := 1 + random.IntN(3)
		if memory.channels > 0 {
			n = 1 // all together leave room for others
		}
		random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		clients[i].witness = newWitness(world, slices.Clone(names[:n]))
		// A channel that has been forgotten may have had messages.
		clients[i].strict = memory.bytes == 0 && memory.channels == 0
		connect(&clients[i])
	}
	read := func(cl *client) (text []byte, more bool) {
		return cl.session.next(&cl.batch, 1+random.IntN(600))
	}
	for range 200 {
		cl := &clients[random.IntN(len(clients))]
		switch n := random.IntN(20); {
		case n < 12:
			world.publish(t, c, names[random.IntN(len(names))])
		case cl.peer == nil:
			connect(cl)
		case n < 18:
			text, _ := read(cl)
			cl.take(text)
		default: // what is under way is lost with the line
			read(cl)
			cl.session.close()
			cl.peer = nil
		}
	}
	for i, cl := range clients {
		if cl.peer == nil {
			connect(&cl)
		}
		for more := true; more; {
			var text []byte
			text, more = read(&cl)
			cl.take(text)
		}
		if problem := cl.complete(); problem != "" {
			t.Fatalf("seed %d, client %d: %s", seed, i, problem)
		}
		resets += len(cl.gaps)
		cl.session.close()
	}
	return resets
}

// Messages of many channels come in one order, although they are published while
// the logs are being read.
func TestOrderAcrossChannels(t *testing.T) {
	c := newTestCore(t, limits{}, memoryLimits{})
	p := newPeer(t, c)
	const channels, messages = 200, 3000
	for i := range channels {
		p.session.receive(t.Context(), fmt.Appendf(nil, `{"id":1,"command":"subscribe","channel":"%d"}`, i))
	}
	p.news()
	var writers sync.WaitGroup
	for g := range 2 {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 4))
			for range messages / 2 {
				c.broker.publish(t.Context(), fmt.Sprint(random.IntN(channels)), json.RawMessage("0"))
			}
		})
	}
	var last uint64
	for got := 0; got < messages; {
		text, _ := p.session.next(&p.batch, 1<<20)
		for i := range protocol.Items(text) {
			var at Position
			at.UnmarshalText([]byte(i.Message.Position))
			if at.seq != last+1 {
				t.Fatalf("message %d after %d", at.seq, last)
			}
			last = at.seq
			got++
		}
	}
	writers.Wait()
}

// The same with everybody at once, through the pool: writers, and readers that
// are slow, are cut and come back.
func TestResumeAtOnce(t *testing.T) {
	c := newTestCore(t, limits{}, memoryLimits{messages: 100})
	world := newWorld()
	var workers pool
	var writers, readers sync.WaitGroup
	for g := range 12 {
		w := newWitness(world, []string{"a", "b", "c", "d", "end"}[g%4:])
		for _, channel := range w.names { // from the very beginning, however late it runs
			w.begin[channel], w.at[channel] = 0, 0
		}
		readers.Go(func() {
			if problem := readAtOnce(t, c, &workers, w, uint64(g)); problem != "" {
				t.Errorf("reader %d: %s", g, problem)
			}
		})
	}
	for g := range 3 {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 2))
			for range 400 {
				world.publish(t, c, string('a'+rune(random.IntN(4))))
			}
		})
	}
	writers.Wait()
	if !world.publish(t, c, "end") {
		t.Fatal("the end cannot be published")
	}
	readers.Wait()
}

// readAtOnce reads with many lines, one after the other, up to the message in the
// channel end, which is the last of all.
func readAtOnce(t *testing.T, c *core, p *pool, w *witness, seed uint64) (problem string) {
	random := rand.New(rand.NewPCG(seed, 3))
	for w.got["end"] == 0 && w.problem == "" {
		l := newTestLine(c, p, random.IntN(3))
		l.session.receive(t.Context(), []byte(w.subscribeAll(random, c.broker.now())))
		l.wake()
		for n := random.IntN(30); n >= 0 && w.got["end"] == 0 && w.problem == ""; n-- {
			w.take(<-l.texts)
		}
		l.session.close()
		close(l.gone)
	}
	return w.complete()
}

// A testLine sends a session's texts into a channel, as slow as it is read.
type testLine struct {
	session session
	pool    *pool
	task    task
	texts   chan []byte
	gone    chan struct{}
}

func newTestLine(c *core, p *pool, room int) *testLine {
	l := &testLine{pool: p, texts: make(chan []byte, room), gone: make(chan struct{})}
	l.task.send = l.send
	l.session.init(c, l)
	l.session.begin(FullGrant())
	return l
}

func (l *testLine) wake()      { l.pool.wake(&l.task) }
func (l *testLine) cut(ending) {}

func (l *testLine) send(b *batch) (more bool) {
	text, more := l.session.next(b, 500)
	if len(text) == 0 {
		return false
	}
	select {
	case l.texts <- append([]byte(nil), text...):
		return more
	case <-l.gone:
		return false
	}
}

// A batch that tells of resets apart from its messages ends where one would stand
// between them, and the next begins with it.
func TestResetsFirst(t *testing.T) {
	c := newTestCore(t, limits{}, memoryLimits{messages: 2})
	p := newPeer(t, c)
	p.send(`{"id":1,"command":"subscribe","channel":"a"}`)
	for range 2 {
		publish(t, c.broker, "a", "0")
	}
	f := &dropping{after: 1, drop: func() {
		for range 3 {
			publish(t, c.broker, "a", "1")
		}
	}}
	p.batch.form, p.batch.resetsFirst = f, true
	text, more := p.session.next(&p.batch, 1<<20)
	if p.batch.messages != 1 || p.batch.resets != 0 || !more || p.batch.position.seq != 1 {
		t.Errorf("%d messages, %d resets, position %v, more %v in %s", p.batch.messages, p.batch.resets, p.batch.position, more, text)
	}
	text, more = p.session.next(&p.batch, 1<<20)
	if p.batch.messages != 2 || p.batch.resets != 1 || more || p.batch.position.seq != 5 {
		t.Errorf("%d messages, %d resets, position %v, more %v in %s", p.batch.messages, p.batch.resets, p.batch.position, more, text)
	}
}

// dropping is a form that has the log drop what comes next, when it has written some
// messages.
type dropping struct {
	after int
	drop  func()
}

func (f *dropping) message(text []byte, _ Position, line []byte) []byte {
	if f.after--; f.after == 0 {
		f.drop()
	}
	return append(text, line...)
}

func (f *dropping) reset(text []byte, _ protocol.Reset) []byte { return text }
