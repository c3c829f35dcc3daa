package wire

import (
	"encoding/binary"
	"strconv"
	"unicode/utf8"
)

// A CloseCode is the status code of a close frame. RFC 6455, 7.4.
type CloseCode uint16

// The codes of RFC 6455, 7.4.1, and of the IANA registry that it founded.
// Applications choose their own from 4000 to 4999.
const (
	CloseNormal             CloseCode = 1000 // the purpose of the connection is fulfilled
	CloseGoingAway          CloseCode = 1001 // a server goes down, a page is left
	CloseProtocolError      CloseCode = 1002 // the peer broke the protocol
	CloseUnsupportedData    CloseCode = 1003 // a type of message that cannot be taken
	CloseNoStatus           CloseCode = 1005 // never sent: the close frame had no code
	CloseAbnormal           CloseCode = 1006 // never sent: there was no close frame
	CloseInvalidPayload     CloseCode = 1007 // text that is not UTF-8, say
	ClosePolicyViolation    CloseCode = 1008 // when no other code fits
	CloseMessageTooBig      CloseCode = 1009 // over a limit
	CloseMandatoryExtension CloseCode = 1010 // a client did not get an extension it needs
	CloseInternalError      CloseCode = 1011 // the server met a condition it did not expect
	CloseServiceRestart     CloseCode = 1012 // come back in a while
	CloseTryAgainLater      CloseCode = 1013 // overloaded
	CloseBadGateway         CloseCode = 1014 // a gateway got a bad answer
	CloseTLSHandshake       CloseCode = 1015 // never sent: TLS failed
)

// Sendable reports whether the code may stand in a close frame: 1000 to 1014
// without 1004, 1005 and 1006, and 3000 to 4999. RFC 6455, 7.4.
func (c CloseCode) Sendable() bool {
	switch {
	case c >= 3000 && c <= 4999:
		return true
	case c == 1004, c == CloseNoStatus, c == CloseAbnormal:
		return false
	}
	return c >= 1000 && c <= 1014
}

// String returns the number and, where it has one, its meaning.
func (c CloseCode) String() string {
	s := strconv.Itoa(int(c))
	if meaning := closeMeanings[c]; meaning != "" {
		return s + " (" + meaning + ")"
	}
	return s
}

var closeMeanings = map[CloseCode]string{
	CloseNormal:             "normal closure",
	CloseGoingAway:          "going away",
	CloseProtocolError:      "protocol error",
	CloseUnsupportedData:    "unsupported data",
	CloseNoStatus:           "no status code",
	CloseAbnormal:           "abnormal closure",
	CloseInvalidPayload:     "invalid payload",
	ClosePolicyViolation:    "policy violation",
	CloseMessageTooBig:      "message too big",
	CloseMandatoryExtension: "mandatory extension",
	CloseInternalError:      "internal error",
	CloseServiceRestart:     "service restart",
	CloseTryAgainLater:      "try again later",
	CloseBadGateway:         "bad gateway",
	CloseTLSHandshake:       "TLS handshake",
}

// MaxReason is the longest reason of a close frame, in bytes: the payload of a
// control frame less the code.
const MaxReason = MaxControl - 2

// ParseClose reads the payload of a close frame. An empty one has the code
// CloseNoStatus. The error is an *Error for a payload of one byte, for a code
// that must not be sent and for a reason that is not UTF-8. RFC 6455, 5.5.1.
func ParseClose(p []byte) (code CloseCode, reason string, err error) {
	if len(p) == 0 {
		return CloseNoStatus, "", nil
	}
	if len(p) == 1 {
		return 0, "", errCloseShort
	}
	code = CloseCode(binary.BigEndian.Uint16(p))
	if !code.Sendable() {
		return 0, "", &Error{Code: CloseProtocolError, Msg: "close frame with code " + strconv.Itoa(int(code)) + ", which must not be sent"}
	}
	if !utf8.Valid(p[2:]) {
		return 0, "", errCloseReason
	}
	return code, string(p[2:]), nil
}

// AppendClose appends the payload of a close frame: nothing for CloseNoStatus,
// else the code and the reason, of which at most MaxReason bytes are taken,
// whole characters only.
func AppendClose(b []byte, code CloseCode, reason string) []byte {
	if code == CloseNoStatus {
		return b
	}
	if len(reason) > MaxReason {
		n := MaxReason
		for n > 0 && !utf8.RuneStart(reason[n]) {
			n--
		}
		reason = reason[:n]
	}
	b = binary.BigEndian.AppendUint16(b, uint16(code))
	return append(b, reason...)
}
