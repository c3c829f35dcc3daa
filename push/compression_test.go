package push

import (
	"testing"

	"github.com/duplexgo/duplex/websocket"
)

// Nothing is compressed, whoever asks for it: a message of somebody else beside a
// secret would tell of the secret by how much shorter both become (CRIME, BREACH).
func TestNothingIsCompressed(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		c, _, err := s.web.Dial(t.Context(), "/connect", &websocket.DialOptions{Options: websocket.Options{Extensions: []websocket.Extension{&websocket.Deflate{}}}})
		if err != nil {
			t.Fatal(err)
		}
		if agreed := c.Extensions(); agreed != "" {
			t.Errorf("a WebSocket has agreed on %s", agreed)
		}
		c.CloseNow()
		for _, request := range []string{"GET /channels/a", "GET /poll?channel=a&wait=0", "GET /events?channel=a"} {
			resp := s.request(request, "", "Accept-Encoding: gzip, deflate, br, zstd")
			if encoding := resp.Header.Get("Content-Encoding"); resp.StatusCode != 200 || encoding != "" {
				t.Errorf("%s: status %d, compressed by %q", request, resp.StatusCode, encoding)
			}
			resp.Body.Close()
		}
	})
}
