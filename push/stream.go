package push

import (
	"net/http"
	"net/url"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
)

// A stream is the line of a request that goes on, of /events or /poll: a session
// that only receives, with the request's goroutine.
type stream struct {
	session session
	news    chan struct{} // holds a value if there may be news
	ended   chan ending   // holds how the line is to end
	leave   func()        // counts the client out by its address
}

// wake is called with locks held.
func (l *stream) wake() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

func (l *stream) cut(end ending) {
	select {
	case l.ended <- end:
	default:
	}
}

// A wish is what a request for messages asks for.
type wish struct {
	channels []string
	start    start
	hidden   bool // does not count as present
}

// parseWish reads what /events and /poll have in common.
func parseWish(q url.Values) (w wish, err error) {
	w.channels = q["channel"]
	switch n := len(w.channels); {
	case n == 0:
		return w, &protocol.Error{Code: protocol.BadCommand, Message: "name the channels in the query, as in ?channel=news"}
	case n > maxQueryChannels:
		return w, &protocol.Error{Code: protocol.BadCommand, Message: "more channels than one request may ask for"}
	}
	w.start.since, err = parsePosition(q.Get("since"))
	return w, err
}

// open makes the line of a wish, and returns where it begins: a place before all
// that it will bring. It returns none if it begins with a reset: a client that had
// that place, and lost the line before the reset came, would come back as if
// nothing were missing. Whoever opens a stream must close it.
func (c *core) open(w wish, g Grant) (*stream, Position, error) {
	l := &stream{news: make(chan struct{}, 1), ended: make(chan ending, 1)}
	l.session.init(c, l)
	opened := false
	defer func() {
		if !opened {
			l.session.close()
		}
	}()
	l.session.begin(g)
	var begin Position
	reset := false
	for _, channel := range w.channels {
		err := allow(g.Subscribe, "subscribe to", channel)
		var p Position
		r := &reader{session: &l.session, hidden: w.hidden}
		if err == nil {
			p, err = l.session.join(r, channel, w.start)
		}
		if err != nil {
			return nil, Position{}, err
		}
		if begin.IsZero() || p.seq < begin.seq {
			begin = p
		}
		reset = reset || r.reset != "" // nobody reads yet
	}
	if reset {
		begin = Position{}
	}
	opened = true
	return l, begin, nil
}

// A pen writes the answer of a stream, each part within its time.
type pen struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	limit time.Duration
}

// newPen takes the limits of time from a request that goes on, which an
// http.Server has set for short ones. The limit of a body stays: net/http waits for
// the body when the line has ended, and counts no more.
func (s *Server) newPen(w http.ResponseWriter, r *http.Request) *pen {
	p := &pen{w, http.NewResponseController(w), setting(s.WebSocket.WriteTimeout, defaultWriteTimeout)}
	if r.ContentLength == 0 {
		p.rc.SetReadDeadline(time.Time{})
	}
	p.allow()
	return p
}

// allow gives what is written next its time.
func (p *pen) allow() {
	if p.limit > 0 {
		p.rc.SetWriteDeadline(time.Now().Add(p.limit))
	} else {
		p.rc.SetWriteDeadline(time.Time{})
	}
}

// write writes a part of the answer and sends it.
func (p *pen) write(text []byte) error {
	p.allow()
	if _, err := p.w.Write(text); err != nil {
		return err
	}
	return p.rc.Flush()
}
