package handshake

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// CheckAnswer judges the header of a server's 101 to a request that carried key
// and offered subprotocols, and returns the subprotocol that the server chose,
// "" for none. RFC 6455, 4.1, second list, 2 to 4 and 6.
func CheckAnswer(h http.Header, key string, offered []string) (subprotocol string, err error) {
	switch {
	case !isOnlyToken(h, "Upgrade", "websocket"):
		return "", fmt.Errorf("the server did not answer with Upgrade: websocket but with %s", quoteField(h, "Upgrade"))
	case !HasToken(h, "Connection", "upgrade"):
		return "", fmt.Errorf("the server did not answer with Connection: Upgrade but with %s", quoteField(h, "Connection"))
	}
	if err := checkAccept(h.Values("Sec-WebSocket-Accept"), key); err != nil {
		return "", err
	}
	return chosen(h.Values("Sec-WebSocket-Protocol"), offered)
}

func checkAccept(values []string, key string) error {
	switch {
	case len(values) == 0:
		return errors.New("the server sent no Sec-WebSocket-Accept: it does not speak WebSocket")
	case len(values) > 1:
		return errors.New("the server sent Sec-WebSocket-Accept more than once")
	case values[0] != Accept(key):
		return fmt.Errorf("the server's Sec-WebSocket-Accept %s does not fit the key: something in between answers from a cache, or it does not speak WebSocket", quote(values[0]))
	}
	return nil
}

func chosen(values, offered []string) (string, error) {
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", errors.New("the server chose more than one subprotocol")
	case len(offered) == 0:
		return "", fmt.Errorf("the server chose subprotocol %s, but none was offered", quote(values[0]))
	case !slices.Contains(offered, values[0]):
		return "", fmt.Errorf("the server chose subprotocol %s, which was not offered", quote(values[0]))
	}
	return values[0], nil
}

func quoteField(h http.Header, name string) string {
	values := h.Values(name)
	if len(values) == 0 {
		return "nothing"
	}
	return quote(values[0])
}
