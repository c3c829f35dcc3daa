package handshake

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzHeaders hands a header block, as it comes from a peer, and one string that
// a caller chose to everything in this package. Nothing may panic, and what is
// accepted must be what it is accepted as.
func FuzzHeaders(f *testing.F) {
	const request = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Key: eHlqIGCmZVwFTKolp53iMP==\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Protocol: chat, superchat\r\n"
	f.Add(request+"Origin: https://Example.com:443\r\n", "example.com")
	f.Add(request+"Origin: http://[::1]:80\r\n", "[0:0:0:0:0:0:0:1]")
	f.Add(request+"Origin: null\r\n", "*.example.com:*")
	f.Add("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+Accept("k")+"\r\nSec-WebSocket-Protocol: chat\r\n", "k")
	f.Add("Connection: ,,\tupgrade ,\"upgrade\"\r\nUpgrade: web\u017focket\r\n", "x: y\r\nz")
	f.Fuzz(func(t *testing.T, block, s string) {
		h, err := textproto.NewReader(bufio.NewReader(strings.NewReader(block + "\r\n"))).ReadMIMEHeader()
		if err != nil {
			return
		}
		header := http.Header(h)
		fuzzKey(t, header)
		fuzzTokens(t, header)
		fuzzSubprotocols(t, header)
		fuzzOrigin(t, header, s)
		fuzzAnswer(t, header, s)
		fuzzOwnHeader(t, header, s)
	})
}

func fuzzKey(t *testing.T, h http.Header) {
	key, err := Key(h)
	if err != nil {
		return
	}
	b, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(b) != 16 || len(h["Sec-Websocket-Key"]) != 1 {
		t.Errorf("accepted key %q of %q", key, h["Sec-Websocket-Key"])
	}
}

// fuzzTokens compares with a slow oracle that goes byte by byte.
func fuzzTokens(t *testing.T, h http.Header) {
	for _, name := range []string{"Connection", "Upgrade"} {
		for _, token := range []string{"upgrade", "websocket", "close"} {
			want := slowHasToken(h[name], token)
			if got := HasToken(h, name, token); got != want {
				t.Errorf("HasToken(%q, %q) = %v, want %v", h[name], token, got, want)
			}
			if isOnlyToken(h, name, token) && !want {
				t.Errorf("isOnlyToken without HasToken: %q, %q", h[name], token)
			}
		}
	}
}

func slowHasToken(lines []string, token string) bool {
	var element []byte
	found := false
	end := func() {
		for len(element) > 0 && (element[len(element)-1] == ' ' || element[len(element)-1] == '\t') {
			element = element[:len(element)-1]
		}
		found = found || string(element) == token
		element = element[:0]
	}
	for _, line := range lines {
		for _, c := range []byte(line) {
			switch {
			case c == ',':
				end()
			case len(element) == 0 && (c == ' ' || c == '\t'):
			case 'A' <= c && c <= 'Z':
				element = append(element, c|0x20)
			default:
				element = append(element, c)
			}
		}
		end()
	}
	return found
}

func fuzzSubprotocols(t *testing.T, h http.Header) {
	offered, err := Subprotocols(h)
	if err != nil {
		return
	}
	again, err := Subprotocols(http.Header{"Sec-Websocket-Protocol": offered})
	if len(offered) > 0 && (err != nil || !slices.Equal(again, offered)) {
		t.Errorf("offered %q, read again %q, %v", offered, again, err)
	}
	for i, name := range offered {
		if !IsToken(name) || slices.Contains(offered[:i], name) {
			t.Errorf("accepted %q in %q", name, offered)
		}
		if got := SelectSubprotocol([]string{"\x00", name}, offered); got != name {
			t.Errorf("selected %q, want %q", got, name)
		}
	}
}

// fuzzOrigin takes s as this host and as a pattern.
func fuzzOrigin(t *testing.T, h http.Header, s string) {
	origins := Origins{}
	if o, err := ParseOrigins([]string{s}); err == nil {
		origins = o
	}
	allowed := origins.Check(h, s) == nil
	values := h["Origin"]
	switch {
	case len(values) == 0 && !allowed:
		t.Error("refused without Origin")
	case len(values) > 1 && allowed:
		t.Errorf("allowed with Origins %q", values)
	case len(values) == 1:
		upper := http.Header{"Origin": {upperASCII(values[0])}}
		if (origins.Check(upper, upperASCII(s)) == nil) != allowed {
			t.Errorf("origin %q, host and pattern %q: letter case decides", values[0], s)
		}
		from, ok := parseOrigin(values[0])
		if allowed && !origins.any && !origins.null && (!ok || !isASCII(values[0]) || from.host != strings.ToLower(from.host)) {
			t.Errorf("allowed %q, which is no origin", values[0])
		}
		if allowed && len(origins.patterns) == 0 && !origins.any && !origins.null && !slowSameHost(values[0], s) {
			t.Errorf("origin %q passed for host %q", values[0], s)
		}
	}
}

// slowSameHost is an oracle for names: the origin without its scheme is the
// host, give or take a port.
func slowSameHost(origin, host string) bool {
	if strings.ContainsAny(origin, "[") {
		return true // IP addresses have more than one form
	}
	_, from, _ := strings.Cut(strings.ToLower(origin), "://")
	from, _, _ = strings.Cut(from, ":")
	host, _, _ = strings.Cut(strings.ToLower(host), ":")
	return from == host
}

func upperASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// fuzzAnswer takes s as the key and as what was offered.
func fuzzAnswer(t *testing.T, h http.Header, s string) {
	chosen, err := CheckAnswer(h, s, []string{s, "chat"})
	if err != nil {
		return
	}
	accept := h["Sec-Websocket-Accept"]
	switch {
	case len(accept) != 1 || accept[0] != Accept(s):
		t.Errorf("accepted Sec-WebSocket-Accept %q for key %q", accept, s)
	case !slowHasToken(h["Upgrade"], "websocket"), !slowHasToken(h["Connection"], "upgrade"):
		t.Errorf("accepted Upgrade %q, Connection %q", h["Upgrade"], h["Connection"])
	case chosen != "" && chosen != s && chosen != "chat":
		t.Errorf("accepted subprotocol %q", chosen)
	}
}

// fuzzOwnHeader checks that what a caller or middleware sets stays in its lines:
// written and read again, it is the same.
func fuzzOwnHeader(t *testing.T, h http.Header, s string) {
	own := http.Header{"X-Own": {s}, s: {"1"}}
	for name, values := range h {
		own[name] = append(own[name], values...)
	}
	if CheckHeader(own) == nil {
		checkWritten(t, own)
	}
	checkWritten(t, AnswerHeader(own))
}

func checkWritten(t *testing.T, h http.Header) {
	var b bytes.Buffer
	h.Write(&b)
	b.WriteString("\r\n")
	read, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(b.Bytes()))).ReadMIMEHeader()
	if err != nil {
		t.Fatalf("%q cannot be read: %v", b.Bytes(), err)
	}
	lines := 0
	for name, values := range h {
		lines += len(values)
		if why := whyReserved(name); why != "" {
			t.Errorf("header %q is reserved and was let through", name)
		}
	}
	for _, values := range read {
		lines -= len(values)
	}
	if lines != 0 {
		t.Errorf("%q has %d lines more or less than what was set", b.Bytes(), lines)
	}
}

// FuzzHost checks that hosts come out in a form that does not change any more,
// and in ASCII.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"Example.com", "münchen.example:80", "[::1]:080", "127.0.0.1", "\u212a", "a..b", "xn--\u00e9", "fe80::1%eth0", "::%\xdd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if host, port, err := SplitHost(s); err == nil {
			whole := host
			if strings.Contains(host, ":") {
				whole = "[" + host + "]"
			}
			if port != "" {
				whole += ":" + port
			}
			h, p, err := SplitHost(whole)
			if err != nil || h != host || p != port || !isASCII(whole) {
				t.Errorf("%q: %q and %q, again %q and %q, %v", s, host, port, h, p, err)
			}
		}
		if host, err := ASCIIHost(s); err == nil {
			again, err := ASCIIHost(host)
			if err != nil || again != host || !isIP(host) && !isASCII(host) || !utf8.ValidString(host) {
				t.Errorf("%q: %q, again %q, %v", s, host, again, err)
			}
		}
	})
}
