package websocket

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// hijack takes the connection out of a ResponseWriter, through wrappers that
// have a method Unwrap, together with the bytes that came after the request:
// they are the first frames. The error is a *HandshakeError, except where the
// connection has been taken before and cannot be answered any more.
func hijack(w http.ResponseWriter) (c net.Conn, buffered []byte, err error) {
	c, rw, err := tryHijack(w)
	switch {
	case errors.Is(err, http.ErrHijacked):
		return nil, nil, err
	case errors.Is(err, errors.ErrUnsupported):
		return nil, nil, refusal(http.StatusInternalServerError,
			"the connection cannot be taken over: ResponseWriter %s does not let it through; middleware needs a method Unwrap() http.ResponseWriter, or has to stay off this path; HTTP/2 has no Hijack", innermost(w))
	case err != nil:
		return nil, nil, refusal(http.StatusInternalServerError, "the connection cannot be taken over: Hijack of %s: %v", innermost(w), err)
	}
	if rw != nil && rw.Reader != nil {
		buffered, err = rw.Peek(rw.Reader.Buffered())
	}
	return c, buffered, err
}

// tryHijack turns a panic into an error. Middleware that embeds a ResponseWriter
// often takes for granted that this is an http.Hijacker.
func tryHijack(w http.ResponseWriter) (c net.Conn, rw *bufio.ReadWriter, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return http.NewResponseController(w).Hijack()
}

// innermost returns the type of the wrapper at which the way to the connection
// ends: the first that can be hijacked, or that cannot be unwrapped.
func innermost(w http.ResponseWriter) (name string) {
	defer func() { recover() }() // an Unwrap that panics: it is the one
	for {
		name = fmt.Sprintf("%T", w)
		if _, ok := w.(http.Hijacker); ok {
			return name
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return name
		}
		if w = u.Unwrap(); w == nil {
			return name
		}
	}
}
