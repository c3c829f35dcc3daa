package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
)

// How long sub waits before it dials again: a random part of a time that doubles
// from the shortest to the longest, so that many clients do not come back at
// once. A line that has been up for the longest begins anew.
const (
	shortestWait = time.Second
	longestWait  = 30 * time.Second
)

// A sub is one run of the command: its settings, and where it is in its
// channels. A line comes and goes; the positions stay.
type sub struct {
	client
	channels []string
	since    string
	history  int
	limit    size

	// Where the next line goes on. Commands of one text take effect together, so
	// the position of a message holds for all channels; the others are of one.
	position  string
	positions map[string]string
	out       io.Writer
	err       io.Writer
}

func newSub() *cobra.Command {
	s := &sub{limit: 16 << 20, positions: make(map[string]string)}
	cmd := &cobra.Command{
		Use:   "sub URL CHANNEL...",
		Short: "Subscribe to channels of a push server and print their messages",
		Long: `Print each message of some channels as a line of JSON, as it comes.

URL is the server, as in http://127.0.0.1:8080, or its connect endpoint, as in
ws://127.0.0.1:8080/connect. When the line breaks, sub connects again and goes on
after the last message that it printed. Where messages were lost for good in
between, a line on standard error says so. It ends with ctrl-C, or when
the server says that coming back is of no use. A server that has keys wants a token:
put it into the environment variable DUPLEX_TOKEN.`,
		Example: `  duplex sub http://127.0.0.1:8080 news
  duplex sub http://127.0.0.1:8080 news sport --history 10
  duplex sub http://127.0.0.1:8080 news | jq .data`,
		Args: positional([]string{"URL", "CHANNEL"}, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.out, s.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
			server, err := serverURL(args[0])
			if err != nil {
				return err
			}
			if err := s.choose(args[1:]); err != nil {
				return err
			}
			return s.run(cmd.Context(), server)
		},
	}
	s.flags(cmd)
	cmd.Flags().IntVar(&s.history, "history", 0, "begin with the last `N` messages of each channel")
	cmd.Flags().StringVar(&s.since, "since", "", "begin after the message with this `POSITION`")
	cmd.Flags().Var(&s.limit, "max-message", "longest WebSocket message that is taken; it may hold several messages of channels")
	return cmd
}

// choose takes the channels, each once.
func (s *sub) choose(channels []string) error {
	for _, name := range channels {
		if name == "" {
			return wrongUse("CHANNEL is empty")
		}
		if !slices.Contains(s.channels, name) {
			s.channels = append(s.channels, name)
		}
	}
	s.position = s.since
	if s.history < 0 {
		return wrongUse("--history is a number of messages, 0 or more")
	}
	if s.history > 0 && s.since != "" {
		return wrongUse("--history and --since both say where to begin: use one of them")
	}
	return nil
}

// A finalError is an end of the line after which it is no use to come back.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// run keeps a line up until ctx is done. A server that cannot be reached at the
// very first is an error: the URL may be wrong.
func (s *sub) run(ctx context.Context, server *url.URL) error {
	wait, first := shortestWait, true
	for {
		began := time.Now()
		conn, err := s.dial(ctx, server)
		if err == nil {
			s.state("connected to " + server.Redacted())
			first = false
			err = s.follow(ctx, conn)
		}
		var final finalError
		switch {
		case ctx.Err() != nil:
			return nil
		case first, errors.As(err, &final):
			return err
		}
		if time.Since(began) > longestWait {
			wait = shortestWait
		}
		pause := rand.N(wait)
		fmt.Fprintf(s.err, "%s\n", visible(fmt.Sprintf("no connection: %v; trying again in %.1fs", err, pause.Seconds())))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		wait = min(2*wait, longestWait)
	}
}

// state tells a person at a terminal how the line is.
func (s *sub) state(text string) {
	if isTerminal(s.err) {
		fmt.Fprintln(s.err, paint(s.err, dim, visible(text)))
	}
}

