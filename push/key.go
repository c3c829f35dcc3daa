package push

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
)

const (
	// keyWindow is for how long a repeated publication is known by its key.
	keyWindow = 30 * time.Second

	// maxKeys is how many keys are known; the oldest give way.
	maxKeys = 100_000

	// maxKey is the longest key, in bytes.
	maxKey = 255
)

// keys know the publications of late that had an idempotency key, so that a repeat
// of one is answered like the first and not stored again.
type keys struct {
	mu    sync.Mutex
	known map[keyHash]*keyed
	queue []*keyed // in the order of their beginning; queue[head:] count
	head  int
}

// A keyHash stands for a channel and a key: clients choose the length of both.
type keyHash [sha256.Size]byte

// keyed is a publication with a key.
type keyed struct {
	hash keyHash
	at   time.Time
	done chan struct{} // closed when what follows is known

	position Position
	err      error
}

// checkKey returns what is wrong with an idempotency key; "" is none.
func checkKey(key string) error {
	ok := len(key) <= maxKey
	for i := 0; i < len(key); i++ {
		ok = ok && key[i] > ' ' && key[i] < 0x7F
	}
	if !ok {
		return &protocol.Error{Code: protocol.BadCommand, Message: "an idempotency key is 1 to 255 visible ASCII characters"}
	}
	return nil
}

// once publishes unless that has been done with this key, and returns the message's
// position either way. What failed is tried again by a repeat.
func (k *keys) once(ctx context.Context, channel, key string, publish func() (Position, error)) (Position, error) {
	p, first := k.enter(sha256.Sum256([]byte(channel + "\x00" + key)))
	if !first {
		select {
		case <-p.done:
			return p.position, p.err
		case <-ctx.Done():
			return Position{}, ctx.Err()
		}
	}
	// Also if publishing panics: else those who wait would wait for ever.
	p.err = &protocol.Error{Code: protocol.Internal, Message: "the server failed; try again"}
	defer func() {
		if p.err != nil {
			k.forget(p)
		}
		close(p.done)
	}()
	p.position, p.err = publish()
	return p.position, p.err
}

// enter returns what is known of a key, or a new entry for the caller to fill.
func (k *keys) enter(hash keyHash) (p *keyed, first bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	for k.head < len(k.queue) && (len(k.queue)-k.head >= maxKeys || now.Sub(k.queue[k.head].at) >= keyWindow) {
		k.drop()
	}
	if p := k.known[hash]; p != nil {
		return p, false
	}
	if k.known == nil {
		k.known = make(map[keyHash]*keyed)
	}
	p = &keyed{hash: hash, at: now, done: make(chan struct{})}
	k.known[hash] = p
	k.queue = append(k.queue, p)
	return p, true
}

// drop forgets the oldest key.
func (k *keys) drop() {
	p := k.queue[k.head]
	if k.known[p.hash] == p {
		delete(k.known, p.hash)
	}
	k.queue[k.head] = nil
	if k.head++; k.head > len(k.queue)/2 {
		n := copy(k.queue, k.queue[k.head:])
		clear(k.queue[n:])
		k.queue, k.head = k.queue[:n], 0
	}
}

func (k *keys) forget(p *keyed) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known[p.hash] == p {
		delete(k.known, p.hash)
	}
}
