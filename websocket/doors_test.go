package websocket_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// Attack 20: through whatever door text gets into a request, it brings no line of
// its own: it is refused, or made harmless.
func TestNothingBreaksOutOfTheRequest(t *testing.T) {
	const evil = "a\r\nEvil: 1\r\n\r\nGET /evil HTTP/1.1\r\nEvil: 1"
	tests := map[string]func(o *websocket.DialOptions) string{
		"header value":    func(o *websocket.DialOptions) string { o.Header = http.Header{"X": {evil}}; return "/" },
		"header, bare LF": func(o *websocket.DialOptions) string { o.Header = http.Header{"X": {"a\nEvil: 1"}}; return "/" },
		"header, bare CR": func(o *websocket.DialOptions) string { o.Header = http.Header{"X": {"a\rEvil: 1"}}; return "/" },
		"header name":     func(o *websocket.DialOptions) string { o.Header = http.Header{"X: 1\r\nEvil": {"1"}}; return "/" },
		"User-Agent":      func(o *websocket.DialOptions) string { o.Header = http.Header{"User-Agent": {evil}}; return "/" },
		"Origin":          func(o *websocket.DialOptions) string { o.Header = http.Header{"Origin": {evil}}; return "/" },
		"own cookie":      func(o *websocket.DialOptions) string { o.Header = http.Header{"Cookie": {evil}}; return "/" },
		"cookie of a jar": func(o *websocket.DialOptions) string { o.Jar = evilJar{{Name: "a", Value: evil}}; return "/" },
		"its name":        func(o *websocket.DialOptions) string { o.Jar = evilJar{{Name: evil, Value: "a"}}; return "/" },
		"Host":            func(o *websocket.DialOptions) string { o.Host = evil; return "/" },
		"subprotocol":     func(o *websocket.DialOptions) string { o.Subprotocols = []string{evil}; return "/" },
		"path":            func(o *websocket.DialOptions) string { return "/" + evil },
		"escaped path":    func(o *websocket.DialOptions) string { return "/a%0d%0aEvil:%201" },
		"query":           func(o *websocket.DialOptions) string { return "/?" + evil },
		"user":            func(o *websocket.DialOptions) string { return "@" + url.UserPassword(evil, evil).String() },
		"CONNECT, header": func(o *websocket.DialOptions) string { o.ProxyHeader = http.Header{"X": {evil}}; return "proxy" },
		"CONNECT, name":   func(o *websocket.DialOptions) string { o.ProxyHeader = http.Header{evil: {"1"}}; return "proxy" },
		"CONNECT, user":   func(o *websocket.DialOptions) string { return "proxy@" },
		"CONNECT, User-Agent": func(o *websocket.DialOptions) string {
			o.Header = http.Header{"User-Agent": {evil}}
			return "proxy"
		},
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			var o websocket.DialOptions
			how := prepare(&o)
			address := "ws://server.test" + how
			switch {
			case strings.HasPrefix(how, "@"):
				address = "ws://" + how[1:] + "@server.test/"
			case strings.HasPrefix(how, "proxy"):
				u := &url.URL{Scheme: "http", Host: "proxy.test"}
				if how == "proxy@" {
					u.User = url.UserPassword("ann", evil)
				}
				o.Proxy = http.ProxyURL(u)
				address = "ws://server.test/"
			}
			// Reads everything that is sent, and answers nothing but that it goes on.
			got := make(chan string, 1)
			o.DialContext = func(context.Context, string, string) (net.Conn, error) {
				c, peer := wstest.Streams()
				go func() {
					br := bufio.NewReader(peer)
					r, err := http.ReadRequest(br)
					switch {
					case err != nil:
						got <- fmt.Sprint("not a request: ", err)
					case r.Header.Get("Evil") != "" || strings.Contains(r.RequestURI, "\n") || br.Buffered() > 0:
						got <- fmt.Sprintf("%s with %v, and %d bytes behind it", r.RequestURI, r.Header, br.Buffered())
					default:
						got <- ""
					}
					io.WriteString(peer, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
					peer.Close()
				}()
				return c, nil
			}
			c, _, err := websocket.Dial(bg, address, &o)
			if err == nil {
				c.CloseNow()
				t.Error("connected")
			}
			select {
			case broken := <-got:
				if broken != "" {
					t.Error(broken)
				}
			default: // refused before anything was sent
			}
		})
	}
}

// A field of the caller's counts in any letter case: nothing of another source is put
// beside it.
func TestDialFieldsOnce(t *testing.T) {
	for _, proxied := range []bool{false, true} {
		c, peer := wstest.Streams()
		o := websocket.DialOptions{
			Header:      http.Header{"authorization": {"mine"}, "user-agent": {"mine"}, "cookie": {"a=mine"}},
			ProxyHeader: http.Header{"proxy-authorization": {"mine"}, "user-agent": {"mine"}},
			Jar:         evilJar{{Name: "b", Value: "c"}},
			DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil },
		}
		if proxied {
			o.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test", User: url.UserPassword("ann", "b")})
		}
		sent := make(chan http.Header, 1)
		go func() {
			defer peer.Close()
			r, err := http.ReadRequest(bufio.NewReader(peer))
			if err != nil {
				r = new(http.Request)
			}
			sent <- r.Header
		}()
		if c, _, err := websocket.Dial(bg, "ws://ann:b@server.test/", &o); err == nil {
			c.CloseNow()
			t.Error("connected")
		}
		got := <-sent
		for _, name := range []string{"Authorization", "Proxy-Authorization", "User-Agent", "Cookie"} {
			if values := got.Values(name); len(values) > 1 || len(values) == 1 && !strings.Contains(values[0], "mine") {
				t.Errorf("proxied %v: %s: %q", proxied, name, values)
			}
		}
		if len(got) == 0 {
			t.Error("nothing was sent")
		}
	}
}

// An evilJar is a jar that holds what no server could have set.
type evilJar []*http.Cookie

func (j evilJar) SetCookies(*url.URL, []*http.Cookie) {}
func (j evilJar) Cookies(*url.URL) []*http.Cookie     { return j }
