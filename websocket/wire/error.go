package wire

// An Error is a rule that the peer broke, or a limit that it passed. The
// connection cannot go on: it is answered with a close frame of this Code and
// ends. RFC 6455, 7.1.7.
type Error struct {
	Code CloseCode // CloseProtocolError, CloseInvalidPayload, ClosePolicyViolation or CloseMessageTooBig
	Msg  string    // what was wrong, fit for the reason of the close frame
}

// Error returns what was wrong and the code that answers it.
func (e *Error) Error() string { return e.Msg + ", answered with " + e.Code.String() }

// Is makes errors.Is(err, &Error{Code: c}) true of every Error of that code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && (t.Msg == "" || t.Msg == e.Msg)
}

var (
	errLengthForm    = &Error{CloseProtocolError, "payload length not in its shortest form"}
	errLengthSign    = &Error{CloseProtocolError, "payload length with its top bit set"}
	errRsv           = &Error{CloseProtocolError, "RSV bit set that no extension defines"}
	errReserved      = &Error{CloseProtocolError, "reserved opcode"}
	errUnmasked      = &Error{CloseProtocolError, "frame from a client without a mask"}
	errMasked        = &Error{CloseProtocolError, "frame from a server with a mask"}
	errControlFin    = &Error{CloseProtocolError, "fragmented control frame"}
	errControlLength = &Error{CloseProtocolError, "control frame with more than 125 bytes"}
	errCloseShort    = &Error{CloseProtocolError, "close frame with one byte"}
	errCloseReason   = &Error{CloseInvalidPayload, "close frame whose reason is not UTF-8"}
	errContinuation  = &Error{CloseProtocolError, "continuation frame without a message to continue"}
	errInterleaved   = &Error{CloseProtocolError, "new message before the end of the last one"}
	errText          = &Error{CloseInvalidPayload, "text that is not UTF-8"}
	errFrameTooBig   = &Error{CloseMessageTooBig, "frame over the limit"}
	errMessageTooBig = &Error{CloseMessageTooBig, "message over the limit"}
	errFragments     = &Error{ClosePolicyViolation, "message in too many fragments"}
)
