package websocket

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"reflect"
	"sync"
	"time"
)

// ReportHandshakeTimeouts calls report with the address of each client whose
// connection http.Server ended because its first request was not complete in
// time. Such a request never gets to a handler, so an application does not hear
// of it otherwise; a server that is under attack by slow clients sees them here.
//
// Call it after the fields of srv are set and before srv serves. It wraps
// ConnContext, ConnState and Handler; those that are set go on being called. The
// time is srv's ReadHeaderTimeout or, where that is zero, ReadTimeout; with
// neither, nothing is ever late. For WebSocket:
//
//	srv := &http.Server{
//		Handler:           mux,
//		ReadHeaderTimeout: 10 * time.Second,
//		IdleTimeout:       time.Minute, // between requests that are not for WebSockets
//		MaxHeaderBytes:    16 << 10,
//	}
//	websocket.ReportHandshakeTimeouts(srv, func(remote net.Addr) { slow.Add(1) })
//
// report is called by the goroutines of many connections, perhaps at once, and
// should not block. A TLS handshake that takes as long is reported too.
func ReportHandshakeTimeouts(srv *http.Server, report func(remote net.Addr)) {
	w := &waiting{srv: srv, report: report, conns: make(map[net.Conn]*firstRequest)}
	w.wrapConnContext()
	w.wrapConnState()
	w.wrapHandler()
}

// waiting are the connections from which no request has come yet. net/http does
// not tell why it closes one of them; that it is the time which is over can be
// seen from the time.
type waiting struct {
	srv    *http.Server
	report func(net.Addr)

	mu    sync.Mutex
	conns map[net.Conn]*firstRequest
}

// A firstRequest is one that has not come yet. It is in its connection's context
// so that the handler finds it without a lock.
type firstRequest struct {
	conn   net.Conn
	remote net.Addr // known even when conn is closed
	since  time.Time
	came   sync.Once
}

type firstRequestKey struct{}

func (w *waiting) wrapConnContext() {
	next := w.srv.ConnContext
	w.srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if next != nil {
			ctx = next(ctx, c)
		}
		if ctx == nil || !reflect.ValueOf(c).Comparable() {
			return ctx // net/http refuses the first; the second cannot be found again
		}
		f := &firstRequest{conn: c, remote: c.RemoteAddr(), since: time.Now()}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.conns[c] = f
		return context.WithValue(ctx, firstRequestKey{}, f)
	}
}

func (w *waiting) wrapConnState() {
	next := w.srv.ConnState
	w.srv.ConnState = func(c net.Conn, state http.ConnState) {
		if next != nil {
			next(c, state)
		}
		switch state {
		case http.StateClosed, http.StateHijacked, http.StateIdle:
			if f := w.remove(c); f != nil && state == http.StateClosed && w.late(f) {
				w.report(f.remote)
			}
		}
	}
}

func (w *waiting) wrapHandler() {
	next := w.srv.Handler
	w.srv.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if f, ok := r.Context().Value(firstRequestKey{}).(*firstRequest); ok {
			f.came.Do(func() { w.remove(f.conn) })
		}
		if next == nil {
			http.DefaultServeMux.ServeHTTP(rw, r)
			return
		}
		next.ServeHTTP(rw, r)
	})
}

// remove returns the request that was waited for, or nil.
func (w *waiting) remove(c net.Conn) *firstRequest {
	if !reflect.ValueOf(c).Comparable() {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.conns[c]
	delete(w.conns, c)
	return f
}

// late reports whether the time for the first request is over. net/http begins
// to measure later than this, so that none is missed.
func (w *waiting) late(f *firstRequest) bool {
	limit := cmp.Or(w.srv.ReadHeaderTimeout, w.srv.ReadTimeout)
	return limit > 0 && time.Since(f.since) >= limit
}
