package main

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// arrivals are the connections of a server from which no request has come yet.
// http.Server.Shutdown drops such a one without an answer when its request comes, and
// net/http's clients do not ask again: who connects in the moment of a restart would
// meet an error. So it is waited for them before.
type arrivals struct {
	mu    sync.Mutex
	since map[net.Conn]time.Time
}

// arrivalTime is what the first request of a connection may take, to be answered by a
// server that ends. A silent connection, as browsers open them in advance, holds up the
// end no longer.
const arrivalTime = 5 * time.Second

type arrivedKey struct{}

// watchArrivals has a server tell of its connections.
func watchArrivals(srv *http.Server) *arrivals {
	a := &arrivals{since: make(map[net.Conn]time.Time)}
	inContext, onState, h := srv.ConnContext, srv.ConnState, srv.Handler
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if inContext != nil {
			ctx = inContext(ctx, c)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.since[c] = time.Now()
		return context.WithValue(ctx, arrivedKey{}, sync.OnceFunc(func() { a.forget(c) }))
	}
	srv.ConnState = func(c net.Conn, state http.ConnState) {
		if onState != nil {
			onState(c, state)
		}
		if state == http.StateClosed {
			a.forget(c)
		}
	}
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Context().Value(arrivedKey{}).(func())()
		h.ServeHTTP(w, r)
	})
	return a
}

func (a *arrivals) forget(c net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.since, c)
}

// wait returns when there are none any more, or all have had their time.
func (a *arrivals) wait(ctx context.Context) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for a.expected() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// expected reports whether a request may come yet.
func (a *arrivals) expected() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, since := range a.since {
		if time.Since(since) < arrivalTime {
			return true
		}
	}
	return false
}
