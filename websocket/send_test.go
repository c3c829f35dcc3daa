package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// patiently returns options with which nothing but SendLimit ends a slow connection.
func patiently(limit int, policy websocket.SlowPolicy) *websocket.Options {
	return &websocket.Options{
		SendLimit: limit, SlowPolicy: policy,
		PingInterval: -1, WriteTimeout: -1, CloseTimeout: -1,
	}
}

func prepared(format string, args ...any) *websocket.Prepared {
	return websocket.Prepare(websocket.Text, fmt.Appendf(nil, format, args...))
}

// send fails unless Send takes all messages.
func send(t *testing.T, c *websocket.Conn, messages ...string) {
	t.Helper()
	for _, m := range messages {
		if err := c.Send(prepared("%s", m)); err != nil {
			t.Fatalf("Send %.40q: %v", m, err)
		}
	}
}

// stuck makes the line of c's peer stuck, with a message in the stream's Write.
func stuck(t *testing.T, c *websocket.Conn, peer *raw) {
	t.Helper()
	peer.s.Peer().SetBuffer(0)
	send(t, c, "in the stream")
	synctest.Wait()
}

func (r *raw) free() { r.s.Peer().SetBuffer(1 << 20) }

// overEnds is overKinds for a server's connection and a client's.
func overEnds(t *testing.T, test func(t *testing.T, kind wstest.Kind, server bool)) {
	for _, server := range []bool{true, false} {
		t.Run(fmt.Sprintf("server %v", server), func(t *testing.T) {
			overKinds(t, func(t *testing.T, kind wstest.Kind) { test(t, kind, server) })
		})
	}
}

// Beyond the limit each policy does what its name says, to whole messages and in
// order, and counts it. Ten messages of 10 bytes and a header of 2 fill it.
func TestSlowPolicies(t *testing.T) {
	cases := []struct {
		policy websocket.SlowPolicy
		stats  websocket.SendStats
		last   error
		frames []string
	}{
		{websocket.SlowRefuse, websocket.SendStats{Waiting: 10, WaitingBytes: 120, Refused: 3}, websocket.ErrSlow,
			[]string{"text message 00", "*", "*", "*", "*", "*", "*", "*", "*", "text message 09", "close 4000"}},
		{websocket.SlowDropOldest, websocket.SendStats{Waiting: 10, WaitingBytes: 120, Dropped: 3}, nil,
			[]string{"text message 03", "*", "*", "*", "*", "*", "*", "*", "*", "text message 12", "close 4000"}},
		{websocket.SlowClose, websocket.SendStats{Dropped: 10, Refused: 1}, websocket.ErrSlow,
			[]string{"close 1008 messages are taken too slowly", "end"}},
		{200, websocket.SendStats{Waiting: 10, WaitingBytes: 120, Refused: 3}, websocket.ErrSlow,
			[]string{"text message 00"}},
	}
	for _, tc := range cases {
		t.Run(tc.policy.String(), func(t *testing.T) {
			overEnds(t, func(t *testing.T, kind wstest.Kind, server bool) {
				c, peer := against(t, kind, server, patiently(120, tc.policy))
				if got := c.SendStats(); got != (websocket.SendStats{}) {
					t.Errorf("at first: %+v", got)
				}
				stuck(t, c, peer)
				var err error
				for i := range 13 {
					err = c.Send(prepared("message %02d", i))
					if i < 10 && err != nil {
						t.Fatalf("message %d: %v", i, err)
					}
				}
				if !errors.Is(err, tc.last) {
					t.Errorf("the last Send: %v, want %v", err, tc.last)
				}
				if got := c.SendStats(); got != tc.stats {
					t.Errorf("got %+v, want %+v", got, tc.stats)
				}
				if tc.policy != websocket.SlowClose {
					c.CloseWrite(4000, "")
				}
				peer.free()
				peer.want("text in the stream")
				peer.want(tc.frames...)
			})
		})
	}
}

func TestSlowPolicyString(t *testing.T) {
	for p, want := range map[websocket.SlowPolicy]string{
		websocket.SlowRefuse: "refuse", websocket.SlowDropOldest: "drop oldest", websocket.SlowClose: "close",
	} {
		if p.String() != want {
			t.Errorf("%d is %q, want %q", p, p, want)
		}
	}
}

