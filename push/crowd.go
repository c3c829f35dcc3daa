package push

import (
	"fmt"
	"sync"

	"github.com/duplexgo/duplex/push/protocol"
)

// A crowd is the lines of all transports: how many there are, and whose.
type crowd struct {
	mu    sync.Mutex
	lines map[string]int // of each transport
	all   int
	users map[string]map[*session]struct{}
}

// enter counts a line of a transport, or says that there are as many as max.
func (c *crowd) enter(transport string, max int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if max > 0 && c.all >= max {
		return &protocol.Error{Code: protocol.TooManyLines, Message: fmt.Sprintf("the server has %d lines, as many as it takes; come back later", max)}
	}
	if c.lines == nil {
		c.lines = make(map[string]int)
	}
	c.lines[transport]++
	c.all++
	return nil
}

// leave ends what enter began.
func (c *crowd) leave(transport string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines[transport]--
	c.all--
}

// count returns the number of lines of each transport.
func (c *crowd) count() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := make(map[string]int, len(c.lines))
	for transport, lines := range c.lines {
		n[transport] = lines
	}
	return n
}

// move makes a session that of another user; "" is nobody.
func (c *crowd) move(s *session, from, to string) {
	if from == to {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if from != "" {
		delete(c.users[from], s)
		if len(c.users[from]) == 0 {
			delete(c.users, from)
		}
	}
	if to == "" {
		return
	}
	if c.users == nil {
		c.users = make(map[string]map[*session]struct{})
	}
	if c.users[to] == nil {
		c.users[to] = make(map[*session]struct{})
	}
	c.users[to][s] = struct{}{}
}

// of returns the sessions of a user.
func (c *crowd) of(user string) []*session {
	c.mu.Lock()
	defer c.mu.Unlock()
	sessions := make([]*session, 0, len(c.users[user]))
	for s := range c.users[user] {
		sessions = append(sessions, s)
	}
	return sessions
}
