package token

import (
	"strings"
	"testing"
	"time"
)

func TestPatterns(t *testing.T) {
	for _, test := range []struct{ pattern, user, in, out string }{ // channels, with spaces between
		{"news", "", "news", "New news2 anews NEWS"},
		{"*", "", "a news a:b/c *", ""},
		{"room:*", "", "room: room:1 room:1:2 room:*", "room Room:1 aroom:1"},
		{"*:end", "", ":end a:end :end:end", "end a:end2"},
		{"a*b*c", "", "abc aXbYc abbc abcbc", "ab ac acb abcd Xabc"},
		{"a*bc*c", "", "abcc abcXc", "abc aXc"},
		{"aa*aa", "", "aaaa aaXaa", "aaa aa"},
		{"*a*", "", "a bab", "bbb"},
		{"**", "", "a ab", ""},
		{"user:{user}", "42", "user:42", "user:4 user:421 user:{user} user:*"},
		{"{user}/{user}", "u", "u/u", "u/ u/v"},
		{"user:{user}", "*", "user:*", "user:42"},
		{"user:{user}", "{user}", "user:{user}", "user:"},
		{"user:{user}", `\`, `user:\`, "user:"},
		{"{user}*", "a*", "a* a*b", "a ab"},
		{`a\*b`, "", "a*b", `a\*b aXb`},
		{`\{user}`, "42", "{user}", "42"},
		{`a\\*`, "", `a\ a\b`, "a*"},
		{`\a`, "", "a", `\a`},
		{"é*", "", "é éa", "e"},
		{`\é`, "", "é", "e"},
		{"}", "", "}", "{}"},
	} {
		p, err := ParsePatterns([]string{test.pattern}, test.user)
		if err != nil {
			t.Errorf("%s for %q: %v", test.pattern, test.user, err)
			continue
		}
		for channel := range strings.FieldsSeq(test.in) {
			if !p.Match(channel) {
				t.Errorf("%s for %q does not stand for %s", test.pattern, test.user, channel)
			}
		}
		for channel := range strings.FieldsSeq(test.out) {
			if p.Match(channel) {
				t.Errorf("%s for %q stands for %s", test.pattern, test.user, channel)
			}
		}
	}
	for _, test := range []struct{ pattern, user, want string }{
		{"{", "42", `written \{`},
		{"{users}", "42", `written \{`},
		{"{User}", "42", `written \{`},
		{`a\`, "42", "nothing to escape"},
		{"{user}", "", "nobody"},
		{"", "42", "1 to 512 bytes"},
		{"\xff", "42", "UTF-8"},
		{strings.Repeat("*", maxPattern+1), "42", "1 to 512 bytes"},
	} {
		if _, err := ParsePatterns([]string{test.pattern}, test.user); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %s", test.pattern, err, test.want)
		}
	}
	if (Patterns{}).Match("") || (Patterns{}).Match("news") {
		t.Error("no patterns stand for something")
	}
}

// The worst patterns, and as many as there may be, against the longest channel. A
// matcher that goes back at a star would take longer than the universe is old.
func TestPatternsAreCheap(t *testing.T) {
	texts := make([]string, maxPatterns)
	for i := range texts {
		texts[i] = strings.Repeat("*a", maxPattern/2-1) + "*b"
	}
	texts[0] = strings.Repeat("a*", maxPattern/2)
	p, err := ParsePatterns(texts, "")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if p.Match(strings.Repeat("a", 255)) {
		t.Error("it stands for the channel")
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("it took %v", took)
	}
}

// A matcher that is slow and plainly right agrees.
func FuzzPattern(f *testing.F) {
	f.Add("a*b*c", "aXbYc")
	f.Add(`\**`, "*a")
	f.Add("*ab*ab", "abab")
	f.Fuzz(func(t *testing.T, text, channel string) {
		// slowMatch tries everything: its time doubles with each star.
		if len(text) > 20 || len(channel) > 20 || strings.Count(text, "*") > 5 {
			return
		}
		p, err := ParsePatterns([]string{text}, "u")
		if err != nil {
			return
		}
		if got, want := p.Match(channel), slowMatch(text, channel); got != want {
			t.Errorf("%q stands for %q: %v, want %v", text, channel, got, want)
		}
	})
}

func slowMatch(pattern, channel string) bool {
	switch {
	case pattern == "":
		return channel == ""
	case pattern[0] == '*':
		return slowMatch(pattern[1:], channel) || channel != "" && slowMatch(pattern, channel[1:])
	case strings.HasPrefix(pattern, placeholder):
		return strings.HasPrefix(channel, "u") && slowMatch(pattern[len(placeholder):], channel[1:])
	case pattern[0] == '\\':
		pattern = pattern[1:]
	}
	return channel != "" && channel[0] == pattern[0] && slowMatch(pattern[1:], channel[1:])
}
