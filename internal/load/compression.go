package load

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Compression is what is offered of permessage-deflate. RFC 7692.
type Compression struct {
	Bits       int  // the largest windows, both ways, as powers of two from 8 to 15; 0: as the server likes
	NoTakeover bool // both sides begin each message with an empty window
}

const deflateName = "permessage-deflate"

// The bounds of a window, in bits. RFC 7692, 7.1.2.
const (
	minBits = 8
	maxBits = 15
)

func (o *Compression) check() error {
	if o != nil && o.Bits != 0 && (o.Bits < minBits || o.Bits > maxBits) {
		return fmt.Errorf("windows of %d bits: there are %d to %d", o.Bits, minBits, maxBits)
	}
	return nil
}

// Offer is the value of Sec-WebSocket-Extensions. RFC 7692, 7.1.
func (o *Compression) Offer() string {
	s := deflateName
	if o.NoTakeover {
		s += "; server_no_context_takeover; client_no_context_takeover"
	}
	if o.Bits == 0 {
		return s + "; client_max_window_bits"
	}
	return s + fmt.Sprintf("; server_max_window_bits=%d; client_max_window_bits=%[1]d", o.Bits)
}

// An agreement is what the server has made of the offer.
type agreement struct {
	answer string // as the server had it

	send, receive                 int // bits of the windows
	sendTakeover, receiveTakeover bool
}

// confirm judges the server's answer; nil for an empty one, which declines. RFC 7692,
// 7.1.
func (o *Compression) confirm(answer string) (*agreement, error) {
	if answer == "" {
		return nil, nil
	}
	if o == nil {
		return nil, errors.New("none was offered")
	}
	params := strings.Split(answer, ";")
	if name := strings.TrimSpace(params[0]); !strings.EqualFold(name, deflateName) {
		return nil, errors.New(deflateName + " was offered")
	}
	a := &agreement{answer: answer, send: maxBits, receive: maxBits, sendTakeover: !o.NoTakeover, receiveTakeover: true}
	seen := make(map[string]bool)
	for _, param := range params[1:] {
		name, value, has := strings.Cut(param, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if seen[name] || !a.set(name, strings.Trim(strings.TrimSpace(value), `"`), has) {
			return nil, fmt.Errorf("its parameter %q is unknown, stands there twice or has a wrong value", strings.TrimSpace(param))
		}
		seen[name] = true
	}
	switch {
	case o.NoTakeover && a.receiveTakeover:
		return nil, errors.New("server_no_context_takeover was asked for, and is not in it")
	case o.Bits != 0 && a.receive > o.Bits && a.receiveTakeover:
		return nil, fmt.Errorf("server_max_window_bits=%d was asked for, and is not in it", o.Bits)
	}
	if o.Bits != 0 {
		a.send = min(a.send, o.Bits)
	}
	return a, nil
}

// set takes a parameter of the answer and reports whether it is right.
func (a *agreement) set(name, value string, has bool) bool {
	bits, err := strconv.Atoi(value)
	right := err == nil && bits >= minBits && bits <= maxBits && strconv.Itoa(bits) == value
	switch name {
	case "server_no_context_takeover":
		a.receiveTakeover = false
		return !has
	case "client_no_context_takeover":
		a.sendTakeover = false
		return !has
	case "server_max_window_bits":
		a.receive = bits
		return right
	case "client_max_window_bits":
		a.send = bits
		return right
	}
	return false
}
