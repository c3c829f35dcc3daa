// Package js is the browser client as a file to be served. It stands here for Go
// programs; in a web page it is
//
//	import { connect } from "/duplex.js";
//
// README.md beside this file has its documentation, duplex.d.ts its types.
package js

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// The client as it is served: duplex.js without comments and with short names. A
// test says when it is not made of the present duplex.js.
//
//go:generate go tool -modfile=../tools/go.mod esbuild duplex.js --minify --target=es2022 --format=esm --mangle-props=_$ --outfile=duplex.min.js --allow-overwrite
//go:embed duplex.min.js
var script []byte

// Handler serves the client, under whatever path it is mounted; a push server has it
// at /duplex.js:
//
//	srv := &push.Server{Script: js.Handler()}
//
// Browsers ask for it each time, and get it only if it has changed. Pages of other
// origins may import it.
func Handler() http.Handler {
	sum := sha256.Sum256(script)
	tag := base64.RawURLEncoding.EncodeToString(sum[:12])
	packed := pack(script)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "the methods of this path are GET, HEAD", http.StatusMethodNotAllowed)
			return
		}
		h.Set("Content-Type", "text/javascript; charset=utf-8")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Cache-Control", "no-cache")
		h.Set("Vary", "Accept-Encoding")
		content := script
		if acceptsGzip(r) {
			h.Set("Content-Encoding", "gzip")
			h.Set("ETag", `"`+tag+`-gzip"`) // of these bytes. RFC 9110, 8.8.3.3
			content = packed
		} else {
			h.Set("ETag", `"`+tag+`"`)
		}
		http.ServeContent(w, r, "duplex.js", time.Time{}, bytes.NewReader(content))
	})
}

// acceptsGzip reports whether a client has said that it takes gzip, and not with the
// weight 0. RFC 9110, 12.5.3.
func acceptsGzip(r *http.Request) bool {
	for member := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		coding, weight, _ := strings.Cut(member, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			weight = strings.TrimRight(strings.TrimSpace(weight), "0")
			return weight != "q=" && weight != "q=0."
		}
	}
	return false
}

func pack(content []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // a level that there is
	w.Write(content)
	w.Close() // into memory: cannot fail
	return b.Bytes()
}
