package push

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
)

// granted returns what the client of a request may do. If it may do nothing, the
// request has been answered.
func (s *Server) granted(w http.ResponseWriter, r *http.Request) (Grant, bool) {
	g, err := s.core.grant(r, bearer(r))
	if err != nil {
		refuse(w, err)
	}
	return g, err == nil
}

// getHistory answers with what is known of a channel. The query may have since, a
// position, and limit, a number of messages.
func (s *Server) getHistory(w http.ResponseWriter, r *http.Request) {
	g, ok := s.granted(w, r)
	if !ok {
		return
	}
	channel := r.PathValue("channel")
	err := allow(g.Subscribe, "read", channel)
	var q url.Values
	if err == nil {
		q, err = parseQuery(r.URL.RawQuery)
	}
	var since Position
	if err == nil {
		since, err = parsePosition(q.Get("since"))
	}
	var limit int
	if err == nil {
		limit, err = parseNumber(q, "limit", 1)
	}
	var p past
	if err == nil {
		p, err = s.core.broker.history(channel, since, limit)
	}
	if err != nil {
		s.core.report("reading history", err)
		refuse(w, err)
		return
	}
	messages := p
	p = past{} // not to be kept for as long as writing takes
	s.writePast(w, channel, messages)
}

// parseQuery refuses what cannot be read: without its since, a request would be
// answered with other messages than it asked for.
func parseQuery(s string) (url.Values, error) {
	q, err := url.ParseQuery(s)
	if err != nil {
		return nil, &protocol.Error{Code: protocol.BadCommand, Message: "the query cannot be read: " + err.Error()}
	}
	return q, nil
}

// writePast writes {"messages": [...], "position": "...", "reset": [...]}, the
// last only if there is a reset. A client that takes nothing for as long as a line
// may, is cut off.
//
// It holds few messages at a time and reads the log again for the next: one that
// held them all would keep, for every slow client, what the log has long dropped.
// When the log has dropped what comes next, the answer ends there.
func (s *Server) writePast(w http.ResponseWriter, channel string, p past) {
	rc, limit := http.NewResponseController(w), setting(s.WebSocket.WriteTimeout, defaultWriteTimeout)
	left, at := len(p.messages), p.begin
	some := slices.Clone(p.messages[:min(left, someHistory)])
	p.messages = nil
	answer(w, `{"messages":[`)
	for separator := ""; left > 0; {
		for _, e := range some[:min(left, len(some))] {
			if limit > 0 {
				rc.SetWriteDeadline(time.Now().Add(limit))
			}
			io.WriteString(w, separator)
			if _, err := w.Write(e.line); err != nil {
				return
			}
			separator, at = ",\n", p.position.at(e.seq)
			left--
		}
		if left == 0 {
			break
		}
		more, err := s.core.broker.history(channel, at, someHistory)
		if err != nil || more.reset != "" || len(more.messages) == 0 {
			p.position = at
			break
		}
		some = more.messages
	}
	end := fmt.Appendf(nil, `],"position":%q`, p.position)
	if p.reset != "" {
		end = append(end, `,"reset":[`...)
		end = protocol.Reset{Channel: channel, Reason: p.reset, Position: p.begin.String()}.AppendBare(end)
		end = append(end, ']')
	}
	w.Write(append(end, "}\n"...)) // net/http takes the deadline away after the answer
}

// someHistory is how many messages of a history are held to be written.
const someHistory = 16

// answer writes a part of a good answer in JSON.
func answer(w http.ResponseWriter, part string) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	io.WriteString(w, part)
}
