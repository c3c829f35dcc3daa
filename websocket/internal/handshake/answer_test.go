package handshake

import (
	"net/http"
	"strings"
	"testing"
)

func TestCheckAnswer(t *testing.T) {
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	good := Accept(key)
	tests := []struct {
		name    string
		change  http.Header // instead of a right answer's; nil value: left out
		offered string
		want    string // subprotocol
		err     string
	}{
		{"right", nil, "", "", ""},
		{"any letter case", http.Header{"Upgrade": {"WebSocket"}, "Connection": {"UPGRADE"}}, "", "", ""},
		{"Connection is a list", http.Header{"Connection": {"keep-alive, Upgrade"}}, "", "", ""},
		{"subprotocol", http.Header{"Sec-Websocket-Protocol": {"b"}}, "a b", "b", ""},
		{"no subprotocol, though offered", nil, "a b", "", ""},

		{"no Upgrade", http.Header{"Upgrade": nil}, "", "", "but with nothing"},
		{"another Upgrade", http.Header{"Upgrade": {"h2c"}}, "", "", "Upgrade: websocket"},
		{"two Upgrades", http.Header{"Upgrade": {"h2c, websocket"}}, "", "", "Upgrade: websocket"},
		{"empty Upgrade", http.Header{"Upgrade": {""}}, "", "", "Upgrade: websocket"},
		{"no Connection", http.Header{"Connection": nil}, "", "", "Connection: Upgrade"},
		{"another Connection", http.Header{"Connection": {"close"}}, "", "", "Connection: Upgrade"},
		{"no Accept", http.Header{"Sec-Websocket-Accept": nil}, "", "", "no Sec-WebSocket-Accept"},
		{"wrong Accept", http.Header{"Sec-Websocket-Accept": {Accept("x")}}, "", "", "does not fit"},
		{"Accept in lower case", http.Header{"Sec-Websocket-Accept": {strings.ToLower(good)}}, "", "", "does not fit"},
		{"empty Accept", http.Header{"Sec-Websocket-Accept": {""}}, "", "", "does not fit"},
		{"the key again", http.Header{"Sec-Websocket-Accept": {key}}, "", "", "does not fit"},
		{"Accept twice", http.Header{"Sec-Websocket-Accept": {good, good}}, "", "", "more than once"},
		{"subprotocol, none offered", http.Header{"Sec-Websocket-Protocol": {"a"}}, "", "", "none was offered"},
		{"subprotocol not offered", http.Header{"Sec-Websocket-Protocol": {"c"}}, "a b", "", "not offered"},
		{"subprotocol in another letter case", http.Header{"Sec-Websocket-Protocol": {"A"}}, "a b", "", "not offered"},
		{"empty subprotocol", http.Header{"Sec-Websocket-Protocol": {""}}, "a b", "", "not offered"},
		{"two subprotocols", http.Header{"Sec-Websocket-Protocol": {"a", "b"}}, "a b", "", "more than one"},
		{"two subprotocols in a list", http.Header{"Sec-Websocket-Protocol": {"a, b"}}, "a b", "", "not offered"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{
				"Upgrade":              {"websocket"},
				"Connection":           {"Upgrade"},
				"Sec-Websocket-Accept": {good},
			}
			for name, values := range test.change {
				h[name] = values
			}
			got, err := CheckAnswer(h, key, strings.Fields(test.offered))
			checkError(t, err, test.err, test.name)
			if got != test.want {
				t.Errorf("subprotocol %q, want %q", got, test.want)
			}
		})
	}
}
