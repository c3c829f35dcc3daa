package push

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
)

// A Server is a push server as an http.Handler. The zero value is ready: it keeps
// the messages in memory, and every limit is on. Use it by pointer; its fields
// must not be changed once it serves.
//
//	GET  /connect               a WebSocket, subprotocol duplex.v1.json
//	POST /channels/{channel}    publish the body
//	GET  /channels/{channel}    the channel's last messages
//	GET  /console               Console, if there is one; / leads to it
//	GET  /healthz               200 while the process serves
//
// Everybody who reaches it may subscribe and publish, except that web pages of
// other origins may do neither.
//
// Set the ReadHeaderTimeout and the IdleTimeout of the http.Server that it runs in;
// see package websocket.
type Server struct {
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

	// Log gets what fails in the server. nil: slog.Default().
	Log *slog.Logger

	once    sync.Once
	core    core
	lines   lines
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
		}
		if s.core.broker == nil {
			s.core.broker = newMemory(memoryLimits{
				messages: setting(s.HistoryMessages, defaultHistoryMessages),
				age:      setting(s.HistoryAge, defaultHistoryAge),
				bytes:    setting(s.HistoryBytes, defaultHistoryBytes),
				channels: setting(s.MaxChannels, defaultMaxChannels),
			}, s.core.hub.news)
		}
		s.core.hub.broker = s.core.broker
		s.lines.init(&s.core, s.WebSocket, s.Log)
		s.handler = s.guard(s.routes())
	})
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /connect", &s.lines)
	mux.Handle("/connect", notAllowed("GET"))
	mux.HandleFunc("POST /channels/{channel}", s.postMessage)
	mux.HandleFunc("GET /channels/{channel}", s.getHistory)
	mux.Handle("/channels/{channel}", notAllowed("GET", "HEAD", "POST"))
	mux.HandleFunc("/channels/", s.otherChannel)
	mux.HandleFunc("GET /healthz", healthz)
	mux.Handle("/healthz", notAllowed("GET", "HEAD"))
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
	// Without it any web page could publish, by a plain POST from the browser of
	// somebody who reaches the server.
	crossOrigin := http.NewCrossOriginProtection()
	crossOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusForbidden, 0, "a page of another origin may not do this")
	}))
	next = crossOrigin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		s.limitBody(w, r)
		if s.LiteralHosts && !literalHost(r.Host) {
			problem(w, http.StatusMisdirectedRequest, 0, "this server is only reached by an IP address or as localhost, not by another name")
			return
		}
		next.ServeHTTP(w, r)
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

// ServeHTTP serves the paths above. Errors are problem documents (RFC 9457),
// except those of the WebSocket handshake itself.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.init()
	s.handler.ServeHTTP(w, r)
}

// Publish publishes data, any JSON value in UTF-8, and returns the message's
// position when it is stored. data stays the caller's. An error that the caller
// can do something about is a [*protocol.Error].
func (s *Server) Publish(ctx context.Context, channel string, data json.RawMessage) (Position, error) {
	s.init()
	if err := s.core.checkSize(int64(len(data))); err != nil {
		return Position{}, err
	}
	return s.core.publish(ctx, channel, data)
}

// Shutdown takes no new lines and no messages (503), closes every line with 1001
// and waits until they have ended. When ctx ends before that, the rest is cut and
// Shutdown returns ctx.Err(). It does not wait for HTTP requests: call the
// http.Server's Shutdown after it.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	s.core.draining.Store(true)
	err := s.lines.registry.Shutdown(ctx)
	s.core.broker.close()
	return err
}

// report logs an error that is the server's own.
func (s *Server) report(doing string, err error) {
	if _, ok := errors.AsType[*protocol.Error](err); ok || errors.Is(err, context.Canceled) {
		return
	}
	logger := s.Log
	if logger == nil {
		logger = slog.Default()
	}
	logger.Error("push: "+doing, "error", err)
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
	problem(w, http.StatusNotFound, 0, "nothing is here; the paths are /connect, /channels/{channel} and /healthz")
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
			s.postMessage(w, r)
		case http.MethodGet, http.MethodHead:
			s.getHistory(w, r)
		default:
			notAllowed("GET", "HEAD", "POST")(w, r)
		}
		return
	}
	problem(w, http.StatusNotFound, 0, "the name of a channel is one segment of the path: write / in it as %2F")
}
