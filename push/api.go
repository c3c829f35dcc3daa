package push

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/duplexgo/duplex/push/protocol"
)

// postMessage publishes the body of a request to a channel and answers with the
// message's position.
func (s *Server) postMessage(w http.ResponseWriter, r *http.Request) {
	data, ok := s.readData(w, r)
	if !ok {
		return
	}
	p, err := s.core.publish(r.Context(), r.PathValue("channel"), data)
	if err != nil {
		s.report("publishing", err)
		refuse(w, err)
		return
	}
	answer(w, fmt.Sprintf("{\"position\":%q}\n", p))
}

// readData returns the body as JSON. If it cannot, it has answered the request.
func (s *Server) readData(w http.ResponseWriter, r *http.Request) (data json.RawMessage, ok bool) {
	isJSON, err := bodyType(r.Header)
	if err != nil {
		problem(w, http.StatusUnsupportedMediaType, 0, err.Error())
		return nil, false
	}
	if err := s.core.checkSize(r.ContentLength); err != nil {
		refuse(w, err)
		return nil, false
	}
	body := r.Body
	if limit := s.core.limits.message; limit > 0 {
		body = http.MaxBytesReader(w, body, int64(limit)) // the length may not be known before
	}
	data, err = io.ReadAll(body)
	switch big, isBig := errors.AsType[*http.MaxBytesError](err); {
	case isBig:
		refuse(w, s.core.checkSize(big.Limit+1))
		return nil, false
	case errors.Is(err, os.ErrDeadlineExceeded):
		problem(w, http.StatusRequestTimeout, 0, "the body has taken too long to come")
		return nil, false
	case err != nil:
		problem(w, http.StatusBadRequest, 0, "the body has not come whole: "+err.Error())
		return nil, false
	case isJSON:
		return data, true
	case !utf8.Valid(data):
		refuse(w, &protocol.Error{Code: protocol.BadData, Message: "data is not UTF-8; send text, or JSON with Content-Type: application/json"})
		return nil, false
	}
	return protocol.AppendString(nil, string(data)), true
}

// bodyType says whether a body is JSON; otherwise it is text. The error is for
// bodies that are neither.
func bodyType(h http.Header) (isJSON bool, err error) {
	if coding := h.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return false, fmt.Errorf("the body has the Content-Encoding %.40q; send it as it is", coding)
	}
	// Where the type cannot be read the body is text, as without one.
	kind, params, _ := mime.ParseMediaType(h.Get("Content-Type"))
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "us-ascii") {
		return false, fmt.Errorf("the body has the charset %.40q; send it in UTF-8", charset)
	}
	return kind == "application/json" || strings.HasSuffix(kind, "+json"), nil
}

// getHistory answers with what is known of a channel. The query may have since, a
// position, and limit, a number of messages.
func (s *Server) getHistory(w http.ResponseWriter, r *http.Request) {
	channel := r.PathValue("channel")
	err := checkChannel(channel)
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
		limit, err = parseLimit(q.Get("limit"))
	}
	var p past
	if err == nil {
		p, err = s.core.broker.history(channel, since, limit)
	}
	if err != nil {
		s.report("reading history", err)
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

func parseLimit(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, &protocol.Error{Code: protocol.BadCommand, Message: "limit must be a whole number, at least 1"}
	}
	return n, nil
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
