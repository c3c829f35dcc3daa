package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
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
	proxy        string
	reconnect    bool
	ping         time.Duration
	verbose      bool
	json         bool
	sendFiles    []string

	conn           *websocket.Conn
	response       *http.Response // of the last handshake
	files          []inputLine    // that are still to be sent
	unsent         *inputLine     // that a connection has not taken
	last           *inputLine     // the end of the input, once it has come: it comes once
	stdout, stderr io.Writer
}

func newConnect() *cobra.Command {
	c := &connect{limit: 16 << 20, closeTimeout: 5 * time.Second, ping: 30 * time.Second}
	cmd := &cobra.Command{
		Use:   "connect URL",
		Short: "Talk to a WebSocket server: lines of input are messages, messages are lines of output",
		Long: `Open a WebSocket. Each line of standard input is sent as a text message, each
message that comes is printed as a line.

Control characters of a message are printed as escapes, as in \n and \x1b, so one
message is one line and a server cannot attack the terminal. A binary message is
printed as [binary, 3 bytes] and its bytes in hexadecimal.

With --reconnect a connection that breaks is followed by another one. Messages that
come in between are lost, and so may be the last line that was sent: 'duplex sub' is
for those that must come.

At the end of the input the connection is closed with code 1000, and what still
comes before the server's answer is printed. The exit code is 1 if the server
closes with another code than 1000.`,
		Example: `  duplex connect ws://127.0.0.1:9001/
  echo hello | duplex connect ws://127.0.0.1:9001/
  duplex connect wss://example.com/feed -H 'Authorization: Bearer 123' --subprotocol chat.v2
  duplex connect wss://example.com/feed --json --reconnect --proxy socks5h://127.0.0.1:1080
  duplex connect ws://127.0.0.1:9001/ -v --binary --send-file picture.png </dev/null
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
	cmd.Flags().StringVar(&c.proxy, "proxy", "", "connect through the proxy at this `URL`: http, https, socks5 or socks5h; otherwise HTTP_PROXY, HTTPS_PROXY and NO_PROXY say")
	cmd.Flags().BoolVar(&c.reconnect, "reconnect", false, "connect again when the connection breaks or the server goes away, after a time that grows")
	cmd.Flags().DurationVar(&c.ping, "ping", c.ping, "ping the server every `TIME`; 0: never")
	cmd.Flags().BoolVarP(&c.verbose, "verbose", "v", false, "show the opening handshake and control frames on standard error, credentials too")
	cmd.Flags().BoolVar(&c.json, "json", false, "print messages that are JSON with line breaks and indents")
	cmd.Flags().StringArrayVar(&c.sendFiles, "send-file", nil, "send `FILE` as one message before the input; may be repeated")
	return cmd
}

// run carries messages both ways over the connection, or with --reconnect over one
// after the other.
func (c *connect) run(ctx context.Context, address string, stdin io.Reader) error {
	u, err := socketURL(address)
	if err != nil {
		return err
	}
	o, err := c.options()
	if err != nil {
		return err
	}
	if c.files, err = c.readFiles(); err != nil {
		return err
	}
	input := make(chan inputLine)
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()

	// How the session ended that was the last; else what kept one from beginning.
	var sendErr, ended error
	sessions, read := 0, false
	r := websocket.Reconnect{
		URL:     u.String(),
		Options: o,
		Again: func(err error) bool {
			again := c.reconnect && websocket.Temporary(err)
			if !again {
				ended = err
			}
			return again
		},
		Failed: func(err error, wait time.Duration) {
			fmt.Fprintf(c.stderr, "duplex connect: %s; again in %v\n", visible(c.describe(u, err)), wait.Round(time.Millisecond))
		},
	}
	err = r.Run(ctx, func(_ context.Context, conn *websocket.Conn) error {
		c.conn = conn
		sessions++
		c.welcome(u)
		if !read {
			read = true
			go c.read(reading, stdin, input)
		}
		sendErr, ended = c.session(ctx, input)
		return ended
	})
	switch {
	case sessions == 0 || ended == nil && err != nil:
		return c.unreached(u, err)
	case errors.As(ended, new(*websocket.HandshakeError)):
		return c.unreached(u, ended)
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

// session carries messages over a connection until it has ended. err says what was
// not sent, ended how the connection ended.
func (c *connect) session(ctx context.Context, input <-chan inputLine) (err, ended error) {
	received := make(chan error, 1)
	go func() { received <- c.receive() }()
	err, ended = c.send(ctx, input, received)
	if ended == nil {
		// receive goes on printing until the peer's close.
		c.conn.CloseWrite(websocket.CloseNormal, "")
		ended = <-received
	}
	return err, ended
}

// describe says in one line why there is to be another attempt.
func (c *connect) describe(u *url.URL, err error) string {
	if c.conn == nil || errors.As(err, new(*websocket.HandshakeError)) {
		return c.unreached(u, err).Error()
	}
	c.conn = nil
	return lineEnd(err, c.limit).Error()
}

// unreached says why a server was not reached.
func (c *connect) unreached(u *url.URL, err error) error {
	return unreached(u.Redacted(), c.response, err)
}

// options returns the settings of the connection. The error is wrong use.
func (c *connect) options() (*websocket.DialOptions, error) {
	header, host, err := c.header()
	if err != nil {
		return nil, err
	}
	if err := checkSubprotocols(c.subprotocols); err != nil {
		return nil, err
	}
	if c.closeTimeout <= 0 {
		return nil, wrongUse("--close-timeout must be more than zero, as in 5s")
	}
	if c.ping < 0 {
		return nil, wrongUse("--ping must not be less than zero, as in 10s")
	}
	o := &websocket.DialOptions{
		Options:      websocket.Options{MaxMessage: int64(c.limit), CloseTimeout: c.closeTimeout, PingInterval: c.ping, Hooks: c.hooks()},
		Subprotocols: c.subprotocols,
		Header:       header,
		Host:         host,
		TLSConfig:    c.tls(),
	}
	if c.compress {
		o.Extensions = []websocket.Extension{&websocket.Deflate{}}
	}
	if c.ping == 0 {
		o.PingInterval = -1
	}
	if c.proxy != "" {
		u, err := proxyURL(c.proxy)
		if err != nil {
			return nil, err
		}
		o.Proxy = http.ProxyURL(u)
		o.ProxyTLSConfig = c.tls()
	}
	return o, nil
}

// proxyURL reads the address of a proxy. The error is wrong use.
func proxyURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return nil, wrongUse("--proxy is not the URL of a proxy, as in http://user:password@proxy.example:3128")
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
		return u, nil
	}
	return nil, wrongUse("--proxy begins with %s: a proxy's URL begins with http, https, socks5 or socks5h", u.Scheme)
}

// readFiles reads the files of --send-file. They are looked at before there is a
// connection: a message that is wrong is not begun.
func (c *connect) readFiles() ([]inputLine, error) {
	var files []inputLine
	for _, name := range c.sendFiles {
		b, err := readFile(name, int64(c.limit))
		switch {
		case errors.Is(err, errLineTooLong):
			return nil, fmt.Errorf("%s is over %s: raise --max-message", name, c.limit.String())
		case err != nil:
			return nil, err
		case !c.binary && !utf8.Valid(b):
			return nil, fmt.Errorf("%s is not UTF-8: use --binary", name)
		}
		files = append(files, inputLine{text: b, name: name})
	}
	return files, nil
}

// readFile reads a file that is not over limit.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errLineTooLong
	}
	return b, err
}

// welcome tells that there is a connection.
func (c *connect) welcome(u *url.URL) {
	state := "connected to " + u.Redacted()
	if p := c.conn.Subprotocol(); p != "" {
		state += ", subprotocol " + p
	}
	if e := c.conn.Extensions(); e != "" {
		state += ", extension " + e
	} else if c.compress {
		state += ", not compressed: the server does not do it"
	}
	c.state(state + "; end with ctrl-D")
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
	if c.json && t == websocket.Text {
		p = indented(p)
	}
	line := ""
	if isTerminal(c.stdout) {
		line = paint(c.stdout, bold, "< ")
	}
	if t == websocket.Binary {
		line += paint(c.stdout, dim, fmt.Sprintf("[binary, %d bytes]", len(p))) + " " + hex.EncodeToString(p)
	} else if c.json {
		line += visibleLines(string(p))
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
	name   string // of a file, which has no number
	err    error
}

// failure is the error that ended the input, nil at its proper end.
func (l *inputLine) failure() error {
	if l.err == io.EOF {
		return nil
	}
	return l.err
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
		case input <- inputLine{text: text, number: l.count, err: err}:
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
	write := func(line inputLine) bool {
		if c.conn.Write(context.Background(), messages, line.text) != nil {
			c.unsent = &line
			return false
		}
		c.unsent = nil
		return true
	}
	if line := c.unsent; line != nil && !write(*line) {
		return unsent(*line), <-received
	}
	for len(c.files) > 0 {
		line := c.files[0]
		c.files = c.files[1:]
		if !write(line) {
			return unsent(line), <-received
		}
	}
	for {
		if c.last != nil {
			return c.last.failure(), nil
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case ended = <-received:
			select {
			case line := <-input:
				if line.err == nil {
					c.unsent = &line
					return unsent(line), ended
				}
				c.last = &line
			case <-time.After(inHand):
			}
			return nil, ended
		case line := <-input:
			if line.err != nil {
				c.last = &line
			} else if !write(line) {
				return unsent(line), <-received
			}
		}
	}
}

// unsent is the error of a line for which the connection has ended too early.
func unsent(line inputLine) error {
	if line.name != "" {
		return fmt.Errorf("the connection ended before %s was sent", line.name)
	}
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
