package push

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
)

// eventForm is the form of server-sent events. A message is an event without a
// name, and its position the event's id, which comes back as Last-Event-ID.
type eventForm struct{}

func (eventForm) message(text []byte, p Position, line []byte) []byte {
	text = append(append(appendID(text, p), "data: "...), line...) // a line of JSON has no line breaks
	return append(text, "\n\n"...)
}

func appendID(text []byte, p Position) []byte {
	text, _ = p.AppendText(append(text, "id: "...))
	return append(text, '\n')
}

func (eventForm) reset(text []byte, r protocol.Reset) []byte {
	text = r.AppendBare(append(text, "event: reset\ndata: "...))
	return append(text, "\n\n"...)
}

// The time after which an EventSource comes back when its stream has broken: by
// chance, so that they do not all come at once. In milliseconds.
const minRetry, maxRetry = 1000, 5000

// getEvents answers with a stream of server-sent events.
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r.URL.RawQuery)
	var want wish
	if err == nil {
		want, err = parseWish(q)
	}
	if last := r.Header.Get("Last-Event-ID"); err == nil && last != "" {
		want.start.since, err = parsePosition(last)
	}
	if err == nil {
		want.start.history, err = parseNumber(q, "history", 0)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	token := bearer(r)
	if token == "" {
		token = q.Get("token")
	}
	l, begin, ok := s.openStream(w, r, want, token, SSE)
	if !ok {
		return
	}
	defer s.closeStream(l, SSE)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy that gathers the answer would keep the events
	p := s.newPen(w, r)
	first := fmt.Appendf(nil, "retry: %d\n", minRetry+rand.IntN(maxRetry-minRetry))
	if !begin.IsZero() {
		first = appendID(first, begin)
	}
	if err := p.write(append(first, '\n')); err != nil {
		if errors.Is(err, errors.ErrUnsupported) { // else it is the client who has gone
			s.core.report("beginning a stream of events", err)
		}
		return
	}
	traceOpened(w, http.StatusOK)
	if end, ok := s.sendEvents(p, r, l, begin); ok {
		p.write(endEvent(end))
	}
}

// openStream opens the line of a request, or answers the request.
func (s *Server) openStream(w http.ResponseWriter, r *http.Request, want wish, token, transport string) (*stream, Position, bool) {
	workOf(w).reads(want.channels)
	g, err := s.core.grant(r, token)
	leave := func() {}
	if err == nil {
		leave, err = s.Limits.Enter(r)
	}
	if err == nil {
		if err = s.core.enter(transport); err != nil {
			leave()
		}
	}
	if err != nil {
		refuse(w, err)
		return nil, Position{}, false
	}
	opened := false
	defer func() {
		if !opened { // also where a predicate of the Grant has panicked, which net/http survives
			leave()
			s.core.leave(transport)
		}
	}()
	l, begin, err := s.core.open(want, g)
	if err != nil {
		s.core.report("subscribing", err)
		refuse(w, err)
		return nil, Position{}, false
	}
	l.leave, opened = leave, true
	return l, begin, true
}

func (s *Server) closeStream(l *stream, transport string) {
	l.session.close()
	l.leave()
	s.core.leave(transport)
}

// sendEvents sends what is new, until the client goes or the line is ended: then ok
// is true. at is where the client is.
func (s *Server) sendEvents(p *pen, r *http.Request, l *stream, at Position) (end ending, ok bool) {
	silence := setting(s.KeepAlive, defaultKeepAlive)
	alive := time.NewTimer(silence)
	if silence <= 0 {
		alive.Stop()
	}
	defer alive.Stop()
	for beat := false; ; {
		sent, more, err := s.sendBatch(p, l, &at, beat)
		if err != nil {
			return ending{}, false
		}
		if sent && silence > 0 {
			alive.Reset(silence)
		}
		next := l.news
		if more {
			next = ready
		}
		beat = false
		select {
		case end := <-l.ended: // first of all, even if there is always more
			return end, true
		default:
		}
		select {
		case end := <-l.ended:
			return end, true
		case <-s.core.stop:
			return endShutdown, true
		case <-r.Context().Done():
			return ending{}, false
		case <-alive.C:
			beat = true
		case <-next:
		}
	}
}

// ready never waits.
var ready = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// sendBatch sends one batch; a comment if there is nothing to send and beat asks for
// something.
func (s *Server) sendBatch(p *pen, l *stream, at *Position, beat bool) (sent, more bool, err error) {
	b := s.batches.Get().(*batch)
	defer s.batches.Put(b)
	b.form, b.limit, b.resetsFirst = eventForm{}, 0, false
	text, more := l.session.next(b, maxBatch)
	if len(text) == 0 && !beat {
		return false, more, nil
	}
	if len(text) == 0 {
		text = append(text, ":\n"...)
	}
	// After a reset, and now and then when there is no news, the place is told by
	// itself.
	if b.messages == 0 && !b.position.IsZero() && b.position != *at {
		text = append(appendID(text, b.position), '\n')
	}
	b.text = text
	if err := p.write(text); err != nil {
		return false, false, err
	}
	*at = b.position
	s.core.hooks.delivered(SSE, b, len(text))
	return true, more, nil
}

// endEvent tells how the line ends. What a stream of events has for the purpose of a
// close frame.
func endEvent(end ending) []byte {
	data, _ := json.Marshal(struct {
		Code   int    `json:"code"`
		Reason string `json:"reason"`
	}{end.code, end.reason})
	return fmt.Appendf(nil, "event: end\ndata: %s\n\n", data)
}
