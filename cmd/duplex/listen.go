package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/duplexgo/duplex/websocket"
)

// What a client has for its requests. A slow or endless header ends here, before it
// costs more than this; so does a body that does not come, which net/http waits for
// even where nobody wants it, and a connection that is kept for a next request.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

// shutdownTimeout is how long open connections have to end in order.
const shutdownTimeout = 10 * time.Second

// parseListen reads the value of --listen.
func parseListen(addr string) (*net.TCPAddr, error) { return parseAddress("--listen", addr) }

// parseAddress reads the value of a flag that says where to listen.
func parseAddress(flag, addr string) (*net.TCPAddr, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, wrongUse("%s %q is not HOST:PORT, as in 127.0.0.1:8080 or [::1]:8080", flag, addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return nil, wrongUse("%s %q: the port is a number from 0 (any free port) to 65535", flag, addr)
	} else if host == "" {
		return &net.TCPAddr{Port: int(n)}, nil
	}
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s %s: no address is known for %s: use an IP address of this machine", flag, addr, host)
	}
	return tcp, nil
}

// listen opens the port of a server.
func listen(ctx context.Context, addr *net.TCPAddr) (net.Listener, error) {
	return listenAs(ctx, "--listen", addr)
}

// listenAs is listen for the address that a flag has.
func listenAs(ctx context.Context, flag string, addr *net.TCPAddr) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr.String())
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("cannot listen on %s: the port is taken: stop the program that has it, or choose another port with %s (0: any free one)", addr, flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("cannot listen on %s: it is not an address of this machine: choose one that is with %s", addr, flag)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("cannot listen on %s: the system does not allow it: choose a port above 1023 with %s", addr, flag)
	}
	return nil, fmt.Errorf("cannot listen on %s: %w", addr, err)
}

// reachable returns HOST:PORT at which a program on this machine reaches ln.
func reachable(ln net.Listener) string {
	addr := ln.Addr().(*net.TCPAddr)
	if addr.IP.IsUnspecified() {
		return net.JoinHostPort("localhost", strconv.Itoa(addr.Port))
	}
	return addr.String()
}

// serveUntil serves h on ln until ctx is done. Then it calls shutdown, which ends
// the WebSocket connections (an http.Server does not know them), and waits for
// the requests in progress. What has not ended after a while is cut; shutdown may
// take its delay beside.
func serveUntil(ctx context.Context, ln net.Listener, h http.Handler, delay time.Duration, shutdown func(context.Context) error, log *slog.Logger) error {
	s := serveOn(ln, h, log)
	notify("READY=1")

	select {
	case <-s.ended:
		return fmt.Errorf("serving on %s: %w", ln.Addr(), s.err)
	case <-ctx.Done():
	}
	notify("STOPPING=1")
	log.Info("shutting down; a second signal ends it at once")
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), delay+shutdownTimeout)
	defer cancel()
	if err := errors.Join(shutdown(grace), s.stop(grace)); err != nil {
		log.Warn("connections were cut that did not end in time", "error", err)
	}
	return nil
}

// A service is a server at work on its listener.
type service struct {
	*http.Server
	ln       net.Listener
	arrivals *arrivals
	ended    chan struct{}
	err      error // why it has ended
}

func serveOn(ln net.Listener, h http.Handler, log *slog.Logger) *service {
	srv := newHTTPServer(h, log)
	s := &service{Server: srv, ln: ln, arrivals: watchArrivals(srv), ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		s.err = srv.Serve(ln)
	}()
	return s
}

// stop ends the service in order: who has connected is answered. What has not ended with
// ctx is cut, and is an error.
func (s *service) stop(ctx context.Context) error {
	s.ln.Close()
	<-s.ended // what it has accepted by now is known
	s.arrivals.wait(ctx)
	err := s.Shutdown(ctx)
	if err != nil {
		s.Close()
	}
	return err
}

// newHTTPServer returns a server with limits on what clients may take.
func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	if c, ok := h.(metered); ok {
		srv.Handler = c.desk.Count(c.Handler)
		c.desk.Watch(srv)
	}
	websocket.ReportHandshakeTimeouts(srv, func(remote net.Addr) {
		log.Warn("opening handshake timed out", "remote", remote.String())
	})
	return srv
}

// newLog returns the log of a server: one line an event.
func newLog(stderr io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(stderr, nil))
}
