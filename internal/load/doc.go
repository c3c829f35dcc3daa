// Package load makes a WebSocket server work and measures how it bears that: what
// messages go round in a second, how long they take, what goes wrong, and what a
// server on this machine spends on it.
//
// Run does a Job and returns a Result. Plain connections on Linux are a few
// threads over epoll, so that the server gets the processors and not its load; a
// connection costs some 500 bytes here. TLS connections, and all connections on
// other systems, have two goroutines each.
//
// # How time is counted
//
// The latency of a message runs from when it should have been sent to when its last
// byte has been read. With InFlight, that is when the answer before it came. With
// Rate, it is the time that the rate gives it: a server that stalls makes every
// message late that was due meanwhile, and all of them count (no coordinated
// omission). What is due within the measured time counts, whenever it comes back;
// what comes back within that time makes the throughput.
//
// # What is checked
//
// Each answer must be the message that was sent, in its order, of its type, whole.
// A connection on which anything else happens ends, its Kind of error is counted,
// and one example of each Kind is kept. The others go on.
//
// # Terminology
//
//   - A connection is open from the end of its opening handshake (RFC 6455, 4.1).
//   - A message is in flight from when it should be sent until it has come back.
//   - A message is lost if its connection ended, or the run did, before it came back.
package load
