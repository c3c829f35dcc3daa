package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/console"
)

// A serve is the settings of the command.
type serve struct {
	listen          string
	insecure        bool
	keys            keyRing
	maxMessage      size
	historyMessages int
	historyAge      time.Duration
	historyBytes    size
}

func newServe() *cobra.Command {
	s := &serve{
		listen:          "127.0.0.1:8080",
		maxMessage:      64 << 10,
		historyMessages: 1000,
		historyAge:      time.Hour,
		historyBytes:    256 << 20,
	}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the push server",
		Long: `Run the push server: what is posted to a channel goes at once to all who have
subscribed to it over WebSocket, and who lost the connection gets what was missed.

The paths are /connect for WebSockets, /channels/{channel} to publish with POST
and to read history with GET, and /console for a page to try it all. Messages
are kept in memory. SIGINT or SIGTERM closes the connections with code 1001 and
ends it.

Keys say who may come in. A holder of an API key may do everything: backends, and
whoever looks after the server. A token (JWT) says which channels its user may
subscribe to and publish to; it is verified with the secret or the public key that
--token-key-file holds, or with those at --jwks-url. See also 'duplex token'. Instead
of the flags there can be the environment variables DUPLEX_API_KEY_FILE,
DUPLEX_TOKEN_KEY_FILE, DUPLEX_JWKS_URL, DUPLEX_AUDIENCE and DUPLEX_ISSUER, or
the keys themselves in DUPLEX_API_KEY and DUPLEX_TOKEN_KEY. Files that change are
read again.

Without keys everybody who reaches the server may do everything. So it listens only
on loopback addresses, and answers only requests for an IP address or localhost,
since any other name could be a foreign page's way to it. --insecure takes both
limits away: for a network that you trust, or behind a proxy that knows who may.`,
		Example: `  duplex serve
  duplex serve --listen '[::1]:9000' --max-message 1MiB
  duplex serve --listen 0.0.0.0:8080 --api-key-file keys --token-key-file secret
  duplex serve --listen 0.0.0.0:8080 --insecure
  curl -d hello http://127.0.0.1:8080/channels/news`,
		Args: positional(nil, false),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	cmd.Flags().StringVar(&s.listen, "listen", s.listen, "`HOST:PORT` to listen on; port 0 is any free one")
	cmd.Flags().BoolVar(&s.insecure, "insecure", false, "let everybody in, on any address and under any host name")
	s.keys.flags(cmd)
	cmd.Flags().Var(&s.maxMessage, "max-message", "longest data of a message")
	cmd.Flags().IntVar(&s.historyMessages, "history-messages", s.historyMessages, "keep the last `N` messages of a channel")
	cmd.Flags().DurationVar(&s.historyAge, "history-age", s.historyAge, "keep messages for this `TIME`")
	cmd.Flags().Var(&s.historyBytes, "history-bytes", "memory for the messages of all channels; the oldest give way")
	return cmd
}

func (s *serve) run(cmd *cobra.Command) error {
	if s.historyMessages < 1 {
		return wrongUse("--history-messages must be at least 1")
	}
	if s.historyAge <= 0 {
		return wrongUse("--history-age must be more than zero, as in 1h")
	}
	at, err := parseListen(s.listen)
	if err != nil {
		return err
	}
	log := newLog(cmd.ErrOrStderr())
	authorize, err := s.keys.authorizer(cmd, log)
	switch {
	case err != nil:
		return err
	case authorize != nil && s.insecure:
		return wrongUse("--insecure lets everybody in, and keys are set, in flags or the environment: leave one away")
	case authorize == nil && !at.IP.IsLoopback() && !s.insecure:
		return wrongUse("--listen %s would let everybody who reaches it publish and subscribe: set keys with --api-key-file, --token-key-file or --jwks-url, use a loopback address as 127.0.0.1, or add --insecure if that is what you want", s.listen)
	}
	ln, err := listen(cmd.Context(), at)
	if err != nil {
		return err
	}
	if authorize == nil && !at.IP.IsLoopback() {
		log.Warn("everybody who reaches this address may publish and subscribe", "listen", ln.Addr().String())
	}
	srv := &push.Server{
		MaxMessage:      int(min(int64(s.maxMessage), math.MaxInt)),
		HistoryMessages: s.historyMessages,
		HistoryAge:      s.historyAge,
		HistoryBytes:    int64(s.historyBytes),
		LiteralHosts:    authorize == nil && !s.insecure,
		Authorize:       authorize,
		Console:         console.Handler(),
		Log:             log,
	}
	out := cmd.OutOrStdout()
	url := "http://" + reachable(ln)
	fmt.Fprintf(out, "Console   %s\n", paint(out, bold, url+"/console"))
	bearer := ""
	if authorize != nil {
		bearer = fmt.Sprintf(`-H "Authorization: Bearer $%s" `, envToken)
	}
	fmt.Fprintf(out, "Publish   curl %s-d hello %s\n", bearer, shellWord(url+"/channels/news"))
	fmt.Fprintf(out, "Listen    duplex sub %s news\n", shellWord(url))
	return serveUntil(cmd.Context(), ln, srv, srv.Shutdown, log)
}

// shellWord quotes a URL that a shell would take for a pattern: one with an IPv6
// address.
func shellWord(url string) string {
	if strings.ContainsAny(url, "[]") {
		return "'" + url + "'"
	}
	return url
}
