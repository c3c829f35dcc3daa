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
// That costs a goroutine for each connection, which waits in Read without a
// buffer where the system allows it.
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
// # Many connections
//
// A [Handler] has callbacks instead:
//
//	http.Handle("/chat", &websocket.Handler{
//		Message: func(c *websocket.Conn, t websocket.MessageType, p []byte) {
//			c.Write(context.Background(), t, p)
//		},
//	})
//
// Its connections are parked: while nothing comes, one over plain TCP has no
// goroutine, no buffer and no timer, and holds some hundreds of bytes beside what
// the system keeps for its socket. A few goroutines for the whole Handler wait for
// all of them, read, and call back. Over TLS a connection has no goroutine either
// while it is silent, but crypto/tls keeps several kilobytes; [NewListener], below
// TLS, lets the same goroutines read it. Where the system
// cannot do that (anything but Linux now), or a stream has no descriptor, a
// goroutine waits; the callbacks are the same.
//
// Callbacks may block, on a database or another connection. Short ones are
// cheapest: they run one after the other, and what they send leaves together when
// all that has come is worked on. One that takes more than about a millisecond is
// left to itself while another goroutine goes on with the rest, and for a while
// after it each callback of the Handler gets a goroutine of its own. The messages
// of one connection stay in order in any case.
//
// # One message to many
//
// [Broadcast] sends a message to all connections of a Registry, or to any others,
// without waiting for any of them:
//
//	websocket.Broadcast(registry.All(), websocket.Prepare(websocket.Text, p))
//
// [Prepare] encodes it, once for all. [Conn.Send] does the same for one connection.
// What a slow peer does not take waits in this process, as a reference to the
// message that all share: up to [Options.SendLimit]. What happens then is
// [Options.SlowPolicy]: Send returns [ErrSlow], or the oldest that wait are thrown
// away, or the connection is ended. [Conn.SendStats] counts. [Conn.Write] is for the
// opposite case: it waits for a slow peer, and so slows its caller down.
//
// # Compression and other extensions
//
// [Options.Extensions] names what is negotiated in the opening handshake:
//
//	Extensions: []websocket.Extension{&websocket.Deflate{}}
//
// [Deflate] is permessage-deflate (RFC 7692), which browsers offer by themselves, with
// windows as small as both ends want and not a byte of memory before the first
// compressed message. Others can be written from outside; see [Extension] and its
// example.
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
// It goes through the proxies that the environment names, or [DialOptions.Proxy];
// follows redirects without carrying credentials to other origins; and waits while
// another Dial is on its way to the same host, as RFC 6455 wants it
// ([DialOptions.Parallel]). A [Reconnect] dials again when the connection has ended,
// after a random time that grows, unless the server has said that there is no use
// in it. Built for a browser (GOOS=js) Dial and Conn are the same, over the
// browser's own WebSocket.
//
// # Many strangers
//
// [Limits] in [AcceptOptions.Limits] hold a server's clients to a number of
// connections in all and for each address, and to handshakes a second; they say
// who may connect, and behind which proxies clients are found.
// [Options.MessageRate] and [Options.ByteRate] bound what one connection sends.
// [Options.Hooks] tell of what happens, for metrics.
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
// next call of the stream, and so do answers to messages that have come together;
// see [Conn.Write]. Nothing panics for being called in the wrong order:
// after an error that ends the connection every call returns it again.
//
// # Errors
//
//   - [*CloseError]: the connection was closed, by whom, with which code and
//     reason. errors.Is(err, net.ErrClosed) is true of it.
//   - [*Error]: the peer broke a rule or passed a limit, and the close code that
//     it was told. errors.Is(err, [ErrMessageTooBig]) finds the commonest limit.
//   - [ErrSlow]: the peer takes messages more slowly than Send sends them.
//   - [*PanicError]: a callback of a Handler panicked; its Close callback gets it.
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
//  1. One read of the stream fills a borrowed buffer; of a parked connection, the
//     buffer of the goroutine that waits for all.
//  2. wire.ParseHeader takes a frame's header out of it.
//  3. wire.Decoder.Frame holds it to the rules of RFC 6455, 5.1 to 5.5.
//  4. The payload goes straight into the message's slice, is unmasked there and,
//     if it is text, checked.
//     Of a connection that has extensions it goes through their Decoders before, as
//     far as it has come, and what they make of it is counted and checked.
//  5. A control frame is answered on the way. At the end of the message Read
//     returns it, or the Handler calls back.
//
// Going out:
//
//  1. Write waits for its turn, which it nearly always has at once.
//  2. The frame is written with one call of the stream; or it joins the batch of
//     frames that gathers while another call is under way.
//     A parked connection's frames gather until all that has come is worked on,
//     and what its socket does not take then leaves when there is room. Those of
//     any other gather while the next message has come already.
//     Extensions encode it when its turn has come.
//  3. Pongs and a close frame gather in the same batch, in their order.
//  4. Messages of Send gather there, too, unless the peer is slow: then they wait
//     behind the batch, and a later Write waits behind them. A lone one is written by
//     Send itself as far as a socket takes it at once; what a Broadcast brings is
//     written by a few goroutines, which end when they are done.
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
