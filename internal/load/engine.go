package load

import "time"

// An engine has the connections of a run: a few loops, or a crew of goroutines.
type engine interface {
	shards() []*shard
	advance(stage int32)    // tells every connection of a new stage
	wait()                  // for the end, after stageStop
	busiest() time.Duration // processor time of the busiest thread, where that is what limits the engine; else 0
}

// The stages of a run, in their order.
const (
	stageOpen  int32 = iota
	stageGreet       // every connection sends a ping
	stageWork        // messages go round, as the times in work say
	stageClose       // closing handshakes
	stageStop
)

// atOnce is how many connections are opened at once: enough to keep a server busy,
// fewer than the backlog of most listeners.
const atOnce = 64
