//go:build !js

package websocket

// ProxyOf returns the proxy that the environment names for a URL, "" for none.
func ProxyOf(url string) (string, error) {
	d, err := newDialing(url, new(DialOptions))
	if err != nil {
		return "", err
	}
	way, err := d.way()
	if way == nil {
		return "", err
	}
	return way.String(), err
}
