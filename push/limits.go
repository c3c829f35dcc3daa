package push

import "time"

// limits are the limits in force that core and sessions need; 0 is none.
type limits struct {
	message       int // bytes of data
	depth         int // of data
	subscriptions int // of a line
	commands      int // of a line, a second
	lines         int
	publishes     int           // of a publisher, a second
	auth          time.Duration // for a token to be shown
}

// Defaults of Server.
const (
	defaultHistoryMessages  = 1000
	defaultHistoryAge       = time.Hour
	defaultHistoryBytes     = 256 << 20
	defaultMaxChannels      = 200_000
	defaultMaxMessage       = 64 << 10
	defaultMaxDepth         = 60
	defaultMaxSubscriptions = 128
	defaultCommandRate      = 100
	defaultMaxLines         = 100_000
	defaultPublishRate      = 10_000
	defaultAuthTimeout      = 10 * time.Second
	defaultKeepAlive        = 15 * time.Second
	defaultMaxWait          = time.Minute
	defaultBodyTimeout      = 30 * time.Second
	defaultWriteTimeout     = 10 * time.Second // as websocket.Options has it
)

// Limits that are part of the protocol.
const (
	maxQueryChannels = 64      // of a request
	maxBatchMessages = 1000    // of a POST to /channels
	maxBatchBytes    = 1 << 20 // of the same
	maxPollMessages  = 1000    // of an answer
	maxListed        = 1000    // channels in an answer
)

// setting returns the value in force of a limit that was set to v: fallback for
// zero, zero (no limit) for a negative one.
func setting[T int | int64 | time.Duration](v, fallback T) T {
	switch {
	case v == 0:
		return fallback
	case v < 0:
		return 0
	}
	return v
}
