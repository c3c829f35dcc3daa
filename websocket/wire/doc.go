// Package wire is the WebSocket protocol as bytes and rules (RFC 6455,
// section 5), without any input or output: no network, no clock, no goroutine,
// no buffer of its own and no callback.
//
// It is what a connection, a proxy, a test tool and a fuzzer have in common.
// The caller owns every byte, the [Decoder] owns every rule, and a frame is
// always taken in two steps, header first and payload as it arrives:
//
//	h, n, err := wire.ParseHeader(b)   // io.ErrUnexpectedEOF: b is too short yet
//	if err != nil { ... }
//	if err := d.Frame(h); err != nil { ... }   // the rules of sections 5.1 to 5.5
//	b = b[n:]
//	for d.Remaining() > 0 {
//		p := some of the frame's payload, at most d.Remaining() bytes
//		if err := d.Payload(p); err != nil { ... }   // unmasked in place, UTF-8 checked
//	}
//
// A rule that the peer broke is an [*Error]; its Code is the status code of the
// close frame that answers it.
//
// # Terminology
//
//   - A frame is a header and a payload (5.2).
//   - A control frame is a close, a ping or a pong; its payload is at most 125
//     bytes and it is never fragmented (5.5). The others are data frames.
//   - A message is one data frame, or a first frame and its continuation frames
//     up to one with FIN set (5.4). Its frames are its fragments.
//   - The masking key is four bytes with which a client scrambles each frame's
//     payload (5.3). Here it is a uint32 that holds them in the order of the
//     wire, the first in the lowest eight bits.
package wire
