package push

import (
	"net/http"
	"net/url"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
)

const (
	defaultWait  = 25 * time.Second // proxies end requests that take half a minute
	maxPollBytes = 256 << 10        // of the messages of an answer, about
)

// pollForm is the form of the answer to a poll: the members of an array, and the
// resets apart.
type pollForm struct{ resets []byte }

func (*pollForm) message(text []byte, _ Position, line []byte) []byte {
	if len(text) > 0 {
		text = append(text, ",\n"...)
	}
	return append(text, line...)
}

func (f *pollForm) reset(text []byte, r protocol.Reset) []byte {
	if len(f.resets) > 0 {
		f.resets = append(f.resets, ',')
	}
	f.resets = r.AppendBare(f.resets)
	return text
}

// getPoll answers with the messages of some channels, at once or when there are any.
func (s *Server) getPoll(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r.URL.RawQuery)
	want := wish{}
	if err == nil {
		want, err = parseWish(q)
	}
	limit, wait := 0, time.Duration(0)
	if err == nil {
		limit, err = parseNumber(q, "limit", 1)
	}
	if err == nil {
		wait, err = s.parseWait(q)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	if limit == 0 || limit > maxPollMessages {
		limit = maxPollMessages
	}
	want.hidden, want.start.history = true, limit
	l, _, ok := s.openStream(w, r, want, bearer(r), Poll)
	if !ok {
		return
	}
	defer s.closeStream(l, Poll)
	traceOpened(w, http.StatusOK)
	s.awaitPoll(w, r, l, limit, wait)
}

// parseWait reads how long a poll is to wait.
func (s *Server) parseWait(q url.Values) (time.Duration, error) {
	wait := defaultWait
	if v := q.Get("wait"); v != "" {
		var err error
		if wait, err = time.ParseDuration(v); err != nil || wait < 0 {
			return 0, &protocol.Error{Code: protocol.BadCommand, Message: "wait must be a number with a unit, as in 25s or 500ms, or 0"}
		}
	}
	if limit := setting(s.MaxWait, defaultMaxWait); limit > 0 {
		wait = min(wait, limit)
	}
	return wait, nil
}

// awaitPoll answers when there is something to answer, or the time is over.
func (s *Server) awaitPoll(w http.ResponseWriter, r *http.Request, l *stream, limit int, wait time.Duration) {
	p := s.newPen(w, r)
	p.rc.SetWriteDeadline(time.Time{}) // while it waits
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for waits := wait > 0; ; {
		if s.answerPoll(p, l, limit, waits) {
			return
		}
		select {
		case <-l.news:
		case <-timer.C:
			waits = false
		case <-s.core.stop:
			waits = false
		case end := <-l.ended:
			if end.code == protocol.CloseDisconnected {
				p.allow()
				refuse(w, &protocol.Error{Code: protocol.Forbidden, Message: end.reason})
				return
			}
			waits = false
		case <-r.Context().Done():
			return
		}
	}
}

// answerPoll answers and reports that it has, unless it should wait for something to
// tell.
func (s *Server) answerPoll(p *pen, l *stream, limit int, wait bool) bool {
	b := s.batches.Get().(*batch)
	defer s.batches.Put(b)
	f := new(pollForm)
	b.form, b.limit, b.resetsFirst = f, limit, true
	text, _ := l.session.next(b, maxPollBytes)
	if wait && b.messages == 0 && b.resets == 0 {
		return false
	}
	p.allow()
	answer(p.w, `{"messages":[`)
	p.w.Write(text)
	end, _ := b.position.AppendText([]byte(`],"position":"`))
	end = append(end, '"')
	if len(f.resets) > 0 {
		end = append(append(append(end, `,"reset":[`...), f.resets...), ']')
	}
	p.w.Write(append(end, "}\n"...)) // net/http takes the deadline away after the answer
	s.core.hooks.delivered(Poll, b, len(text))
	return true
}
