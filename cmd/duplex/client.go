package main

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// A client is what connect, pub and sub have in common: the flags that say how a
// server is reached.
type client struct {
	headers  []string
	insecure bool
}

// flags adds the flags of a client to a command.
func (c *client) flags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&c.headers, "header", "H", nil, "send a request header `'Name: value'`; may be repeated")
	cmd.Flags().BoolVar(&c.insecure, "insecure", false, "do not verify the server's TLS certificate")
}

// header returns the headers that were asked for. The error is wrong use. A Host
// among them is returned apart: a request keeps it outside of its headers.
func (c *client) header() (h http.Header, host string, err error) {
	h = make(http.Header)
	for _, line := range c.headers {
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !ok || !isToken(name) || !isFieldValue(value) {
			return nil, "", wrongUse("-H %q is not a header, as in 'Authorization: Bearer 123'", line)
		}
		switch name = http.CanonicalHeaderKey(name); {
		case name == "Host":
			host = value
		case name == "Sec-Websocket-Protocol":
			return nil, "", wrongUse("-H %s cannot be set: use --subprotocol", name)
		case slices.Contains(ownHeaders, name), strings.HasPrefix(name, "Sec-Websocket-"):
			return nil, "", wrongUse("-H %s cannot be set: the connection needs its own", name)
		default:
			h.Add(name, value)
		}
	}
	return h, host, nil
}

// pushHeader returns the headers for a push server: those that were asked for, and
// the token in the environment unless there is another. Servers of other kinds do
// not get it, for they are anybody's.
func (c *client) pushHeader() (h http.Header, host string, err error) {
	if h, host, err = c.header(); err != nil || h.Get("Authorization") != "" {
		return h, host, err
	}
	token := strings.TrimSpace(os.Getenv(envToken))
	if token == "" {
		return h, host, nil
	}
	if !isFieldValue(token) {
		return nil, "", wrongUse("the environment variable %s holds characters that no header may have", envToken)
	}
	h.Set("Authorization", "Bearer "+token)
	return h, host, nil
}

// ownHeaders are those that say how a request and its connection are to be
// understood, which only the one who writes the request can know.
var ownHeaders = []string{
	"Connection", "Content-Length", "Expect", "Keep-Alive", "Proxy-Connection",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// checkSubprotocols looks at the values of --subprotocol.
func checkSubprotocols(names []string) error {
	for i, name := range names {
		switch {
		case !isToken(name):
			return wrongUse("--subprotocol %q is not a name of letters, digits and -._~", name)
		case slices.Contains(names[:i], name):
			return wrongUse("--subprotocol %q is given twice", name)
		}
	}
	return nil
}

// tls returns the settings of a TLS connection.
func (c *client) tls() *tls.Config {
	return &tls.Config{InsecureSkipVerify: c.insecure}
}

// isToken reports whether s may be the name of a header or of a subprotocol.
// RFC 9110, 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// isFieldValue reports whether s can be sent as a header's value: no control
// character but the tab, so that no second header can hide in it. RFC 9110, 5.5.
func isFieldValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// socketURL reads the address of a WebSocket. A page's address is taken too,
// with ws for http and wss for https. The error is wrong use.
func socketURL(text string) (*url.URL, error) {
	u, err := parseURL(text, "ws://127.0.0.1:9001/")
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	}
	return u, nil
}

// serverURL reads the address of a push server, or of its connect endpoint, and
// returns the server's. The error is wrong use.
func serverURL(text string) (*url.URL, error) {
	u, err := parseURL(text, "http://127.0.0.1:8080")
	if err != nil {
		return nil, err
	}
	if u.RawQuery != "" || u.ForceQuery {
		return nil, wrongUse("%q has a query: the address of a server has none, as in http://127.0.0.1:8080", text)
	}
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	}
	path, raw := withoutConnect(u.Path), withoutConnect(u.EscapedPath())
	u.Path, u.RawPath = path, raw
	return u, nil
}

func withoutConnect(path string) string {
	return strings.TrimSuffix(strings.TrimSuffix(path, "/"), "/connect")
}

// parseURL reads an absolute URL of one of the four schemes that lead to a
// server.
func parseURL(text, example string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return nil, wrongUse("%q is not a URL with a host, as in %s", text, example)
	}
	switch u.Scheme {
	case "ws", "wss", "http", "https":
	default:
		return nil, wrongUse("%q begins with %s: a URL here begins with ws, wss, http or https, as in %s", text, u.Scheme, example)
	}
	if u.Hostname() == "" {
		return nil, wrongUse("%q has no host, as in %s", text, example)
	}
	if _, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && err != nil {
		return nil, wrongUse("%q has the port %s: a port is at most 65535", text, u.Port())
	}
	if u.Fragment != "" || strings.HasSuffix(text, "#") {
		return nil, wrongUse("%q has a fragment (#): the URL of a WebSocket has none; write it as %%23 if it is part of the path", text)
	}
	return u, nil
}
