package handshake

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestCheckHeader(t *testing.T) {
	tests := []struct {
		name, value string
		want        string
	}{
		{"Authorization", "Bearer secret", ""},
		{"X-Tab", "a\tb", ""},
		{"X-Latin1", "caf\xe9", ""},
		{"X-Empty", "", ""},
		{"cookie", "a=b", ""},
		{"Origin", "https://example.com", ""},
		{"User-Agent", "x", ""},

		{"X", "a\r\nSet-Cookie: evil=1", "line break"},
		{"X", "a\nb", "line break"},
		{"X", "a\rb", "line break"},
		{"X", "\r\n", "line break"},
		{"X", "a\x00b", "control"},
		{"X", "a\x7f", "control"},
		{"X\r\nEvil: 1", "a", "not a token"},
		{"X: a", "a", "not a token"},
		{"X ", "a", "not a token"},
		{"", "a", "not a token"},
		{"Größe", "1", "not a token"},

		{"Host", "x", "DialOptions.Host"},
		{"Upgrade", "h2c", "cannot be set"},
		{"uPGRADE", "h2c", "cannot be set"},
		{"Connection", "close", "cannot be set"},
		{"connection", "close", "cannot be set"},
		{"Sec-WebSocket-Key", "x", "cannot be set"},
		{"Sec-Websocket-Accept", "x", "cannot be set"},
		{"sec-websocket-version", "8", "cannot be set"},
		{"Sec-WebSocket-Extensions", "x", "cannot be set"},
		{"Sec-WebSocket-Protocol", "x", "set Subprotocols"},
		{"Sec-WebSocket-Anything", "x", "cannot be set"},
		{"Content-Length", "3", "no body"},
		{"Transfer-Encoding", "chunked", "no body"},
		{"Trailer", "x", "no body"},
		{"TE", "trailers", "no body"},
		{"Expect", "100-continue", "no body"},
		{"Keep-Alive", "timeout=1", "cannot be set"},
		{"Proxy-Connection", "close", "cannot be set"},
	}
	for _, test := range tests {
		err := CheckHeader(http.Header{"Fine": {"1"}, test.name: {"good", test.value}})
		checkError(t, err, test.want, test.name+"="+test.value)
	}
	if err := CheckHeader(nil); err != nil {
		t.Error(err)
	}
	if err := CheckHeader(http.Header{"Authorization": {"secret\n"}}); strings.Contains(err.Error(), "secret") {
		t.Errorf("%q repeats the value", err)
	}
}

func TestAnswerHeader(t *testing.T) {
	in := http.Header{
		"Set-Cookie":             {"a=1", "b=2"},
		"Server":                 {"x"},
		"Date":                   {"today"},
		"Vary":                   {"Origin"},
		"X-Mixed":                {"good", "bad\r\nSet-Cookie: evil=1"},
		"X-Evil":                 {"bad\nLocation: x"},
		"X-None":                 nil,
		"Bad Name":               {"1"},
		"Trailer:X":              {"1"},
		"Content-Type":           {"text/html"},
		"content-encoding":       {"gzip"},
		"Content-Length":         {"10"},
		"Transfer-Encoding":      {"chunked"},
		"Trailer":                {"X"},
		"Connection":             {"close"},
		"Upgrade":                {"h2c"},
		"Keep-Alive":             {"timeout=1"},
		"Sec-Websocket-Accept":   {"wrong"},
		"sec-websocket-protocol": {"wrong"},
	}
	want := http.Header{
		"Set-Cookie": {"a=1", "b=2"},
		"Server":     {"x"},
		"Date":       {"today"},
		"Vary":       {"Origin"},
		"X-Mixed":    {"good"},
	}
	if got := AnswerHeader(in); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(in["X-Mixed"]) != 2 || in["X-Mixed"][1] == "" {
		t.Error("the middleware's own header was changed")
	}
}

func TestASCIIHost(t *testing.T) {
	tests := []struct{ name, want, err string }{
		{"Example.COM", "example.com", ""},
		{"example.com.", "example.com.", ""},
		{"127.0.0.1", "127.0.0.1", ""},
		{"::1", "::1", ""},
		{"fe80::1%eth0", "fe80::1%eth0", ""},
		{"münchen.example", "xn--mnchen-3ya.example", ""},
		{"MÜNCHEN.example", "xn--mnchen-3ya.example", ""},
		{"例え.テスト", "xn--r8jz45g.xn--zckzah", ""},
		{"", "", "not a host"},
		{"a b", "", "not a host"},
		{"a/b", "", "not a host"},
		{"a<b", "", "not a host"},
		{"a:80", "", "not a host"},
		{"\xff", "", "ASCII form"},
	}
	for _, test := range tests {
		got, err := ASCIIHost(test.name)
		checkError(t, err, test.err, test.name)
		if got != test.want {
			t.Errorf("ASCIIHost(%q) = %q, want %q", test.name, got, test.want)
		}
	}
}
