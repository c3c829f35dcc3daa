package push

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
)

// A session is one client: what it is subscribed to and how far it has read. It
// knows no transport. The transport says what the client may do (begin), gives it
// what the client sends (receive) and asks it for what the client is to get (next),
// whenever the session has called its wake and once after each receive; at the end
// it calls close.
//
// A session keeps no messages. While its client is slow it stands still in the
// logs and then reads on, many messages at once; if a log has dropped some of
// them by then, the client is told.
type session struct {
	core *core
	line carrier

	// What a delivery touches stands together.
	mu      sync.Mutex
	busy    bool // with a text of commands: nothing leaves between them
	closed  bool
	readers []*reader
	replies []byte // lines of JSON, each ended by a line feed
	user    string

	// For the transport's goroutine alone, in which receive is called:
	rate    bucket
	refused int // commands in a row that were refused for coming too fast
	grant   Grant
	known   bool   // has shown who it is, or need not
	from    string // the client's address
	trusted bool   // whatever token it shows
	fatal   *ending

	deadline deadline // under the lock of the core's deadlines
}

// A carrier is the line below a session. Both methods return at once.
type carrier interface {
	// wake tells that the session has news. It is called with locks held: it must
	// not call the session.
	wake()

	// cut ends the line, from any goroutine.
	cut(end ending)
}

// An ending is why the server ends a client's line: a WebSocket close code.
type ending struct {
	code   int
	reason string
}

// Why lines are ended.
var (
	endUnauthorized = ending{protocol.CloseUnauthorized, "no token has been shown in time"}
	endExpired      = ending{protocol.CloseExpired, "the token has ended"}
	endShutdown     = ending{1001, "the server is shutting down"}
	endDisconnected = ending{protocol.CloseDisconnected, "disconnected by the operator"}
)

func (s *session) init(c *core, line carrier) {
	s.core, s.line = c, line
	s.rate.init(c.limits.commands)
}

// begin sets what the client may do. Until then it can do nothing, and not for long.
func (s *session) begin(g Grant) {
	s.grant, s.known = g, true
	s.identify(g.User)
	s.core.deadlines.set(s, g.Expires, endExpired)
}

// await gives the client some time for a token.
func (s *session) await() {
	if limit := s.core.limits.auth; limit > 0 {
		s.core.deadlines.set(s, time.Now().Add(limit), endUnauthorized)
	}
}

// identify sets who the client is.
func (s *session) identify(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || user == s.user {
		return
	}
	s.core.crowd.move(s, s.user, user)
	s.user = user
	for _, r := range s.readers {
		r.channel.rename(r, user)
	}
}

// receive does the commands of one text from the client. Their replies, and what
// new subscriptions bring, are there for next when it has returned; so commands
// of one text take effect together. It returns an ending if the line must end.
func (s *session) receive(ctx context.Context, text []byte) *ending {
	s.setBusy(true)
	defer s.setBusy(false)
	for cmd, fault := range protocol.Commands(text) {
		reply := protocol.Reply{ID: cmd.ID}
		end := s.admit()
		switch {
		case end != nil:
			return end
		case s.refused > 0:
			reply.Error = errTooManyCommands
		case fault != nil:
			reply.Error = fault
		default:
			reply.Result, reply.Error = s.do(ctx, cmd)
		}
		s.reply(reply)
		if s.fatal != nil {
			return s.fatal
		}
	}
	return nil
}

func (s *session) setBusy(busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = busy
}

func (s *session) reply(r protocol.Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replies = append(r.Append(s.replies), '\n')
}

var errTooManyCommands = &protocol.Error{Code: protocol.TooManyCommands, Message: "too many commands in too short a time; wait a second"}

// admit counts a command, and sets refused if it comes too fast. Who goes on as
// if nothing were said is sent away.
func (s *session) admit() *ending {
	if s.rate.take() {
		s.refused = 0
		return nil
	}
	if s.refused++; s.refused > s.rate.burst() {
		return &ending{protocol.CloseTooManyCommands, "too many commands"}
	}
	return nil
}

// do does one command.
func (s *session) do(ctx context.Context, cmd protocol.Command) (*protocol.Result, *protocol.Error) {
	result := new(protocol.Result)
	err := s.may(cmd)
	if err == nil {
		err = s.perform(ctx, cmd, result)
	}
	if err != nil {
		s.core.report("doing a command", err)
		return nil, toError(err)
	}
	return result, nil
}

// may returns what stands against the client's giving a command at all.
func (s *session) may(cmd protocol.Command) error {
	switch {
	case cmd.Command == protocol.Auth:
		return nil
	case !s.known:
		return &protocol.Error{Code: protocol.Unauthorized, Message: "show a token first, by the command auth"}
	case s.grant.expired(time.Now()):
		return errExpired
	}
	return nil
}

