package push

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// A sink is a line that takes everything at once.
type sink struct {
	session session
	pool    *pool
	task    task
	got     *sync.WaitGroup
}

func (l *sink) wake()      { l.pool.wake(&l.task) }
func (l *sink) cut(ending) {}

func (l *sink) send(b *batch) bool {
	text, more := l.session.next(b, maxBatch)
	if len(text) > 0 {
		l.got.Done()
	}
	return more
}

// What a delivery costs without the network: a channel with 1,000 subscribers, one
// message at a time.
func BenchmarkDeliver(b *testing.B) {
	const n = 1000
	c := new(core)
	m := newMemory(memoryLimits{messages: defaultHistoryMessages}, c.hub.news)
	c.broker, c.hub.broker = m, m
	var p pool
	var got sync.WaitGroup
	for i := range n {
		l := &sink{pool: &p, got: &got}
		l.task.send = l.send
		l.session.init(c, l)
		l.session.begin(FullGrant())
		if end := l.session.receive(b.Context(), []byte(`{"id":1,"command":"subscribe","channel":"x"}`)); end != nil {
			b.Fatal(i, end)
		}
		l.session.replies = nil
	}
	data := json.RawMessage(`"` + fmt.Sprintf("%0126d", 1) + `"`)
	b.ReportAllocs()
	for b.Loop() {
		got.Add(n)
		m.publish(b.Context(), "x", data)
		got.Wait()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/delivery")
}

// Many publishers to many channels, without subscribers.
func BenchmarkPublish(b *testing.B) {
	m := newMemory(memoryLimits{messages: defaultHistoryMessages, age: defaultHistoryAge, bytes: 64 << 20}, func(string) {})
	defer m.close()
	data := json.RawMessage(`"` + fmt.Sprintf("%0126d", 1) + `"`)
	var i atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.publish(b.Context(), fmt.Sprint(i.Add(1)%10000), data)
		}
	})
}

// What it costs without the network to come back and read 100 messages.
func BenchmarkCatchUp(b *testing.B) {
	c := new(core)
	m := newMemory(memoryLimits{messages: defaultHistoryMessages}, c.hub.news)
	c.broker, c.hub.broker = m, m
	data := json.RawMessage(`"` + fmt.Sprintf("%0126d", 1) + `"`)
	first, _ := m.publish(b.Context(), "x", data)
	for range 100 {
		m.publish(b.Context(), "x", data)
	}
	command := fmt.Appendf(nil, `{"id":1,"command":"subscribe","channel":"x","since":%q}`, first)
	var p pool
	var got sync.WaitGroup
	var batch batch
	b.ReportAllocs()
	for b.Loop() {
		l := &sink{pool: &p, got: &got}
		l.session.init(c, l)
		l.session.begin(FullGrant())
		if end := l.session.receive(b.Context(), command); end != nil {
			b.Fatal(end)
		}
		if text, more := l.session.next(&batch, maxBatch); len(text) < 100*128 || more {
			b.Fatal(len(text), more)
		}
		l.session.close()
	}
}
