package websocket

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Limits on a server's answer.
const (
	maxAnswer    = 64 << 10 // bytes up to the end of the header, interim answers included
	maxInterim   = 10       // interim answers: 100, 103 and the like
	maxErrorBody = 1 << 10  // bytes of the body that are kept when it is not a 101
)

var (
	errAnswerTooBig = errors.New("the server's answer has more than 64 KiB of header")
	errInterim      = errors.New("the server sent more than 10 interim answers (status 1xx)")
	errNoAnswer     = fmt.Errorf("the server closed the connection before its answer was complete: %w", io.ErrUnexpectedEOF)
)

// A limitedReader returns errAnswerTooBig after n bytes.
type limitedReader struct {
	r     io.Reader
	n     int
	ended bool // r has returned io.EOF, which readers of lines may keep to themselves
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if l.n <= 0 {
		return 0, errAnswerTooBig
	}
	n, err := l.r.Read(p[:min(len(p), l.n)])
	l.n -= n
	l.ended = l.ended || err == io.EOF
	return n, err
}

// readAnswer reads the server's answer up to the end of its header, past
// interim ones (RFC 9110, 15.2). The reason phrase may be anything. br reads from
// l.
func readAnswer(br *bufio.Reader, l *limitedReader, request *http.Request) (*http.Response, error) {
	for range maxInterim + 1 {
		if err := checkHTTP(br); err != nil {
			return nil, err
		}
		resp, err := http.ReadResponse(br, request)
		if err != nil && l.ended && br.Buffered() == 0 {
			return nil, errNoAnswer
		}
		if err != nil {
			return nil, answerError(err)
		}
		interim := resp.StatusCode >= 100 && resp.StatusCode < 200
		if !interim || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, nil
		}
	}
	return nil, errInterim
}

// checkHTTP looks whether this is an HTTP answer at all, which package http does
// only at the end of a line, and then repeats the line.
func checkHTTP(br *bufio.Reader) error {
	const start = "HTTP/"
	b, err := br.Peek(len(start))
	switch {
	case string(b) == start[:len(b)] && err != nil:
		return answerError(err)
	case string(b) == start:
		return nil
	case len(b) > 1 && b[0] >= 0x14 && b[0] <= 0x17 && b[1] == 3: // RFC 8446, 5.1
		return errors.New("the server answered in TLS: use wss://")
	}
	return fmt.Errorf("the server did not answer in HTTP/1.1: its first bytes are %q", b)
}

// answerError is an error of package http in the words of a handshake, and short
// enough for a log: it may repeat what the server sent.
func answerError(err error) error {
	const most = 200
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errNoAnswer
	case len(err.Error()) > most:
		return errors.New(err.Error()[:most] + "...")
	}
	return err
}

// keepBody reads the beginning of the body of an answer that is not a 101, puts
// it in the place of the body and returns it. What comes late is not worth an
// error: the status says enough.
func keepBody(resp *http.Response) []byte {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	resp.Body = io.NopCloser(bytes.NewReader(b))
	return b
}

// advice says what an answer other than 101 means for the one who dialed, and
// what the server said.
func advice(resp *http.Response, body []byte) string {
	msg := statusAdvice(resp)
	if said := firstLine(body); said != "" {
		msg += "; it said " + said
	}
	return msg
}

func statusAdvice(resp *http.Response) string {
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized:
		return "the server wants credentials: put them in the URL (user:password@) or an Authorization in DialOptions.Header"
	case code == http.StatusForbidden:
		return "the server does not let this client in: the credentials may not suffice, or the Origin in DialOptions.Header may not be one that it allows"
	case code == http.StatusNotFound:
		return "the server has nothing at this path: check the URL"
	case code == http.StatusUpgradeRequired:
		return "the server did not see a handshake that it knows: a proxy in between may have removed it, or the server wants another version than 13" + field(resp, "Sec-WebSocket-Version")
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		return "the server takes no more connections now: try again later" + field(resp, "Retry-After")
	case code >= 200 && code < 300:
		return "the server answered as to an ordinary request: nothing at this path speaks WebSocket, or a proxy in between does not pass it on"
	case code >= 300 && code < 400:
		return "the server sends clients elsewhere, which is not followed: dial that URL, with ws or wss in place of http or https, or see DialOptions.MaxRedirects" + field(resp, "Location")
	case code >= 500:
		return "the server, or a proxy before it, failed"
	}
	return "the server refused"
}

// field returns a field of the answer to be put in brackets behind a sentence.
func field(resp *http.Response, name string) string {
	if v := resp.Header.Get(name); v != "" {
		return " (" + name + ": " + clip(v) + ")"
	}
	return ""
}

// firstLine returns the first line of a text, quoted, or "" for a web page.
func firstLine(body []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	if line == "" || line[0] == '<' {
		return ""
	}
	return clip(strings.TrimSpace(line))
}

// clip quotes what a server sent, in a length that a log can bear.
func clip(s string) string {
	const most = 400
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "..."
	}
	return strconv.QuoteToASCII(s)
}