// SlowClose is the end of the connection that every call tells, whether the peer
// answers the close frame, or takes nothing more: then it is cut after a second.
func TestSlowCloseEnds(t *testing.T) {
	for _, answers := range []bool{true, false} {
		overKinds(t, func(t *testing.T, kind wstest.Kind) {
			c, peer := against(t, kind, true, patiently(1, websocket.SlowClose))
			stuck(t, c, peer)
			send(t, c, "waits")
			waiting := reading(c)
			begin := time.Now()
			err := c.Send(prepared("too much"))
			if answers {
				peer.free()
				peer.want("text in the stream", "close 1008 *")
				peer.send(peer.close(1008, ""))
				peer.want("end")
				peer.Close()
			}
			got := waiting()
			if got != err {
				t.Errorf("Read: %v, Send: %v", got, err)
			}
			wantError(t, got, websocket.ClosePolicyViolation)
			if !errors.Is(got, websocket.ErrSlow) {
				t.Errorf("%v is not ErrSlow", got)
			}
			if again := c.Send(prepared("late")); again != err {
				t.Errorf("then Send: %v", again)
			}
			if again := c.Write(bg, websocket.Text, nil); again != err {
				t.Errorf("then Write: %v", again)
			}
			if took := time.Since(begin); !answers && took != time.Second {
				t.Errorf("the stuck peer was cut after %v, want 1s", took)
			}
		})
	}
}

func TestSendLimit(t *testing.T) {
	cases := []struct {
		limit, size, fit int
	}{
		{0, 1<<14 - 4, 64}, // 1 MiB by default
		{-1, 1<<14 - 4, 1000},
		{40, 8, 4},
		{1, 8, 1},         // one always may wait
		{1000, 70_000, 1}, // of any size
	}
	for _, tc := range cases {
		t.Run(fmt.Sprint(tc.limit), func(t *testing.T) {
			overKinds(t, func(t *testing.T, kind wstest.Kind) {
				c, peer := against(t, kind, true, patiently(tc.limit, websocket.SlowRefuse))
				stuck(t, c, peer)
				m, fit := websocket.Prepare(websocket.Binary, make([]byte, tc.size)), 0
				for fit < 1000 && c.Send(m) == nil {
					fit++
				}
				if fit != tc.fit || c.SendStats().Waiting != tc.fit {
					t.Errorf("%d wait, %+v; want %d", fit, c.SendStats(), tc.fit)
				}
				peer.free()
				peer.want("text in the stream")
				for range fit {
					if _, p, err := peer.ReadFrame(); err != nil || len(p) != tc.size {
						t.Fatalf("%d bytes, %v", len(p), err)
					}
				}
				synctest.Wait()
				if got := c.SendStats(); got.Waiting != 0 || got.WaitingBytes != 0 {
					t.Errorf("when all has gone: %+v", got)
				}
				send(t, c, "again")
				peer.want("text again")
			})
		})
	}
}

// A message above the limit is sent to a peer that is not slow, and one is enough
// to make room for it.
func TestSendAboveLimit(t *testing.T) {
	overEnds(t, func(t *testing.T, kind wstest.Kind, server bool) {
		c, peer := against(t, kind, server, patiently(100, websocket.SlowDropOldest))
		peer.free()
		send(t, c, message(200_000))
		peer.want("text 200000 bytes")
		stuck(t, c, peer)
		send(t, c, "old", "older", message(300_000))
		if got, want := c.SendStats().Dropped, uint64(2); got != want {
			t.Errorf("%d dropped, want %d", got, want)
		}
		peer.free()
		peer.want("text in the stream", "text 300000 bytes")
	})
}

