package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// A pub is one run of the command.
type pub struct {
	client
	limit   size
	timeout time.Duration
}

func newPub() *cobra.Command {
	p := &pub{limit: 16 << 20, timeout: 30 * time.Second}
	cmd := &cobra.Command{
		Use:   "pub URL CHANNEL [DATA|-]",
		Short: "Publish a message to a channel of a push server",
		Long: `Publish one message to a channel and print its position.

URL is the server, as in http://127.0.0.1:8080, or its connect endpoint, as in
ws://127.0.0.1:8080/connect. DATA that is JSON is published as JSON, other DATA as
text. Without DATA, or with -, the message is what standard input holds up to its
end; a line end at the end of text is not part of it. A server that has keys wants a
token or an API key: put it into the environment variable DUPLEX_TOKEN.`,
		Example: `  duplex pub http://127.0.0.1:8080 news '{"text": "hello"}'
  duplex pub http://127.0.0.1:8080 news hello
  date | duplex pub http://127.0.0.1:8080 news -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 2 {
				return positional([]string{"URL", "CHANNEL", "DATA"}, false)(cmd, args)
			}
			return positional([]string{"URL", "CHANNEL"}, false)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := serverURL(args[0])
			if err != nil {
				return err
			}
			data, err := p.data(args[2:], cmd.InOrStdin())
			if err != nil {
				return err
			}
			position, err := p.publish(cmd.Context(), u, args[1], data)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), visible(position))
			return err
		},
	}
	p.flags(cmd)
	cmd.Flags().Var(&p.limit, "max-message", "longest message that is read from standard input")
	cmd.Flags().DurationVar(&p.timeout, "timeout", p.timeout, "wait at most this `TIME` for the server's answer")
	return cmd
}

// data returns the message: the argument, or standard input.
func (p *pub) data(args []string, stdin io.Reader) ([]byte, error) {
	if len(args) == 1 && args[0] != "-" {
		return []byte(args[0]), nil
	}
	if len(args) == 0 && isTerminal(stdin) {
		return nil, wrongUse("DATA is missing: give it as the last argument, or - to type it in")
	}
	data, err := io.ReadAll(io.LimitReader(stdin, int64(p.limit)+1))
	if err != nil {
		return nil, fmt.Errorf("reading standard input: %w", err)
	}
	if int64(len(data)) > int64(p.limit) {
		return nil, fmt.Errorf("standard input holds more than %s, and nothing was published: raise --max-message", p.limit.String())
	}
	if text, ended := bytes.CutSuffix(data, []byte("\n")); ended {
		data = bytes.TrimSuffix(text, []byte("\r"))
	}
	return data, nil
}

// publish posts the message and returns its position.
func (p *pub) publish(ctx context.Context, server *url.URL, channel string, data []byte) (string, error) {
	if channel == "" {
		return "", wrongUse("CHANNEL is empty")
	}
	if p.timeout <= 0 {
		return "", wrongUse("--timeout must be more than zero, as in 30s")
	}
	header, host, err := p.pushHeader()
	if err != nil {
		return "", err
	}
	if !utf8.Valid(data) {
		return "", errors.New("the message is neither JSON nor UTF-8 text, and was not published: encode it, with base64 for example")
	}
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "text/plain; charset=utf-8")
		if json.Valid(data) {
			header.Set("Content-Type", "application/json")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, channelURL(server, channel), bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	req.Header, req.Host = header, host

	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = p.tls()
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{
		Transport: transport,
		// A redirect would make a POST a GET, and nothing would be published.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}).Do(req)
	if err != nil {
		return "", unreached(server.Redacted(), nil, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return "", refusal(server.Redacted(), resp)
	}
	var answer struct{ Position string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&answer); err != nil || answer.Position == "" {
		return "", fmt.Errorf("%s: the answer holds no position, so this is no push server: check the URL", server.Redacted())
	}
	return answer.Position, nil
}

// channelURL returns the address of a channel of a server.
func channelURL(server *url.URL, channel string) string {
	name := url.PathEscape(channel)
	switch name { // which would be taken for steps within the path
	case ".":
		name = "%2E"
	case "..":
		name = "%2E%2E"
	}
	u := *server
	u.RawPath = u.EscapedPath() + "/channels/" + name
	u.Path += "/channels/" + channel
	return u.String()
}
