package websocket

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"time"

	"github.com/duplexgo/duplex/websocket/internal/handshake"
)

// AcceptOptions are the settings of a server's connection. A nil *AcceptOptions
// and the zero value are good: pages of the same host may connect, and every
// limit is on.
type AcceptOptions struct {
	Options

	// Subprotocols are those that the server speaks, the one it likes best first.
	// The first that the client offers too is chosen; if there is none, the
	// connection has no subprotocol and [Conn.Subprotocol] returns "", which an
	// application that needs one has to check. They are tokens (RFC 9110, 5.6.2),
	// and letter case counts. RFC 6455, 1.9.
	Subprotocols []string

	// Origins are the web pages that may connect besides those of the request's
	// own Host. Browsers let any page open a WebSocket to any server and send the
	// server's cookies along, so a wide list lets foreign pages act as your users.
	// Requests without Origin, which no browser sends, are always let through.
	//
	// Each is [scheme://]host[:port] in any letter case: without a scheme it means
	// http and https, without a port the scheme's default one. The host may begin
	// with "*." for all its subdomains, but not itself; the port may be "*". "null"
	// stands for the origin of sandboxed frames and local files. "*" lets every
	// page connect: only for servers that know their users by other means than
	// cookies and addresses. A pattern that is none of these fails every handshake
	// with 500. RFC 6455, 10.2.
	Origins []string

	// Header is sent with the 101, beside what middleware has set in the
	// ResponseWriter's; of fields that both have, Header's are sent, and cookies of
	// both. Fields of the handshake itself and values with line breaks fail every
	// handshake with 500.
	Header http.Header

	// HandshakeTimeout limits the writing of the answer. What comes before, the
	// reading of the request, is limited by http.Server: set its ReadHeaderTimeout
	// to 10 s and its MaxHeaderBytes to 16 KiB, and see [ReportHandshakeTimeouts].
	// Default 10 s; negative: no limit.
	HandshakeTimeout time.Duration

	// Registry, if set, gets to know the connection, so that it can be closed with
	// all others. After its Shutdown, requests are answered with 503.
	Registry *Registry

	// Limits, if set, say how many connections there may be, and who may connect.
	Limits *Limits
}

// Accept does the server's part of the opening handshake and takes the
// connection over from net/http. RFC 6455, 4.2.
//
// If it returns an error, the handler should return: it has answered the request,
// as a [*HandshakeError] tells, or the connection is gone. The statuses are:
//
//	400  the request's key, subprotocols, extensions or body are wrong
//	403  a page of this origin, or this address, may not connect
//	405  the method is not GET
//	426  the request does not ask for a WebSocket of version 13
//	429  Limits: too much from this address
//	500  options are wrong, or middleware hides the connection
//	503  Registry has been shut down; Limits: too many connections
//
// The request's context ends when the handler returns, while the connection may
// live on: do not derive the connection's contexts from it. The deadlines of
// http.Server end here. Middleware that wraps the ResponseWriter needs a method
// Unwrap, see [http.ResponseController].
func Accept(w http.ResponseWriter, r *http.Request, o *AcceptOptions) (*Conn, error) {
	if o == nil {
		return accept(w, r, new(AcceptOptions), func() *settings { return serverDefaults })
	}
	return accept(w, r, o, func() *settings {
		return &settings{Options: o.Options.withDefaults(), server: true, registry: o.Registry}
	})
}

// accept is Accept, also for a Handler, whose connections share their settings.
func accept(w http.ResponseWriter, r *http.Request, o *AcceptOptions, set func() *settings) (c *Conn, err error) {
	if o.Hooks != nil {
		defer func(began time.Duration) { o.Hooks.shaken(c, r, nil, began, err) }(clock())
	}
	if !o.Registry.enter() {
		return nil, refuse(w, r, refusal(http.StatusServiceUnavailable, "the server is shutting down: try again in a moment"))
	}
	defer o.Registry.leave()
	seat, err := o.Limits.admit(r)
	if err != nil {
		return nil, refuse(w, r, err)
	}
	defer func() {
		if c == nil { // refused, or an Extension or middleware panics
			seat.leave()
		}
	}()
	resp, err := check(r, o)
	if err != nil {
		return nil, refuse(w, r, err)
	}
	resp.header = w.Header() // before the ResponseWriter is out of use
	stream, buffered, err := hijack(w)
	if err != nil {
		return nil, refuse(w, r, err)
	}
	if err := respond(stream, resp.append(nil), setting(o.HandshakeTimeout, defaultHandshakeTimeout)); err != nil {
		stream.Close()
		return nil, fmt.Errorf("websocket: accept: writing the answer: %w", err)
	}
	c = newConn(stream, set().with(resp.agreed), resp.subprotocol, buffered)
	c.sit(seat)
	return c, nil
}

// check decides about a request, in the order in which a client can mend what is
// wrong: first whether this is a WebSocket's handshake at all. The error is a
// *HandshakeError.
func check(r *http.Request, o *AcceptOptions) (resp response, err error) {
	origins, err := checkOptions(o)
	if err != nil {
		return resp, refusal(http.StatusInternalServerError, "the server's options are wrong: %v", err)
	}
	if err := checkUpgrade(r); err != nil {
		return resp, err
	}
	key, offered, extensions, err := parseRequest(r)
	if err != nil {
		return resp, refusal(http.StatusBadRequest, "%v", err)
	}
	if err := origins.Check(r.Header, r.Host); err != nil {
		return resp, refusal(http.StatusForbidden, "%v", err)
	}
	return response{
		key:         key,
		subprotocol: handshake.SelectSubprotocol(o.Subprotocols, offered),
		agreed:      acceptExtensions(o.Extensions, extensions),
		own:         o.Header,
	}, nil
}

