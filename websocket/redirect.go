package websocket

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// defaultMaxRedirects is as many as package http follows.
const defaultMaxRedirects = 10

// redirected returns the dialing to which a server's answer leads, nil where that
// is no redirect or none is to be followed. left is how many more may be followed.
func (d *dialing) redirected(resp *http.Response, left int) (*dialing, error) {
	if resp == nil || !isRedirect(resp.StatusCode) || resp.Header.Get("Location") == "" || d.options.MaxRedirects < 0 {
		return nil, nil
	}
	if left <= 0 {
		return nil, fmt.Errorf("%d redirects and no end: the last leads to %s", setting(d.options.MaxRedirects, defaultMaxRedirects), clip(resp.Header.Get("Location")))
	}
	u, err := d.url.Parse(resp.Header.Get("Location"))
	if err != nil {
		return nil, fmt.Errorf("the Location %s cannot be read", clip(resp.Header.Get("Location")))
	}
	switch u.Scheme {
	case "http", "ws":
		u.Scheme = "ws"
	case "https", "wss":
		u.Scheme = "wss"
	default:
		return nil, fmt.Errorf("the Location %s leads to something that is no WebSocket", clip(u.Redacted()))
	}
	if d.secure() && u.Scheme == "ws" {
		return nil, errors.New("from wss to ws, which is not followed: what is private would go over the network for all to read")
	}
	u.Fragment, u.RawFragment, u.User = "", "", nil
	return d.toward(u)
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// toward returns a dialing of another URL with the options of this one, without
// what is meant for this one's origin alone.
func (d *dialing) toward(u *url.URL) (*dialing, error) {
	next, err := newDialing(u.String(), &DialOptions{})
	if err != nil {
		return nil, err
	}
	o := *d.options
	if next.url.Scheme == d.url.Scheme && next.host == d.host && next.port == d.port {
		u.User = d.url.User
		return newDialing(u.String(), &o)
	}
	o.Host = ""
	o.Header = make(http.Header)
	for name, values := range d.options.Header {
		if name = http.CanonicalHeaderKey(name); name == "User-Agent" || name == "Origin" {
			o.Header[name] = values
		}
	}
	if o.TLSConfig != nil && o.TLSConfig.ServerName != "" {
		o.TLSConfig = o.TLSConfig.Clone()
		o.TLSConfig.ServerName = "" // that of the host from which it leads away
	}
	return newDialing(u.String(), &o)
}
