package push

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
)

// A problemDocument says in an HTTP answer what went wrong. RFC 9457, 3.1.
type problemDocument struct {
	Title  string        `json:"title"` // of the status; the type is "about:blank"
	Status int           `json:"status"`
	Detail string        `json:"detail"`
	Code   protocol.Code `json:"code,omitempty"` // of the same error over WebSocket, where it has one
}

// problem answers a request with a problem document.
func problem(w http.ResponseWriter, status int, code protocol.Code, detail string) {
	workOf(w).answered(code)
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Del("Content-Length")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(problemDocument{http.StatusText(status), status, detail, code})
}

// statuses are the HTTP statuses of the errors that the protocol numbers.
var statuses = map[protocol.Code]int{
	protocol.BadCommand:  http.StatusBadRequest,
	protocol.BadChannel:  http.StatusBadRequest,
	protocol.BadPosition: http.StatusBadRequest,
	protocol.BadData:     http.StatusBadRequest,
	protocol.Subscribed:  http.StatusBadRequest,

	protocol.TooManySubscriptions: http.StatusBadRequest,

	protocol.DataTooBig:      http.StatusRequestEntityTooLarge,
	protocol.Unauthorized:    http.StatusUnauthorized,
	protocol.Forbidden:       http.StatusForbidden,
	protocol.Expired:         http.StatusUnauthorized,
	protocol.TooManyMessages: http.StatusTooManyRequests,
	protocol.TooManyChannels: http.StatusServiceUnavailable,
	protocol.TooManyLines:    http.StatusServiceUnavailable,
	protocol.ShuttingDown:    http.StatusServiceUnavailable,
}

// refuse answers a request with the problem that an error is.
func refuse(w http.ResponseWriter, err error) {
	if limit, ok := errors.AsType[*websocket.HandshakeError](err); ok {
		if after := limit.RetryAfter(); after > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(after.Seconds())))
		}
		problem(w, limit.Status, 0, limit.Msg)
		return
	}
	e := toError(err)
	status, ok := statuses[e.Code]
	if !ok {
		status = http.StatusInternalServerError
	}
	switch status {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "1")
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", challenge(e)) // RFC 9110, 15.5.2
	}
	problem(w, status, e.Code, e.Message)
}

// challenge says how a client can show who it is. RFC 6750, 3.
func challenge(e *protocol.Error) string {
	if e.Code == protocol.Expired {
		return `Bearer error="invalid_token"`
	}
	return "Bearer"
}

// notAllowed is the handler of a path for all methods but those given.
func notAllowed(methods ...string) http.HandlerFunc {
	allow := strings.Join(methods, ", ")
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		problem(w, http.StatusMethodNotAllowed, 0, "the methods of this path are "+allow)
	}
}