// checkOptions finds what the programmer got wrong. It is done for each request,
// so that it cannot stay unseen until the one request that it matters for.
func checkOptions(o *AcceptOptions) (handshake.Origins, error) {
	if err := handshake.CheckSubprotocols(o.Subprotocols); err != nil {
		return handshake.Origins{}, fmt.Errorf("AcceptOptions.Subprotocols: %w", err)
	}
	if err := handshake.CheckHeader(o.Header); err != nil {
		return handshake.Origins{}, fmt.Errorf("AcceptOptions.Header: %w", err)
	}
	if err := checkExtensions(o.Extensions); err != nil {
		return handshake.Origins{}, err
	}
	return handshake.ParseOrigins(o.Origins)
}

// checkUpgrade looks whether a request asks for a WebSocket. RFC 6455, 4.2.1,
// items 1, 3, 4 and 6.
func checkUpgrade(r *http.Request) error {
	const ask = "this is a WebSocket endpoint: ask with GET over HTTP/1.1, Connection: Upgrade, Upgrade: websocket"
	version := r.Header.Values("Sec-WebSocket-Version")
	switch {
	case r.Method != http.MethodGet:
		return refusal(http.StatusMethodNotAllowed, "%s; the method was %q", ask, r.Method)
	case !r.ProtoAtLeast(1, 1):
		return refusal(http.StatusUpgradeRequired, "%s; the request was %s", ask, r.Proto)
	case !handshake.HasToken(r.Header, "Connection", "upgrade"):
		return refusal(http.StatusUpgradeRequired, "%s; Connection had no token Upgrade, which a proxy removes unless it is told to pass it on", ask)
	case !handshake.HasToken(r.Header, "Upgrade", "websocket"):
		return refusal(http.StatusUpgradeRequired, "%s; Upgrade had no token websocket, which a proxy removes unless it is told to pass it on", ask)
	case len(version) != 1 || version[0] != "13":
		return refusal(http.StatusUpgradeRequired, "the WebSocket version must be 13: send Sec-WebSocket-Version: 13, once")
	}
	return nil
}

// parseRequest reads the rest of the client's handshake. RFC 6455, 4.2.1.
func parseRequest(r *http.Request) (key string, offered []string, extensions []handshake.Extension, err error) {
	if key, err = handshake.Key(r.Header); err != nil {
		return "", nil, nil, err
	}
	if r.ContentLength != 0 {
		return "", nil, nil, errors.New("the handshake must not have a body: what follows it are frames")
	}
	if offered, err = handshake.Subprotocols(r.Header); err == nil {
		extensions, err = handshake.Extensions(r.Header)
	}
	return key, offered, extensions, err
}

// refuse answers the request with an error of a *HandshakeError's status.
func refuse(w http.ResponseWriter, r *http.Request, err error) error {
	var refused *HandshakeError
	if errors.As(err, &refused) {
		setRefusalHeader(w.Header(), refused.Status, r.ProtoMajor)
		maps.Copy(w.Header(), refused.header)
		http.Error(w, refused.Msg, refused.Status)
	}
	return fmt.Errorf("websocket: accept: %w", err)
}

func setRefusalHeader(h http.Header, status, protoMajor int) {
	switch status {
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodGet) // RFC 9110, 15.5.6
	case http.StatusUpgradeRequired:
		h.Set("Sec-WebSocket-Version", "13") // RFC 6455, 4.4
		if protoMajor < 2 {                  // RFC 9113, 8.2.2
			h.Set("Upgrade", "websocket")
			h.Set("Connection", "Upgrade")
		}
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
}

// A response is what goes into the 101. RFC 6455, 4.2.2, item 5.
type response struct {
	key         string
	subprotocol string      // "": none
	agreed      *agreed     // nil: no extensions
	header      http.Header // set by middleware, not checked
	own         http.Header // AcceptOptions.Header, checked
}

// append appends the response as it goes over the wire.
func (r response) append(b []byte) []byte {
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	b = append(b, handshake.Accept(r.key)...)
	if r.subprotocol != "" {
		b = append(b, "\r\nSec-WebSocket-Protocol: "...)
		b = append(b, r.subprotocol...)
	}
	if r.agreed != nil {
		b = append(b, "\r\nSec-WebSocket-Extensions: "...)
		b = append(b, r.agreed.header...)
	}
	b = append(b, "\r\n"...)
	if len(r.header) == 0 && len(r.own) == 0 {
		return append(b, "\r\n"...) // the most common answer: nothing to sort
	}
	h := handshake.AnswerHeader(r.header)
	for name, values := range r.own {
		if name = http.CanonicalHeaderKey(name); name == "Set-Cookie" {
			values = append(h[name], values...)
		}
		h[name] = values
	}
	buf := bytes.NewBuffer(b)
	h.Write(buf)
	return append(buf.Bytes(), "\r\n"...)
}

// respond writes the answer and leaves the connection without deadlines: neither
// this one nor those of http.Server belong to a WebSocket.
func respond(c net.Conn, answer []byte, timeout time.Duration) error {
	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	if c.SetDeadline(deadline) != nil && timeout > 0 {
		// Not every net.Conn has deadlines: an SSH channel has none.
		defer time.AfterFunc(timeout, func() { c.Close() }).Stop()
	}
	if _, err := c.Write(answer); err != nil {
		return err
	}
	c.SetDeadline(time.Time{})
	return nil
}
