package push

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
)

// newTestMemory returns a memory whose news nobody wants.
func newTestMemory(t *testing.T, limits memoryLimits) *memory {
	m := newMemory(limits, func(string) {})
	t.Cleanup(func() { checkMemory(t, m); m.close() })
	return m
}

// checkMemory looks whether the books are right.
func checkMemory(t *testing.T, m *memory) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var bytes int64
	for name, l := range m.logs {
		var size int64
		for i := range l.n {
			size += l.entry(i).size()
			if i > 0 && l.entry(i-1).seq >= l.entry(i).seq {
				t.Errorf("%s: sequence %d after %d", name, l.entry(i).seq, l.entry(i-1).seq)
			}
		}
		if l.bytes != size {
			t.Errorf("%s counts %d bytes and has %d", name, l.bytes, size)
		}
		bytes += size
		switch {
		case l.place.opens == 0 && l.place.list != &m.idle:
			t.Errorf("%s is idle, but not in the list", name)
		case l.place.opens > 0 && l.n > 0 && l.place.list != &m.opened:
			t.Errorf("%s is open and has messages, but is not in the list", name)
		}
	}
	if m.bytes != bytes {
		t.Errorf("%d bytes are counted, the logs have %d", m.bytes, bytes)
	}
	for _, s := range []*list{&m.idle, &m.opened} {
		var prev *log
		for l := s.oldest; l != nil; prev, l = l, l.place.next {
			if l.place.list != s || l.place.prev != prev || m.logs[l.channel] != l {
				t.Errorf("%s is in a list where it does not belong", l.channel)
			}
			if prev != nil && prev.place.used > l.place.used {
				t.Errorf("%s was used after %s and is older in the list", prev.channel, l.channel)
			}
		}
		if s.newest != prev {
			t.Error("the list's end is not its newest")
		}
	}
}

func publish(t *testing.T, b broker, channel, data string) Position {
	t.Helper()
	p, err := b.publish(t.Context(), channel, json.RawMessage(data))
	if err != nil {
		t.Fatalf("publish to %s: %v", channel, err)
	}
	return p
}

// data returns the data of messages, which must be numbers or the like.
func data(t *testing.T, messages []entry) (all []string) {
	t.Helper()
	for _, e := range messages {
		var m protocol.Message
		if err := json.Unmarshal(e.line, &m); err != nil {
			t.Fatalf("%s: %v", e.line, err)
		}
		all = append(all, string(m.Data))
	}
	return all
}

func history(t *testing.T, m *memory, channel string, since Position, limit int) (text string, p past) {
	t.Helper()
	p, err := m.history(channel, since, limit)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(data(t, p.messages), " "), p
}

func wantHistory(t *testing.T, m *memory, channel string, since Position, want, reset string) {
	t.Helper()
	if got, p := history(t, m, channel, since, 0); got != want || p.reset != reset {
		t.Errorf("history of %s since %v: %q, reset %q; want %q, %q", channel, since, got, p.reset, want, reset)
	}
}

func TestHistory(t *testing.T) {
	m := newTestMemory(t, memoryLimits{messages: 4})
	start := m.now()
	var a [6]Position
	for i := range a {
		a[i] = publish(t, m, "a", fmt.Sprint(i))
		publish(t, m, "b", fmt.Sprint(10+i))
	}
	now := m.now()
	for _, test := range []struct {
		name  string
		since Position
		limit int
		want  string
		reset string
		begin Position // not looked at where it is zero
		end   Position
	}{
		{"all", Position{}, 0, "2 3 4 5", "", a[1], now},
		{"the last", Position{}, 2, "4 5", "", a[3], now},
		{"more than there are", Position{}, 9, "2 3 4 5", "", a[1], now},
		{"since one", a[3], 0, "4 5", "", a[3], now},
		{"since one of another channel", a[3].at(a[3].seq + 1), 0, "4 5", "", Position{}, now},
		{"the first since one", a[2], 2, "3 4", "", a[2], a[4]},
		{"as many as there are since one", a[3], 2, "4 5", "", a[3], now},
		{"since the last", a[5], 0, "", "", a[5], now},
		{"since now", now, 0, "", "", now, now},
		{"since the newest that is gone", a[1], 0, "2 3 4 5", "", a[1], now},
		{"since one before that", a[0], 0, "2 3 4 5", protocol.TooOld, a[1], now},
		{"since the beginning", start, 0, "2 3 4 5", protocol.TooOld, a[1], now},
		{"the first since the beginning", start, 1, "2", protocol.TooOld, a[1], a[2]},
		{"another epoch", Position{epoch: m.epoch + 1, seq: a[3].seq}, 0, "2 3 4 5", protocol.Recreated, a[1], now},
		{"another class", Position{class: "x", epoch: m.epoch, seq: a[3].seq}, 0, "2 3 4 5", protocol.Recreated, a[1], now},
		{"the future", now.at(now.seq + 1), 0, "2 3 4 5", protocol.Recreated, a[1], now},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, p := history(t, m, "a", test.since, test.limit)
			if got != test.want || p.reset != test.reset {
				t.Errorf("%q, reset %q; want %q, %q", got, p.reset, test.want, test.reset)
			}
			if p.position != test.end {
				t.Errorf("ends at %v, want %v", p.position, test.end)
			}
			if p.begin != test.begin && test.begin != (Position{}) {
				t.Errorf("begins at %v, want %v", p.begin, test.begin)
			}
		})
	}
	wantHistory(t, m, "unheard", Position{}, "", "")
	wantHistory(t, m, "unheard", start, "", "")
	if len(m.logs) != 2 {
		t.Error("to ask for a channel has made it")
	}
}

