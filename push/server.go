package push

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/duplexgo/duplex/websocket"
)

// A Server is a push server as an http.Handler. The zero value is ready: it keeps
// the messages in memory, and every limit is on. Use it by pointer; its fields
// must not be changed once it serves.
//
//	GET  /connect                        a WebSocket, subprotocol duplex.v1.json
//	GET  /events?channel=...             server-sent events
//	GET  /poll?channel=...               long polling, and polling with wait=0
//	POST /channels/{channel}             publish the body
//	POST /channels                       publish many messages
//	GET  /channels/{channel}             the channel's last messages
//	GET  /channels/{channel}/presence    who reads it
//	GET  /channels                       the channels that there are
//	POST /users/{user}/disconnect        end the lines of a user
//	GET  /healthz                        200 while the process serves
//	GET  /readyz                         503 when it is about to end
//	GET  /metrics                        Metrics, if there are any
//	GET  /openapi.json                   this, for programs (OpenAPI 3.1)
//	GET  /duplex.js                      Script, if there is one
//	GET  /console                        Console, if there is one; / leads to it
//	     /console/api/...                ConsoleAPI, if there is one
//
// Without Authorize, everybody who reaches it may do everything, except that web
// pages of other origins may do nothing.
//
// Set the ReadHeaderTimeout and the IdleTimeout of the http.Server that it runs in;
// see package websocket.
type Server struct {
	// Authorize says what a client may do. nil: everybody may do everything.
	Authorize Authorizer

	// AuthTimeout is how long a WebSocket without a token in its handshake may take
	// to show one; then it is closed with 4001. Default 10 s; negative: no limit.
	AuthTimeout time.Duration

	// Origins are the web pages of other origins that may use the server, with the
	// patterns of [websocket.AcceptOptions]. With it they get the headers of CORS,
	// too. A pattern that is none makes the server answer everything with 500; see
	// [CheckOrigins].
	Origins []string

	// HistoryMessages is how many of its last messages a channel keeps. A reader
	// that lags behind by more has lost some, and is told. Default 1,000;
	// negative: no limit.
	HistoryMessages int

	// HistoryAge is how long a channel keeps a message. Default 1 hour; negative:
	// no limit, and channels that nobody uses are not forgotten by time.
	HistoryAge time.Duration

	// HistoryBytes is how many bytes the messages of all channels may take. The
	// oldest give way, first those of channels that nobody reads. Default 256 MiB;
	// negative: no limit.
	HistoryBytes int64

	// MaxChannels is how many channels are kept in memory. A new one takes the
	// place of the one unused for the longest time; if all have subscribers it is
	// refused. Default 200,000; negative: no limit.
	MaxChannels int

	// MaxMessage is the longest data of a message, in bytes as it was sent.
	// Default 64 KiB; negative: no limit.
	MaxMessage int

	// MaxDepth is how deep the arrays and objects of a message's data may nest.
	// Every parser gives up at some depth, common ones at 64: a single message
	// beyond that ends all clients of its channel, and again whenever they come
	// back. Default 60; negative: no limit.
	MaxDepth int

	// MaxSubscriptions is how many channels a line may be subscribed to. Default
	// 128; negative: no limit.
	MaxSubscriptions int

	// CommandRate is how many commands a second a line may send on the average,
	// with ten seconds' worth at once. Those above are refused, and a line that
	// does not heed ten seconds' worth of refusals is closed with 4500. Default
	// 100; negative: no limit.
	CommandRate int

	// MaxLines is how many clients may be connected at once, by WebSocket or SSE or
	// by a poll that waits. Others are refused with 503. Default 100,000; negative:
	// no limit.
	MaxLines int

	// Limits say who may use the server, and how many lines an address may have, by
	// WebSocket or SSE or polls that wait; and, behind proxies, where requests come from.
	// nil: all may, as many as MaxLines.
	Limits *websocket.Limits

	// ShutdownRate is how many WebSockets a second Shutdown closes. Default: all of
	// them at once.
	ShutdownRate int

	// PublishRate is how many messages a second a publisher may publish over HTTP on
	// the average, with ten seconds' worth at once; others are refused with 429. A
	// publisher is a user, or where there is none an address (of IPv6, a /64).
	// Administrators are exempt where there is Authorize. Default 10,000; negative: no limit.
	PublishRate int

	// KeepAlive is the longest silence of a stream of events: then it gets a comment.
	// Default 15 s; negative: no limit.
	KeepAlive time.Duration

	// MaxWait is the longest that a poll waits for news. Default 1 minute; negative:
	// no limit.
	MaxWait time.Duration

	// ShutdownDelay is how long Shutdown lets everything go on, except that /readyz
	// answers 503: for a load balancer to notice. Default 0.
	ShutdownDelay time.Duration

	// BodyTimeout is how long the body of a request may take to come, of one that
	// is refused too. Default 30 s; negative: no limit but that of http.Server.
	BodyTimeout time.Duration

	// LiteralHosts makes the server answer only requests whose Host is an IP
	// address or localhost, and all others with 421. A server that lets everybody
	// in needs it on a machine where people browse: else a foreign page can reach
	// it by a name that resolves to this machine (DNS rebinding).
	LiteralHosts bool

	// WebSocket are the settings of the lines. Default of MaxMessage: what
	// commands and data of the length MaxMessage need. A peer that takes nothing
	// for WriteTimeout is cut off; that holds for readers of history, too.
	WebSocket websocket.Options

	// Console serves /console and all below it, and / leads there. Package
	// push/console has one. nil: there is none.
	Console http.Handler

	// ConsoleAPI serves /console/api/ and all below it, for administrators: what the
	// console shows. Package push/console has one. nil: there is none.
	ConsoleAPI http.Handler

	// Script serves /duplex.js, the client for browsers. nil: there is none.
	Script http.Handler

	// Metrics serves /metrics, for administrators. Package push/metrics has one.
	// nil: there is none.
	Metrics http.Handler

	// Hooks are told what the server does.
	Hooks Hooks

	// Trace follows the opening of lines and what is published. nil: nothing is traced,
	// which costs nothing.
	Trace Tracer

	// Log gets what fails in the server, and at the level of debugging the ends of
	// lines. Tokens are never logged. nil: slog.Default().
	Log *slog.Logger

	once    sync.Once
	core    core
	lines   lines
	batches sync.Pool // for streams
	handler http.Handler
}

