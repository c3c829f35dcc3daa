// Package protocol is the language that a push server and its WebSocket clients
// speak, as Go types: the subprotocol duplex.v1.json. The normative text is
// docs/protocol.md.
//
// A client sends a [Command] and gets one [Reply] for each. Besides, the server
// sends what it is subscribed to: a [Message] for each message of a channel, and
// a [Reset] where some are lost. One WebSocket text message holds one or more of
// these, each a JSON object on a line of its own; [Commands] takes apart what a
// client sent, [Items] what a server sent.
//
// The numbers of errors and of close codes are in codes.go.
package protocol
