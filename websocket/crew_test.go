package websocket_test

import (
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/duplexgo/duplex/websocket"
)

// Goroutines for callbacks that block are used again, one after the other where one is
// enough; those that are too many go, and without traffic all do.
func TestHands(t *testing.T) {
	const crowd = 20
	onLoop(t, func(t *testing.T, host host) {
		var inside sync.WaitGroup
		var mu sync.Mutex
		workers := make(map[string]int)
		h := &websocket.Handler{}
		h.Message = func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
			if string(p) == "meet" {
				inside.Done()
				inside.Wait()
			} else {
				mu.Lock()
				workers[goroutine()]++
				mu.Unlock()
			}
			c.Write(bg, typ, p)
		}
		h.PingInterval = -1
		h.AlwaysBlocks()
		s := host.run(t, h)
		var peers []*raw
		for range crowd {
			peers = append(peers, s.peer(t))
		}
		first := peers[0]
		alone := func() {
			first.send(first.text("alone"))
			first.want("text alone")
		}

		eventually(t, host, "the crew's beginning", func() bool {
			alone()
			idle, open := h.Hands()
			return open && idle > 0
		})
		inside.Add(crowd)
		for _, p := range peers {
			p.send(p.text("meet"))
		}
		for _, p := range peers {
			p.want("text meet")
		}
		eventually(t, host, "trimming", func() bool {
			alone()
			idle, _ := h.Hands()
			return idle <= 2
		})
		clear(workers)
		for range 100 {
			alone()
		}
		if len(workers) > 50 {
			t.Errorf("%d goroutines for 100 messages, one after the other", len(workers))
		}
		eventually(t, host, "the crew's end", func() bool {
			idle, open := h.Hands()
			return idle == 0 && !open
		})
		alone() // and it begins again
	})
}

// onLoop runs a test over the hosts whose connections a loop reads.
func onLoop(t *testing.T, test func(t *testing.T, h host)) {
	for _, h := range []host{overLoop, inTLS} {
		t.Run(h.name, func(t *testing.T) { test(t, h) })
	}
}

// goroutine returns the name of the goroutine that calls it.
func goroutine() string {
	b := make([]byte, 64)
	name, _, _ := strings.Cut(string(b[:runtime.Stack(b, false)]), " [")
	return name
}
