package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/duplexgo/duplex/websocket"
)

// A connect is one run of the command: its settings and its connection.
type connect struct {
	client
	subprotocols []string
	binary       bool
	compress     bool
	limit        size
	closeTimeout time.Duration

	conn           *websocket.Conn
	stdout, stderr io.Writer
}

func newConnect() *cobra.Command {
	c := &connect{limit: 16 << 20, closeTimeout: 5 * time.Second}
	cmd := &cobra.Command{
		Use:   "connect URL",
		Short: "Talk to a WebSocket server: lines of input are messages, messages are lines of output",
		Long: `Open a WebSocket. Each line of standard input is sent as a text message, each
message that comes is printed as a line.

Control characters of a message are printed as escapes, as in \n and \x1b, so one
message is one line and a server cannot attack the terminal. A binary message is
printed as [binary, 3 bytes] and its bytes in hexadecimal.

At the end of the input the connection is closed with code 1000, and what still
comes before the server's answer is printed. The exit code is 1 if the server
closes with another code than 1000.`,
		Example: `  duplex connect ws://127.0.0.1:9001/
  echo hello | duplex connect ws://127.0.0.1:9001/
  duplex connect wss://example.com/feed -H 'Authorization: Bearer 123' --subprotocol chat.v2
  duplex connect wss://127.0.0.1:8443/ --insecure     # a certificate of your own making`,
		Args: positional([]string{"URL"}, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.stdout, c.stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return c.run(cmd.Context(), args[0], cmd.InOrStdin())
		},
	}
	c.flags(cmd)
	cmd.Flags().StringArrayVar(&c.subprotocols, "subprotocol", nil, "ask for the subprotocol `NAME`; may be repeated, the best first")
	cmd.Flags().BoolVar(&c.binary, "binary", false, "send lines as binary messages; they need not be UTF-8")
	cmd.Flags().BoolVar(&c.compress, "compress", false, "offer permessage-deflate: compress messages of 128 bytes and more")
	cmd.Flags().Var(&c.limit, "max-message", "longest message that is sent or taken")
	cmd.Flags().DurationVar(&c.closeTimeout, "close-timeout", c.closeTimeout, "wait at most this `TIME` for the server's answer to the close")
	return cmd
}

// run opens the connection, carries messages both ways and closes it.
func (c *connect) run(ctx context.Context, address string, stdin io.Reader) error {
	u, err := socketURL(address)
	if err != nil {
		return err
	}
	if err := c.dial(ctx, u); err != nil {
		return err
	}
	defer c.conn.CloseNow()

	received := make(chan error, 1)
	go func() { received <- c.receive() }()
	input := make(chan inputLine)
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go c.read(reading, stdin, input)

	sendErr, ended := c.send(ctx, input, received)
	if ended == nil {
		// receive goes on printing until the peer's close.
		c.conn.CloseWrite(websocket.CloseNormal, "")
		ended = <-received
	}
	switch err := c.verdict(ended); {
	case err == nil:
		return sendErr
	case sendErr == nil:
		return err
	default:
		return fmt.Errorf("%w; %w", err, sendErr)
	}
}

// dial opens the connection.
func (c *connect) dial(ctx context.Context, u *url.URL) error {
	header, host, err := c.header()
	if err != nil {
		return err
	}
	if err := checkSubprotocols(c.subprotocols); err != nil {
		return err
	}
	if c.closeTimeout <= 0 {
		return wrongUse("--close-timeout must be more than zero, as in 5s")
	}
	options := websocket.Options{MaxMessage: int64(c.limit), CloseTimeout: c.closeTimeout}
	if c.compress {
		options.Extensions = []websocket.Extension{&websocket.Deflate{}}
	}
	conn, resp, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{
		Options:      options,
		Subprotocols: c.subprotocols,
		Header:       header,
		Host:         host,
		TLSConfig:    c.tls(),
	})
	if err != nil {
		return unreached(u.Redacted(), resp, err)
	}
	c.conn = conn
	state := "connected to " + u.Redacted()
	if p := conn.Subprotocol(); p != "" {
		state += ", subprotocol " + p
	}
	if e := conn.Extensions(); e != "" {
		state += ", extension " + e
	} else if c.compress {
		state += ", not compressed: the server does not do it"
	}
	c.state(state + "; end with ctrl-D")
	return nil
}

