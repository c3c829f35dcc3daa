package load

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// A handshake is the client's part of an opening handshake. RFC 6455, 4.1.
type handshake struct {
	began  int64
	key    string
	answer []byte     // what has come of it
	unsent []byte     // of the request
	agreed *agreement // about compression, if there is any
}

// mostAnswer is the longest answer to an opening handshake that is read.
const mostAnswer = 64 << 10

func newHandshake(j *Job, now int64) *handshake {
	var key [16]byte
	rand.Read(key[:])
	h := &handshake{began: now, key: base64.StdEncoding.EncodeToString(key[:])}
	h.unsent = h.request(j)
	return h
}

func (h *handshake) request(j *Job) []byte {
	host := j.Host
	if host == "" {
		host = j.URL.Host
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n", j.URL.RequestURI(), host, h.key)
	if len(j.Subprotocols) > 0 {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", strings.Join(j.Subprotocols, ", "))
	}
	if j.Compression != nil {
		fmt.Fprintf(&b, "Sec-WebSocket-Extensions: %s\r\n", j.Compression.Offer())
	}
	if user := j.URL.User; user != nil && j.Header.Get("Authorization") == "" {
		password, _ := user.Password()
		fmt.Fprintf(&b, "Authorization: Basic %s\r\n", base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	_ = j.Header.Write(&b) // a Buffer takes everything
	b.WriteString("\r\n")
	return b.Bytes()
}

// feed takes what has come. When the answer is whole and right, done is true and
// rest is what came behind it.
func (h *handshake) feed(p []byte, j *Job, id uint32) (rest []byte, done bool, err error) {
	from := max(0, len(h.answer)-3)
	h.answer = append(h.answer, p...)
	i := bytes.Index(h.answer[from:], []byte("\r\n\r\n"))
	if i < 0 {
		if len(h.answer) > mostAnswer {
			return nil, false, failure(Handshake, "connection %d: the server's answer has no end within %d bytes, it begins %.60q", id, mostAnswer, h.answer)
		}
		if !begins(h.answer, "HTTP/1.") {
			return nil, false, failure(Handshake, "connection %d: the server does not speak HTTP, its answer begins %.60q", id, h.answer)
		}
		return nil, false, nil
	}
	end := from + i + 4
	if err := h.check(j, id, h.answer[:end]); err != nil {
		return nil, false, err
	}
	return h.answer[end:], true, nil
}

// begins reports whether the answer can go on to begin with text, or does.
func begins(answer []byte, text string) bool {
	n := min(len(answer), len(text))
	return string(answer[:n]) == text[:n]
}

// check holds an answer against RFC 6455, 4.1.
func (h *handshake) check(j *Job, id uint32, answer []byte) error {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
	if err != nil {
		return failure(Handshake, "connection %d: the server's answer is not HTTP: %v", id, err)
	}
	resp.Body.Close()
	chosen := resp.Header.Get("Sec-WebSocket-Protocol")
	extension := strings.Join(resp.Header["Sec-Websocket-Extensions"], ", ")
	var unsuitable error
	h.agreed, unsuitable = j.Compression.confirm(extension)
	wrong := ""
	switch {
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return failure(Status, "connection %d: the server answered %s", id, resp.Status)
	case !strings.EqualFold(strings.TrimSpace(resp.Header.Get("Upgrade")), "websocket"):
		wrong = fmt.Sprintf("its Upgrade is %q, not websocket", resp.Header.Get("Upgrade"))
	case !hasToken(resp.Header["Connection"], "upgrade"):
		wrong = fmt.Sprintf("its Connection is %q, not Upgrade", resp.Header.Get("Connection"))
	case resp.Header.Get("Sec-WebSocket-Accept") != accept(h.key):
		wrong = fmt.Sprintf("its Sec-WebSocket-Accept is %q, not %q, which belongs to the request's key", resp.Header.Get("Sec-WebSocket-Accept"), accept(h.key))
	case unsuitable != nil:
		wrong = fmt.Sprintf("it uses the extension %q, and %v", extension, unsuitable)
	case chosen != "" && !slices.Contains(j.Subprotocols, chosen):
		wrong = fmt.Sprintf("it uses the subprotocol %q, which was not offered", chosen)
	default:
		return nil
	}
	return failure(Handshake, "connection %d: the server's answer is wrong: %s", id, wrong)
}

func hasToken(fields []string, token string) bool {
	return slices.ContainsFunc(strings.Split(strings.Join(fields, ","), ","), func(s string) bool {
		return strings.EqualFold(strings.TrimSpace(s), token)
	})
}

// accept returns the Sec-WebSocket-Accept for a key. RFC 6455, 4.2.2.
func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
