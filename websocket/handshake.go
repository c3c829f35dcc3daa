package websocket

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// defaultHandshakeTimeout limits the opening handshake on either side.
const defaultHandshakeTimeout = 10 * time.Second

// A HandshakeError is an opening handshake that was refused: by Accept, which
// has answered the request with Status, or, as Dial sees it, by the server, whose
// answer had Status, or a proxy, or by Dial because a 101 broke the rules. RFC 6455, 4.1 and
// 4.2.2.
//
// Find it with errors.As.
type HandshakeError struct {
	Status int    // of the HTTP answer
	Msg    string // what was wrong and what to do

	header http.Header // of the answer
}

// Error returns the status and what was wrong.
func (e *HandshakeError) Error() string {
	s := strconv.Itoa(e.Status)
	if text := http.StatusText(e.Status); text != "" {
		s += " (" + text + ")"
	}
	return "opening handshake failed with status " + s + ": " + e.Msg
}

// refusal returns a *HandshakeError.
func refusal(status int, format string, args ...any) error {
	return &HandshakeError{Status: status, Msg: fmt.Sprintf(format, args...)}
}
