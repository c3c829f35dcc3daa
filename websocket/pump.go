package websocket

import (
	"io"
	"os"
	"sync"
	"time"
)

// A pump makes the reads of a Stream without SetReadDeadline stoppable: a
// goroutine reads ahead, one chunk at most, and Read waits for that. A Read that
// is stopped has taken nothing from the stream.
type pump struct {
	stream Stream

	mu      sync.Mutex
	changed sync.Cond
	chunk   []byte // what has been read and not been taken
	err     error  // after chunk
	running bool
	expired bool // a deadline is set, and it is in the past
}

// pumpChunk is how far a pump reads ahead, in bytes.
const pumpChunk = 16 << 10

func newPump(s Stream) *pump {
	p := &pump{stream: s}
	p.changed.L = &p.mu
	return p
}

func (p *pump) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running {
		p.running = true
		go p.run()
	}
	for len(p.chunk) == 0 {
		switch {
		case p.expired:
			return 0, os.ErrDeadlineExceeded
		case p.err != nil:
			return 0, p.err
		}
		p.changed.Wait()
	}
	n := copy(b, p.chunk)
	p.chunk = p.chunk[n:]
	p.changed.Broadcast()
	return n, nil
}

// SetReadDeadline stops a Read that waits, and later ones, until it is called
// with the zero time. Any other time counts as past.
func (p *pump) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expired = !t.IsZero()
	p.changed.Broadcast()
	return nil
}

// run ends when the stream does, which closing it brings about, or by stop.
func (p *pump) run() {
	buf := make([]byte, pumpChunk)
	p.mu.Lock()
	defer p.mu.Unlock()
	empty := 0
	for p.err == nil {
		p.mu.Unlock()
		n, err := p.stream.Read(buf)
		p.mu.Lock()
		if empty++; n > 0 {
			empty = 0
		} else if empty >= maxEmptyReads && err == nil {
			err = io.ErrNoProgress
		}
		if p.err == nil {
			p.chunk, p.err = buf[:n], err
		}
		p.changed.Broadcast()
		for len(p.chunk) > 0 && p.err == nil {
			p.changed.Wait()
		}
	}
}

// stop ends run where it waits for a Read that will not come.
func (p *pump) stop(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	p.changed.Broadcast()
}
