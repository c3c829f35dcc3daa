package handshake

import (
	"net/http"
	"strings"
	"testing"
)

func TestSameHost(t *testing.T) {
	tests := []struct {
		name, origin, host string
		want               bool
	}{
		{"same", "http://example.com", "example.com", true},
		{"https behind a proxy that ends TLS", "https://example.com", "example.com", true},
		{"same port", "http://example.com:8080", "example.com:8080", true},
		{"default port in Host", "http://example.com", "example.com:80", true},
		{"default TLS port in Host", "https://example.com", "example.com:443", true},
		{"default port in Origin", "https://example.com:443", "example.com", true},
		{"port with a zero in front", "http://example.com:0080", "example.com", true},
		{"colon without a port", "http://example.com", "example.com:", true},
		{"upper case Origin", "HTTP://EXAMPLE.COM", "example.com", true},
		{"upper case Host", "http://example.com", "Example.COM", true},
		{"IPv4", "http://127.0.0.1:8080", "127.0.0.1:8080", true},
		{"IPv6", "http://[::1]:8080", "[::1]:8080", true},
		{"IPv6 default port", "http://[::1]", "[::1]:80", true},
		{"IPv6 in a long form", "http://[2001:db8::1]", "[2001:0DB8:0:0:0:0:0:1]", true},
		{"IPv6 with an IPv4 part", "http://[::ffff:7f00:1]", "[::ffff:127.0.0.1]", true},
		{"IDN in its ASCII form", "https://xn--mnchen-3ya.example", "XN--mnchen-3ya.example", true},
		{"underscore", "http://my_host", "my_host", true},

		{"another host", "http://evil.example", "example.com", false},
		{"subdomain", "http://www.example.com", "example.com", false},
		{"parent", "http://example.com", "www.example.com", false},
		{"host as a prefix", "http://example.com.evil.example", "example.com", false},
		{"host as a suffix", "http://notexample.com", "example.com", false},
		{"another port", "http://example.com:8080", "example.com", false},
		{"another port in Host", "http://example.com", "example.com:8080", false},
		{"the other scheme's default port", "http://example.com", "example.com:443", false},
		{"the other scheme's default port in Origin", "http://example.com:443", "example.com", false},
		{"null", "null", "null", false},
		{"null in upper case", "NULL", "null", false},
		{"another scheme", "chrome-extension://example.com", "example.com", false},
		{"IP address for localhost", "http://127.0.0.1", "localhost", false},
		{"IPv4 in IPv6", "http://[::ffff:127.0.0.1]", "127.0.0.1", false},
		{"another IP address", "http://10.0.0.1", "127.0.0.1", false},
		{"IDN in Unicode", "https://münchen.example", "xn--mnchen-3ya.example", false},
		{"the same in Unicode", "https://münchen.example", "münchen.example", false},
		{"Kelvin sign for a k", "https://\u212a.example", "k.example", false},
		{"dot at the end", "http://example.com.", "example.com", false},

		{"empty", "", "", false},
		{"no scheme", "example.com", "example.com", false},
		{"no host", "http://", "", false},
		{"no host but a port", "http://:80", ":80", false},
		{"path", "http://example.com/", "example.com", false},
		{"user", "http://example.com@evil.example", "example.com", false},
		{"user in front", "http://evil@example.com", "example.com", false},
		{"query", "http://example.com?x", "example.com", false},
		{"two in one line", "http://example.com http://evil.example", "example.com", false},
		{"list", "http://example.com, http://evil.example", "example.com", false},
		{"empty port", "http://example.com:", "example.com", false},
		{"port 0", "http://example.com:0", "example.com:0", false},
		{"port too big", "http://example.com:65616", "example.com", false}, // 80 in 16 bits
		{"port not a number", "http://example.com:+80", "example.com", false},
		{"IPv6 without brackets", "http://::1", "::1", false},
		{"IPv6 unclosed", "http://[::1", "[::1", false},
		{"IPv6 with a zone", "http://[fe80::1%eth0]", "[fe80::1%eth0]", false},
		{"IPv4 in brackets", "http://[127.0.0.1]", "127.0.0.1", false},
		{"something behind the brackets", "http://[::1]x", "[::1]", false},
		{"a scheme that is not one", "1http://example.com", "example.com", false},
		{"Host that is not one", "http://example.com", "example.com/x", false},
		{"line break", "http://example.com\n", "example.com", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := Origins{}.Check(http.Header{"Origin": {test.origin}}, test.host)
			if got := err == nil; got != test.want {
				t.Errorf("origin %q at host %q: %v", test.origin, test.host, err)
			}
		})
	}
}

