package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"

	"github.com/duplexgo/duplex/websocket"
)

// unreached says in one line why the server at url was not reached, and what to
// do about it. resp is the answer, nil if there was none.
func unreached(url string, resp *http.Response, err error) error {
	if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		return refusal(url, resp)
	}
	var (
		broken *websocket.HandshakeError
		dns    *net.DNSError
		record tls.RecordHeaderError
		cert   *tls.CertificateVerificationError
		name   x509.HostnameError
	)
	switch {
	case errors.As(err, &broken):
		return fmt.Errorf("%s: the server's handshake is broken: %s: ask for its version of WebSocket", url, broken.Msg)
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Errorf("%s: there is no host %s: check the URL", url, dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s: nothing listens there: start the server, or check host and port", url)
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%s: the server does not speak TLS: try ws:// or http://", url)
	case errors.As(err, &name):
		return fmt.Errorf("%s: the server's certificate is for another name: %w: check the host, or use --insecure for a server that you trust", url, name)
	case errors.As(err, &cert):
		return fmt.Errorf("%s: the server's certificate is not trusted: %w: use --insecure for a server that you trust", url, cert.Err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: interrupted while connecting", url)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s: no answer in time: check host and port, and that a server of this kind is there", url)
	}
	if cause := errors.Unwrap(err); cause != nil {
		err = cause // without the URL, which err repeats
	}
	return fmt.Errorf("%s: %w", url, err)
}

// lineEnd says in one line why a connection that was open has ended. limit is
// that on messages.
func lineEnd(err error, limit size) error {
	var output *outputError
	var closed *websocket.CloseError
	var broken *websocket.Error
	switch {
	case errors.As(err, &output):
		return output
	case errors.As(err, &closed) && closed.Reason != "":
		return fmt.Errorf("the server closed the connection with %s: %s", closed.Code, closed.Reason)
	case errors.As(err, &closed):
		return fmt.Errorf("the server closed the connection with %s", closed.Code)
	case errors.Is(err, websocket.ErrMessageTooBig):
		return fmt.Errorf("the server sent a message over %s: raise --max-message", limit.String())
	case errors.As(err, &broken):
		return fmt.Errorf("the server broke the protocol: %w", broken)
	case errors.Is(err, websocket.ErrPongTimeout):
		return errors.New("the server did not answer a ping in time: it is gone, or does not answer pings")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the server did not answer in time: %w", errors.Unwrap(err))
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errors.New("the connection broke: it ended without a close frame")
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return errors.New("the connection broke: the server, or something in between, cut it")
	}
	return fmt.Errorf("the connection broke: %w", err)
}

// refusal says in one line with what the server at url has answered instead of
// doing what it was asked, and what to do about it.
func refusal(url string, resp *http.Response) error {
	status := fmt.Sprint(resp.StatusCode)
	if text := http.StatusText(resp.StatusCode); text != "" {
		status += " (" + text + ")"
	}
	if said := saying(resp); said != "" {
		status += ", " + said
	}
	if where := resp.Header.Get("Location"); where != "" {
		status += ", to " + where
	}
	return fmt.Errorf("%s: the server answered %s: %s", url, status, adviceFor(resp.StatusCode))
}

// saying returns what the body of a refusal has to say to a person: the detail
// of a problem document (RFC 9457), or the first line of a text.
func saying(resp *http.Response) string {
	const most = 300
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	var problem struct{ Title, Detail string }
	if json.Unmarshal(body, &problem) == nil {
		if problem.Detail != "" {
			return problem.Detail
		}
		return problem.Title
	}
	line, _, _ := bytes.Cut(bytes.TrimSpace(body), []byte("\n"))
	line = bytes.TrimSpace(line)
	if bytes.HasPrefix(line, []byte("<")) { // a page, for browsers
		return ""
	}
	if len(line) > most {
		return string(line[:most]) + "..."
	}
	return string(line)
}

// adviceFor says what to do about a status.
func adviceFor(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		return "pub and sub show the token in the environment variable " + envToken + ", others need one as in -H 'Authorization: ...'"
	case status == http.StatusForbidden:
		return "it may want other headers, as in -H 'Authorization: ...' or -H 'Origin: ...'"
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return "check the path of the URL"
	case status == http.StatusUpgradeRequired:
		return "a proxy in between may not pass WebSockets on, or the server has another version of them"
	case status == http.StatusRequestEntityTooLarge:
		return "send less, or raise the server's limit"
	case status == http.StatusMisdirectedRequest:
		return "use an IP address or localhost as the host"
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return "try again later"
	case status >= 500:
		return "look into the server's log"
	case status >= 400:
		return "check the command line"
	case status >= 300:
		return "this redirect is not followed, use the URL that it leads to"
	}
	return "there is something else at this path, check the URL"
}