// state tells a person at a terminal how the connection is. A script is told by
// the exit code.
func (c *connect) state(text string) {
	if isTerminal(c.stderr) {
		fmt.Fprintln(c.stderr, paint(c.stderr, dim, visible(text)))
	}
}

// receive prints messages until the connection ends and returns how it ended.
func (c *connect) receive() error {
	for {
		t, p, err := c.conn.Read(context.Background())
		if err != nil {
			return err
		}
		if err := c.print(t, p); err != nil {
			c.conn.CloseNow()
			return err
		}
	}
}

// print writes one message as one line.
func (c *connect) print(t websocket.MessageType, p []byte) error {
	line := ""
	if isTerminal(c.stdout) {
		line = paint(c.stdout, bold, "< ")
	}
	if t == websocket.Binary {
		line += paint(c.stdout, dim, fmt.Sprintf("[binary, %d bytes]", len(p))) + " " + hex.EncodeToString(p)
	} else {
		line += visible(string(p))
	}
	_, err := io.WriteString(c.stdout, line+"\n")
	if err != nil {
		return &outputError{err}
	}
	return nil
}

// An outputError is standard output that takes nothing any more.
type outputError struct{ error }

func (e *outputError) Error() string { return "writing standard output: " + e.error.Error() }
func (e *outputError) Unwrap() error { return e.error }

// An inputLine is a line of standard input, or the error that ended it.
type inputLine struct {
	text   []byte
	number int
	err    error
}

// read hands over the lines of standard input, the last one with an error. The
// end of ctx does not stop it while it waits for a line, since nothing does: the
// end of the process comes soon after.
func (c *connect) read(ctx context.Context, stdin io.Reader, input chan<- inputLine) {
	l := lines{r: bufio.NewReader(stdin), max: int64(c.limit)}
	for {
		text, err := l.next()
		if errors.Is(err, errLineTooLong) {
			err = fmt.Errorf("line %d of the input is over %s and was not sent: raise --max-message", l.count, c.limit.String())
		} else if err == nil && !c.binary && !utf8.Valid(text) {
			err = fmt.Errorf("line %d of the input is not UTF-8 and was not sent: use --binary", l.count)
		}
		select {
		case input <- inputLine{text, l.count, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// inHand is how long a line of input takes at the most that has been read and is
// about to be sent. A connection that ends first has lost it.
const inHand = 100 * time.Millisecond

// send sends lines until they end, the connection ends or ctx is done. err says
// what was not sent; ended is how the connection ended, nil if it has not.
func (c *connect) send(ctx context.Context, input <-chan inputLine, received <-chan error) (err, ended error) {
	messages := websocket.Text
	if c.binary {
		messages = websocket.Binary
	}
	for {
		select {
		case <-ctx.Done():
			return nil, nil
		case ended = <-received:
			select {
			case line := <-input:
				if line.err == nil {
					return unsent(line), ended
				}
			case <-time.After(inHand):
			}
			return nil, ended
		case line := <-input:
			if line.err == io.EOF {
				return nil, nil
			}
			if line.err != nil {
				return line.err, nil
			}
			if err := c.conn.Write(context.Background(), messages, line.text); err != nil {
				return unsent(line), <-received
			}
		}
	}
}

// unsent is the error of a line for which the connection has ended too early.
func unsent(line inputLine) error {
	return fmt.Errorf("the connection ended before line %d of the input was sent", line.number)
}

// verdict makes of the end of the connection the error that the user sees: none
// after a close with code 1000 or with no code.
func (c *connect) verdict(ended error) error {
	var closed *websocket.CloseError
	if errors.As(ended, &closed) && (closed.Code == websocket.CloseNormal || closed.Code == websocket.CloseNoStatus) {
		c.state("closed: " + closed.Code.String())
		return nil
	}
	return lineEnd(ended, c.limit)
}