// What one goroutine sends goes out in the order of its calls, however it does.
func TestSendOrder(t *testing.T) {
	overEnds(t, func(t *testing.T, kind wstest.Kind, server bool) {
		for _, size := range []int{100_000, 9000, 0} {
			c, peer := against(t, kind, server, patiently(-1, websocket.SlowRefuse))
			peer.s.Peer().SetBuffer(100)
			sent := async(func() error {
				for i := range 20 {
					m := fmt.Sprintf("%d %s", i, message(size))
					err := error(nil)
					switch i % 5 {
					case 0, 1, 2:
						err = c.Send(prepared("%s", m))
					case 3:
						err = c.Write(bg, websocket.Text, []byte(m))
					case 4:
						err = writeAll(c, bg, m)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
			for i := range 20 {
				if got, want := peer.message(), fmt.Sprintf("%d %s", i, message(size)); got != want {
					t.Fatalf("got %.20q, want %.20q", got, want)
				}
			}
			if err := sent(); err != nil {
				t.Error(err)
			}
			peer.Close()
		}
	})
}

// message returns the next message, whatever its fragments.
func (r *raw) message() string {
	r.t.Helper()
	var b strings.Builder
	for {
		h, p, err := r.ReadFrame()
		if err != nil {
			r.t.Fatal(err)
		}
		if (h.Opcode == wire.OpContinuation) == (b.Len() == 0) {
			r.t.Fatalf("%v frame after %d bytes of a message", h.Opcode, b.Len())
		}
		if b.Write(p); h.Fin {
			return b.String()
		}
	}
}

// Messages of Send wait for the end of one in fragments, and go then, without
// another call. RFC 6455, 5.4.
func TestSendBehindAWriter(t *testing.T) {
	overEnds(t, func(t *testing.T, kind wstest.Kind, server bool) {
		c, peer := against(t, kind, server, patiently(100, websocket.SlowRefuse))
		w, err := c.Writer(bg, websocket.Text)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(message(5000)))
		send(t, c, "after", "the", "message")
		if got := c.SendStats().Waiting; got != 3 {
			t.Errorf("%d wait, want 3", got)
		}
		w.Write([]byte(message(6000)))
		w.Close()
		peer.want("text… 5000 bytes", "continuation… 6000 bytes", "continuation", "text after", "text the", "text message")
		w, _ = c.Writer(bg, websocket.Text)
		w.Write([]byte(message(5000)))
		send(t, c, "never")
		c.CloseWrite(1000, "")
		peer.want("text… 5000 bytes", "close 1000")
	})
}

// A Write waits for what waited before it, and for no more: messages that are sent
// while it waits do not pass it for ever.
func TestWriteAmongSends(t *testing.T) {
	for _, size := range []int{10, 100_000} {
		overEnds(t, func(t *testing.T, kind wstest.Kind, server bool) {
			c, peer := against(t, kind, server, patiently(-1, websocket.SlowRefuse))
			stuck(t, c, peer)
			sent, got := 0, 0
			more := func() {
				for c.SendStats().Waiting < 4 {
					send(t, c, message(40_000))
					sent++
				}
				synctest.Wait()
			}
			more()
			wrote := async(func() error { return c.Write(bg, websocket.Binary, make([]byte, size)) })
			synctest.Wait()
			peer.s.Peer().SetBuffer(100)
			peer.want("text in the stream")
			for ; ; got++ {
				if got > 4 {
					t.Fatal("the Write has not had its turn")
				}
				more()
				if h, _, err := peer.ReadFrame(); err != nil || h.Opcode == wire.OpBinary {
					break
				}
			}
			for range sent - got { // what came behind it goes, too
				peer.want("text 40000 bytes")
			}
			if err := wrote(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A Write that gives up lets go on what has lined up behind it.
func TestWriteThatGivesUpAmongSends(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, patiently(-1, websocket.SlowRefuse))
		stuck(t, c, peer)
		ctx, cancel := context.WithCancel(bg)
		wrote := async(func() error { return c.Write(ctx, websocket.Binary, make([]byte, 100_000)) })
		synctest.Wait()
		send(t, c, "behind it")
		synctest.Wait()
		cancel()
		if err := wrote(); err != context.Canceled {
			t.Errorf("Write: %v", err)
		}
		peer.free()
		peer.want("text in the stream", "text behind it")
	})
}

// Close sends what waits, in order, before its frame; CloseNow does not; either
// way Send tells from then on why, and nothing is left over.
func TestSendThenClose(t *testing.T) {
	overEnds(t, func(t *testing.T, kind wstest.Kind, server bool) {
		c, peer := against(t, kind, server, patiently(-1, websocket.SlowRefuse))
		stuck(t, c, peer)
		send(t, c, "a", message(100_000), "", message(70_000), "b")
		if err := c.CloseWrite(4000, "done"); err != nil {
			t.Fatal(err)
		}
		wantClose(t, c.Send(prepared("late")), websocket.CloseError{Code: 4000, Reason: "done", Local: true})
		end := reading(c)
		peer.free()
		peer.want("text in the stream", "text a", "text 100000 bytes", "text", "text 70000 bytes", "text b", "close 4000 done")
		peer.send(peer.close(4000, ""))
		if !server {
			peer.Close() // RFC 6455, 7.1.1: the server ends the stream first
		}
		wantClose(t, end(), websocket.CloseError{Code: 4000, Reason: "done", Local: true})
	})
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, patiently(-1, websocket.SlowRefuse))
		stuck(t, c, peer)
		send(t, c, "a", "b")
		c.CloseNow()
		wantClose(t, c.Send(prepared("late")), websocket.CloseError{Code: websocket.CloseAbnormal, Local: true})
		if got := c.SendStats(); got != (websocket.SendStats{}) {
			t.Errorf("after the end: %+v", got)
		}
		peer.want("end")
	})
}

// The peer's close frame is answered behind what waits.
func TestPeerClosesWhileMessagesWait(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, patiently(-1, websocket.SlowRefuse))
		stuck(t, c, peer)
		send(t, c, "a", message(100_000))
		end := reading(c)
		peer.send(peer.close(1000, "bye"))
		synctest.Wait()
		peer.free()
		peer.want("text in the stream", "text a", "text 100000 bytes", "close 1000", "end")
		peer.Close()
		wantClose(t, end(), websocket.CloseError{Code: 1000, Reason: "bye"})
	})
}

