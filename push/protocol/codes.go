package protocol

import "strconv"

// A Code is the number of an [Error]. The hundreds say what a client can do:
//
//	100 to 199   the command is at fault: the same again fails again
//	200 to 299   the server is at fault, or busy: the same may work later
type Code int

const (
	BadCommand           Code = 100 // not JSON, not an object, a field of the wrong type, no id
	UnknownCommand       Code = 101 // a well-formed command that the server does not know
	BadChannel           Code = 102 // the channel's name breaks a rule
	BadPosition          Code = 103 // not a position that a server gave
	BadData              Code = 104 // data is missing or is not JSON in UTF-8
	DataTooBig           Code = 105 // data is longer than the server takes
	Subscribed           Code = 106 // subscribe to a channel that the line is subscribed to
	NotSubscribed        Code = 107 // unsubscribe from one that it is not subscribed to
	TooManySubscriptions Code = 108 // as many as a line may have

	Internal        Code = 200 // the server failed
	TooManyCommands Code = 201 // more commands than a line may send
	TooManyChannels Code = 202 // the server keeps as many channels as it can
	ShuttingDown    Code = 203 // come back soon, perhaps to another server
)

// Temporary reports whether the same command may succeed later.
func (c Code) Temporary() bool { return c >= 200 && c <= 299 }

// An Error is why a command was not done.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"` // for people; programs look at the code
}

// Error returns the message with its number.
func (e *Error) Error() string {
	return e.Message + " (" + strconv.Itoa(int(e.Code)) + ")"
}

// Is makes errors.Is(err, &Error{Code: c}) true of every Error with that code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && (t.Message == "" || t.Message == e.Message)
}

// CloseTooManyCommands is the WebSocket close code for a client that goes on
// sending commands although they are refused with TooManyCommands.
//
// The server's own close codes are 4000 to 4999: up to 4499 a client must not
// come back without a change, from 4500 it may, after a wait. See [Reconnect].
const CloseTooManyCommands = 4500

// Reconnect reports whether a client whose line ended with this WebSocket close
// code should come back by itself, after a wait. It should not after a normal
// end (1000), nor where the server would only refuse the same again: 1002, 1003,
// 1007 to 1010, and 4000 to 4499. A line that broke without a close frame counts
// as 1006.
func Reconnect(closeCode int) bool {
	switch {
	case closeCode == 1000, closeCode == 1002, closeCode == 1003:
		return false
	case closeCode >= 1007 && closeCode <= 1010:
		return false
	case closeCode >= 4000 && closeCode <= 4499:
		return false
	}
	return true
}
