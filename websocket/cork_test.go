package websocket_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// A writeLog knows with which writes what has been sent has left.
type writeLog struct {
	net.Conn
	mu   sync.Mutex
	left []time.Time
}

func (l *writeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.left = append(l.left, time.Now())
	l.mu.Unlock()
	return l.Conn.Write(p)
}

// since returns how many writes there have been, and how long after begin.
func (l *writeLog) since(begin time.Time) (after []time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range l.left {
		after = append(after, at.Sub(begin))
	}
	return after
}

// logged runs a test in fake time with a server's connection whose writes are logged,
// to which its peer has sent messages that one read brings.
func logged(t *testing.T, test func(t *testing.T, c *websocket.Conn, l *writeLog, peer *raw), messages ...string) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := wstest.Streams()
		l := &writeLog{Conn: ours}
		c := websocket.Server(l, &websocket.Options{WriteTimeout: time.Second, PingInterval: -1})
		defer c.CloseNow()
		peer := &raw{Peer: wstest.NewPeer(theirs, true), t: t, s: theirs}
		defer theirs.Close()
		var all []byte
		for _, m := range messages {
			all = append(all, peer.text(m)...)
		}
		peer.send(all)
		test(t, c, l, peer)
	})
}

func write(t testing.TB, c *websocket.Conn, m string) {
	t.Helper()
	if err := c.Write(bg, websocket.Text, []byte(m)); err != nil {
		t.Fatalf("writing %.20q: %v", m, err)
	}
}

// wantWrites fails unless there have been writes at these times.
func wantWrites(t testing.TB, l *writeLog, begin time.Time, want ...time.Duration) {
	t.Helper()
	if got := l.since(begin); !slices.Equal(got, want) {
		t.Errorf("writes after %v, want %v", got, want)
	}
}