// init makes the parts, at the first use.
func (s *Server) init() {
	s.once.Do(func() {
		s.core.limits = limits{
			message:       setting(s.MaxMessage, defaultMaxMessage),
			depth:         setting(s.MaxDepth, defaultMaxDepth),
			subscriptions: setting(s.MaxSubscriptions, defaultMaxSubscriptions),
			commands:      setting(s.CommandRate, defaultCommandRate),
			lines:         setting(s.MaxLines, defaultMaxLines),
			publishes:     setting(s.PublishRate, defaultPublishRate),
			auth:          setting(s.AuthTimeout, defaultAuthTimeout),
		}
		s.core.authorize, s.core.hooks, s.core.trace, s.core.log = s.Authorize, s.Hooks, s.Trace, s.Log
		s.core.stop = make(chan struct{})
		s.batches.New = func() any { return new(batch) }
		if s.core.broker == nil {
			s.core.broker = newMemory(memoryLimits{
				messages: setting(s.HistoryMessages, defaultHistoryMessages),
				age:      setting(s.HistoryAge, defaultHistoryAge),
				bytes:    setting(s.HistoryBytes, defaultHistoryBytes),
				channels: setting(s.MaxChannels, defaultMaxChannels),
			}, s.core.hub.news)
		}
		s.core.hub.broker = s.core.broker
		s.lines.init(&s.core, s.WebSocket, s.Origins, s.Limits)
		s.lines.registry.ShutdownRate = s.ShutdownRate
		s.handler = s.guard(s.routes())
	})
}

