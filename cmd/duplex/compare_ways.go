package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/duplexgo/duplex/push/compare"
	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
)

// A side is one of the four ways in a comparison.
type side struct {
	of       *comparing
	way      string
	position string
	begin    time.Time // from which the messages count their time
	http     *http.Client

	mu      sync.Mutex
	last    int // number of the latest message
	delays  []time.Duration
	changed chan struct{} // holds a value when messages have come
}

// receive receives until ctx is done or it cannot go on.
func (s *side) receive(ctx context.Context) error {
	switch s.way {
	case compare.SSE:
		return s.events(ctx)
	case compare.WebSocket:
		return s.socket(ctx)
	}
	for {
		asked := time.Now()
		if err := s.poll(ctx); err != nil {
			return err
		}
		if s.way == compare.LongPolling {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.of.interval - time.Since(asked)):
		}
	}
}

// arrived takes a message. They come in order and once, or it is an error.
func (s *side) arrived(raw json.RawMessage) error {
	now := time.Since(s.begin)
	var data struct {
		N  int
		At time.Duration
	}
	if err := json.Unmarshal(raw, &data); err != nil {
		return fmt.Errorf("a message came that was not published here: %s", raw)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if data.N != s.last+1 {
		return fmt.Errorf("after message %d came %d", s.last, data.N)
	}
	s.last = data.N
	s.delays = append(s.delays, now-data.At)
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return nil
}

// await waits until n messages have come, but not for long after the latest of them.
func (s *side) await(ctx context.Context, n int, long time.Duration) {
	late := time.NewTimer(long)
	defer late.Stop()
	for {
		s.mu.Lock()
		enough := s.last >= n
		s.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-late.C:
			return
		case <-s.changed:
		}
	}
}

// get asks the server and returns the good answer.
func (s *side) get(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	query.Set("channel", s.of.channel)
	query.Set("since", s.position)
	req, err := s.of.request(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, unreached(s.of.server.Redacted(), nil, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, refusal(s.of.server.Redacted(), resp)
	}
	return resp, nil
}

func (s *side) poll(ctx context.Context) error {
	wait := "25s"
	if s.way == compare.Polling {
		wait = "0"
	}
	resp, err := s.get(ctx, "poll", url.Values{"wait": {wait}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Messages []protocol.Message
		Position string
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	io.Copy(io.Discard, resp.Body) // the line end: else the connection is not used again
	s.position = answer.Position
	for _, m := range answer.Messages {
		if err := s.arrived(m.Data); err != nil {
			return err
		}
	}
	return nil
}

func (s *side) events(ctx context.Context) error {
	resp, err := s.get(ctx, "events", url.Values{})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for r := bufio.NewReader(resp.Body); ; {
		line, err := r.ReadBytes('\n')
		switch {
		case err == io.EOF:
			return errStreamEnded
		case err != nil:
			return err
		}
		text, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok {
			continue
		}
		if err := s.take(text); err != nil {
			return err
		}
	}
}

// take takes a message as it is in a stream.
func (s *side) take(text []byte) error {
	var item protocol.Item
	if err := json.Unmarshal(text, &item); err != nil {
		return fmt.Errorf("the server does not speak the protocol: %w", err)
	}
	switch {
	case item.Error != nil:
		return item.Error
	case item.IsMessage():
		return s.arrived(item.Message.Data)
	}
	return nil
}

func (s *side) socket(ctx context.Context) error {
	header, host, err := s.of.pushHeader()
	if err != nil {
		return err
	}
	u := s.of.server.JoinPath("connect")
	u.Scheme = map[string]string{"http": "ws", "https": "wss"}[u.Scheme]
	u.RawQuery = url.Values{"channel": {s.of.channel}}.Encode() // for the server's counting alone
	conn, resp, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{
		Options:      websocket.Options{MaxMessage: 16 << 20},
		Subprotocols: []string{protocol.Subprotocol},
		Header:       header,
		Host:         host,
		TLSConfig:    s.of.tls(),
	})
	if err != nil {
		return unreached(u.Redacted(), resp, err)
	}
	defer conn.CloseNow()
	stop := context.AfterFunc(ctx, func() { conn.Close(websocket.CloseNormal, "") })
	defer stop()
	command, err := json.Marshal(protocol.Command{ID: 1, Command: protocol.Subscribe, Channel: s.of.channel, Since: s.position})
	if err != nil {
		return err
	}
	if err := conn.Write(ctx, websocket.Text, command); err != nil {
		return lineEnd(err, 0)
	}
	for {
		_, text, err := conn.Read(context.Background())
		if closed := new(websocket.CloseError); errors.As(err, &closed) && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return lineEnd(err, 0)
		}
		for line := range bytes.Lines(text) {
			if err := s.take(line); err != nil {
				return err
			}
		}
	}
}
