package push

import (
	"net/http"
	"sync"

	"github.com/duplexgo/duplex/websocket"
)

// rates limit how fast each publisher over HTTP may publish. A publisher is a user
// or else an address.
type rates struct {
	mu         sync.Mutex
	publishers map[string]*bucket
}

// maxPublishers is how many publishers are told apart at once.
const maxPublishers = 10_000

// take reports whether a publisher may publish a message now.
func (r *rates) take(publisher string, rate int) bool {
	if rate <= 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.publishers[publisher]
	if b == nil {
		b = new(bucket)
		b.init(rate)
		r.add(publisher, b)
	}
	return b.take()
}

func (r *rates) add(publisher string, b *bucket) {
	if r.publishers == nil {
		r.publishers = make(map[string]*bucket)
	}
	if len(r.publishers) >= maxPublishers {
		r.forget()
	}
	r.publishers[publisher] = b
}

// forget makes room: who has published nothing for a while is as good as new. If that
// is nobody, the half goes, whoever it is.
func (r *rates) forget() {
	for name, b := range r.publishers {
		if b.full() {
			delete(r.publishers, name)
		}
	}
	for name := range r.publishers {
		if len(r.publishers) < maxPublishers/2 {
			return
		}
		delete(r.publishers, name)
	}
}

// publisher is by what a publisher is told from others.
func publisher(g *Grant, r *http.Request, l *websocket.Limits) string {
	if g.User != "" {
		return "user " + g.User
	}
	ip := l.ClientAddr(r)
	if !ip.IsValid() {
		return "address " + r.RemoteAddr
	}
	if ip.Is6() {
		// A single subscriber of a network has so many addresses.
		prefix, _ := ip.Prefix(64)
		ip = prefix.Addr()
	}
	return "address " + ip.String()
}
