// Package server has the contestants: one small server for each library, all with
// the same paths, each written the way the library's own documents recommend.
//
//	/echo       every message comes back
//	/sleep      the same, after 10 ms in the callback or the connection's loop
//	/block      a message of more than 32 bytes comes back after a second, a
//	            shorter one at once
//	/broadcast  every message goes to all connections of the path
package server

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"time"
)

// A Contestant is a server that is measured.
type Contestant struct {
	Name string
	// Module is the path of the library's module, "" where there is none; the
	// version is that of go.mod.
	Module string
	// Floor is true of a server that knows no frames: it sends back the bytes that
	// it got, header, masking key and all.
	Floor bool
	// Poller is true of a server whose connections have no goroutine each.
	Poller bool
	// Inline is true of a server whose callbacks must not wait.
	Inline bool
	// Serve accepts connections until the listener fails. It gets a TLS listener
	// where TLS is measured, which a Floor cannot serve.
	Serve func(net.Listener) error
	// ServeTLS is for a library that brings its own TLS: it gets the plain listener.
	ServeTLS func(net.Listener, tls.Certificate) error
}

// All are the contestants, in the order of the tables.
var All = []Contestant{
	{Name: "raw", Floor: true, Poller: true, Serve: serveRaw},
	{Name: "duplex", Module: "github.com/duplexgo/duplex/websocket", Poller: true, Serve: serveDuplex, ServeTLS: duplexTLS(serveDuplex)},
	{Name: "duplex-conn", Module: "github.com/duplexgo/duplex/websocket", Serve: serveDuplexConn, ServeTLS: duplexTLS(serveDuplexConn)},
	{Name: "gobwas", Module: "github.com/gobwas/ws", Serve: serveGobwas},
	{Name: "gorilla", Module: "github.com/gorilla/websocket", Serve: serveGorilla},
	{Name: "gws", Module: "github.com/lxzan/gws", Serve: serveGws},
	{Name: "coder", Module: "github.com/coder/websocket", Serve: serveCoder},
	{Name: "nbio", Module: "github.com/lesismal/nbio", Poller: true, Serve: serveNbio, ServeTLS: serveNbioTLS},
	{Name: "nbio-inline", Module: "github.com/lesismal/nbio", Poller: true, Inline: true, Serve: serveNbioInline, ServeTLS: serveNbioInlineTLS},
}

// Push are the contestants that are push servers: clients subscribe to channels by
// WebSocket, each in its own protocol, which package load speaks by the contestant's
// name; POST /channels/{channel} publishes its body to all subscribers. They do not
// speak TLS here.
var Push = []Contestant{
	{Name: "floor", Floor: true, Poller: true, Serve: serveFloor},
	{Name: "push", Module: "github.com/duplexgo/duplex", Poller: true, Serve: servePush},
	{Name: "centrifuge", Module: "github.com/centrifugal/centrifuge", Serve: serveCentrifuge},
}

// Find returns the contestant of a name.
func Find(name string) (Contestant, error) {
	all := slices.Concat(All, Push)
	i := slices.IndexFunc(all, func(c Contestant) bool { return c.Name == name })
	if i < 0 {
		return Contestant{}, fmt.Errorf("there is no contestant %q", name)
	}
	return all[i], nil
}

// What the slow paths do before they echo a message of n bytes.
var echoPaths = map[string]func(n int){
	"/echo":  func(int) {},
	"/sleep": func(int) { time.Sleep(10 * time.Millisecond) },
	"/block": func(n int) {
		if n > 32 {
			time.Sleep(time.Second)
		}
	},
}

const broadcastPath = "/broadcast"

// serveHTTP serves the libraries that stand behind net/http, with the settings
// that a server on the Internet needs.
func serveHTTP(ln net.Listener, h http.Handler) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // of clients that cut the connection
	}
	return srv.Serve(ln)
}