// The write timeout ends a connection that messages wait for, and Send tells.
func TestSendWriteTimeout(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		c, peer := against(t, kind, true, nil)
		stuck(t, c, peer)
		send(t, c, "a")
		time.Sleep(10*time.Second + time.Nanosecond)
		synctest.Wait()
		if err := c.Send(prepared("b")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Send: %v", err)
		}
		if got := c.SendStats(); got != (websocket.SendStats{}) {
			t.Errorf("after the end: %+v", got)
		}
	})
}

// Many send at once to a peer that is slow, in all ways: each message arrives
// whole, and those of one goroutine in order.
func TestManySenders(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		client, server := pair(t, kind, patiently(-1, websocket.SlowRefuse))
		const senders, messages = 5, 40
		for i := range senders {
			go func() {
				for j := range messages {
					m := fmt.Sprintf("%d %d %s", i, j, message((i*7+j*13)%23*4000))
					var err error
					switch (i + j) % 4 {
					case 0:
						err = writeAll(server, bg, m)
					case 1:
						err = server.WritePrepared(bg, prepared("%s", m))
					default:
						err = server.Send(prepared("%s", m))
					}
					if err != nil {
						t.Error(err)
					}
				}
			}()
		}
		next := make([]int, senders)
		for range senders * messages {
			_, p, err := client.Read(bg)
			if err != nil {
				t.Fatal(err)
			}
			var i, j int
			fmt.Sscanf(string(p), "%d %d", &i, &j)
			if j != next[i] || !strings.HasSuffix(string(p), message((i*7+j*13)%23*4000)) {
				t.Fatalf("sender %d: got message %d of %d bytes, want message %d", i, j, len(p), next[i])
			}
			next[i]++
		}
	})
}

// Against a peer that is stuck, what waits costs a pointer a connection, though it
// is being written, and though a close frame is behind it.
func TestSendSharesMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const conns, size = 40, 1 << 20
		m := websocket.Prepare(websocket.Binary, make([]byte, size))
		before := liveHeap()
		for i := range conns {
			c, peer := against(t, wstest.Kinds[i%2], true, patiently(-1, websocket.SlowRefuse))
			peer.s.Peer().SetBuffer(0)
			for range 10 {
				if err := c.Send(m); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			c.CloseWrite(1000, "")
			synctest.Wait()
		}
		if got := int(liveHeap()-before) / conns; got > size/10 {
			t.Errorf("10 messages of %d bytes cost %d bytes a connection", size, got)
		}
		runtime.KeepAlive(m)
	})
}

func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // what pools have kept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A parked is a Handler's connection over the system's sockets, and its peer.
type parked struct {
	*websocket.Conn
	peer   *websocket.Conn
	closed chan error
}

