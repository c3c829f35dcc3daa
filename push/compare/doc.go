// Package compare counts what it costs to get the messages of a channel by polling,
// long polling, server-sent events and WebSocket: requests, and bytes and packets on
// the wire, as the server's system has seen them.
//
// A comparison is a channel with a name of its own. Whoever wants to compare asks for
// one (see [Meter.ServeHTTP]), receives the channel in the four ways at once, and reads
// the figures. All requests for /poll, /events and /connect are counted that have the
// channel's name in their query as channel; others cost a look at a number.
//
// # What is counted
//
// On Linux the kernel counts the bytes that each TCP connection has carried
// (TCP_INFO). A request over HTTP/1.1 is charged with what its connection has
// carried since the request before: request line and headers, status line and
// headers, chunks and TLS records are in it. A WebSocket is charged with all that its
// connection carries: the handshake, the headers of frames, pings and pongs. What the
// network adds below TCP is not in the bytes; the packets are counted apart. What opens
// a connection is its first request's, what closes it the last one's, and an
// acknowledgement is that of the data which it acknowledges.
//
// Elsewhere, and over HTTP/2, where requests share a connection, the bytes are
// worked out from the headers and the body, which leaves out the work of TLS and the
// compression of headers. Those figures are marked as an estimate.
package compare
