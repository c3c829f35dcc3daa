package push

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
)

const (
	// maxBatch is about how many bytes of messages go into one WebSocket message.
	maxBatch = 32 << 10

	// maxBacklog is how many bytes of replies may wait while a line takes nothing;
	// then nothing is read from it either.
	maxBacklog = 64 << 10

	// roomForCommands is how much longer than the data of one message the text of
	// a client may be: it holds more than 128 subscriptions.
	roomForCommands = 64 << 10
)

// lines are the clients that came by WebSocket.
type lines struct {
	core     *core
	pool     pool
	batches  sync.Pool // for sending outside of the pool
	handler  websocket.Handler
	registry websocket.Registry
}

// A line is a WebSocket connection with its session.
type line struct {
	lines   *lines
	conn    *websocket.Conn
	session session
	task    task
	sending chan struct{} // holds one value while a batch is being sent
}

func (ls *lines) init(c *core, o websocket.Options, origins []string, limits *websocket.Limits) {
	ls.core = c
	ls.batches.New = func() any { return new(batch) }
	if o.MaxMessage == 0 {
		o.MaxMessage = -1
		if c.limits.message > 0 {
			o.MaxMessage = int64(c.limits.message) + roomForCommands
		}
	}
	ls.handler = websocket.Handler{
		AcceptOptions: websocket.AcceptOptions{
			Options:      o,
			Subprotocols: []string{protocol.Subprotocol},
			Origins:      origins,
			Registry:     &ls.registry,
			Limits:       limits,
		},
		Open:    ls.open,
		Message: ls.message,
		Close:   ls.close,
		Logger:  c.log,
	}
}

// ServeHTTP takes a line. A client that offers no subprotocol gets the protocol
// all the same, so that simple tools can be used; one that offers only others
// would misunderstand it.
func (ls *lines) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	offers := strings.Join(r.Header.Values("Sec-WebSocket-Protocol"), ",")
	if offers != "" && !hasToken(offers, protocol.Subprotocol) {
		problem(w, http.StatusBadRequest, 0, "none of the subprotocols offered is spoken here; offer "+protocol.Subprotocol)
		return
	}
	a := &admission{answer: w}
	if err := ls.admit(a, r); err != nil {
		refuse(w, err)
		return
	}
	defer func() {
		if !a.open {
			ls.core.leave(WebSocket)
		}
	}()
	ls.handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), admissionKey{}, a)))
}

// An admission goes with the request of an opening handshake.
type admission struct {
	answer http.ResponseWriter
	grant  Grant
	known  bool // the grant is good; else the client has to show a token
	open   bool // the line is there
}

type admissionKey struct{}

// admit decides whether a line may begin.
func (ls *lines) admit(a *admission, r *http.Request) (err error) {
	token := bearer(r)
	a.grant, err = ls.core.grant(r, token)
	a.known = err == nil
	if err != nil && (token != "" || toError(err).Code != protocol.Unauthorized) {
		return err
	}
	return ls.core.enter(WebSocket)
}

// hasToken reports whether a header that is a list has this member.
func hasToken(list, token string) bool {
	for member := range strings.SplitSeq(list, ",") {
		if strings.Trim(member, " \t") == token {
			return true
		}
	}
	return false
}

func (ls *lines) open(c *websocket.Conn, r *http.Request) {
	l := &line{lines: ls, conn: c, sending: make(chan struct{}, 1)}
	l.task.send = l.send
	l.session.init(ls.core, l)
	c.Data = l
	a := r.Context().Value(admissionKey{}).(*admission)
	a.open = true
	if ls.core.authorize != nil {
		l.session.from = r.RemoteAddr
	}
	l.session.trusted = ofAdmin(r)
	if a.known {
		l.session.begin(a.grant)
	} else {
		l.session.await()
	}
	traceOpened(a.answer, http.StatusSwitchingProtocols) // before what the client sends
}

func (ls *lines) message(c *websocket.Conn, t websocket.MessageType, p []byte) {
	if t != websocket.Text {
		c.Close(websocket.CloseUnsupportedData, "commands are text")
		return
	}
	l := c.Data.(*line)
	end := l.session.receive(context.Background(), p)
	l.answer()
	if end != nil {
		l.cut(*end)
	}
}

func (ls *lines) close(c *websocket.Conn, err error) {
	c.Data.(*line).session.close()
	ls.core.leave(WebSocket)
	if log := ls.core.logger(); log.Enabled(context.Background(), slog.LevelDebug) {
		log.Debug("push: a line has ended", "transport", WebSocket, "remote", c.RemoteAddr(), "why", err)
	}
}

// cut closes the line.
func (l *line) cut(end ending) {
	l.conn.Close(websocket.CloseCode(end.code), end.reason)
}

// wake has the session's news sent by the pool.
func (l *line) wake() { l.lines.pool.wake(&l.task) }

// answer sends the replies to what has just been received. While a worker is in
// the middle of sending it leaves them to that worker, so that the line is read
// on; but not if many wait already: a client that reads nothing is not read from.
func (l *line) answer() {
	if l.session.backlog() > maxBacklog {
		l.sending <- struct{}{}
	} else {
		select {
		case l.sending <- struct{}{}:
		default:
			l.wake()
			return
		}
	}
	b := l.lines.batches.Get().(*batch)
	if l.sendNext(b) {
		l.wake()
	}
	l.lines.batches.Put(b)
}

// send sends one batch of what is new.
func (l *line) send(b *batch) (more bool) {
	l.sending <- struct{}{}
	return l.sendNext(b)
}

// sendNext is send for the one that has put a value into sending.
func (l *line) sendNext(b *batch) (more bool) {
	defer func() { <-l.sending }()
	text, more := l.session.next(b, maxBatch)
	if len(text) == 0 {
		return false
	}
	// A write has its own limit of time, after which the connection ends.
	if l.conn.Write(context.Background(), websocket.Text, text) != nil {
		l.session.close()
		return false
	}
	l.lines.core.hooks.delivered(WebSocket, b, len(text))
	return more
}