// park returns a connection of h, whose callbacks Open and Close it sets, with
// about that many bytes of room in each socket.
func park(t *testing.T, room int, h *websocket.Handler) *parked {
	t.Helper()
	opened, closed := make(chan *websocket.Conn, 1), make(chan error, 1)
	h.Open = func(c *websocket.Conn, _ *http.Request) { opened <- c }
	h.Close = func(_ *websocket.Conn, err error) { closed <- err }
	srv := httptest.NewUnstartedServer(h)
	srv.Listener = narrow{srv.Listener, room}
	srv.Start()
	t.Cleanup(srv.Close)
	peer, _, err := websocket.Dial(bg, "ws"+strings.TrimPrefix(srv.URL, "http"), &websocket.DialOptions{
		Options: websocket.Options{MaxMessage: 1 << 26},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err == nil {
				c.(*net.TCPConn).SetReadBuffer(room)
			}
			return c, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &parked{<-opened, peer, closed}
	t.Cleanup(func() { peer.CloseNow(); p.CloseNow(); <-closed })
	return p
}

type narrow struct {
	net.Listener
	room int
}

func (n narrow) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if err == nil {
		c.(*net.TCPConn).SetWriteBuffer(n.room)
	}
	return c, err
}

func handlerWith(o *websocket.Options) *websocket.Handler {
	return &websocket.Handler{AcceptOptions: websocket.AcceptOptions{Options: *o}}
}

// fill sends numbered messages until one waits, and returns how many there are.
func (p *parked) fill(t *testing.T, size int) (n int) {
	t.Helper()
	for p.SendStats().Waiting == 0 {
		if err := p.Send(prepared("%d %s", n, message(size))); err != nil {
			t.Fatal(err)
		}
		if n++; n*(size+1) > 1<<24 {
			t.Fatal("the peer's socket takes everything")
		}
	}
	return n
}

// want reads numbered messages from one number up to another.
func (p *parked) want(t *testing.T, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		ctx, cancel := context.WithTimeout(bg, 10*time.Second)
		defer cancel()
		_, b, err := p.peer.Read(ctx)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if number, _, _ := strings.Cut(string(b), " "); number != fmt.Sprint(i) {
			t.Fatalf("got message %s, want %d", number, i)
		}
	}
}

// A peer that stops reading stops nobody, gets all when it reads on, and what it
// was late with is counted. Close waits behind it.
func TestParkedSend(t *testing.T) {
	for _, size := range []int{1, 1000, 20_000, 300_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			p := park(t, 64<<10, handlerWith(patiently(-1, websocket.SlowRefuse)))
			n := p.fill(t, size)
			for i := range 20 {
				send(t, p.Conn, fmt.Sprintf("%d %s", n+i, message(size)))
			}
			if got := p.SendStats(); got.Waiting != 21 || got.WaitingBytes < 21*size {
				t.Errorf("%+v, want 21 waiting", got)
			}
			p.want(t, 0, n+10)
			p.Close(4000, "")
			p.want(t, n+10, n+20)
			wantClose(t, reading(p.peer)(), websocket.CloseError{Code: 4000})
			p.closed <- <-p.closed
		})
	}
}

func TestParkedSlowPolicies(t *testing.T) {
	t.Run("refuse", func(t *testing.T) {
		p := park(t, 64<<10, handlerWith(patiently(1, websocket.SlowRefuse)))
		n := p.fill(t, 1000)
		if err := p.Send(prepared("x")); err != websocket.ErrSlow {
			t.Errorf("Send: %v", err)
		}
		p.want(t, 0, n)
	})
	t.Run("drop oldest", func(t *testing.T) {
		p := park(t, 64<<10, handlerWith(patiently(1, websocket.SlowDropOldest)))
		n := p.fill(t, 1000)
		send(t, p.Conn, "x 1", "x 2", fmt.Sprint(n-1))
		if got := p.SendStats(); got.Waiting != 1 || got.Dropped != 3 {
			t.Errorf("%+v", got)
		}
		p.want(t, 0, n) // the last for the one that was dropped
	})
	t.Run("close", func(t *testing.T) {
		p := park(t, 64<<10, handlerWith(patiently(1, websocket.SlowClose)))
		n := p.fill(t, 1000)
		err := p.Send(prepared("x"))
		if got := p.SendStats(); got.Waiting != 0 || got.Dropped != 1 || got.Refused != 1 {
			t.Errorf("%+v", got)
		}
		end := <-p.closed // the peer still does not read
		if end != err || !errors.Is(end, websocket.ErrSlow) {
			t.Errorf("Close callback: %v, Send: %v", end, err)
		}
		p.closed <- end
		p.want(t, 0, min(n-1, 1)) // what had left is to be had
	})
}

