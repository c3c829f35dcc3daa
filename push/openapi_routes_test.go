package push

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// Every route stands in the document, and the document has no other.
func TestRoutesOfOpenAPI(t *testing.T) {
	var doc struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal([]byte(openapi), &doc); err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for path, item := range doc.Paths {
		for method := range item {
			if method != "parameters" {
				documented[strings.ToUpper(method)+" "+path] = true
			}
		}
	}
	s := &Server{Console: http.NotFoundHandler(), Metrics: http.NotFoundHandler(), Script: http.NotFoundHandler()}
	s.init()
	patterns := s.routes().patterns
	routed := map[string]bool{}
	for _, pattern := range patterns {
		method, path, ok := strings.Cut(pattern, " ")
		switch {
		case strings.HasPrefix(pattern, "/") && slices.Contains(patterns, "GET "+pattern), slices.Contains(patterns, "POST "+pattern):
			continue // it refuses the other methods
		case !ok:
			method, path = http.MethodGet, pattern // of a handler that knows its methods
		}
		// These say what is wrong, lead to the console, or are its own.
		if path == "/" || path == "/{$}" || path == "/channels/" || path == "/users/" || path == "/console/" || path == "/console/api/" {
			continue
		}
		routed[method+" "+path] = true
	}
	for _, route := range slices.Sorted(maps.Keys(routed)) {
		if !documented[route] {
			t.Errorf("%s is not in openapi.json", route)
		}
	}
	for _, route := range slices.Sorted(maps.Keys(documented)) {
		if !routed[route] {
			t.Errorf("openapi.json has %s, which is not served", route)
		}
	}
}