func TestOriginPatterns(t *testing.T) {
	tests := []struct {
		pattern, origin string
		want            bool
	}{
		{"example.com", "http://example.com", true},
		{"example.com", "https://example.com", true},
		{"example.com", "https://example.com:443", true},
		{"example.com", "https://example.com:8443", false},
		{"example.com", "http://example.com:443", false},
		{"example.com", "https://www.example.com", false},
		{"example.com", "https://badexample.com", false},
		{"example.com", "ftp://example.com", false},
		{"EXAMPLE.com", "https://example.COM", true},
		{"https://example.com", "https://example.com", true},
		{"HTTPS://Example.com", "https://example.com", true},
		{"https://example.com", "http://example.com", false},
		{"https://example.com", "http://example.com:443", false},
		{"https://example.com:443", "https://example.com", true},
		{"example.com:443", "https://example.com", true},
		{"example.com:443", "http://example.com", false},
		{"example.com:8080", "http://example.com:8080", true},
		{"example.com:8080", "http://example.com:8081", false},
		{"example.com:8080", "http://example.com", false},
		{"localhost:*", "http://localhost", true},
		{"localhost:*", "http://localhost:5173", true},
		{"localhost:*", "https://localhost:5173", true},
		{"http://localhost:*", "https://localhost:5173", false},
		{"localhost:*", "http://localhost.evil.example:5173", false},

		{"*.example.com", "https://www.example.com", true},
		{"*.example.com", "https://a.b.example.com", true},
		{"*.EXAMPLE.com", "https://WWW.example.com", true},
		{"*.example.com", "https://example.com", false},
		{"*.example.com", "https://.example.com", false},
		{"*.example.com", "https://badexample.com", false},
		{"*.example.com", "https://www.example.com.evil.example", false},
		{"*.example.com", "https://www.example.com:8443", false},
		{"*.example.com:*", "https://www.example.com:8443", true},
		{"https://*.example.com:8443", "https://www.example.com:8443", true},
		{"https://*.example.com:8443", "http://www.example.com:8443", false},

		{"127.0.0.1", "http://127.0.0.1", true},
		{"[::1]", "http://[::1]", true},
		{"[::1]:*", "http://[::1]:8080", true},
		{"http://[0:0:0:0:0:0:0:1]:8080", "http://[::1]:8080", true},
		{"[2001:DB8::1]", "https://[2001:db8:0::1]", true},

		{"xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example", true},
		{"münchen.example", "https://xn--mnchen-3ya.example", true},
		{"MÜNCHEN.example:8443", "https://xn--mnchen-3ya.example:8443", true},
		{"*.münchen.example:*", "https://www.xn--mnchen-3ya.example:8443", true},
		{"münchen.example", "https://münchen.example", false}, // no browser sends that

		{"chrome-extension://abcdefgh", "chrome-extension://abcdefgh", true},
		{"chrome-extension://abcdefgh", "chrome-extension://other", false},
		{"chrome-extension://abcdefgh", "https://abcdefgh", false},

		{"null", "null", true},
		{"NULL", "null", true},
		{"null", "NULL", true},
		{"null", "http://null", false},
		{"null", "https://example.com", false},
		{"*", "null", true},
		{"*", "https://evil.example:1", true},
		{"*", "file://", true},
		{"*", "not an origin", true},
	}
	for _, test := range tests {
		o, err := ParseOrigins([]string{"other.example", test.pattern})
		if err != nil {
			t.Errorf("pattern %q: %v", test.pattern, err)
			continue
		}
		err = o.Check(http.Header{"Origin": {test.origin}}, "this.example")
		if got := err == nil; got != test.want {
			t.Errorf("pattern %q, origin %q: %v", test.pattern, test.origin, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "origin ") {
			t.Errorf("pattern %q, origin %q: error %q does not say what it is about", test.pattern, test.origin, err)
		}
	}
}

func TestOriginHeader(t *testing.T) {
	const host = "example.com"
	if err := (Origins{}).Check(http.Header{}, host); err != nil {
		t.Errorf("without Origin: %v", err)
	}
	any, err := ParseOrigins([]string{"*", "null"})
	if err != nil {
		t.Fatal(err)
	}
	twice := http.Header{"Origin": {"https://example.com", "https://example.com"}}
	if err := any.Check(twice, host); err == nil {
		t.Error("two Origins passed")
	}
	long := http.Header{"Origin": {"https://" + strings.Repeat("\x01", 1<<20)}}
	if err := (Origins{}).Check(long, host); err == nil || len(err.Error()) > 1000 {
		t.Error("a long Origin passed, or is repeated in the error")
	}
}

func TestMalformedPatterns(t *testing.T) {
	tests := []struct{ pattern, want string }{
		{"", "host name"},
		{" ", "host name"},
		{"https://example.com/", "no path"},
		{"example.com/chat", "no path"},
		{"https://", "host name"},
		{"://example.com", "scheme"},
		{"*://example.com", "scheme"},
		{"ht tp://example.com", "scheme"},
		{"ws://example.com", "http or https"},
		{"WSS://example.com", "http or https"},
		{"https:example.com", "port"},
		{"*example.com", "host name"},
		{"*.*.example.com", "host name"},
		{"www.*.com", "host name"},
		{"https://*", "host name"},
		{"*:8080", "host name"},
		{"*.", "host name"},
		{".example.com", "host name"},
		{"example..com", "host name"},
		{"*.1.2.3", "IP address"},
		{"*.127.0.0.1", "IP address"},
		{"*.0.0.1.", "IP address"},
		{"*.[::1]", "IP address"},
		{"::1", "brackets"},
		{"[::1", "brackets"},
		{"[127.0.0.1]", "brackets"},
		{"[fe80::1%eth0]", "brackets"},
		{"example.com:", "port"},
		{"example.com:0", "port"},
		{"example.com:65536", "port"},
		{"example.com:http", "port"},
		{"example.com:80*", "port"},
		{"example.com:80:*", "port"},
		{"user@example.com", "host name"},
		{"example.com?x", "host name"},
		{"https://example.com, https://example.org", "scheme"},
		{"example.com example.org", "host name"},
		{"a\xff.example", "Unicode"},
	}
	for _, test := range tests {
		_, err := ParseOrigins([]string{"*", "example.com", test.pattern})
		checkError(t, err, test.want, test.pattern)
		checkError(t, err, "origin pattern "+quote(test.pattern), test.pattern)
	}
}
