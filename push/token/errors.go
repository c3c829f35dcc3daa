package token

import (
	"errors"
	"fmt"
)

// The errors of Verify, for errors.Is. Their texts, and what is added to them, say
// what is wrong in words that may be sent to whoever presented the token: they hold
// nothing of keys, nothing of the server's settings and nothing of the token.
var (
	// ErrInvalid is a token that does not count, and will not later. One that is
	// not valid yet is among them: its time may come, but by then its bearer has
	// asked for another.
	ErrInvalid = errors.New("the token is not valid")

	// ErrExpired is a token whose time is over: its bearer needs a new one.
	ErrExpired = errors.New("the token has expired")

	// ErrUnavailable means that the token cannot be checked for lack of keys: the
	// same token may be good later. Why the keys are not there is in the log of
	// the Source.
	ErrUnavailable = errors.New("the token cannot be checked now: try again later")
)

// invalid makes an ErrInvalid that says why.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
