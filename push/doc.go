// Package push is a push server: whoever listens to a channel gets what is
// published to it, at once, and after a broken line exactly what was missed.
//
//	srv := &push.Server{Console: console.Handler()}
//	http.ListenAndServe("127.0.0.1:8080", srv)
//
// A browser connects by WebSocket and subscribes to channels, or by server-sent
// events or long polling where its network wants that; a backend publishes with a
// POST; docs/protocol.md is the language between them. A channel needs no
// setting up: it begins with its first message or subscriber, and is forgotten
// when nobody has used it for a while.
//
// # One idea
//
// A channel is a log of its last messages, and a reader is a position in it. All
// channels share one counter, so a position holds for all of them: it divides
// what there is into before and after. A message is encoded once, for all its
// readers; a slow reader has no queue, it lags in the log and then gets many
// messages at once. Resuming is reading on from a position. Where the log does
// not reach back so far, or is not the log that the position is from, the reader
// is told by a reset: what it gets is either complete or said not to be.
//
// # Transports
//
// A session is one client, whatever it came by. Over WebSocket it is a parked
// connection, without a goroutine or a queue; a stream of events and a poll that
// waits are requests, and have the goroutine of theirs. All of them read the same
// logs, and a position that one has given holds for every other.
//
// # Who may do what
//
// [Server.Authorize] turns what a client shows into a [Grant]: who it is, which
// channels it may read and write, and until when. Package push/token has one for
// tokens and API keys. A grant that ends, ends the lines that have it.
//
// # How a message travels
//
//  1. The HTTP API or a session takes it (publish.go, session.go) and checks it
//     (core.go, key.go).
//  2. The broker gives it a position and appends it to the channel's log (broker.go,
//     memory.go, log.go).
//  3. The hub wakes the channel's readers (hub.go).
//  4. A few workers take the WebSocket sessions that were woken (pool.go); a stream
//     has its own goroutine (stream.go).
//  5. The session reads all that is new for it from its logs (session.go, batch.go).
//  6. The transport sends it as one text (ws.go, events.go, poll.go).
package push