func (s *Server) routes() *router {
	mux := new(router)
	mux.Handle("GET /connect", s.traced(Opening, WebSocket, s.lines.ServeHTTP))
	mux.Handle("/connect", notAllowed("GET"))
	route := func(path string, get, post http.HandlerFunc) {
		var methods []string
		if get != nil {
			mux.HandleFunc("GET "+path, get)
			methods = append(methods, "GET", "HEAD")
		}
		if post != nil {
			mux.HandleFunc("POST "+path, post)
			methods = append(methods, "POST")
		}
		mux.Handle(path, notAllowed(methods...))
	}
	route("/events", notHead(s.traced(Opening, SSE, s.getEvents)), nil)
	route("/poll", notHead(s.traced(Opening, Poll, s.getPoll)), nil)
	route("/channels/{channel}", s.getHistory, s.traced(Publishing, HTTP, s.postMessage))
	route("/channels/{channel}/presence", s.getPresence, nil)
	route("/channels", s.forAdmins(s.getChannels), s.traced(PublishingBatch, HTTP, s.postBatch))
	mux.HandleFunc("/channels/", s.otherChannel)
	route("/users/{user}/disconnect", nil, s.forAdmins(s.postDisconnect))
	mux.HandleFunc("/users/", s.otherUser)
	route("/healthz", healthz, nil)
	route("/readyz", s.readyz, nil)
	route("/openapi.json", getOpenAPI, nil)
	if s.Metrics != nil {
		route("/metrics", s.forAdmins(s.Metrics.ServeHTTP), nil)
	}
	if s.ConsoleAPI != nil {
		mux.HandleFunc("/console/api/", s.forAdmins(s.ConsoleAPI.ServeHTTP))
	}
	if s.Script != nil {
		mux.Handle("/duplex.js", s.Script)
	}
	if s.Console != nil {
		mux.Handle("/console", s.Console)
		mux.Handle("/console/", s.Console)
		mux.HandleFunc("GET /{$}", toConsole)
		mux.Handle("/{$}", notAllowed("GET", "HEAD"))
	}
	mux.HandleFunc("/", notFound)
	return mux
}

// guard is what every request passes first.
func (s *Server) guard(next http.Handler) http.Handler {
	d := new(door)
	d.origins, d.broken = parseOrigins(s.Origins)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		s.limitBody(w, r)
		s.limitAnswer(w, setting(s.BodyTimeout, defaultBodyTimeout))
		switch {
		case d.broken != nil:
			s.core.report("reading Origins", d.broken)
			problem(w, http.StatusInternalServerError, 0, "the server's list of origins cannot be read")
		case !s.Limits.Allows(s.Limits.ClientAddr(r)):
			problem(w, http.StatusForbidden, 0, "this address may not use the server")
		case s.LiteralHosts && !literalHost(r.Host):
			problem(w, http.StatusMisdirectedRequest, 0, "this server is only reached by an IP address or as localhost, not by another name")
		case !d.of(r).admit(w, r):
			// Else any web page could publish, by a plain POST from the browser of
			// somebody who reaches the server.
			problem(w, http.StatusForbidden, 0, "a page of another origin may not do this")
		case !preflight(w, r):
			next.ServeHTTP(w, r)
		}
	})
}

// limitBody sets how long the body may take to come: of every request, since
// net/http waits for what a refusal leaves unread before it sends the refusal. It
// takes the deadline away at the body's end.
func (s *Server) limitBody(w http.ResponseWriter, r *http.Request) {
	if limit := setting(s.BodyTimeout, defaultBodyTimeout); limit > 0 && r.ContentLength != 0 {
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(limit))
	}
}

// limitAnswer sets how long the client may take for the answer, which begins after
// work at most: a client that asks and takes nothing would keep its connection for
// ever, and nothing counts it. Lines set limits of their own; a hijacked connection
// has none left.
func (s *Server) limitAnswer(w http.ResponseWriter, work time.Duration) {
	if limit := setting(s.WebSocket.WriteTimeout, defaultWriteTimeout); limit > 0 {
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(work + limit))
	}
}