// dial opens a line.
func (s *sub) dial(ctx context.Context, server *url.URL) (*websocket.Conn, error) {
	header, host, err := s.pushHeader()
	if err != nil {
		return nil, err
	}
	u := *server.JoinPath("connect")
	u.Scheme = map[string]string{"http": "ws", "https": "wss"}[u.Scheme]
	conn, resp, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{
		Options:      websocket.Options{MaxMessage: int64(s.limit)},
		Subprotocols: []string{protocol.Subprotocol},
		Header:       header,
		Host:         host,
		TLSConfig:    s.tls(),
	})
	switch {
	case err != nil:
		err = unreached(u.Redacted(), resp, err)
		if resp != nil && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
			err = finalError{err}
		}
		return nil, err
	case conn.Subprotocol() != protocol.Subprotocol:
		conn.Close(websocket.CloseProtocolError, "no subprotocol "+protocol.Subprotocol)
		return nil, finalError{fmt.Errorf("%s: the server does not speak %s, so this is no push server: check the URL", u.Redacted(), protocol.Subprotocol)}
	}
	return conn, nil
}

// follow subscribes and prints what comes, until the line ends or ctx is done.
func (s *sub) follow(ctx context.Context, conn *websocket.Conn) error {
	defer conn.CloseNow()
	stop := context.AfterFunc(ctx, func() { conn.Close(websocket.CloseNormal, "") })
	defer stop()
	if err := conn.Write(ctx, websocket.Text, s.subscriptions()); err != nil {
		return s.ended(err)
	}
	for {
		_, text, err := conn.Read(context.Background())
		if err != nil {
			return s.ended(err)
		}
		if err := s.take(text); err != nil {
			conn.Close(websocket.CloseNormal, "")
			return err
		}
	}
}

// subscriptions returns the commands that begin a line. The id of each is the
// place of its channel, counted from 1.
func (s *sub) subscriptions() []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // else many long names of < do not fit into a text
	for i, name := range s.channels {
		c := protocol.Command{ID: int64(i + 1), Command: protocol.Subscribe, Channel: name}
		c.Since = cmp.Or(s.positions[name], s.position)
		if c.Since == "" {
			c.History = s.history
		}
		enc.Encode(c) // a struct of texts and numbers always can be
	}
	return b.Bytes()
}

// take obeys one text from the server, which holds several items.
func (s *sub) take(text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	for {
		// Messages are printed as they are, with fields that are not known here.
		var raw json.RawMessage
		var item protocol.Item
		err := dec.Decode(&raw)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = json.Unmarshal(raw, &item)
		}
		if err != nil {
			return finalError{fmt.Errorf("the server does not speak %s as it says: %w", protocol.Subprotocol, err)}
		}
		if err := s.takeItem(&item, raw); err != nil {
			return err
		}
	}
}

// takeItem prints a message or a reset and remembers where its channel is now.
func (s *sub) takeItem(item *protocol.Item, raw []byte) error {
	switch {
	case item.Error != nil:
		err := fmt.Errorf("the server refused: %w", item.Error)
		if n := item.ID; n >= 1 && n <= int64(len(s.channels)) {
			err = fmt.Errorf("the server refused the subscription to %q: %w", s.channels[n-1], item.Error)
		}
		if item.Error.Code.Temporary() {
			return err
		}
		return finalError{err}
	case item.Result != nil:
		if n := item.ID; n >= 1 && n <= int64(len(s.channels)) {
			s.positions[s.channels[n-1]] = item.Result.Position
		}
	case item.Reset != nil:
		s.positions[item.Reset.Channel] = item.Reset.Position
		fmt.Fprintf(s.err, "%s\n", visible(fmt.Sprintf("reset: messages of %q may be lost: %s", item.Reset.Channel, item.Reset.Reason)))
	case item.IsMessage():
		if _, err := io.WriteString(s.out, visibleJSON(compact(raw))+"\n"); err != nil {
			return finalError{&outputError{err}}
		}
		s.position = item.Message.Position
		clear(s.positions)
	}
	return nil
}

// compact returns a JSON value on one line.
func compact(raw []byte) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

// ended says why a line has ended, and whether it is of use to come back.
func (s *sub) ended(err error) error {
	code := websocket.CloseAbnormal
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		code = closed.Code
	}
	err = lineEnd(err, s.limit)
	if !protocol.Reconnect(int(code)) {
		return finalError{err}
	}
	return err
}
