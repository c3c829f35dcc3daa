package netpoll

// An Event says that something may be done with the descriptor that Value was
// registered with.
type Event[T any] struct {
	Value T
	Flags
}

// Flags say what may be done without waiting.
type Flags uint8

const (
	readable Flags = 1 << iota
	writable
	hungUp
)

// Readable reports whether a read returns at once: bytes, the end, or an error.
func (f Flags) Readable() bool { return f&(readable|hungUp) != 0 }

// Writable reports whether a write returns at once: there is room, or an error.
func (f Flags) Writable() bool { return f&writable != 0 }

// HungUp reports whether the peer will send no more, or the connection has
// failed. There may still be bytes to read before the end shows: read until it
// does, since no other event will tell of it.
func (f Flags) HungUp() bool { return f&hungUp != 0 }
