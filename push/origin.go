package push

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// An origin is a pattern for the origins of web pages, as in Server.Origins.
type origin struct {
	scheme string // "": http and https
	host   string // in lower case; after "*." where sub
	sub    bool   // the subdomains of host, and not host itself
	port   string // "": the scheme's default one; "*": any
	any    bool
	null   bool
}

// CheckOrigins returns what is wrong with the first pattern for [Server.Origins] that is
// none.
func CheckOrigins(patterns []string) error {
	_, err := parseOrigins(patterns)
	return err
}

func parseOrigins(patterns []string) ([]origin, error) {
	var all []origin
	for _, pattern := range patterns {
		o, err := parseOrigin(pattern)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

func parseOrigin(pattern string) (origin, error) {
	rest := strings.ToLower(pattern)
	switch rest {
	case "*":
		return origin{any: true}, nil
	case "null":
		return origin{null: true}, nil
	}
	var o origin
	if scheme, after, ok := strings.Cut(rest, "://"); ok {
		o.scheme, rest = scheme, after
	}
	o.host, o.port = splitPort(rest)
	o.host, o.sub = strings.CutPrefix(o.host, "*.")
	if o.host == "" || strings.ContainsAny(o.host, "*/?#@ ") || strings.Contains(rest, "://") || strings.HasSuffix(rest, ":") || strings.ContainsAny(o.scheme, "*/: ") {
		return o, fmt.Errorf("%q is no origin, as in https://app.example.com or *.example.com:8443", pattern)
	}
	if o.port != "*" && strings.Trim(o.port, "0123456789") != "" {
		return o, fmt.Errorf("%q is no origin: the port is a number or *", pattern)
	}
	return o, nil
}

// splitPort takes a host apart; of an IPv6 address the brackets go.
func splitPort(s string) (host, port string) {
	if h, p, err := net.SplitHostPort(s); err == nil {
		return h, p
	}
	return strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), ""
}

// matches reports whether the pattern means the origin of a request.
func (o *origin) matches(value string) bool {
	if o.any {
		return true
	}
	if o.null || value == "null" {
		return o.null && value == "null"
	}
	u, err := url.Parse(strings.ToLower(value))
	if err != nil || u.Host == "" {
		return false
	}
	switch {
	case o.scheme != "" && u.Scheme != o.scheme, o.scheme == "" && u.Scheme != "http" && u.Scheme != "https":
		return false
	case o.sub && !strings.HasSuffix(u.Hostname(), "."+o.host), !o.sub && u.Hostname() != o.host:
		return false
	}
	return o.port == "*" || portOf(o.port, u.Scheme) == portOf(u.Port(), u.Scheme)
}

// portOf returns a port, the scheme's default one for "".
func portOf(port, scheme string) string {
	switch {
	case port != "":
		return port
	case scheme == "https":
		return "443"
	case scheme == "http":
		return "80"
	}
	return ""
}

// A door lets in the requests of programs and of pages of the same origin, and of
// the other origins that it is set to.
type door struct {
	origins []origin
	broken  error // a pattern is none
}

// of returns the door that a request comes to. Those by Admin come to one that no other
// origin is let through: the pages that may use the server would be administrators there.
func (d *door) of(r *http.Request) *door {
	if ofAdmin(r) {
		return new(door)
	}
	return d
}

// admit reports whether a request may pass. Those of a page of another origin that
// may are answered so that the page can read the answer.
func (d *door) admit(w http.ResponseWriter, r *http.Request) bool {
	if len(d.origins) > 0 {
		w.Header().Add("Vary", "Origin")
	}
	site := r.Header.Get("Sec-Fetch-Site") // no page can set it
	values := r.Header["Origin"]
	switch {
	case len(values) > 1:
		return false
	case len(values) == 0:
		// No Origin, and yet from a page: a link, which is harmless, or what
		// embeds an answer that it cannot read.
		return site == "" || site == "same-origin" || site == "none" || isRead(r) && r.Header.Get("Sec-Fetch-Mode") == "navigate"
	case site == "same-origin", sameHost(values[0], r.Host):
		return true
	}
	i := slices.IndexFunc(d.origins, func(o origin) bool { return o.matches(values[0]) })
	if i < 0 {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", values[0])
	h.Set("Access-Control-Expose-Headers", "Retry-After")
	if !d.origins[i].any && !d.origins[i].null {
		h.Set("Access-Control-Allow-Credentials", "true") // an Authorizer may look at cookies
	}
	return true
}

// sameHost reports whether a page of an origin is one of this Host's own.
func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

func isRead(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}

// preflight answers the question of a browser whether a page of another origin may
// send a request, and reports whether it was that.
func preflight(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Traceparent, Tracestate")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}
