package websocket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/duplexgo/duplex/websocket/wire"
)

// An Error is a rule that the peer broke or a limit that it passed. The
// connection was ended with its Code. RFC 6455, 7.1.7.
type Error = wire.Error

// ErrMessageTooBig is found by errors.Is in the error of a read whose message, or
// one frame of it, was over [Options.MaxMessage] or [Options.MaxFrame]. The
// connection was ended with 1009.
var ErrMessageTooBig error = &Error{Code: CloseMessageTooBig, Msg: ""}

// ErrPongTimeout ends a connection whose peer was silent for
// [Options.PongTimeout] after an automatic ping.
var ErrPongTimeout = errors.New("websocket: the peer did not answer a ping in time; it is gone or does not answer pings")

// errHandled is what the blocking calls return on a Handler's Conn.
var errHandled = errors.New("websocket: read: the connection belongs to a Handler, which calls Message for each message")

// errStreamEnd is the end of a stream on which no close frame came.
var errStreamEnd = fmt.Errorf("websocket: reading: the stream ended without a close frame: %w", io.ErrUnexpectedEOF)

// A CloseError is the end of a connection by a close frame, or by [Conn.CloseNow].
// RFC 6455, 7.1.4 to 7.1.6.
//
// errors.Is(err, net.ErrClosed) is true of every CloseError.
type CloseError struct {
	Code   CloseCode // of the side that closed first; CloseNoStatus: its frame had no code; CloseAbnormal: by CloseNow
	Reason string    // of the side that closed first
	Local  bool      // this side closed first
}

// Error says who closed, with which code and reason.
func (e *CloseError) Error() string {
	who := "closed by the peer"
	if e.Local {
		who = "closed by this side"
	}
	if e.Code == CloseAbnormal {
		return "websocket: " + who + " without a close frame"
	}
	s := "websocket: " + who + ": " + e.Code.String()
	if e.Reason != "" {
		s += fmt.Sprintf(": %q", e.Reason)
	}
	return s
}

// Is reports whether target is net.ErrClosed.
func (e *CloseError) Is(target error) bool { return target == net.ErrClosed }

// A PanicError is a panic in a callback of a [Handler]. Its connection was ended
// with 1011.
type PanicError struct {
	Value any    // what panic was called with
	Stack []byte // of the goroutine that panicked, as debug.Stack formats it
}

// Error returns the value that panic was called with; the stack is apart.
func (e *PanicError) Error() string {
	if e.Value == nil {
		return "websocket: a callback ended its goroutine (runtime.Goexit)"
	}
	return fmt.Sprintf("websocket: panic in a callback: %v", e.Value)
}

// Unwrap returns the panic's value where that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// A CloseCode is the status code of a close frame. RFC 6455, 7.4.
type CloseCode = wire.CloseCode

// The codes of RFC 6455, 7.4.1, and of the IANA registry. Applications choose
// their own from 4000 to 4999.
const (
	CloseNormal             = wire.CloseNormal             // 1000
	CloseGoingAway          = wire.CloseGoingAway          // 1001
	CloseProtocolError      = wire.CloseProtocolError      // 1002
	CloseUnsupportedData    = wire.CloseUnsupportedData    // 1003
	CloseNoStatus           = wire.CloseNoStatus           // 1005, never sent
	CloseAbnormal           = wire.CloseAbnormal           // 1006, never sent
	CloseInvalidPayload     = wire.CloseInvalidPayload     // 1007
	ClosePolicyViolation    = wire.ClosePolicyViolation    // 1008
	CloseMessageTooBig      = wire.CloseMessageTooBig      // 1009
	CloseMandatoryExtension = wire.CloseMandatoryExtension // 1010
	CloseInternalError      = wire.CloseInternalError      // 1011
	CloseServiceRestart     = wire.CloseServiceRestart     // 1012
	CloseTryAgainLater      = wire.CloseTryAgainLater      // 1013
	CloseBadGateway         = wire.CloseBadGateway         // 1014
	CloseTLSHandshake       = wire.CloseTLSHandshake       // 1015, never sent
)

// An opError is what a stream returned, with what was being done.
type opError struct {
	op  string
	err error
}

func (e *opError) Error() string { return "websocket: " + e.op + ": " + e.err.Error() }
func (e *opError) Unwrap() error { return e.err }
