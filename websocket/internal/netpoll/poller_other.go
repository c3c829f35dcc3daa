//go:build !linux

package netpoll

import "errors"

// Supported says that there are no Pollers and no Sockets on this system.
const Supported = false

// A Token stands for nothing on this system.
type Token struct{}

// A Poller does not exist on this system; New says so.
type Poller[T any] struct{ _ T }

// New returns errors.ErrUnsupported.
func New[T any]() (*Poller[T], error) { return nil, errors.ErrUnsupported }

// Close returns errors.ErrUnsupported, as the other methods do.
func (*Poller[T]) Close() error { return errors.ErrUnsupported }

// Add returns errors.ErrUnsupported.
func (*Poller[T]) Add(int, T) (Token, error) { return Token{}, errors.ErrUnsupported }

// AddOnce returns errors.ErrUnsupported.
func (*Poller[T]) AddOnce(int, T) (Token, error) { return Token{}, errors.ErrUnsupported }

// Rearm returns errors.ErrUnsupported.
func (*Poller[T]) Rearm(int, Token) error { return errors.ErrUnsupported }

// Remove does nothing.
func (*Poller[T]) Remove(Token) {}

// Wait returns errors.ErrUnsupported.
func (*Poller[T]) Wait(events []Event[T], _ bool) ([]Event[T], error) {
	return events[:0], errors.ErrUnsupported
}

// Wake does nothing.
func (*Poller[T]) Wake() {}
