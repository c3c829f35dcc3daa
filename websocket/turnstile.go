//go:build !js

package websocket

import (
	"context"
	"net/netip"
	"slices"
	"sync"
)

// A turnstile lets one Dial at a time pass to a host. RFC 6455, 4.1, second item
// 2: it makes it harder to have a program attack a host with many connections at
// once, and spares a server that comes back a flood.
type turnstile struct {
	open bool     // for everybody
	held []string // hosts, sorted
}

// hosts are those to which a Dial is on its way. Nothing here belongs to a bubble
// of testing/synctest but what waits.
var hosts struct {
	mu    sync.Mutex
	lines map[string]*line
}

// A line is those that wait behind the Dial that is on its way to a host, the
// first to come first.
type line struct{ waiting []chan struct{} }

// enter waits until nobody else is on the way to any of the hosts. They are taken
// in one order by all, so that no two wait for each other.
func (t *turnstile) enter(ctx context.Context, names ...string) error {
	if t.open {
		return nil
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if err := enterHost(ctx, name); err != nil {
			return err
		}
		t.held = append(t.held, name)
	}
	return nil
}

func (t *turnstile) leave() {
	hosts.mu.Lock()
	defer hosts.mu.Unlock()
	for _, name := range t.held {
		leaveHost(name)
	}
	t.held = nil
}

func enterHost(ctx context.Context, name string) error {
	ready := queue(name)
	if ready == nil {
		return nil
	}
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
	}
	hosts.mu.Lock()
	defer hosts.mu.Unlock()
	l := hosts.lines[name]
	if i := slices.Index(l.waiting, ready); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	} else {
		leaveHost(name) // it has been called up at the same moment
	}
	return ctx.Err()
}

// queue joins the line for a host. It returns nil if there is nobody.
func queue(name string) chan struct{} {
	hosts.mu.Lock()
	defer hosts.mu.Unlock()
	l := hosts.lines[name]
	if l == nil {
		if hosts.lines == nil {
			hosts.lines = make(map[string]*line)
		}
		hosts.lines[name] = new(line)
		return nil
	}
	ready := make(chan struct{})
	l.waiting = append(l.waiting, ready)
	return ready
}

// leaveHost calls up the next. The mutex is held.
func leaveHost(name string) {
	l := hosts.lines[name]
	if len(l.waiting) == 0 {
		delete(hosts.lines, name)
		return
	}
	close(l.waiting[0])
	l.waiting = l.waiting[1:]
}

func names(addrs []netip.Addr) []string {
	var s []string
	for _, a := range addrs {
		s = append(s, a.String())
	}
	return s
}