func TestAnswersLeaveTogether(t *testing.T) {
	for name, answer := range map[string]func(*websocket.Conn, string) error{
		"Write": func(c *websocket.Conn, m string) error { return c.Write(bg, websocket.Text, []byte(m)) },
		"WritePrepared": func(c *websocket.Conn, m string) error {
			return c.WritePrepared(bg, websocket.Prepare(websocket.Text, []byte(m)))
		},
		"Writer": func(c *websocket.Conn, m string) error {
			w, err := c.Writer(bg, websocket.Text)
			if err != nil {
				return err
			}
			w.Write([]byte(m))
			return w.Close()
		},
		"Send": func(c *websocket.Conn, m string) error {
			return c.Send(websocket.Prepare(websocket.Text, []byte(m)))
		},
		"Broadcast": func(c *websocket.Conn, m string) error {
			if websocket.Broadcast(slices.Values([]*websocket.Conn{c}), websocket.Prepare(websocket.Text, []byte(m))) != 1 {
				return errors.New("not sent")
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			logged(t, func(t *testing.T, c *websocket.Conn, l *writeLog, peer *raw) {
				begin := time.Now()
				for _, m := range []string{"1", "2", "3", "4"} {
					read(t, c, m)
					if m == "4" {
						wantWrites(t, l, begin)
					}
					if err := answer(c, m); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait() // for Send's goroutine
				wantWrites(t, l, begin, 0)
				peer.want("text 1", "text 2", "text 3", "text 4")

				// A message alone is answered as ever.
				peer.send(peer.text("5"))
				read(t, c, "5")
				if err := answer(c, "5"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				wantWrites(t, l, begin, 0, 0)
				peer.want("text 5")
			}, "1", "2", "3", "4")
		})
	}
}

// The last message has no answer: those before it leave before the read that waits.
func TestAnswersLeaveBeforeAReadWaits(t *testing.T) {
	logged(t, func(t *testing.T, c *websocket.Conn, l *writeLog, peer *raw) {
		begin := time.Now()
		read(t, c, "1")
		write(t, c, "one")
		read(t, c, "2")
		write(t, c, "two")
		read(t, c, "3")
		next := reading(c)
		synctest.Wait()
		wantWrites(t, l, begin, 0)
		peer.want("text one", "text two")
		peer.send(peer.text("4"))
		if err := next(); err != nil {
			t.Error(err)
		}
	}, "1", "2", "3")
}

// An application that takes its time between two messages holds up nothing for longer
// than a millisecond, and once: what comes after is written at once.
func TestAnswersLeaveInTime(t *testing.T) {
	logged(t, func(t *testing.T, c *websocket.Conn, l *writeLog, peer *raw) {
		begin := time.Now()
		read(t, c, "1")
		write(t, c, "one")
		time.Sleep(time.Minute)
		wantWrites(t, l, begin, time.Millisecond)
		write(t, c, "more")
		wantWrites(t, l, begin, time.Millisecond, time.Minute)
		read(t, c, "2")
		write(t, c, "two")
		wantWrites(t, l, begin, time.Millisecond, time.Minute, time.Minute)
		read(t, c, "3")
		write(t, c, "three")
		peer.want("text one", "text more", "text two", "text three")

		// That was those messages, not the next.
		peer.send(peer.text("4"), peer.text("5"))
		read(t, c, "4")
		begin, l.left = time.Now(), nil
		write(t, c, "four")
		time.Sleep(time.Minute)
		wantWrites(t, l, begin, time.Millisecond)
		peer.want("text four")
	}, "1", "2", "3")
}

// The last message is taken and nothing comes after it, neither an answer nor a read.
func TestAnswersLeaveWithoutTheLast(t *testing.T) {
	logged(t, func(t *testing.T, c *websocket.Conn, l *writeLog, peer *raw) {
		begin := time.Now()
		read(t, c, "1")
		write(t, c, "one")
		read(t, c, "2")
		time.Sleep(time.Minute)
		wantWrites(t, l, begin, time.Millisecond)
		peer.want("text one")
	}, "1", "2")
}

// Pongs gather with the answers, and what is long takes everything along.
func TestWhatGathersWithAnswers(t *testing.T) {
	long := message(10_000)
	logged(t, func(t *testing.T, c *websocket.Conn, l *writeLog, peer *raw) {
		peer.send(peer.text("2"), peer.frame(true, wire.OpPing, "p"), peer.text("3"), peer.text("4"))
		begin := time.Now()
		read(t, c, "1")
		for _, m := range []string{"2", "3"} {
			read(t, c, m)
			write(t, c, m)
		}
		wantWrites(t, l, begin)
		write(t, c, long)
		wantWrites(t, l, begin, 0)
		peer.want("text 2", "pong p", "text 3", "text 10000 bytes")
	}, "1")
}

// What gathers has a bound.
func TestAnswersThatGatherHaveABound(t *testing.T) {
	const size, n = 1000, 1000
	messages := slices.Repeat([]string{"x"}, n)
	logged(t, func(t *testing.T, c *websocket.Conn, l *writeLog, peer *raw) {
		begin := time.Now()
		got := async(func() error {
			for range n {
				if _, p, err := peer.ReadFrame(); err != nil || len(p) != size {
					return fmt.Errorf("%d bytes, %v", len(p), err)
				}
			}
			return nil
		})
		for range n {
			read(t, c, "x")
			write(t, c, message(size))
		}
		if err := got(); err != nil {
			t.Error(err)
		}
		if got, least, most := len(l.since(begin)), n*size/(64<<10), 2*n*size/(32<<10); got < least || got > most {
			t.Errorf("%d writes of %d KiB in all, want %d to %d", got, n*size>>10, least, most)
		}
	}, messages...)
}

// Whoever writes and then ends the connection has written.
func TestCloseNowSendsWhatHasGathered(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, nil)
		peer.send(peer.text("1"), peer.text("2"))
		e.read("1")
		write(t, e.Conn, "one")
		e.CloseNow()
		peer.want("text one", "*")
	})
	for name, long := range map[string]int{"stuck": 0, "stuck behind another write": 100_000} {
		t.Run(name, func(t *testing.T) {
			logged(t, func(t *testing.T, c *websocket.Conn, l *writeLog, peer *raw) {
				read(t, c, "1")
				write(t, c, "one")
				peer.s.Peer().SetBuffer(0)
				if long > 0 {
					defer async(func() error { return c.Write(bg, websocket.Text, []byte(message(long))) })()
					synctest.Wait()
				}
				begin := time.Now()
				c.CloseNow()
				if d := time.Since(begin); d != 10*time.Millisecond {
					t.Errorf("CloseNow took %v", d)
				}
				var closed *websocket.CloseError
				if err := c.Write(bg, websocket.Text, nil); !errors.As(err, &closed) || !closed.Local {
					t.Errorf("after CloseNow: %v", err)
				}
			}, "1", "2")
		})
	}
	t.Run("beside another write", func(t *testing.T) {
		logged(t, func(t *testing.T, c *websocket.Conn, l *writeLog, peer *raw) {
			read(t, c, "1")
			write(t, c, "one")
			peer.s.Peer().SetBuffer(1 << 10)
			long := async(func() error { return c.Write(bg, websocket.Text, []byte(message(16<<10))) })
			synctest.Wait()
			closed := async(c.CloseNow)
			peer.want("text one")
			closed()
			long()
		}, "1", "2")
	})
}