// The order of sequence numbers is the order in the logs, whoever publishes.
func TestPublishAtOnce(t *testing.T) {
	m := newTestMemory(t, memoryLimits{})
	done := make(chan struct{})
	for g := range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range 200 {
				m.publish(t.Context(), fmt.Sprint("c", (g+i)%3), json.RawMessage("0"))
			}
		}()
	}
	for range 4 {
		<-done
	}
	var seqs []uint64
	for i := range 3 {
		p, _ := m.history(fmt.Sprint("c", i), Position{}, 0)
		for _, e := range p.messages {
			seqs = append(seqs, e.seq)
		}
	}
	slices.Sort(seqs)
	for i, seq := range seqs {
		if seq != uint64(i+1) {
			t.Fatalf("sequence %d is the %d. of all", seq, i+1)
		}
	}
	if len(seqs) != 800 {
		t.Errorf("%d messages, want 800", len(seqs))
	}
}

func TestHistoryAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMemory(t, memoryLimits{age: time.Minute})
		first := publish(t, m, "a", "1")
		time.Sleep(40 * time.Second)
		publish(t, m, "a", "2")
		time.Sleep(20*time.Second - time.Millisecond)
		wantHistory(t, m, "a", first.at(0), "1 2", "")
		time.Sleep(time.Millisecond)
		wantHistory(t, m, "a", first.at(0), "2", protocol.TooOld)
		wantHistory(t, m, "a", first, "2", "")
	})
}

// A channel that nobody uses goes with its last message; what resumes below its
// end is told, what resumes above it is not.
func TestForgetByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMemory(t, memoryLimits{age: time.Minute})
		before := m.now()
		publish(t, m, "a", "1")
		last := publish(t, m, "a", "2")
		after := publish(t, m, "b", "3")
		time.Sleep(time.Minute + 2*minSweep)
		synctest.Wait()
		if len(m.logs) != 0 || m.bytes != 0 || m.sweeper != nil {
			t.Fatalf("%d channels, %d bytes, sweeper %v are left", len(m.logs), m.bytes, m.sweeper)
		}
		wantHistory(t, m, "a", before, "", protocol.TooOld)
		wantHistory(t, m, "a", last, "", protocol.TooOld) // b had a message after it, and so could a
		wantHistory(t, m, "a", after, "", "")
		publish(t, m, "a", "4")
		wantHistory(t, m, "a", last, "4", protocol.TooOld)
		wantHistory(t, m, "a", after, "4", "")
	})
}

// However many channels become too old at once, all go, and no publisher waits
// until all have gone.
func TestForgetMany(t *testing.T) {
	const n = 5*sweepByClock + 1
	left := func(m *memory) int {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.logs)
	}
	for _, clock := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			m := newTestMemory(t, memoryLimits{age: time.Minute})
			m.closed = !clock
			for i := range n {
				publish(t, m, fmt.Sprint(i), "0")
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			publish(t, m, "x", "1")
			want := 1
			if !clock {
				want += n - sweepByPublish
			}
			if got := left(m); got != want {
				t.Errorf("%d channels are left, want %d", got, want)
			}
		})
	}
}

// An open channel is not forgotten, but its messages age.
func TestOpenChannelStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMemory(t, memoryLimits{age: time.Minute})
		l, err := m.open("a")
		if err != nil {
			t.Fatal(err)
		}
		p := publish(t, m, "a", "1")
		publish(t, m, "b", "2")
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if len(m.logs) != 1 || m.logs["a"] != l || m.bytes != 0 {
			t.Fatalf("channels %v with %d bytes are left, want a without any", m.logs, m.bytes)
		}
		wantHistory(t, m, "a", p, "", "")
		wantHistory(t, m, "a", p.at(0), "", protocol.TooOld)
		m.release(l)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(m.logs) != 0 {
			t.Errorf("released a minute ago, and still there")
		}
	})
}

