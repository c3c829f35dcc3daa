package websocket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"syscall/js"
)

// dial has the browser open the connection.
func (d *dialing) dial(ctx context.Context) (*Conn, *http.Response, error) {
	if err := d.checkBrowser(); err != nil {
		return nil, nil, err
	}
	s, err := openBrowser(d.String()+d.query(), d.options.Subprotocols)
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	select {
	case <-s.opened:
	case <-s.ended:
		return nil, nil, errors.New("connect: the browser did not connect; its console may tell why")
	case <-ctx.Done():
		s.Close()
		return nil, nil, stepError(ctx, "connect", ctx.Err())
	}
	v := &settings{Options: d.options.Options.withDefaults(), pingless: true}
	v.PingInterval = 0
	return newConn(s, v, s.socket.Get("protocol").String(), nil), nil, nil
}

func (d *dialing) query() string {
	if d.url.RawQuery == "" {
		return ""
	}
	return "?" + d.url.RawQuery
}

// checkBrowser finds options that a browser cannot obey, rather than to leave them
// out in silence: they may be what makes the connection safe.
func (d *dialing) checkBrowser() error {
	o := d.options
	for name, set := range map[string]bool{
		"a user in the URL":          d.url.User != nil,
		"DialOptions.Header":         len(o.Header) > 0,
		"DialOptions.Host":           o.Host != "",
		"DialOptions.TLSConfig":      o.TLSConfig != nil,
		"DialOptions.Jar":            o.Jar != nil,
		"DialOptions.Proxy":          o.Proxy != nil,
		"DialOptions.ProxyHeader":    len(o.ProxyHeader) > 0,
		"DialOptions.ProxyTLSConfig": o.ProxyTLSConfig != nil,
		"DialOptions.DialContext":    o.DialContext != nil,
		"Options.Extensions":         len(o.Extensions) > 0, // it compresses by itself
	} {
		if set {
			return fmt.Errorf("%s cannot be had in a browser", name)
		}
	}
	return nil
}

// openBrowser makes a WebSocket of the browser.
func openBrowser(url string, subprotocols []string) (s *browserStream, err error) {
	constructor := js.Global().Get("WebSocket")
	if constructor.IsUndefined() {
		return nil, errors.New("there is no WebSocket here")
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p) // what the constructor throws
		}
	}()
	list := make([]any, len(subprotocols))
	for i, name := range subprotocols {
		list[i] = name
	}
	return newBrowserStream(constructor.New(url, list)), nil
}