func TestCloseSendsWhatHasGathered(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, nil)
		peer.send(peer.text("1"), peer.text("2"))
		e.read("1")
		write(t, e.Conn, "one")
		closed := e.closing(websocket.CloseNormal, "bye")
		peer.want("text one", "close 1000 bye")
		peer.send(peer.close(websocket.CloseNormal, "bye"))
		if err := closed(); err != nil {
			t.Error(err)
		}
	})
}

// A peer that takes nothing is found by the write that has to wait, and every later
// call says so.
func TestGatheredForAPeerThatTakesNothing(t *testing.T) {
	logged(t, func(t *testing.T, c *websocket.Conn, l *writeLog, peer *raw) {
		peer.s.Peer().SetBuffer(0)
		read(t, c, "1")
		write(t, c, "one")
		begin := time.Now()
		time.Sleep(time.Minute)
		err := c.Write(bg, websocket.Text, nil)
		if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "took nothing for 1s") {
			t.Errorf("a minute later: %v", err)
		}
		wantWrites(t, l, begin, time.Millisecond)
	}, "1", "2")
}

// No stream needs more than its three methods for that, and a deadline that somebody has
// set is his.
func TestAnswersGatherOverAnyStream(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		ours, theirs := wstest.Streams()
		defer theirs.Close()
		ours.SetWriteDeadline(time.Now().Add(time.Minute))
		c := websocket.Server(ours.As(kind), &websocket.Options{PingInterval: -1, WriteTimeout: time.Hour})
		defer c.CloseNow()
		peer := &raw{Peer: wstest.NewPeer(theirs, true), t: t, s: theirs}
		peer.send(peer.text("1"), peer.text("2"))
		read(t, c, "1")
		write(t, c, "one")
		if n := ours.Stats().Writes; n != 0 {
			t.Errorf("%d writes", n)
		}
		read(t, c, "2")
		write(t, c, "two")
		peer.want("text one", "text two")

		begin := time.Now()
		ours.SetBuffer(0)
		if err := c.Write(bg, websocket.Text, nil); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != time.Minute {
			t.Errorf("%v after %v, want the caller's deadline", err, time.Since(begin))
		}
	})
}

// A peer that sends back what it gets, and takes nothing while it does, makes this side's
// writes wait, but not its reads: those would wait for each other.
func TestReadDoesNotWaitForWritesOfOthers(t *testing.T) {
	const n = 3000
	test := func(t *testing.T, client, server *websocket.Conn) {
		echoed := echoing(server)
		p := []byte(message(1000))
		wrote := async(func() error {
			for range n {
				if err := client.Write(bg, websocket.Binary, p); err != nil {
					return err
				}
			}
			return nil
		})
		for i := range n {
			if _, got, err := client.Read(bg); err != nil || len(got) != len(p) {
				t.Fatalf("message %d: %d bytes, %v", i, len(got), err)
			}
		}
		if err := wrote(); err != nil {
			t.Error(err)
		}
		client.CloseNow()
		echoed()
	}
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		ours, theirs := wstest.Streams()
		ours.SetBuffer(2 << 10)
		theirs.SetBuffer(2 << 10)
		client, server := websocket.Client(ours.As(kind), nil), websocket.Server(theirs.As(kind), nil)
		defer client.CloseNow()
		defer server.CloseNow()
		test(t, client, server)
	})
	t.Run("sockets", func(t *testing.T) {
		client, server := overTCP(t, &websocket.Options{WriteTimeout: prompt})
		test(t, client, server)
	})
}

