package server

import (
	"slices"
	"sync"
)

// A room is the connections that get each other's messages.
type room[C comparable] struct {
	mu      sync.Mutex
	members []C
	shared  bool // the slice is in somebody's hands and must not change any more
}

func (r *room[C]) join(c C) {
	r.change(func() { r.members = append(r.members, c) })
}

func (r *room[C]) leave(c C) {
	r.change(func() {
		if i := slices.Index(r.members, c); i >= 0 {
			last := len(r.members) - 1
			r.members[i] = r.members[last]
			clear(r.members[last:])
			r.members = r.members[:last]
		}
	})
}

func (r *room[C]) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shared {
		r.members, r.shared = slices.Clone(r.members), false
	}
	f()
}

// all returns the members of this moment. They are not copied for each message,
// only after somebody came or went.
func (r *room[C]) all() []C {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shared = true
	return r.members
}
