package push

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/duplexgo/duplex/push/protocol"
)

// forAdmins lets only administrators pass.
func (s *Server) forAdmins(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		g, ok := s.granted(w, r)
		switch {
		case !ok:
		case !g.Admin:
			refuse(w, &protocol.Error{Code: protocol.Forbidden, Message: "this is for administrators"})
		default:
			next(w, r)
		}
	}
}

// A listed channel is one in the answer of GET /channels.
type listed struct {
	Channel     string `json:"channel"`
	Messages    int    `json:"messages"`
	Bytes       int64  `json:"bytes"`
	Subscribers int    `json:"subscribers"`
	Position    string `json:"position,omitempty"`
}

// getChannels answers with the channels that there are.
func (s *Server) getChannels(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r.URL.RawQuery)
	limit := 0
	if err == nil {
		limit, err = parseNumber(q, "limit", 1)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	if limit == 0 || limit > maxListed {
		limit = maxListed
	}
	list := struct {
		Channels []listed `json:"channels"`
		More     bool     `json:"more,omitempty"`
	}{Channels: []listed{}}
	known, more := s.core.broker.list(q.Get("prefix"), q.Get("after"), limit)
	for _, k := range known {
		list.Channels = append(list.Channels, listed{k.name, k.messages, k.bytes, s.core.hub.readersOf(k.name), k.position.String()})
	}
	list.More = more
	answerJSON(w, list)
}

// getPresence answers with who reads a channel.
func (s *Server) getPresence(w http.ResponseWriter, r *http.Request) {
	g, ok := s.granted(w, r)
	if !ok {
		return
	}
	channel := r.PathValue("channel")
	if err := allow(g.Presence, "see who reads", channel); err != nil {
		refuse(w, err)
		return
	}
	answerJSON(w, s.core.hub.who(channel))
}

// postDisconnect ends the lines of a user.
func (s *Server) postDisconnect(w http.ResponseWriter, r *http.Request) {
	answer(w, fmt.Sprintf("{\"lines\":%d}\n", s.Disconnect(r.PathValue("user"))))
}

// Disconnect ends all lines that a user has now, and returns how many there were.
// Their clients do not come back by themselves, but may: see that their next
// Grant is refused.
func (s *Server) Disconnect(user string) (lines int) {
	s.init()
	sessions := s.core.crowd.of(user)
	for _, session := range sessions {
		session.line.cut(endDisconnected)
	}
	s.core.logger().Info("push: a user was disconnected", "user", user, "lines", len(sessions))
	return len(sessions)
}

// parseNumber reads a whole number of at least min from a query; 0 if it is not
// there.
func parseNumber(q map[string][]string, name string, min int) (int, error) {
	values := q[name]
	if len(values) == 0 || values[0] == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(values[0])
	if err != nil || n < min {
		return 0, &protocol.Error{Code: protocol.BadCommand, Message: fmt.Sprintf("%s must be a whole number, at least %d", name, min)}
	}
	return n, nil
}

// answerJSON answers with a value that can be encoded.
func answerJSON(w http.ResponseWriter, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(v)
}