// Whatever has gathered, and whatever waits behind it because it did not fit, leaves
// before a read waits, without the timer.
func TestEverythingLeavesBeforeAReadWaits(t *testing.T) {
	for name, test := range map[string]struct {
		send func(t *testing.T, c *websocket.Conn, peer *raw)
		want []string
	}{
		"more messages of Send than gather": {
			func(t *testing.T, c *websocket.Conn, _ *raw) {
				m := websocket.Prepare(websocket.Text, []byte(message(1000)))
				for range 100 {
					if err := c.Send(m); err != nil {
						t.Fatal(err)
					}
				}
			},
			slices.Repeat([]string{"text 1000 bytes"}, 100),
		},
		"a message of Send behind one in fragments": {
			func(t *testing.T, c *websocket.Conn, _ *raw) {
				w, err := c.Writer(bg, websocket.Text)
				if err != nil {
					t.Fatal(err)
				}
				for range 2 {
					w.Write([]byte(message(4000)))
				}
				if err := c.Send(websocket.Prepare(websocket.Text, []byte("sent"))); err != nil {
					t.Fatal(err)
				}
				w.Close()
			},
			[]string{"text… 4000 bytes", "continuation 4000 bytes", "text sent"},
		},
		"a pong that finds no room": {
			func(t *testing.T, c *websocket.Conn, peer *raw) {
				for range 8 {
					write(t, c, message(8<<10-10))
				}
				write(t, c, message(40)) // 64 KiB but for 6 bytes
				peer.send(peer.frame(true, wire.OpPing, strings.Repeat("p", 125)))
			},
			append(slices.Repeat([]string{"text 8182 bytes"}, 8), "text "+message(40), "pong 125 bytes"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			overWays(t, func(t *testing.T, w way) {
				if w.handler || w.deflate {
					t.Skip("the test reads, and counts bytes")
				}
				e, peer := w.against(t, &websocket.Options{PingInterval: -1})
				peer.send(peer.text("1"), peer.text("2"))
				e.read("1")
				sent := async(func() error { test.send(t, e.Conn, peer); return nil })
				read := async(func() error {
					sent()
					e.read("2")
					_, err := e.next()
					return err
				})
				peer.want(test.want...)
				peer.send(peer.text("3"))
				if err := read(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A peer that has said all that it has to say still gets the answers.
func TestAnswersAtTheEndOfTheStream(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		e, peer := w.against(t, nil)
		half, ok := peer.Stream.(interface{ CloseWrite() error })
		if !ok || w.kind == wstest.Bare {
			t.Skip("the stream has no end of one direction")
		}
		peer.send(peer.text("1"), peer.text("2"))
		e.read("1")
		write(t, e.Conn, "one")
		half.CloseWrite()
		e.read("2")
		ended := e.reading()
		peer.want("text one")
		peer.Close()
		if ended() == nil {
			t.Error("the end was a message")
		}
	})
}

// Waiting under the cork does not make a peer slow.
func TestSendUnderTheCorkIsNotRefused(t *testing.T) {
	logged(t, func(t *testing.T, c *websocket.Conn, l *writeLog, peer *raw) {
		peer.s.Peer().SetBuffer(10 << 20)
		read(t, c, "1")
		m := websocket.Prepare(websocket.Text, []byte(message(300<<10)))
		for i := range 10 {
			if err := c.Send(m); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
			time.Sleep(10 * time.Microsecond)
		}
	}, "1", "2")
}

// Behind somebody else's write there is no cork: a Write waits for it, as ever.
func TestNothingGathersBehindAWriteThatWaits(t *testing.T) {
	logged(t, func(t *testing.T, c *websocket.Conn, l *writeLog, peer *raw) {
		peer.s.Peer().SetBuffer(1 << 10)
		long := async(func() error { return c.Write(bg, websocket.Text, []byte(message(16<<10))) })
		synctest.Wait()
		read(t, c, "1")
		returned := false
		short := async(func() error { defer func() { returned = true }(); return c.Write(bg, websocket.Text, []byte("one")) })
		synctest.Wait()
		if returned {
			t.Error("Write has not waited for its turn")
		}
		peer.want("text 16384 bytes", "text one")
		if err := errors.Join(long(), short()); err != nil {
			t.Error(err)
		}
	}, "1", "2")
}

// In a Handler, too, only another message holds an answer back, and nothing else that
// has come with this one.
func TestHandlerAnswersAheadOfWhatIsNoMessage(t *testing.T) {
	for _, h := range hosts {
		t.Run(h.name, func(t *testing.T) {
			inTime(t, h.memory, func(t *testing.T) {
				s := h.run(t, echoHandler(nil))
				peer := s.peer(t)
				for _, behind := range [][]byte{peer.frame(true, wire.OpPing, "p"), peer.frame(false, wire.OpText, "part")} {
					begin := time.Now()
					peer.send(peer.text("1"), behind)
					peer.want("text 1")
					if d := time.Since(begin); h.memory && d != 0 {
						t.Errorf("answered after %v", d)
					}
					if behind[0]&0x80 != 0 {
						peer.want("pong p")
					}
				}
			})
		})
	}
}

// Goroutines that send in every way, beside one that answers messages which come
// together: nothing is lost, doubled or put out of its order.
func TestSendingInEveryWayUnderTheCork(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		if w.handler {
			t.Skip("the test reads")
		}
		const n = 300
		server, client := w.pair(t, &websocket.Options{WriteTimeout: prompt, SendLimit: -1})
		prepared := func(p []byte) *websocket.Prepared { return websocket.Prepare(websocket.Binary, p) }
		ways := []func(p []byte) error{
			func(p []byte) error { return server.Send(prepared(p)) },
			func(p []byte) error { return server.WritePrepared(bg, prepared(p)) },
			func(p []byte) error { return server.Write(bg, websocket.Binary, p) },
			func(p []byte) error {
				m, err := server.Writer(bg, websocket.Binary)
				if err != nil {
					return err
				}
				for len(p) > 0 {
					k := min(len(p), 5000)
					m.Write(p[:k])
					p = p[k:]
				}
				return m.Close()
			},
		}
		// numbered returns the i-th message of a sender: its name, the number, and some
		// bytes, in some cases many.
		numbered := func(who, i int) []byte {
			size := 10 + i*37%300
			if i%16 == who {
				size += i * 199 % (70 << 10)
			}
			return append([]byte{byte(who), byte(i >> 8), byte(i)}, message(size)...)
		}
		var sending sync.WaitGroup
		for who, send := range ways {
			sending.Go(func() {
				for i := range n {
					if err := send(numbered(who, i)); err != nil {
						t.Errorf("sender %d, message %d: %v", who, i, err)
						return
					}
				}
			})
		}
		echo := len(ways)
		sending.Go(func() {
			for i := range n {
				if err := client.Write(bg, websocket.Binary, numbered(echo, i)); err != nil {
					t.Errorf("the client's message %d: %v", i, err)
					return
				}
			}
		})
		echoed := echoing(server.Conn)
		next := make([]int, len(ways)+1)
		for range n * len(next) {
			_, p, err := client.Read(bg)
			if err != nil {
				t.Fatalf("after %v: %v", next, err)
			}
			who := int(p[0])
			if want := numbered(who, next[who]); string(p) != string(want) {
				t.Fatalf("sender %d: %d bytes, number %d, want %d bytes, number %d", who, len(p), int(p[1])<<8|int(p[2]), len(want), next[who])
			}
			next[who]++
		}
		sending.Wait()
		client.CloseNow()
		echoed()
	})
}
