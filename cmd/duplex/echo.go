package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/duplexgo/duplex/websocket"
)

func newEcho() *cobra.Command {
	addr, limit, secure := "127.0.0.1:9001", size(16<<20), new(tlsSettings)
	cmd := &cobra.Command{
		Use:   "echo",
		Short: "Run a WebSocket server that sends every message back",
		Long: `Run a WebSocket server for trying clients.

Every path takes connections, from pages of any origin. Each message comes back
as one frame of the same type, however it was cut into frames. Compression
(permessage-deflate) is accepted with any parameters that a client offers. SIGINT or SIGTERM
closes the connections with code 1001 and ends it.`,
		Example: `  duplex echo
  duplex echo --listen 127.0.0.1:0 --max-message 64MiB
  duplex echo --tls-self-signed
  echo hello | duplex connect ws://127.0.0.1:9001/`,
		Args: positional(nil, false),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := secure.check(); err != nil {
				return err
			}
			at, err := parseListen(addr)
			if err != nil {
				return err
			}
			ln, err := listen(cmd.Context(), at)
			if err != nil {
				return err
			}
			log := newLog(cmd.ErrOrStderr())
			if ln, err = secure.wrap(ln, log); err != nil {
				return err
			}
			scheme := "ws"
			if secure.on() {
				scheme = "wss"
			}
			open := new(websocket.Registry)
			h := echoHandler(limit, open)
			h.Logger = log
			fmt.Fprintf(cmd.OutOrStdout(), "Echo on %s://%s/\n", scheme, reachable(ln))
			return serveUntil(cmd.Context(), ln, h, 0, open.Shutdown, log)
		},
	}
	cmd.Flags().StringVar(&addr, "listen", addr, "`HOST:PORT` to listen on; port 0 is any free one")
	secure.flags(cmd)
	cmd.Flags().Var(&limit, "max-message", "longest message that is taken; a longer one ends its connection with code 1009")
	return cmd
}

// echoHandler sends each message back on the connection that it came on.
func echoHandler(limit size, open *websocket.Registry) *websocket.Handler {
	return &websocket.Handler{
		AcceptOptions: websocket.AcceptOptions{
			Options: websocket.Options{
				MaxMessage: int64(limit),
				// Whatever a client offers is honoured, windows of 32 KiB with takeover too.
				Extensions: []websocket.Extension{&websocket.Deflate{SendBits: 15, ReceiveBits: 15}},
			},
			Origins:  []string{"*"},
			Registry: open,
		},
		// An error of Write is the end of the connection. There is nobody to tell.
		Message: func(c *websocket.Conn, t websocket.MessageType, p []byte) {
			_ = c.Write(context.Background(), t, p)
		},
	}
}
