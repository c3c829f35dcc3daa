package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/duplexgo/duplex/push/console"
)

// metered is a handler whose traffic the console may count.
type metered struct {
	http.Handler
	desk *console.Desk
}

// listenAdmin opens the address of --admin. Who reaches it is an administrator, so it
// has to be one that strangers do not reach.
func listenAdmin(ctx context.Context, addr string) (net.Listener, error) {
	at, err := parseAddress("--admin", addr)
	if err != nil {
		return nil, err
	}
	if ip := at.IP; !ip.IsLoopback() && !ip.IsPrivate() && !ip.IsLinkLocalUnicast() {
		return nil, wrongUse("--admin %s: everybody who reaches this address may do everything without a key: use a loopback or private address, as 127.0.0.1:8081 or 10.0.0.5:8081", addr)
	}
	return listenAs(ctx, "--admin", at)
}

// serveAdmin serves h on ln until the function that it returns is called.
func serveAdmin(ln net.Listener, h http.Handler, log *slog.Logger) (stop func()) {
	srv := newHTTPServer(h, log)
	go func() {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the address for administrators is not served any more", "error", fmt.Sprint(err))
		}
	}()
	return func() { srv.Close() }
}