func (s *session) perform(ctx context.Context, cmd protocol.Command, result *protocol.Result) (err error) {
	var p Position
	switch cmd.Command {
	case protocol.Subscribe:
		p, err = s.subscribe(cmd)
	case protocol.Unsubscribe:
		err = s.unsubscribe(cmd.Channel)
	case protocol.Publish:
		p, err = s.publish(ctx, cmd)
	case protocol.ShowWho:
		if err = allow(s.grant.Presence, "see who reads", cmd.Channel); err == nil {
			result.Who = new(s.core.hub.who(cmd.Channel))
		}
	case protocol.Auth:
		err = s.auth(ctx, cmd, result)
	case protocol.Ping:
	case "":
		err = &protocol.Error{Code: protocol.BadCommand, Message: "command is missing"}
	default:
		err = &protocol.Error{Code: protocol.UnknownCommand, Message: fmt.Sprintf("no command is called %.40q", cmd.Command)}
	}
	result.Position = p.String()
	return err
}

// publish publishes the message of a command.
func (s *session) publish(ctx context.Context, cmd protocol.Command) (p Position, err error) {
	if s.core.trace != nil {
		var end func(error)
		ctx, end = s.core.tracePublish(ctx, WebSocket, cmd.Channel, len(cmd.Data)) // others have no commands
		defer func() { end(err) }()
	}
	if err = s.core.checkSize(int64(len(cmd.Data))); err != nil {
		return Position{}, err
	}
	return s.core.publishFor(ctx, &s.grant, message{cmd.Channel, cmd.Data, cmd.Key})
}

// toError returns what the client is told of an error; of one without a number
// only that there was one.
func toError(err error) *protocol.Error {
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return e
	}
	return &protocol.Error{Code: protocol.Internal, Message: "the server failed; try again"}
}

func (s *session) subscribe(cmd protocol.Command) (Position, error) {
	if err := allow(s.grant.Subscribe, "subscribe to", cmd.Channel); err != nil {
		return Position{}, err
	}
	if cmd.Presence {
		if err := allow(s.grant.Presence, "see who reads", cmd.Channel); err != nil {
			return Position{}, err
		}
	}
	since, err := parsePosition(cmd.Since)
	if err != nil {
		return Position{}, err
	}
	if cmd.History < 0 {
		return Position{}, &protocol.Error{Code: protocol.BadCommand, Message: "history must not be negative"}
	}
	r := &reader{session: s}
	if cmd.Presence {
		r.watch = new(watch)
	}
	return s.join(r, cmd.Channel, start{since: since, history: cmd.History})
}

// join makes r the session's reader of a channel.
func (s *session) join(r *reader, channel string, at start) (Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch max := s.core.limits.subscriptions; {
	case s.closed:
		return Position{}, errShuttingDown
	case s.find(channel) >= 0:
		return Position{}, &protocol.Error{Code: protocol.Subscribed, Message: "already subscribed to this channel"}
	case max > 0 && len(s.readers) >= max:
		return Position{}, &protocol.Error{Code: protocol.TooManySubscriptions, Message: fmt.Sprintf("subscribed to %d channels, as many as are allowed", max)}
	}
	r.user = s.user
	if err := s.core.hub.join(r, channel, at); err != nil {
		return Position{}, err
	}
	s.readers = append(s.readers, r)
	s.core.hooks.resumed(at)
	return s.core.broker.now().at(r.seq), nil
}

func (s *session) unsubscribe(channel string) error {
	if err := checkChannel(channel); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(channel)
	if i < 0 {
		return &protocol.Error{Code: protocol.NotSubscribed, Message: "not subscribed to this channel"}
	}
	s.leave(i)
	return nil
}

// leave ends a subscription. The lock is held.
func (s *session) leave(i int) {
	s.core.hub.leave(s.readers[i])
	s.readers = slices.Delete(s.readers, i, i+1)
}

// find returns the index of the reader of a channel, or -1.
func (s *session) find(channel string) int {
	return slices.IndexFunc(s.readers, func(r *reader) bool { return r.channel.log.channel == channel })
}

// close ends the subscriptions. After it next returns nothing.
func (s *session) close() {
	s.core.deadlines.set(s, time.Time{}, ending{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.core.crowd.move(s, s.user, "")
	s.user = ""
	for _, r := range s.readers {
		s.core.hub.leave(r)
	}
	s.readers, s.replies = nil, nil
}

// next returns what the client is to be sent now, as one text: lines of JSON with
// line feeds between them, or in the batch's form. First come replies, then
// presence, then the messages of all channels in the order of their positions, each after the reset that it may need, until
// they are max bytes or a little more; more says that there are others. The text
// is empty when there is nothing new. It must not be changed, and is good until
// the next use of b.
func (s *session) next(b *batch, max int) (text []byte, more bool) {
	b.reset()
	b.hooks = &s.core.hooks
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy || s.closed {
		return nil, false
	}
	b.text, s.replies = append(b.text, s.replies...), nil
	// All messages up to here are in the logs. Those that come while the logs are
	// read are left for the next time: else a later message of one channel would
	// overtake an earlier one of another.
	now := s.core.broker.now()
	for _, r := range s.readers {
		if r.watch != nil {
			b.presence(r)
		}
		if r.reset != "" || r.channel.log.last.Load() > r.seq {
			b.follow(r, now)
		}
	}
	return b.fill(now, max)
}

// backlog returns how many bytes of replies wait for next.
func (s *session) backlog() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.replies)
}
