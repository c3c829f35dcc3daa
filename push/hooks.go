package push

import "github.com/duplexgo/duplex/push/protocol"

// The transports, as hooks, [Stats] and a [Tracer] name them.
const (
	WebSocket = "websocket" // a line of /connect
	SSE       = "sse"       // a stream of /events
	Poll      = "poll"      // a /poll
	HTTP      = "http"      // a POST that publishes: no line, only a Tracer has it
)

// Hooks are told what a Server does, to count it. Those that are nil are not
// called. They are called from many goroutines, within the work: they must return
// at once. Package push/metrics has hooks for Prometheus.
type Hooks struct {
	// Opened and Closed: a line has begun and ended. What there is now, [Server.Stats]
	// tells.
	Opened, Closed func(transport string)

	// Published: a message with so many bytes of data has been stored. NotPublished:
	// one was refused.
	Published    func(bytes int)
	NotPublished func(code protocol.Code)

	// Delivered: so many messages, in a text of so many bytes, were given to a client's
	// connection.
	Delivered func(transport string, messages, bytes int)

	// Resumed: a client has come back with a position; Reset: it is told that
	// messages may be missing, and why: [protocol.TooOld], [protocol.Recreated].
	Resumed func()
	Reset   func(reason string)

	// Refused: a line or a request was refused.
	Refused func(code protocol.Code)
}

func (h *Hooks) opened(transport string) {
	if h.Opened != nil {
		h.Opened(transport)
	}
}

func (h *Hooks) closed(transport string) {
	if h.Closed != nil {
		h.Closed(transport)
	}
}

func (h *Hooks) published(bytes int, err error) {
	switch {
	case err == nil && h.Published != nil:
		h.Published(bytes)
	case err != nil && h.NotPublished != nil:
		h.NotPublished(toError(err).Code)
	}
}

func (h *Hooks) delivered(transport string, b *batch, bytes int) {
	if h.Delivered != nil && b.messages > 0 {
		h.Delivered(transport, b.messages, bytes)
	}
}

func (h *Hooks) resumed(at start) {
	if h.Resumed != nil && !at.since.IsZero() {
		h.Resumed()
	}
}

func (h *Hooks) reset(reason string) {
	if h.Reset != nil {
		h.Reset(reason)
	}
}

func (h *Hooks) refused(err error) {
	if h.Refused != nil {
		h.Refused(toError(err).Code)
	}
}

// Stats are what a Server has now.
type Stats struct {
	Lines         map[string]int // of each transport
	Channels      int            // in memory
	Subscriptions int
	Messages      int   // kept
	Bytes         int64 // what they count
}

// Stats returns what the server has now.
func (s *Server) Stats() Stats {
	s.init()
	st := Stats{Lines: s.core.crowd.count(), Subscriptions: int(s.core.hub.readers.Load())}
	st.Channels, st.Messages, st.Bytes = s.core.broker.size()
	return st
}
