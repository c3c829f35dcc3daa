// Package wstest tests WebSocket handlers and clients in memory: without ports,
// as fast as the code runs, and if need be with time that does not pass by
// itself.
//
// # A handler
//
// [NewServer] runs any http.Handler, middleware and all, and Dial is a client
// that does the real opening handshake with it:
//
//	func TestChat(t *testing.T) {
//		s := wstest.NewServer(chat)
//		defer s.Close()
//		c, _, err := s.Dial(t.Context(), "/room/7", nil)
//		if err != nil {
//			t.Fatal(err)
//		}
//		defer c.CloseNow()
//		c.Write(t.Context(), websocket.Text, []byte("hello"))
//		_, p, err := c.Read(t.Context())
//		...
//	}
//
// # Time
//
// What takes time, a ping after 30 seconds, a peer that falls silent, a session
// that ends after an hour, is tested in a bubble of [testing/synctest]. Time
// stands still in it while anything can run and jumps ahead when all goroutines
// wait; everything in this package waits in the way that the bubble sees:
//
//	func TestSessionEnds(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			s := wstest.NewServer(chat)
//			defer s.Close()
//			c, _, err := s.Dial(t.Context(), "/room/7", nil)
//			...
//			begun := time.Now()
//			_, _, err = c.Read(t.Context()) // an hour later, at once
//			if got := time.Since(begun); got != time.Hour { ... }
//		})
//	}
//
// Make the server and all connections within the bubble, and close them before
// its end: a bubble waits for its goroutines, and one that can never go on fails
// the test with a list of who waits for what. synctest.Wait returns when
// everybody waits: then what was sent has arrived and been answered.
//
// Automatic pings are something to wait for: two ends that answer each other's
// pings keep the bubble's time going for ever, and a test that waits for a message
// which never comes hangs instead of failing. Bound such a wait by a context with
// a timeout, or set PingInterval to -1 at both ends where pings do not matter.
//
// # Two ends, or one
//
// [Pipe] gives both ends of a connection, for code that has a *websocket.Conn and
// no handshake. [Kind.Server] and [Kind.Client] give one end and a [Peer], which
// speaks the protocol frame by frame, rightly or wrongly.
//
// # A bad line
//
// Under all of these is a [Stream]. It can be slow, narrow, stuck or cut at a byte
// that the test names, and it counts calls. There are two [Kinds] of streams,
// because a connection does not always run over TCP; code that closes, waits and
// cancels should be tested over both.
package wstest
