package compare

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Lease is how long a comparison lives without being asked for its figures.
	Lease = 15 * time.Second

	// MaxComparisons is how many there may be at once.
	MaxComparisons = 16

	// Prefix is how the names of their channels begin.
	Prefix = "compare-"
)

// A Meter counts comparisons. The zero value is ready; use it by pointer. It must see
// the requests ([Meter.Count]) and should see their connections ([Meter.Watch]).
type Meter struct {
	running atomic.Int32
	conns   sync.Map // of the servers that are watched: net.Conn to *conn

	mu          sync.Mutex
	comparisons map[string]*comparison // by channel
}

// A comparison is one that goes on.
type comparison struct {
	ways  map[string]*way
	lease *time.Timer
}

// A report is the answer about a comparison.
type report struct {
	Channel string             `json:"channel"`
	Lease   float64            `json:"lease"` // seconds
	Ways    map[string]Figures `json:"ways"`
}

// begin makes a comparison and returns its channel; "" if there are as many as may be.
func (m *Meter) begin() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.comparisons) >= MaxComparisons {
		return ""
	}
	if m.comparisons == nil {
		m.comparisons = make(map[string]*comparison)
	}
	// Nobody else shall read or count it: the name is not to be guessed.
	channel := Prefix + strings.ToLower(rand.Text()[:12])
	c := &comparison{ways: make(map[string]*way)}
	for _, name := range Ways {
		c.ways[name] = new(way)
	}
	c.lease = time.AfterFunc(Lease, func() { m.end(channel) })
	m.comparisons[channel] = c
	if m.running.Add(1) == 1 {
		m.conns.Range(func(_, c any) bool { c.(*conn).look(); return true })
	}
	return channel
}

func (m *Meter) comparing() bool { return m.running.Load() > 0 }

// end forgets a comparison, and reports whether there was one.
func (m *Meter) end(channel string) bool {
	m.mu.Lock()
	c := m.comparisons[channel]
	delete(m.comparisons, channel)
	m.mu.Unlock()
	if c == nil {
		return false
	}
	m.running.Add(-1)
	c.lease.Stop()
	for _, w := range c.ways {
		w.end()
	}
	return true
}

// find returns a way of a comparison, or nil.
func (m *Meter) find(channel, name string) *way {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.comparisons[channel]; c != nil {
		return c.ways[name]
	}
	return nil
}

// read returns the figures of a comparison and renews its lease.
func (m *Meter) read(channel string) (report, bool) {
	m.mu.Lock()
	c := m.comparisons[channel]
	if c != nil {
		c.lease.Reset(Lease)
	}
	m.mu.Unlock()
	if c == nil {
		return report{}, false
	}
	r := report{Channel: channel, Lease: Lease.Seconds(), Ways: make(map[string]Figures)}
	for name, w := range c.ways {
		r.Ways[name] = w.read()
	}
	return r, true
}

// ServeHTTP is the way to the comparisons. It must be open to administrators only: a
// comparison costs memory until its lease ends. The last elements of the path count:
//
//	POST   .../comparisons            begins one, and answers with its channel
//	GET    .../comparisons/{channel}  answers with its figures, and renews its lease
//	DELETE .../comparisons/{channel}  ends it
func (m *Meter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, rest, found := strings.Cut(r.URL.Path, "/comparisons")
	channel := strings.TrimPrefix(rest, "/")
	fail := func(status int, detail string) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
	}
	w.Header().Set("Cache-Control", "no-store")
	status := http.StatusOK
	switch {
	case !found:
		fail(http.StatusNotFound, "nothing is here")
		return
	case channel == "" && r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST")
		fail(http.StatusMethodNotAllowed, "the method of this path is POST")
		return
	case channel == "":
		if channel = m.begin(); channel == "" {
			w.Header().Set("Retry-After", "15")
			fail(http.StatusServiceUnavailable, "as many comparisons as may go on at once do; come back in a moment")
			return
		}
		status = http.StatusCreated
	case r.Method == http.MethodDelete:
		m.end(channel)
		w.WriteHeader(http.StatusNoContent)
		return
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", "GET, DELETE")
		fail(http.StatusMethodNotAllowed, "the methods of this path are GET and DELETE")
		return
	}
	answer, ok := m.read(channel)
	if !ok {
		fail(http.StatusNotFound, "there is no such comparison; one that nobody asks for ends by itself")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(answer)
}
