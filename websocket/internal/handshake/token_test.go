package handshake

import (
	"net/http"
	"strings"
	"testing"
)

func TestIsToken(t *testing.T) {
	for _, s := range []string{"a", "chat.v1", "v10.stomp", "x-y_z", "!#$%&'*+-.^_`|~", "0"} {
		if !IsToken(s) {
			t.Errorf("IsToken(%q) = false", s)
		}
	}
	for _, s := range []string{"", " ", "a b", "a,b", "a/b", `"a"`, "(a)", "a:b", "a;b", "a=b", "a@b", "[a]", "{a}", `a\b`, "a\x00", "a\r\nb", "a\x7f", "é", "a\xff"} {
		if IsToken(s) {
			t.Errorf("IsToken(%q) = true", s)
		}
	}
}

func TestHasToken(t *testing.T) {
	tests := []struct {
		lines []string
		want  bool
	}{
		{[]string{"Upgrade"}, true},
		{[]string{"upgrade"}, true},
		{[]string{"uPgRaDe"}, true},
		{[]string{"keep-alive, Upgrade"}, true}, // Firefox
		{[]string{"keep-alive,upgrade,close"}, true},
		{[]string{"keep-alive \t, \t upgrade\t"}, true},
		{[]string{"keep-alive", "Upgrade"}, true},
		{[]string{",, upgrade ,"}, true},
		{nil, false},
		{[]string{""}, false},
		{[]string{","}, false},
		{[]string{"close"}, false},
		{[]string{"upgraded"}, false},
		{[]string{"not-upgrade"}, false},
		{[]string{"upgrade/2"}, false},
		{[]string{"up grade"}, false},
		{[]string{"keep-alive upgrade"}, false},
		{[]string{`"upgrade"`}, false},
		{[]string{"keep-alive; upgrade"}, false},
		{[]string{"\u00a0upgrade"}, false},
	}
	for _, test := range tests {
		h := http.Header{"Connection": test.lines}
		if got := HasToken(h, "Connection", "upgrade"); got != test.want {
			t.Errorf("HasToken(%q) = %v, want %v", test.lines, got, test.want)
		}
	}
}

// Letter case is ASCII's: a Kelvin sign is no k and a long s no s.
func TestHasTokenASCII(t *testing.T) {
	for _, s := range []string{"web\u017focket", "websoc\u212aet"} {
		if HasToken(http.Header{"Upgrade": {s}}, "Upgrade", "websocket") {
			t.Errorf("%q passed for websocket", s)
		}
	}
}

func TestSubprotocols(t *testing.T) {
	tests := []struct {
		lines []string
		want  string // joined by a space
		err   string // in the error
	}{
		{nil, "", ""},
		{[]string{"chat"}, "chat", ""},
		{[]string{"chat, superchat"}, "chat superchat", ""},
		{[]string{"chat", "superchat,v2"}, "chat superchat v2", ""},
		{[]string{",chat,,\tv2 ,"}, "chat v2", ""},
		{[]string{"chat, Chat"}, "chat Chat", ""}, // letter case counts
		{[]string{""}, "", "empty"},
		{[]string{" , "}, "", "empty"},
		{[]string{"chat, chat"}, "", "twice"},
		{[]string{"chat", "v2", "chat"}, "", "twice"},
		{[]string{"chat room"}, "", "not a token"},
		{[]string{"a/b"}, "", "not a token"},
		{[]string{`"chat"`}, "", "not a token"},
		{[]string{"chat\x01"}, "", "not a token"},
		{[]string{"été"}, "", "not a token"},
	}
	for _, test := range tests {
		h := http.Header{}
		if test.lines != nil {
			h["Sec-Websocket-Protocol"] = test.lines
		}
		got, err := Subprotocols(h)
		checkError(t, err, test.err, test.lines)
		if s := strings.Join(got, " "); s != test.want {
			t.Errorf("Subprotocols(%q) = %q, want %q", test.lines, s, test.want)
		}
	}
}

func TestSelectSubprotocol(t *testing.T) {
	tests := []struct{ supported, offered, want string }{
		{"", "", ""},
		{"a", "", ""},
		{"", "a", ""},
		{"a", "a", "a"},
		{"b a", "a b", "b"}, // the server's order
		{"c a b", "a b", "a"},
		{"a", "A", ""},
		{"x", "a b", ""},
	}
	for _, test := range tests {
		got := SelectSubprotocol(strings.Fields(test.supported), strings.Fields(test.offered))
		if got != test.want {
			t.Errorf("supported %q, offered %q: %q, want %q", test.supported, test.offered, got, test.want)
		}
	}
}

// checkError compares an error with a part of its text, "" for no error.
func checkError(t *testing.T, err error, want string, what any) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%q: error %v, want none", what, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%q: error %v, want one with %q", what, err, want)
	}
}
