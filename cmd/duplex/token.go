package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/duplexgo/duplex/push/token"
)

// A mint is one run of the command token.
type mint struct {
	keyRing
	claims token.Claims
	ttl    time.Duration
}

func newToken() *cobra.Command {
	m := &mint{ttl: time.Hour}
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make a token for a push server, to try it",
		Long: `Make a token and print it: a JWT that says who somebody is and which channels they
may use, signed (HS256) with the secret that 'duplex serve' has as well. In earnest,
the backend that knows the users makes them.

The secret is that of --token-key-file or of the environment variable
DUPLEX_TOKEN_KEY, at least 32 bytes. A channel pattern is a channel's name, in which
* stands for any characters, {user} for the user, and \ takes the next character
literally. Without patterns a token allows nothing.

'duplex pub' and 'duplex sub' present the token in the environment variable
DUPLEX_TOKEN.`,
		Example: `  openssl rand -hex 32 > secret
  duplex serve --token-key-file secret
  duplex token --token-key-file secret --user 42 --subscribe news --subscribe 'user:{user}'
  export DUPLEX_TOKEN=$(duplex token --token-key-file secret --publish '*' --ttl 5m)`,
		Args: positional(nil, false),
		RunE: func(cmd *cobra.Command, _ []string) error { return m.run(cmd) },
	}
	m.tokenKeyFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&m.claims.User, "user", "", "`NAME` of the user (sub)")
	f.StringArrayVar(&m.claims.Subscribe, "subscribe", nil, "`PATTERN` of channels to subscribe to; may be repeated")
	f.StringArrayVar(&m.claims.Publish, "publish", nil, "`PATTERN` of channels to publish to; may be repeated")
	f.StringArrayVar(&m.claims.Presence, "presence", nil, "`PATTERN` of channels whose presence may be seen; may be repeated")
	f.DurationVar(&m.ttl, "ttl", m.ttl, "`TIME` after which it ends")
	f.StringVar(&m.claims.Audience, "audience", "", "`NAME` of the server that it is for (aud)")
	f.StringVar(&m.claims.Issuer, "issuer", "", "`NAME` of who makes it (iss)")
	return cmd
}

func (m *mint) run(cmd *cobra.Command) error {
	if m.ttl < time.Second {
		return wrongUse("--ttl must be at least a second, as in 1h")
	}
	if err := m.given(cmd); err != nil {
		return err
	}
	keys, err := m.secretKeys()
	if err != nil {
		return err
	}
	m.claims.Expires = time.Now().Add(m.ttl)
	text, err := m.claims.Sign(keys)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
	return err
}
