package load

import (
	"encoding/json"
	"fmt"
	"net/url"
)

// A dialect is how the clients of a push server speak: texts over a WebSocket.
type dialect struct {
	// path is that of the opening handshake of a client that wants a channel, and
	// all its messages since a position unless that is "".
	path func(channel, since string) string

	// hello is the client's first text, "" where the path has said everything.
	hello func(channel, since string) string

	// joined is in the text that tells the client that it is subscribed, and in no
	// other; the messages that it has missed may follow in the same text.
	joined string

	// position reads that text: the place at which the subscription begins or, where
	// the protocol says only that, after the messages missed.
	position func(text []byte) (string, error)

	// ping and pong are texts that keep the line alive, "" for none.
	ping, pong string
}

// dialects are those of server.Push, by their names.
var dialects = map[string]dialect{
	// The first text of the floor has the position, and no message has it that way.
	"floor": {
		path: func(channel, since string) string {
			return "/connect?" + url.Values{"channel": {channel}, "since": {since}}.Encode()
		},
		hello:  func(string, string) string { return "" },
		joined: `{"position":"`,
		position: func(text []byte) (string, error) {
			var m struct{ Position string }
			err := json.Unmarshal(text, &m)
			return m.Position, err
		},
	},
	// docs/protocol.md
	"push": {
		path: func(string, string) string { return "/connect" },
		hello: func(channel, since string) string {
			if since == "" {
				return fmt.Sprintf(`{"id":1,"command":"subscribe","channel":%q}`, channel)
			}
			return fmt.Sprintf(`{"id":1,"command":"subscribe","channel":%q,"since":%q}`, channel, since)
		},
		joined: `{"id":1,"result":{`,
		position: func(text []byte) (string, error) {
			var m struct{ Result struct{ Position string } }
			err := json.Unmarshal(text, &m)
			return m.Result.Position, err
		},
	},
	// The engine's JSON protocol: connecting and subscribing in one text, which is as
	// little as it allows. A position is the two members of its request, as JSON.
	"centrifuge": {
		path: func(string, string) string { return "/connection/websocket" },
		hello: func(channel, since string) string {
			const connect = `{"id":1,"connect":{}}`
			if since == "" {
				return fmt.Sprintf(connect+"\n"+`{"id":2,"subscribe":{"channel":%q}}`, channel)
			}
			return fmt.Sprintf(connect+"\n"+`{"id":2,"subscribe":{"channel":%q,"recover":true,%s}}`, channel, since)
		},
		joined: `{"id":2,"subscribe":{`,
		position: func(text []byte) (string, error) {
			var m struct {
				Subscribe struct {
					Epoch  string
					Offset uint64
				}
			}
			err := lastLine(text, &m)
			return fmt.Sprintf(`"epoch":%q,"offset":%d`, m.Subscribe.Epoch, m.Subscribe.Offset), err
		},
		ping: "{}",
		pong: "{}",
	},
}

// lastLine reads the JSON on a text's last line.
func lastLine(text []byte, v any) error {
	from := len(text)
	for from > 0 && text[from-1] != '\n' {
		from--
	}
	return json.Unmarshal(text[from:], v)
}
