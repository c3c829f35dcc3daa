package handshake

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// Subprotocols returns what a request offers in Sec-WebSocket-Protocol, in the
// client's order of preference: tokens, each once. Without that field there are
// none. RFC 6455, 4.1 and 4.3.
func Subprotocols(h http.Header) ([]string, error) {
	lines := h.Values("Sec-WebSocket-Protocol")
	if len(lines) == 0 {
		return nil, nil
	}
	offered := slices.Collect(elements(lines))
	if len(offered) == 0 {
		return nil, errors.New("Sec-WebSocket-Protocol is empty: leave it out, or name a subprotocol")
	}
	if err := CheckSubprotocols(offered); err != nil {
		return nil, fmt.Errorf("Sec-WebSocket-Protocol: %w", err)
	}
	return offered, nil
}

// CheckSubprotocols returns an error if names are not all tokens or one of them
// is there twice. RFC 6455, 4.1.
func CheckSubprotocols(names []string) error {
	seen := make(map[string]bool, len(names)) // a peer chooses how many there are
	for _, name := range names {
		switch {
		case !IsToken(name):
			return fmt.Errorf("subprotocol %s is not a token: no spaces, commas, quotes, slashes and the like", quote(name))
		case seen[name]:
			return fmt.Errorf("subprotocol %s stands there twice", quote(name))
		}
		seen[name] = true
	}
	return nil
}

// SelectSubprotocol returns the first of supported that was offered: the
// server's order of preference decides. Letter case counts. It returns "" if
// there is none, and the connection then has no subprotocol. RFC 6455, 4.2.2.
func SelectSubprotocol(supported, offered []string) string {
	for _, name := range supported {
		if slices.Contains(offered, name) {
			return name
		}
	}
	return ""
}
