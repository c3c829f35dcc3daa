package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/duplexgo/duplex/js"
	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/console"
	"github.com/duplexgo/duplex/push/metrics"
)

// A serve is the settings of the command.
type serve struct {
	listen        string
	admin         string
	insecure      bool
	keys          keyRing
	bounds        bounds
	origins       []string
	shutdownDelay time.Duration
	tls           tlsSettings
	redirect      string
	visitors      visitors
	traces        traces
	logs          logSettings
	config        config
}

func newServe() *cobra.Command {
	s := &serve{listen: "127.0.0.1:8080"}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the push server",
		Long: `Run the push server: what is posted to a channel goes at once to all who have
subscribed to it over WebSocket, and who lost the connection gets what was missed.

The paths are /connect for WebSockets, /events for server-sent events, /poll for long
polling, /channels/{channel} to publish with POST and to read history with GET, and
/console for a page to try it all; /healthz, /readyz and /metrics are for those who
run it. Messages are kept in memory. SIGINT or SIGTERM closes the connections with
code 1001 and ends it.

Keys say who may come in. A holder of an API key may do everything: backends, and
whoever looks after the server. A token (JWT) says which channels its user may
subscribe to and publish to; it is verified with the secret or the public key that
--token-key-file holds, or with those at --jwks-url. See also 'duplex token'. The keys
themselves may be in the environment: DUPLEX_API_KEY and DUPLEX_TOKEN_KEY.

Every flag is a setting: --max-lines may also be given as the environment variable
DUPLEX_MAX_LINES, or as the line "max-lines: 1000" of the file --config. Flags count
more than the environment, and that more than the file; --print-config shows what
counts. Files of keys and certificates are read again when they change, and on SIGHUP.

Without keys everybody who reaches the server may do everything. So it listens only
on loopback addresses, and answers only requests for an IP address or localhost,
since any other name could be a foreign page's way to it. --insecure takes both
limits away: for a network that you trust, or behind a proxy that knows who may.

With keys, what the console shows of the server, /metrics and the list of channels
need an API key. At the address of --admin they need none, nor does anything else.`,
		Example: `  duplex serve
  duplex serve --listen '[::1]:9000' --max-message 1MiB
  duplex serve --listen 0.0.0.0:8080 --api-key-file keys --token-key-file secret
  duplex serve --listen 0.0.0.0:8080 --api-key-file keys --admin 127.0.0.1:8081
  duplex serve --listen 0.0.0.0:8080 --insecure
  curl -d hello http://127.0.0.1:8080/channels/news`,
		Args: positional(nil, false),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	cmd.Flags().StringVar(&s.listen, "listen", s.listen, "`HOST:PORT` to listen on; port 0 is any free one")
	cmd.Flags().StringVar(&s.admin, "admin", "", "`HOST:PORT`, loopback or private, at which everybody may do everything without a key")
	cmd.Flags().BoolVar(&s.insecure, "insecure", false, "let everybody in, on any address and under any host name")
	s.keys.flags(cmd)
	cmd.Flags().StringSliceVar(&s.origins, "origin", nil, "`ORIGIN` whose web pages may use the server, as in https://app.example.com or *.example.com; may be repeated")
	s.bounds.flags(cmd)
	s.visitors.flags(cmd)
	cmd.Flags().DurationVar(&s.shutdownDelay, "shutdown-delay", 0, "`TIME` between /readyz failing and the end of the connections")
	s.tls.flags(cmd)
	s.tls.acme.flags(cmd)
	cmd.Flags().StringVar(&s.redirect, "redirect-from", "", "listen at `HOST:PORT`, too, and send from there to https")
	s.traces.flags(cmd)
	s.logs.flags(cmd)
	s.config.flags(cmd)
	return cmd
}

