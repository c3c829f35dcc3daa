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
	Unauthorized         Code = 109 // no token, or one that is not good
	Forbidden            Code = 110 // the token does not allow this
	Expired              Code = 111 // the token was good, and has ended: get a new one

	Internal        Code = 200 // the server failed
	TooManyCommands Code = 201 // more commands than a line may send
	TooManyChannels Code = 202 // the server keeps as many channels as it can
	ShuttingDown    Code = 203 // come back soon, perhaps to another server
	TooManyMessages Code = 204 // more messages than a publisher may publish
	TooManyLines    Code = 205 // as many clients as the server takes
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

// The server's own close codes are 4000 to 4999: up to 4499 a client must not
// come back without a change, from 4500 it may, after a wait. See [Reconnect].
const (
	CloseUnauthorized = 4001 // no token in time, or one that is not good
	CloseDisconnected = 4002 // by the operator, who wants this user away

	CloseTooManyCommands = 4500 // commands went on although they were refused with TooManyCommands
	CloseExpired         = 4501 // the token has ended: come back with a new one
)

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