// Large messages of several goroutines meet at one connection: whoever writes sees
// to what has come meanwhile.
func TestParkedSendersMeet(t *testing.T) {
	p := park(t, 4<<20, handlerWith(patiently(-1, websocket.SlowRefuse)))
	const senders, messages = 4, 200
	m := websocket.Prepare(websocket.Binary, make([]byte, 70_000))
	for range senders {
		go func() {
			for range messages {
				p.Send(m)
			}
		}()
	}
	for i := range senders * messages {
		ctx, cancel := context.WithTimeout(bg, 10*time.Second)
		defer cancel()
		if _, _, err := p.peer.Read(ctx); err != nil {
			t.Fatalf("message %d: %v, %+v", i, err, p.SendStats())
		}
	}
}

// The same with Write, in which each waits for the one before.
func TestParkedWritersMeet(t *testing.T) {
	p := park(t, 4<<20, handlerWith(patiently(-1, websocket.SlowRefuse)))
	const writers, messages = 4, 200
	for range writers {
		go func() {
			for range messages {
				p.Write(bg, websocket.Binary, make([]byte, 70_000))
			}
		}()
	}
	ctx, cancel := context.WithTimeout(bg, 20*time.Second)
	defer cancel()
	for i := range writers * messages {
		if _, _, err := p.peer.Read(ctx); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
}

// A large Write behind gathered frames does not get between the fragments of
// another goroutine's message.
func TestParkedFragmentsStayTogether(t *testing.T) {
	const messages = 1000
	now := make(chan bool, 1)
	h := handlerWith(patiently(-1, websocket.SlowRefuse))
	h.Message = func(c *websocket.Conn, _ websocket.MessageType, p []byte) {
		for range 4 {
			c.Write(bg, websocket.Text, []byte(message(7000))) // gathers
		}
		now <- true
		c.Write(bg, websocket.Text, []byte(message(9000)))
	}
	p := park(t, 4<<20, h)
	wrote := async(func() (err error) {
		for range messages {
			<-now
			w, _ := p.Writer(bg, websocket.Text)
			for range 3 {
				if _, err = w.Write([]byte(message(50_000)[:5000])); err != nil { // which takes a moment
					return err
				}
			}
			if err = w.Close(); err != nil {
				return err
			}
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(bg, 20*time.Second)
	defer cancel()
	for range messages {
		if err := p.peer.Write(bg, websocket.Text, nil); err != nil {
			t.Fatal(err)
		}
		for range 6 {
			if _, _, err := p.peer.Read(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := wrote(); err != nil {
		t.Error(err)
	}
}

// Send allocates nothing where the peer keeps up, nor does it where messages
// wait now and then.
func TestSendNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	lines := map[string]func() (c, peer *websocket.Conn){
		"parked": func() (c, peer *websocket.Conn) {
			p := park(t, 1<<20, handlerWith(patiently(0, websocket.SlowRefuse)))
			return p.Conn, p.peer
		},
		"blocking": func() (c, peer *websocket.Conn) {
			client, server := overTCP(t, nil)
			return server, client
		},
		"client": func() (c, peer *websocket.Conn) { return overTCP(t, nil) },
	}
	for name, line := range lines {
		t.Run(name, func(t *testing.T) {
			c, peer := line()
			var buf []byte
			for _, n := range []int{0, 32, 5000, 20_000} {
				m := websocket.Prepare(websocket.Binary, make([]byte, n))
				allocs := testing.AllocsPerRun(500, func() {
					for range 3 {
						if err := c.Send(m); err != nil {
							t.Fatal(err)
						}
					}
					for range 3 {
						_, p, err := peer.AppendRead(bg, buf[:0])
						if err != nil {
							t.Fatal(err)
						}
						buf = p
					}
				})
				if allocs > 0 {
					t.Errorf("%d bytes: %v allocations", n, allocs)
				}
			}
		})
	}
}
