package push

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/duplexgo/duplex/push/protocol"
)

// postMessage publishes the body of a request to a channel and answers with the
// message's position.
func (s *Server) postMessage(w http.ResponseWriter, r *http.Request) {
	g, ok := s.granted(w, r)
	if !ok {
		return
	}
	data, ok := s.readData(w, r)
	if !ok {
		return
	}
	m := message{r.PathValue("channel"), data, r.Header.Get("Idempotency-Key")}
	workOf(w).holds(1, len(data))
	if _, empty := r.Header["Idempotency-Key"]; empty && m.key == "" {
		m.key = " " // is refused: who sends an empty one relies on it
	}
	p, err := s.publishFor(r, &g, m)
	if err != nil {
		refuse(w, err)
		return
	}
	s.limitAnswer(w, 0)
	answer(w, `{"position":"`+p.String()+"\"}\n")
}

// publishFor publishes a message that came by HTTP.
func (s *Server) publishFor(r *http.Request, g *Grant, m message) (Position, error) {
	exempt := g.Admin && s.core.authorize != nil // without it everybody is one
	if !exempt && !s.core.rates.take(publisher(g, r, s.Limits), s.core.limits.publishes) {
		s.core.hooks.published(0, errTooManyMessages)
		return Position{}, errTooManyMessages
	}
	p, err := s.core.publishFor(r.Context(), g, m)
	if err != nil {
		s.core.report("publishing", err)
	}
	return p, err
}

var errTooManyMessages = &protocol.Error{Code: protocol.TooManyMessages, Message: "too many messages in too short a time; wait a second"}

// postBatch publishes the messages of a request, each by itself.
func (s *Server) postBatch(w http.ResponseWriter, r *http.Request) {
	g, ok := s.granted(w, r)
	if !ok {
		return
	}
	batch, ok := s.readBatch(w, r)
	if !ok {
		return
	}
	type result struct {
		Position string          `json:"position,omitempty"`
		Error    *protocol.Error `json:"error,omitempty"`
	}
	results := make([]result, len(batch))
	work := workOf(w)
	work.holds(len(batch), 0)
	for i, m := range batch {
		err := s.core.checkSize(int64(len(m.Data)))
		var p Position
		if err == nil {
			p, err = s.publishFor(r, &g, message{m.Channel, m.Data, m.Key})
		}
		if err != nil {
			results[i].Error = toError(err)
			work.refused(err)
			continue
		}
		results[i].Position = p.String()
	}
	s.limitAnswer(w, 0)
	answerJSON(w, map[string]any{"results": results})
}

// A batched message is one in the body of POST /channels.
type batched struct {
	Channel string          `json:"channel"`
	Data    json.RawMessage `json:"data"`
	Key     string          `json:"key"`
}

// readBatch returns the messages in the body. If it cannot, it has answered the
// request.
func (s *Server) readBatch(w http.ResponseWriter, r *http.Request) (batch []batched, ok bool) {
	isJSON, err := bodyType(r.Header)
	if err != nil || !isJSON {
		if err == nil {
			err = errors.New("send JSON, with Content-Type: application/json")
		}
		problem(w, http.StatusUnsupportedMediaType, 0, err.Error())
		return nil, false
	}
	if _, set := r.Header["Idempotency-Key"]; set {
		refuse(w, &protocol.Error{Code: protocol.BadCommand, Message: "each message has its own key: write it into the message"})
		return nil, false
	}
	body, ok := readBody(w, r, maxBatchBytes, func() error { return errBatchTooBig })
	if !ok {
		return nil, false
	}
	err = json.Unmarshal(body, &batch)
	if err == nil && (len(batch) == 0 || len(batch) > maxBatchMessages) {
		err = fmt.Errorf("it has %d messages", len(batch))
	}
	if err != nil {
		refuse(w, &protocol.Error{Code: protocol.BadCommand, Message: fmt.Sprintf("the body is no array of 1 to %d messages: %v", maxBatchMessages, err)})
		return nil, false
	}
	return batch, true
}

var errBatchTooBig = &protocol.Error{Code: protocol.DataTooBig, Message: fmt.Sprintf("the body is longer than %d bytes", maxBatchBytes)}

// readData returns the body as JSON. If it cannot, it has answered the request.
func (s *Server) readData(w http.ResponseWriter, r *http.Request) (data json.RawMessage, ok bool) {
	isJSON, err := bodyType(r.Header)
	if err != nil {
		problem(w, http.StatusUnsupportedMediaType, 0, err.Error())
		return nil, false
	}
	limit := int64(s.core.limits.message)
	data, ok = readBody(w, r, limit, func() error { return s.core.checkSize(limit + 1) })
	switch {
	case !ok || isJSON:
		return data, ok
	case !utf8.Valid(data):
		refuse(w, &protocol.Error{Code: protocol.BadData, Message: "data is not UTF-8; send text, or JSON with Content-Type: application/json"})
		return nil, false
	}
	return protocol.AppendString(nil, string(data)), true
}

// readBody returns the body; one of more than limit bytes is refused with tooBig, 0
// is no limit. If it cannot, it has answered the request.
func readBody(w http.ResponseWriter, r *http.Request, limit int64, tooBig func() error) (data []byte, ok bool) {
	if limit > 0 && r.ContentLength > limit {
		refuse(w, tooBig())
		return nil, false
	}
	body := r.Body
	if limit > 0 {
		body = http.MaxBytesReader(bare(w), body, limit) // the length may not be known before
	}
	data, err := io.ReadAll(body)
	_, isBig := errors.AsType[*http.MaxBytesError](err)
	switch {
	case isBig:
		refuse(w, tooBig())
	case errors.Is(err, os.ErrDeadlineExceeded):
		problem(w, http.StatusRequestTimeout, 0, "the body has taken too long to come")
	case err != nil:
		problem(w, http.StatusBadRequest, 0, "the body has not come whole: "+err.Error())
	default:
		return data, true
	}
	return nil, false
}

// bare returns the ResponseWriter of net/http, which package http knows by its type: one
// that it does not know goes on to read a body that is too long.
func bare(w http.ResponseWriter) http.ResponseWriter {
	if t, ok := w.(*tracedWriter); ok {
		return t.ResponseWriter
	}
	return w
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
