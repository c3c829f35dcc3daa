// Package console is a page with which one tries a push server in a browser: join
// channels, see their messages as they come, write some, and watch how the line
// goes and comes back.
//
//	srv := &push.Server{Console: console.Handler()}
//
// The page is a user of the client in package js and uses nothing from elsewhere.
package console

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/duplexgo/duplex/js"
)

//go:embed index.html console.css console.js icon.svg
var files embed.FS

// policy allows the page what it needs: its own files, and connections to its own
// server. Whatever a message contains, nothing else is loaded or run.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page at /console and its files at /console/{file}. The push
// server must be beside it: /connect, /events, /poll and /channels.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /console", file("index.html"))
	mux.Handle("GET /console/{$}", http.HandlerFunc(toPage))
	mux.Handle("GET /console/duplex.js", js.Handler())
	entries, _ := fs.ReadDir(files, ".") // of an embedded folder: cannot fail
	for _, e := range entries {
		if name := e.Name(); name != "index.html" {
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
