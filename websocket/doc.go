// Package websocket is WebSocket (RFC 6455) for Go: servers, clients, and
// everything between two programs that speak it.
//
// # A server
//
// A server accepts a connection in an http.Handler and then reads and writes
// whole messages:
//
//	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
//		c, err := websocket.Accept(w, r, nil)
//		if err != nil {
//			return // the request has been answered
//		}
//		defer c.CloseNow()
//		for {
//			t, p, err := c.Read(context.Background())
//			if err != nil {
//				return
//			}
//			if err := c.Write(context.Background(), t, p); err != nil {
//				return
//			}
//		}
//	})
//
// That costs a goroutine for each connection. A [Handler] has callbacks instead,
// for servers with many connections that are mostly silent.
//
// Two settings of http.Server belong to every server that faces strangers, since
// until a handler runs it is net/http that waits for the request:
//
//	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
//
// [ReportHandshakeTimeouts] tells the application of connections that ran into
// the first. An http.Server forgets a connection that became a WebSocket; name a
// [Registry] in [AcceptOptions], and its Shutdown closes them all in order.
//
// # A client
//
//	c, _, err := websocket.Dial(ctx, "wss://example.com/feed", nil)
//	if err != nil {
//		return err
//	}
//	defer c.CloseNow()
//	t, p, err := c.Read(ctx)
//	...
//	return c.Close(websocket.CloseNormal, "")
//
// # What the library does by itself
//
//   - It answers pings, sends its own ([Options.PingInterval]) and ends a
//     connection whose peer has gone.
//   - It does the closing handshake from both sides, with a limit.
//   - It checks the Origin of a browser: without that, any page that a user opens
//     could speak to your server with the user's cookies. See
//     [AcceptOptions.Origins].
//   - It checks that text is UTF-8, as it arrives.
//   - It believes nothing that a peer declares: memory grows with the bytes that
//     have come, never with a length in a header; every limit in [Options] has a
//     safe default.
//
// # Contexts
//
// A context that ends costs nothing but the call it was given to. A Read that was
// stopped, in the middle of a frame even, can be made again and loses no byte. A
// Write that was stopped before its turn came has sent nothing; once its turn has
// come it is [Options.WriteTimeout] that counts. Only Close, CloseNow, a peer, a
// broken rule or a timeout of Options ends a connection. (A Read that is told of
// the end waits a moment for the peer to hear of it too; its context cuts that
// short.)
//
// # Concurrency
//
// Every method of a Conn may be called from any goroutine at any time. Frames
// that goroutines write while another write is under way leave together in the
// next call of the stream. Nothing panics for being called in the wrong order:
// after an error that ends the connection every call returns it again.
//
// # Errors
//
//   - [*CloseError]: the connection was closed, by whom, with which code and
//     reason. errors.Is(err, net.ErrClosed) is true of it.
//   - [*Error]: the peer broke a rule or passed a limit, and the close code that
//     it was told. errors.Is(err, [ErrMessageTooBig]) finds the commonest limit.
//   - [*HandshakeError]: an opening handshake failed, and with which status.
//   - [ErrPongTimeout]: the peer fell silent.
//   - context.Canceled, context.DeadlineExceeded: the call was stopped; the
//     connection lives.
//   - io.ErrUnexpectedEOF and what the stream returned: it broke. A browser would
//     report that as 1006.
//
// # How a message travels
//
// Coming in:
//
//  1. One read of the stream fills a borrowed buffer.
//  2. wire.ParseHeader takes a frame's header out of it.
//  3. wire.Decoder.Frame holds it to the rules of RFC 6455, 5.1 to 5.5.
//  4. The payload goes straight into the message's slice, is unmasked there and,
//     if it is text, checked.
//  5. A control frame is answered on the way. At the end of the message Read
//     returns it, or the Handler calls back.
//
// Going out:
//
//  1. Write waits for its turn, which it nearly always has at once.
//  2. The frame is written with one call of the stream; or it joins the batch of
//     frames that gathers while another call is under way.
//  3. Pongs and a close frame gather in the same batch, in their order.
//
// # Terminology
//
// A stream is what carries the bytes: a TCP or TLS connection mostly. A
// connection is a WebSocket over it. A message is text or binary and consists of
// one frame or of several, its fragments. Control frames are close, ping and
// pong. The opening handshake turns an HTTP request into a connection, the
// closing handshake is a close frame each way. Package
// [github.com/duplexgo/duplex/websocket/wire] has frames as bytes, and package
// [github.com/duplexgo/duplex/websocket/wstest] connections in memory for tests.
package websocket
