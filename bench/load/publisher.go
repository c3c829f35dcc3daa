package load

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// A publisher is one HTTP connection to the server on which one publication is under
// way at a time.
type publisher struct {
	fd   int
	busy bool
	rest []byte // of an answer that is not whole
}

// A due publication waits for a publisher.
type due struct {
	channel int
	at      time.Time // when it should have been sent
}

// post sends a publication.
func (c *house) post(i int, d due) error {
	p := &c.publishers[i]
	ch := &c.channels[d.channel]
	b := fmt.Appendf(c.out[:0], "POST /channels/%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n\"",
		c.channelName(d.channel), c.job.Addr, c.job.Size)
	number, err := ch.publish(d.at)
	if err != nil {
		return fmt.Errorf("channel %d: %w", d.channel, err)
	}
	b = appendStamp(b, d.channel, number)
	b = append(append(b, c.tail...), '"')
	c.missing += ch.listeners
	p.busy = true
	c.unanswered++
	c.out = b
	if n, err := syscall.Write(p.fd, b); err != nil || n < len(b) {
		return fmt.Errorf("publishing: %d of %d bytes were sent: %v", n, len(b), err)
	}
	return nil
}

// answered takes bytes of the answer to a publication.
func (c *house) answered(i int, b []byte) error {
	p := &c.publishers[i]
	if len(p.rest) > 0 {
		p.rest = append(p.rest, b...)
		b = p.rest
	}
	status, n, err := cutAnswer(b)
	switch {
	case err != nil:
		return fmt.Errorf("publishing: %w", err)
	case n == 0:
		if len(p.rest) == 0 {
			p.rest = bytes.Clone(b)
		}
		return nil
	case n < len(b):
		return fmt.Errorf("publishing: more came than one answer: %.200q", b)
	case status != http.StatusOK || !p.busy:
		return fmt.Errorf("publishing: the server answered %.300q", b)
	}
	p.rest = p.rest[:0]
	p.busy = false
	c.unanswered--
	c.free = append(c.free, i)
	return nil
}

// cutAnswer returns the status of an HTTP answer, and its length; 0 if it is not whole.
// It must say how long its body is.
func cutAnswer(b []byte) (status, n int, err error) {
	head, _, whole := bytes.Cut(b, []byte("\r\n\r\n"))
	if !whole {
		return 0, 0, nil
	}
	_, value, found := bytes.Cut(bytes.ToLower(head), []byte("\r\ncontent-length:"))
	value, _, _ = bytes.Cut(value, []byte("\r\n"))
	size, err := strconv.Atoi(string(bytes.TrimSpace(value)))
	if !found || err != nil || len(head) < 12 || !bytes.HasPrefix(head, []byte("HTTP/1.1 ")) {
		return 0, 0, fmt.Errorf("an answer without status or length: %.200q", head)
	}
	if status, err = strconv.Atoi(string(head[9:12])); err != nil {
		return 0, 0, err
	}
	if n = len(head) + 4 + size; len(b) < n {
		return status, 0, nil
	}
	return status, n, nil
}
