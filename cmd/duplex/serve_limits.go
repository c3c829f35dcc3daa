package main

import (
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/duplexgo/duplex/push"
)

// bounds are the settings of serve that limit what clients may take. Each has its row in
// docs/operations.md.
type bounds struct {
	maxMessage       size
	maxDepth         int
	maxLines         int
	maxChannels      int
	maxSubscriptions int
	commandRate      int
	publishRate      int
	historyMessages  int
	historyAge       time.Duration
	historyBytes     size
	maxWait          time.Duration
	keepAlive        time.Duration
	writeTimeout     time.Duration
}

func (b *bounds) flags(cmd *cobra.Command) {
	b.maxMessage, b.historyBytes = 64<<10, 256<<20
	f := cmd.Flags()
	f.Var(&b.maxMessage, "max-message", "longest data of a message")
	f.IntVar(&b.maxDepth, "max-depth", 60, "the arrays and objects of a message nest at most `N` deep")
	f.IntVar(&b.maxLines, "max-lines", 100_000, "at most `N` clients at once, of all transports")
	f.IntVar(&b.maxChannels, "max-channels", 200_000, "keep at most `N` channels; those unused for long give way")
	f.IntVar(&b.maxSubscriptions, "max-subscriptions", 128, "a WebSocket subscribes to at most `N` channels")
	f.IntVar(&b.commandRate, "command-rate", 100, "a WebSocket sends at most `N` commands a second, ten times as many at once")
	f.IntVar(&b.publishRate, "publish-rate", 10_000, "a user, or an address, posts at most `N` messages a second, ten times as many at once")
	f.IntVar(&b.historyMessages, "history-messages", 1000, "keep the last `N` messages of a channel")
	f.DurationVar(&b.historyAge, "history-age", time.Hour, "keep messages for this `TIME`")
	f.Var(&b.historyBytes, "history-bytes", "memory for the messages of all channels; the oldest give way")
	f.DurationVar(&b.maxWait, "max-wait", time.Minute, "a poll waits for news at most this `TIME`")
	f.DurationVar(&b.keepAlive, "keep-alive", 15*time.Second, "a stream of events is silent for at most this `TIME`")
	f.DurationVar(&b.writeTimeout, "write-timeout", 10*time.Second, "a client that takes nothing for this `TIME` is cut off")
}

// check returns what is wrong with a setting. Zero would mean the default to
// push.Server, which is not what whoever writes 0 wants.
func (b *bounds) check() error {
	for _, n := range []struct {
		flag  string
		value int
	}{
		{"max-depth", b.maxDepth}, {"max-lines", b.maxLines}, {"max-channels", b.maxChannels}, {"max-subscriptions", b.maxSubscriptions},
		{"command-rate", b.commandRate}, {"publish-rate", b.publishRate}, {"history-messages", b.historyMessages},
	} {
		if n.value < 1 {
			return wrongUse("--%s must be at least 1", n.flag)
		}
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"history-age", b.historyAge}, {"max-wait", b.maxWait}, {"keep-alive", b.keepAlive}, {"write-timeout", b.writeTimeout},
	} {
		if d.value <= 0 {
			return wrongUse("--%s must be more than zero, as in 1h", d.flag)
		}
	}
	return nil
}

// apply sets the limits of a server.
func (b *bounds) apply(srv *push.Server) {
	srv.MaxMessage = int(min(int64(b.maxMessage), math.MaxInt))
	srv.MaxDepth = b.maxDepth
	srv.MaxLines = b.maxLines
	srv.MaxChannels = b.maxChannels
	srv.MaxSubscriptions = b.maxSubscriptions
	srv.CommandRate = b.commandRate
	srv.PublishRate = b.publishRate
	srv.HistoryMessages = b.historyMessages
	srv.HistoryAge = b.historyAge
	srv.HistoryBytes = int64(b.historyBytes)
	srv.MaxWait = b.maxWait
	srv.KeepAlive = b.keepAlive
	srv.WebSocket.WriteTimeout = b.writeTimeout
}
