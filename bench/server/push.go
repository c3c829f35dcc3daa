package server

import (
	"log/slog"
	"net"

	"github.com/duplexgo/duplex/push"
)

// servePush is this repository's push server with all its defaults: a history of
// 1,000 messages, and every limit.
func servePush(ln net.Listener) error {
	return serveHTTP(ln, &push.Server{Log: slog.New(slog.DiscardHandler)})
}
