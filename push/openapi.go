package push

import (
	_ "embed"
	"net/http"
	"strings"
	"time"
)

// openapi describes the HTTP API for programs that make clients. It is tested against
// the handlers: what it says of statuses and schemas holds.
//
//go:embed openapi.json
var openapi string

func getOpenAPI(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-cache") // another version of the server has another
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(openapi))
}

// A router is a ServeMux that knows what it routes.
type router struct {
	http.ServeMux
	patterns []string
}

// Handle registers a handler, and remembers the pattern.
func (m *router) Handle(pattern string, h http.Handler) {
	m.patterns = append(m.patterns, pattern)
	m.ServeMux.Handle(pattern, h)
}

// HandleFunc registers a handler, and remembers the pattern.
func (m *router) HandleFunc(pattern string, h http.HandlerFunc) { m.Handle(pattern, h) }