// A channel that was only ever listened to leaves no trace.
func TestOpenWithoutMessages(t *testing.T) {
	m := newTestMemory(t, memoryLimits{})
	p := publish(t, m, "b", "1")
	l, _ := m.open("a")
	if l2, _ := m.open("a"); l2 != l {
		t.Fatal("one channel has two logs")
	}
	m.release(l)
	if len(m.logs) != 2 {
		t.Fatal("forgotten while it is open")
	}
	m.release(l)
	if len(m.logs) != 1 || m.forgotten != 0 {
		t.Errorf("%d channels are left, forgotten up to %d; want 1, 0", len(m.logs), m.forgotten)
	}
	wantHistory(t, m, "a", p.at(0), "", "")
}

func TestHistoryBytes(t *testing.T) {
	const n = 10
	size := func(m *memory) int64 { return m.bytes / n }
	m := newTestMemory(t, memoryLimits{})
	for range n {
		publish(t, m, "probe", "0")
	}
	limit := size(m) * 5

	t.Run("the longest unused first", func(t *testing.T) {
		m := newTestMemory(t, memoryLimits{bytes: limit})
		publish(t, m, "a", "1")
		publish(t, m, "b", "2")
		publish(t, m, "a", "3")
		for i := 4; i <= 7; i++ {
			publish(t, m, "c", fmt.Sprint(i))
		}
		if m.bytes > limit {
			t.Errorf("%d bytes, limit %d", m.bytes, limit)
		}
		wantHistory(t, m, "b", Position{}, "", "")
		if m.logs["b"] != nil {
			t.Error("an empty channel is kept")
		}
		wantHistory(t, m, "a", Position{}, "3", "")
		wantHistory(t, m, "c", Position{}, "4 5 6 7", "")
	})
	t.Run("idle ones first", func(t *testing.T) {
		m := newTestMemory(t, memoryLimits{bytes: limit})
		l, _ := m.open("a")
		p := publish(t, m, "a", "1")
		for i := 2; i <= 6; i++ {
			publish(t, m, "b", fmt.Sprint(i))
		}
		wantHistory(t, m, "a", Position{}, "1", "")
		wantHistory(t, m, "b", p, "3 4 5 6", protocol.TooOld)
		m.release(l)
	})
	t.Run("then open ones", func(t *testing.T) {
		m := newTestMemory(t, memoryLimits{bytes: limit})
		var open []*log
		for _, name := range []string{"a", "b"} {
			l, _ := m.open(name)
			open = append(open, l)
		}
		p := publish(t, m, "a", "1")
		for i := 2; i <= 7; i++ {
			publish(t, m, "b", fmt.Sprint(i))
		}
		wantHistory(t, m, "a", p.at(0), "", protocol.TooOld)
		wantHistory(t, m, "b", Position{}, "3 4 5 6 7", "")
		for _, l := range open {
			m.release(l)
		}
	})
	t.Run("the newest stays, however large", func(t *testing.T) {
		m := newTestMemory(t, memoryLimits{bytes: limit})
		l, _ := m.open("o")
		publish(t, m, "o", "1")
		publish(t, m, "a", "2")
		large := `"` + strings.Repeat("x", int(limit)) + `"`
		publish(t, m, "b", large)
		wantHistory(t, m, "b", Position{}, large, "")
		wantHistory(t, m, "a", Position{}, "", "")
		wantHistory(t, m, "o", Position{}, "", "")
		publish(t, m, "a", "3")
		wantHistory(t, m, "b", Position{}, "", "")
		wantHistory(t, m, "a", Position{}, "3", "")
		m.release(l)
	})
}

func TestMaxChannels(t *testing.T) {
	m := newTestMemory(t, memoryLimits{channels: 3})
	a := publish(t, m, "a", "1")
	publish(t, m, "b", "2")
	lc, _ := m.open("c")
	publish(t, m, "a", "3")
	publish(t, m, "d", "4") // b goes
	wantHistory(t, m, "b", a, "", protocol.TooOld)
	wantHistory(t, m, "a", a, "3", "")
	la, _ := m.open("a")
	ld, _ := m.open("d")
	if _, err := m.open("e"); !errors.Is(err, &protocol.Error{Code: protocol.TooManyChannels}) {
		t.Errorf("a fourth open channel: %v", err)
	}
	if _, err := m.publish(t.Context(), "e", json.RawMessage("5")); !errors.Is(err, &protocol.Error{Code: protocol.TooManyChannels}) {
		t.Errorf("publishing to a fourth channel: %v", err)
	}
	publish(t, m, "d", "6")
	m.release(la)
	publish(t, m, "e", "7") // a goes
	if m.logs["a"] != nil || m.logs["e"] == nil {
		t.Error("the idle channel has not given way")
	}
	m.release(lc)
	m.release(ld)
}

func TestEpochs(t *testing.T) {
	a, b := newTestMemory(t, memoryLimits{}), newTestMemory(t, memoryLimits{})
	if a.epoch == b.epoch {
		t.Error("two brokers have the same epoch")
	}
	if a.epoch == 0 || a.epoch >= 1<<48 {
		t.Errorf("the epoch %d is zero or makes positions long", a.epoch)
	}
}
