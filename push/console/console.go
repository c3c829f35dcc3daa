// Package console is three pages for a push server. With the first one tries it in a
// browser: join channels, see their messages as they come, write some, and watch how the
// line goes and comes back. The second shows what the server does, and did in the last
// hour. The third receives one channel by polling, long polling, server-sent events and
// WebSocket at once, and shows what each costs.
//
//	srv := &push.Server{Console: console.Handler()} // the first page alone
//
//	desk := console.Attach(ctx, srv) // all of them
//	hs := &http.Server{Handler: desk.Count(srv)}
//	desk.Watch(hs)
//
// The pages use the client in package js and nothing from elsewhere.
package console

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/duplexgo/duplex/js"
)

//go:embed *.html *.css console.js desk.js look.js compare.js icon.svg
var files embed.FS

// policy allows the page what it needs: its own files, and connections to its own
// server. Whatever a message contains, nothing else is loaded or run.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the pages at /console, /console/look and /console/compare, and their
// files at /console/{file}. The push server must be beside it: /connect, /events, /poll
// and /channels; what the second and third show comes with [Attach].
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /console", file("index.html"))
	mux.Handle("GET /console/look", file("look.html"))
	mux.Handle("GET /console/compare", file("compare.html"))
	mux.Handle("GET /console/{$}", http.HandlerFunc(toPage))
	mux.Handle("GET /console/duplex.js", js.Handler())
	entries, _ := fs.ReadDir(files, ".") // of an embedded folder: cannot fail
	for _, e := range entries {
		if name := e.Name(); path.Ext(name) != ".html" {
			mux.Handle("GET /console/"+name, file(name))
		}
	}
	return mux
}

// file serves one file. Browsers ask for it each time, and get it only if it has
// changed.
func file(name string) http.Handler {
	content, _ := files.ReadFile(name)
	sum := sha256.Sum256(content)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		http.ServeContent(w, r, name, time.Time{}, strings.NewReader(string(content)))
	})
}

// toPage leads from /console/ to /console, wherever both are mounted.
func toPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Location", "../console") // RFC 9110, 10.2.2: may be relative
	w.WriteHeader(http.StatusFound)
}
