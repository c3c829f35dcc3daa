package compare

import "sync"

// The ways to receive that are compared.
const (
	Polling     = "polling"      // GET /poll with wait=0, again and again
	LongPolling = "long_polling" // GET /poll that waits
	SSE         = "sse"          // GET /events
	WebSocket   = "websocket"    // GET /connect
)

// Ways are all of them, the oldest first.
var Ways = []string{Polling, LongPolling, SSE, WebSocket}

// Figures are what one way has cost until now.
type Figures struct {
	// Requests is how often the client has asked: the handshake of a WebSocket is one.
	Requests int64 `json:"requests"`

	// Received and Sent are bytes on the wire to and from the server.
	Received int64 `json:"received"`
	Sent     int64 `json:"sent"`

	// Packets are TCP segments in both directions, those without data among them. 0
	// where nobody counts them.
	Packets int64 `json:"packets"`

	// Estimate says that some of the bytes were worked out, and not counted.
	Estimate bool `json:"estimate,omitempty"`
}

// A way counts what one way costs. A nil one is that of requests of no comparison:
// what is charged to it is forgotten.
type way struct {
	mu      sync.Mutex
	figures Figures
	conns   map[*conn]struct{} // that are charged to it
}

func (w *way) request() { w.add(Figures{Requests: 1}) }

func (w *way) charge(asked, answered half) {
	if w != nil {
		w.add(Figures{Received: int64(asked.bytes), Sent: int64(answered.bytes), Packets: int64(asked.packets + answered.packets)})
	}
}

// guess adds bytes that nobody has counted on the wire.
func (w *way) guess(received, sent int) {
	w.add(Figures{Received: int64(received), Sent: int64(sent), Estimate: true})
}

func (w *way) add(f Figures) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.figures.Requests += f.Requests
	w.figures.Received += f.Received
	w.figures.Sent += f.Sent
	w.figures.Packets += f.Packets
	w.figures.Estimate = w.figures.Estimate || f.Estimate
}

// The locks of a way are taken within those of a connection, so these two return
// before one of the latter is taken.

func (w *way) keep(c *conn) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conns == nil {
		w.conns = make(map[*conn]struct{})
	}
	w.conns[c] = struct{}{}
}

func (w *way) drop(c *conn) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
}

func (w *way) charged() []*conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	conns := make([]*conn, 0, len(w.conns))
	for c := range w.conns {
		conns = append(conns, c)
	}
	return conns
}

// read returns the figures as they are now.
func (w *way) read() Figures {
	for _, c := range w.charged() {
		c.update()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.figures
}

func (w *way) end() {
	for _, c := range w.charged() {
		c.release(w)
	}
}