func (s *serve) run(cmd *cobra.Command) error {
	if err := s.config.load(cmd); err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	if s.config.print {
		s.config.write(cmd)
		return nil
	}
	sockets, err := activated()
	if err != nil {
		return err
	}
	defer sockets.close()
	at, err := s.address(cmd, sockets)
	if err != nil {
		return err
	}
	ln := sockets.listen
	log := s.logs.open(cmd.ErrOrStderr())
	s.config.warn(cmd.Flags(), log)
	authorize, err := s.keys.authorizer(cmd, log)
	switch {
	case err != nil:
		return err
	case authorize != nil && s.insecure:
		return wrongUse("--insecure lets everybody in, and keys are set, in flags or the environment: leave one away")
	case authorize == nil && !at.IP.IsLoopback() && !s.insecure && ln != nil:
		return wrongUse("the socket %s of the service manager would let everybody who reaches it publish and subscribe: set keys, as by DUPLEX_API_KEY_FILE, or add --insecure if that is what you want", at)
	case authorize == nil && !at.IP.IsLoopback() && !s.insecure:
		return wrongUse("--listen %s would let everybody who reaches it publish and subscribe: set keys with --api-key-file, --token-key-file or --jwks-url, use a loopback address as 127.0.0.1, or add --insecure if that is what you want", s.listen)
	}
	if ln == nil {
		if ln, err = listen(cmd.Context(), at); err != nil {
			return err
		}
	}
	if ln, err = s.tls.wrap(ln, log); err != nil {
		return err
	}
	stop, err := s.redirectHTTP(cmd, sockets.redirect, ln.Addr(), log)
	if err != nil {
		ln.Close()
		return err
	}
	defer stop(cmd.Context())
	var admin net.Listener
	if s.admin != "" {
		if admin, err = listenAdmin(cmd.Context(), s.admin); err != nil {
			ln.Close()
			return err
		}
	}
	if authorize == nil && !at.IP.IsLoopback() {
		log.Warn("everybody who reaches this address may publish and subscribe", "listen", ln.Addr().String())
	}
	srv := &push.Server{
		LiteralHosts:  authorize == nil && !s.insecure,
		Authorize:     authorize,
		Origins:       s.origins,
		ShutdownDelay: s.shutdownDelay,
		Script:        js.Handler(),
		Log:           log,
	}
	s.bounds.apply(srv)
	s.visitors.apply(srv, log)
	metrics.Attach(srv)
	defer s.traces.attach(cmd.Context(), srv, log)()
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	desk := console.Attach(ctx, srv)
	out := cmd.OutOrStdout()
	url := "http://" + reachable(ln)
	if s.tls.on() {
		url = "https://" + reachable(ln)
	}
	fmt.Fprintf(out, "Console   %s\n", paint(out, bold, url+"/console"))
	if admin != nil {
		defer serveAdmin(admin, metered{srv.Admin(), desk}, log)()
		fmt.Fprintf(out, "Admin     %s\n", paint(out, bold, "http://"+reachable(admin)+"/console/look"))
	}
	bearer := ""
	if authorize != nil {
		bearer = fmt.Sprintf(`-H "Authorization: Bearer $%s" `, envToken)
	}
	fmt.Fprintf(out, "Publish   curl %s-d hello %s\n", bearer, shellWord(url+"/channels/news"))
	fmt.Fprintf(out, "Listen    duplex sub %s news\n", shellWord(url))
	defer append(s.keys.reloads, s.tls.reloads...).onHangup(log)()
	shutdown := func(ctx context.Context) error { return errors.Join(srv.Shutdown(ctx), stop(ctx)) }
	return serveUntil(cmd.Context(), ln, metered{srv, desk}, s.shutdownDelay, shutdown, log)
}

// address returns where to listen, or where the service manager does.
func (s *serve) address(cmd *cobra.Command, sockets *passedSockets) (*net.TCPAddr, error) {
	switch {
	case sockets.listen != nil && cmd.Flags().Changed("listen"):
		return nil, wrongUse("--listen %s is set, and the service manager passes a socket: leave the setting away, or start without the socket's unit", s.listen)
	case sockets.redirect != nil && s.redirect != "":
		return nil, wrongUse("--redirect-from %s is set, and the service manager passes a socket for it: leave the setting away, or start without the socket's unit", s.redirect)
	case sockets.redirect != nil && !s.tls.on():
		return nil, wrongUse("the service manager passes a socket to send from to https, which this server does not speak: add --acme-host, or --tls-cert and --tls-key, or disable the socket's unit")
	case sockets.listen != nil:
		return sockets.listen.Addr().(*net.TCPAddr), nil
	}
	return parseListen(s.listen)
}

// redirectHTTP sends clients from HTTP to HTTPS, if that is wanted: those of the service
// manager's socket if there is one.
func (s *serve) redirectHTTP(cmd *cobra.Command, ln net.Listener, https net.Addr, log *slog.Logger) (stop func(context.Context) error, err error) {
	switch {
	case ln != nil:
	case s.redirect == "":
		return func(context.Context) error { return nil }, nil
	default:
		at, err := parseAddress("--redirect-from", s.redirect)
		if err != nil {
			return nil, err
		}
		if ln, err = listenAs(cmd.Context(), "--redirect-from", at); err != nil {
			return nil, err
		}
	}
	log.Info("sending from HTTP to HTTPS", "listen", ln.Addr().String())
	return s.tls.acme.redirect(ln, https, log), nil
}

// check returns what is wrong with a flag by itself.
func (s *serve) check() error {
	if err := push.CheckOrigins(s.origins); err != nil {
		return wrongUse("--origin %v", err)
	}
	if s.shutdownDelay < 0 {
		return wrongUse("--shutdown-delay must not be less than zero")
	}
	if err := s.traces.check(); err != nil {
		return err
	}
	if err := s.logs.check(); err != nil {
		return err
	}
	if err := s.tls.check(); err != nil {
		return err
	}
	if err := s.tls.acme.check(); err != nil {
		return err
	}
	if s.redirect != "" && !s.tls.on() {
		return wrongUse("--redirect-from sends to https, which this server does not speak: add --acme-host, or --tls-cert and --tls-key")
	}
	if err := s.visitors.check(); err != nil {
		return err
	}
	return s.bounds.check()
}

// shellWord quotes a URL that a shell would take for a pattern: one with an IPv6
// address.
func shellWord(url string) string {
	if strings.ContainsAny(url, "[]") {
		return "'" + url + "'"
	}
	return url
}
