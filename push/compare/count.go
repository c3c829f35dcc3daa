package compare

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"path"
	"strconv"
	"time"
)

// Count returns a handler that counts the requests of comparisons on their way to
// next, the push server. Where next is mounted does not matter.
func (m *Meter) Count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := connOf(r)
		to := m.wayOf(r)
		if c != nil {
			c.begin(to)
			defer c.end()
		}
		if to == nil {
			next.ServeHTTP(w, r)
			return
		}
		to.request()
		if c == nil {
			to.guess(requestSize(r), 0)
			if r.Body != nil {
				r.Body = &countedBody{r.Body, to}
			}
			w = &guessed{ResponseWriter: w, way: to}
		}
		if path.Base(r.URL.Path) == "connect" {
			w = &hijackable{w, c, to}
		}
		next.ServeHTTP(w, r)
	})
}

// wayOf returns the way that a request belongs to, nil if to none.
func (m *Meter) wayOf(r *http.Request) *way {
	if !m.comparing() || r.Method != http.MethodGet {
		return nil
	}
	name := ""
	q := r.URL.Query()
	switch path.Base(r.URL.Path) {
	case "poll":
		name = LongPolling
		if wait, err := time.ParseDuration(q.Get("wait")); err == nil && wait == 0 {
			name = Polling
		}
	case "events":
		name = SSE
	case "connect":
		name = WebSocket
	default:
		return nil
	}
	return m.find(q.Get("channel"), name)
}

// requestSize returns the bytes of a request's line and headers, as HTTP/1.1 has them.
func requestSize(r *http.Request) int {
	n := len(r.Method) + len(" ") + len(r.RequestURI) + len(" HTTP/1.1\r\n") + len("Host: \r\n") + len(r.Host)
	return n + headerSize(r.Header) + len("\r\n")
}

func headerSize(h http.Header) (n int) {
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(": ") + len(v) + len("\r\n")
		}
	}
	return n
}

// A guessed answer is one whose bytes are worked out.
type guessed struct {
	http.ResponseWriter
	way   *way
	began bool
}

// Unwrap lets http.ResponseController through.
func (g *guessed) Unwrap() http.ResponseWriter { return g.ResponseWriter }

// What net/http adds to an answer by itself.
const added = len("Date: Mon, 02 Jan 2006 15:04:05 GMT\r\nTransfer-Encoding: chunked\r\n") + len("\r\n") + len("0\r\n\r\n")

func (g *guessed) WriteHeader(status int) {
	if !g.began && status >= 200 {
		g.began = true
		g.way.guess(0, len("HTTP/1.1 200 \r\n")+len(http.StatusText(status))+headerSize(g.Header())+added)
	}
	g.ResponseWriter.WriteHeader(status)
}

func (g *guessed) Write(p []byte) (int, error) {
	if !g.began {
		g.WriteHeader(http.StatusOK)
	}
	n, err := g.ResponseWriter.Write(p)
	g.way.guess(0, n+len(strconv.FormatInt(int64(n), 16))+len("\r\n\r\n"))
	return n, err
}

type countedBody struct {
	io.ReadCloser
	way *way
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.way.guess(n, 0)
	}
	return n, err
}

// A hijackable answer is that to the handshake of a WebSocket, whose connection
// remains to be counted.
type hijackable struct {
	http.ResponseWriter
	conn *conn // nil: what goes through is counted
	way  *way
}

// Unwrap lets http.ResponseController through.
func (h *hijackable) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Hijack hands out a connection that is not the TCP connection itself: that would be
// taken apart by package websocket, and there would be nothing left to ask.
func (h *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	l := &lineConn{Conn: c, conn: h.conn, way: h.way}
	if h.conn != nil {
		h.conn.take()
	}
	if h.conn == nil && rw != nil && rw.Reader != nil {
		h.way.guess(rw.Reader.Buffered(), 0)
	}
	return l, rw, nil
}

// A lineConn is the connection of a WebSocket.
type lineConn struct {
	net.Conn
	conn *conn
	way  *way
}

func (l *lineConn) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if l.conn == nil && n > 0 {
		l.way.guess(n, 0)
	}
	return n, err
}

func (l *lineConn) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p)
	if l.conn == nil && n > 0 {
		l.way.guess(0, n)
	}
	return n, err
}

func (l *lineConn) Close() error {
	err := l.Conn.Close()
	if l.conn != nil {
		l.conn.close()
	}
	return err
}