// ServeHTTP serves the paths above. Errors are problem documents (RFC 9457),
// except those of the WebSocket handshake itself.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.init()
	s.handler.ServeHTTP(w, r)
}

// Publish publishes data, any JSON value in UTF-8, and returns the message's
// position when it is stored. data stays the caller's. Nothing but the limits of a
// message holds for it. An error that the caller can do something about is a
// [*protocol.Error].
func (s *Server) Publish(ctx context.Context, channel string, data json.RawMessage) (p Position, err error) {
	s.init()
	if s.core.trace != nil {
		var end func(error)
		ctx, end = s.core.tracePublish(ctx, "", channel, len(data))
		defer func() { end(err) }()
	}
	if err := s.core.checkSize(int64(len(data))); err != nil {
		return Position{}, err
	}
	return s.core.publish(ctx, message{channel: channel, data: data})
}

// Shutdown has /readyz fail, waits for ShutdownDelay, and then takes no new lines and
// no messages (503), closes every line with 1001 and waits until the WebSockets have
// ended. When ctx ends before that, the rest is cut and Shutdown returns ctx.Err().
// It does not wait for HTTP requests: call the http.Server's Shutdown after it.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	if s.core.leaving.CompareAndSwap(false, true) && s.ShutdownDelay > 0 {
		select {
		case <-time.After(s.ShutdownDelay):
		case <-ctx.Done():
		}
	}
	if s.core.draining.CompareAndSwap(false, true) {
		close(s.core.stop)
	}
	err := s.lines.registry.Shutdown(ctx)
	s.core.broker.close()
	return err
}

// readyz tells a load balancer whether to send more.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if s.core.leaving.Load() {
		refuse(w, errShuttingDown)
		return
	}
	healthz(w, r)
}

// notHead refuses HEAD, which the ServeMux takes for GET: the answer to it would have
// no end.
func notHead(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			notAllowed("GET")(w, r)
			return
		}
		next(w, r)
	}
}

func healthz(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	io.WriteString(w, "ok\n")
}

// toConsole leads to the console beside this path, wherever the server is mounted.
func toConsole(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Location", "console") // RFC 9110, 10.2.2: may be relative
	w.WriteHeader(http.StatusFound)
}

func notFound(w http.ResponseWriter, r *http.Request) {
	problem(w, http.StatusNotFound, 0, "nothing is here; the paths are /connect, /events, /poll, /channels, /channels/{channel} and /healthz")
}

// otherChannel serves what is no segment below /channels/: the channel /, whose %2F
// the ServeMux takes for the end of the path; the rest is wrong.
func (s *Server) otherChannel(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.EscapedPath(); {
	case path == "/channels/":
		refuse(w, checkChannel(""))
		return
	case strings.EqualFold(path, "/channels/%2F"):
		r.SetPathValue("channel", "/")
		switch r.Method {
		case http.MethodPost:
			s.traced(Publishing, HTTP, s.postMessage)(w, r)
		case http.MethodGet, http.MethodHead:
			s.getHistory(w, r)
		default:
			notAllowed("GET", "HEAD", "POST")(w, r)
		}
		return
	case strings.EqualFold(path, "/channels/%2F/presence"):
		r.SetPathValue("channel", "/")
		if isRead(r) {
			s.getPresence(w, r)
		} else {
			notAllowed("GET", "HEAD")(w, r)
		}
		return
	}
	problem(w, http.StatusNotFound, 0, "the name of a channel is one segment of the path: write / in it as %2F")
}

// otherUser is otherChannel for the user /.
func (s *Server) otherUser(w http.ResponseWriter, r *http.Request) {
	switch {
	case !strings.EqualFold(r.URL.EscapedPath(), "/users/%2F/disconnect"):
		notFound(w, r)
	case r.Method != http.MethodPost:
		notAllowed("POST")(w, r)
	default:
		r.SetPathValue("user", "/")
		s.forAdmins(s.postDisconnect)(w, r)
	}
}
