package websocket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wire"
)

// prompt is how long what needs no waiting may take before a test calls it stuck.
const prompt = 10 * time.Second

// overReal runs a test over the hosts with sockets: in memory there is no loop to be blocked.
func overReal(t *testing.T, test func(t *testing.T, h host)) {
	for _, h := range withSockets {
		t.Run(h.name, func(t *testing.T) { test(t, h) })
	}
}

// open serves h and returns the server's end of a client's connection. Nobody pings:
// that would help those on who wait for what does not come.
func open(t *testing.T, host host, h *websocket.Handler) (server, client *websocket.Conn) {
	t.Helper()
	opened := make(chan *websocket.Conn, 1)
	h.Open = func(c *websocket.Conn, _ *http.Request) { opened <- c }
	h.PingInterval = -1
	client = dial(t, host.run(t, h), &websocket.DialOptions{Options: websocket.Options{PingInterval: -1}})
	return within(t, host, "Open", opened), client
}

// promptly returns a context that ends what hangs.
func promptly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), prompt)
	t.Cleanup(cancel)
	return ctx
}

// Writers that find the line taken by a large message, which is written from where
// it lies and does not gather, are told when it is free.
func TestLargeWritesTogether(t *testing.T) {
	const writers, each, size = 4, 50, 100 << 10
	overReal(t, func(t *testing.T, host host) {
		c, client := open(t, host, new(websocket.Handler))
		ctx, p := promptly(t), make([]byte, size)
		var ends []func() error
		for range writers {
			ends = append(ends, async(func() (err error) {
				for i := 0; i < each && err == nil; i++ {
					err = c.Write(ctx, websocket.Binary, p)
				}
				return err
			}))
		}
		for i := range writers * each {
			if _, got, err := client.Read(ctx); err != nil || len(got) != size {
				t.Fatalf("after %d messages: %d bytes, %v", i, len(got), err)
			}
		}
		for _, end := range ends {
			if err := end(); err != nil {
				t.Error(err)
			}
		}
	})
}

// A message of Send that finds the line taken by a large Write goes out behind it,
// and not only when something else is sent.
func TestSendBesideLargeWrite(t *testing.T) {
	overReal(t, func(t *testing.T, host host) {
		c, client := open(t, host, new(websocket.Handler))
		ctx, p := promptly(t), make([]byte, 300<<10)
		m := websocket.Prepare(websocket.Binary, make([]byte, 100<<10))
		for round := range 100 {
			written := async(func() error { return c.Write(ctx, websocket.Binary, p) })
			sent := async(func() error { return c.Send(m) })
			for i := range 2 {
				if _, _, err := client.Read(ctx); err != nil {
					t.Fatalf("round %d, message %d: %v", round, i, err)
				}
			}
			if err := written(); err != nil {
				t.Error(err)
			}
			if err := sent(); err != nil {
				t.Error(err)
			}
		}
	})
}

// SlowClose ends a connection that nobody reads from at the time, whose peer comes
// to itself too late.
func TestSlowCloseOfParked(t *testing.T) {
	overReal(t, func(t *testing.T, host host) {
		closed := make(chan error, 1)
		h := &websocket.Handler{Close: func(_ *websocket.Conn, err error) { closed <- err }}
		h.SendLimit, h.SlowPolicy = 1<<10, websocket.SlowClose
		opened := make(chan *websocket.Conn, 1)
		h.Open = func(c *websocket.Conn, _ *http.Request) { opened <- c }
		peer := host.run(t, h).peer(t)
		c := within(t, host, "Open", opened)
		eventually(t, host, "parking", c.IsParked)
		m := websocket.Prepare(websocket.Binary, make([]byte, 60<<10))
		for c.Send(m) == nil {
		}
		go func() { // it takes all, and does not answer
			for b := make([]byte, 32<<10); ; {
				if _, err := peer.Read(b); err != nil {
					return
				}
			}
		}()
		wantError(t, within(t, host, "Close", closed), websocket.ClosePolicyViolation)
	})
}

// After a callback that took longer than a goroutine stays with a connection, the
// end is still given the time in which a reset must not overtake the close frame.
func TestLingeringAfterALongCallback(t *testing.T) {
	overReal(t, func(t *testing.T, host host) {
		var panicked time.Time
		closed := make(chan time.Time, 1)
		h := &websocket.Handler{
			Message: func(*websocket.Conn, websocket.MessageType, []byte) {
				time.Sleep(300 * time.Millisecond)
				panicked = time.Now()
				panic(http.ErrAbortHandler)
			},
			Close: func(*websocket.Conn, error) { closed <- time.Now() },
		}
		peer := host.run(t, h).peer(t)
		peer.send(peer.text("x")) // and it does not end its side
		if got := within(t, host, "Close", closed).Sub(panicked); got < 900*time.Millisecond {
			t.Errorf("the stream ended after %v, want a second", got)
		}
	})
}

// spin is a callback that is short, but not for nothing.
func spin() {
	for begin := time.Now(); time.Since(begin) < 200*time.Microsecond; {
	}
}

// many is how many messages of a byte come with one read, and their answers gather.
const many = 9000

// What callbacks send waits a millisecond or so, not until a connection has no more
// messages.
func TestAnswersLeaveBetweenMessages(t *testing.T) {
	overReal(t, func(t *testing.T, host host) {
		var done atomic.Int32
		var seen atomic.Bool
		h := &websocket.Handler{Message: func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
			c.Write(bg, typ, p)
			if done.Add(1); !seen.Load() {
				spin()
			}
		}}
		peer := host.run(t, h).peer(t)
		peer.send(bytes.Repeat(peer.text("x"), many))
		peer.want("text x")
		if done.Load() == many {
			t.Error("the first answer came after the last message")
		}
		seen.Store(true)
	})
}

// One connection with many messages whose callbacks are short does not keep the
// others waiting until it has no more.
func TestBusyConnectionGivesWay(t *testing.T) {
	var done atomic.Int32
	var seen atomic.Bool
	first := make(chan struct{})
	h := &websocket.Handler{Message: func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
		if string(p) == "other" {
			seen.Store(true)
			c.Write(bg, typ, strconv.AppendInt(nil, int64(done.Load()), 10))
			return
		}
		if done.Add(1) == 1 {
			close(first)
		}
		if !seen.Load() {
			spin()
		}
	}}
	s := overLoop.run(t, h)
	busy, other := s.peer(t), s.peer(t)
	busy.send(bytes.Repeat(busy.text("x"), many))
	within(t, overLoop, "the first message", first)
	other.send(other.text("other"))
	if got := other.next(); got == fmt.Sprint("text ", many) {
		t.Error("the other's message came after all of the busy one's")
	}
}

// The watcher stays while the loop works, however long it is without a callback: the
// next one may block.
func TestCallbackThatBlocksAfterLongWork(t *testing.T) {
	holding, blocked, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var once sync.Once
	h := &websocket.Handler{Message: func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
		switch string(p) {
		case "hold": // in many callbacks, each of them short
			once.Do(func() { close(holding) })
			spin()
		case "block":
			close(blocked)
			<-release
		default:
			c.Write(bg, typ, p)
		}
	}}
	h.PingInterval = -1
	s := overLoop.run(t, h)
	defer close(release)
	holder, blocker, other := s.peer(t), s.peer(t), s.peer(t)
	var workers []*raw
	for range 100 {
		workers = append(workers, s.peer(t))
	}
	// Part of a message in empty fragments: much work and no callback.
	work := holder.frame(false, wire.OpText, "")
	work = append(work, bytes.Repeat(holder.frame(false, wire.OpContinuation, ""), 9000)...)
	async(func() error { return holder.trySend(bytes.Repeat(holder.text("hold"), 1000)) })
	within(t, overLoop, "the message that holds the loop", holding)
	for _, w := range workers {
		w.send(work)
	}
	blocker.send(blocker.text("block"))
	within(t, overLoop, "the message that blocks", blocked)
	other.Stream.(net.Conn).SetReadDeadline(time.Now().Add(prompt))
	other.send(other.text("echo"))
	other.want("text echo")
}

// Answers that gather over TLS leave by an alarm, which may ring while the next
// begins.
func TestGatheringAlarms(t *testing.T) {
	const peers, rounds, each = 200, 20, 40
	h := &websocket.Handler{Message: func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
		// About as long as the alarm, so that the two meet.
		for begin := time.Now(); time.Since(begin) < time.Duration(time.Now().UnixNano()%1200)*time.Microsecond; {
			runtime.Gosched()
		}
		c.Write(bg, typ, p)
	}}
	s := overTLS.run(t, h)
	var all sync.WaitGroup
	for range peers {
		peer := s.peer(t)
		all.Go(func() {
			burst := bytes.Repeat(peer.text("hello"), each)
			for i := range rounds {
				if err := peer.trySend(burst); err != nil {
					t.Errorf("round %d: %v", i, err)
					return
				}
				for range each {
					if _, _, err := peer.ReadFrame(); err != nil {
						t.Errorf("round %d: %v", i, err)
						return
					}
				}
			}
		})
	}
	all.Wait()
}

// A callback that blocks keeps its own connection and no other, however many of
// them there are, and its messages stay in order.
func TestManyCallbacksBlock(t *testing.T) {
	overReal(t, func(t *testing.T, host host) {
		count := 1000
		if host.tls || raceEnabled || testing.Short() {
			count = 100
		}
		blocked, release := make(chan struct{}, count), make(chan struct{})
		var atOnce sync.Map
		h := &websocket.Handler{Message: func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
			if _, runs := atOnce.LoadOrStore(c, true); runs {
				t.Errorf("%q comes while another callback of its connection runs", p)
			}
			defer atOnce.Delete(c)
			if string(p) == "block" {
				c.Write(bg, typ, []byte("before"))
				blocked <- struct{}{}
				<-release
			}
			c.Write(bg, typ, p)
		}}
		s := host.run(t, h)
		var freed sync.Once
		free := func() { freed.Do(func() { close(release) }) }
		defer free()
		other := s.peer(t)
		var peers []*raw
		for range count {
			peers = append(peers, s.peer(t))
		}
		for i, peer := range peers {
			peer.send(peer.text("block"), peer.text("next"))
			if i%100 == 0 {
				other.send(other.text(fmt.Sprint("while ", i)))
				other.want(fmt.Sprint("text while ", i))
			}
		}
		for range peers {
			within(t, host, "a callback", blocked)
		}
		for i := range 20 {
			other.send(other.text(fmt.Sprint(i)))
			other.want(fmt.Sprint("text ", i))
		}
		for i, peer := range peers {
			peer.want("text before") // it left while the callback blocks
			if i%2 == 0 {
				peer.send(peer.text("last"))
			}
		}
		free()
		for i, peer := range peers {
			peer.want("text block", "text next")
			if i%2 == 0 {
				peer.want("text last")
			}
		}
	})
}

// blocker returns a Handler whose callback waits for release when "block" comes, and
// does then what last does; it sends back whatever else comes.
func blocker(last func(c *websocket.Conn)) (h *websocket.Handler, blocked chan *websocket.Conn, release chan bool, ends chan error) {
	blocked, release, ends = make(chan *websocket.Conn, 1), make(chan bool), make(chan error, 2)
	h = &websocket.Handler{Logger: slog.New(slog.DiscardHandler)}
	h.Message = func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
		if string(p) == "block" {
			c.Data = true
			blocked <- c
			<-release
			last(c)
			return
		}
		c.Write(bg, typ, p)
	}
	h.Close = func(c *websocket.Conn, err error) {
		if c.Data != nil {
			ends <- err
		}
	}
	h.PingInterval = -1
	return h, blocked, release, ends
}

// goesOn fails unless others' messages are answered.
func goesOn(other *raw) {
	other.t.Helper()
	for i := range 20 {
		other.send(other.text(fmt.Sprint(i)))
		other.want(fmt.Sprint("text ", i))
	}
}

// leave waits until the server has said all that it has to say, and ends the stream:
// else the server would wait for that.
func (r *raw) leave() {
	for got := ""; got != "end" && !strings.HasPrefix(got, "error"); got = r.next() {
	}
	r.Close()
}

// A connection that ends while its callback blocks has its Close when the callback
// has returned, and not before; nobody else waits.
func TestEndWhileACallbackBlocks(t *testing.T) {
	local := websocket.CloseError{Code: websocket.CloseAbnormal, Local: true}
	going := websocket.CloseError{Code: websocket.CloseGoingAway, Local: true}
	for _, test := range []struct {
		name string
		end  func(t *testing.T, c *websocket.Conn, peer *raw)
		want websocket.CloseError // none: the stream was cut off
	}{
		{"CloseNow", func(t *testing.T, c *websocket.Conn, _ *raw) { c.CloseNow() }, local},
		{"the peer's close frame", func(t *testing.T, _ *websocket.Conn, peer *raw) {
			peer.send(peer.close(4000, "enough"))
		}, websocket.CloseError{Code: 4000, Reason: "enough"}},
		{"the peer's end", func(t *testing.T, _ *websocket.Conn, peer *raw) { peer.Close() },
			websocket.CloseError{}},
		{"Close", func(t *testing.T, c *websocket.Conn, peer *raw) {
			c.Close(websocket.CloseGoingAway, "")
			peer.want("close 1001")
			peer.send(peer.text("not delivered"), peer.close(1001, ""))
		}, going},
	} {
		t.Run(test.name, func(t *testing.T) {
			overReal(t, func(t *testing.T, host host) {
				h, blocked, release, ends := blocker(func(*websocket.Conn) {})
				var registry websocket.Registry
				h.Registry = &registry
				s := host.run(t, h)
				freed := sync.OnceFunc(func() { close(release) })
				defer freed()
				other, peer := s.peer(t), s.peer(t)
				peer.send(peer.text("block"))
				c := within(t, host, "the callback", blocked)
				goesOn(other)
				test.end(t, c, peer)
				goesOn(other)
				select {
				case err := <-ends:
					t.Errorf("Close is called with %v while Message runs", err)
				default:
				}
				freed()
				peer.leave()
				if err := within(t, host, "Close", ends); test.want.Code != 0 {
					wantClose(t, err, test.want)
				} else if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("Close got %v, want %v", err, io.ErrUnexpectedEOF)
				}
				eventually(t, host, "the end", func() bool { return registry.Len() == 1 })
				goesOn(other)
			})
		})
	}
}

// Shutdown waits for a callback that blocks, and for its Close.
func TestShutdownWhileACallbackBlocks(t *testing.T) {
	overReal(t, func(t *testing.T, host host) {
		h, blocked, release, ends := blocker(func(*websocket.Conn) {})
		var registry websocket.Registry
		h.Registry = &registry
		s := host.run(t, h)
		freed := sync.OnceFunc(func() { close(release) })
		defer freed()
		peer := s.peer(t)
		peer.send(peer.text("block"))
		within(t, host, "the callback", blocked)
		done := make(chan error, 1)
		go func() { done <- registry.Shutdown(bg) }()
		peer.want("close 1001")
		peer.send(peer.close(1001, ""))
		select {
		case err := <-done:
			t.Errorf("Shutdown returned %v while a callback ran", err)
		default:
		}
		freed()
		peer.leave()
		if err := within(t, host, "Shutdown", done); err != nil {
			t.Error(err)
		}
		wantClose(t, within(t, host, "Close", ends), websocket.CloseError{Code: websocket.CloseGoingAway, Local: true})
	})
}

// A callback that has lost the loop may still panic or end its goroutine: that ends
// its connection, and the loop is another's.
func TestPanicAfterBlocking(t *testing.T) {
	for name, last := range map[string]func(*websocket.Conn){
		"panic":  func(*websocket.Conn) { panic("late") },
		"Goexit": func(*websocket.Conn) { runtime.Goexit() },
	} {
		t.Run(name, func(t *testing.T) {
			overReal(t, func(t *testing.T, host host) {
				h, blocked, release, ends := blocker(last)
				s := host.run(t, h)
				defer close(release)
				other := s.peer(t)
				for range 5 { // the loop's, and goroutines of their own
					peer := s.peer(t)
					peer.send(peer.text("before"), peer.text("block"), peer.text("not delivered"))
					within(t, host, "the callback", blocked)
					goesOn(other)
					release <- true
					peer.want("text before", "close 1011", "end")
					peer.Close()
					var p *websocket.PanicError
					if err := within(t, host, "Close", ends); !errors.As(err, &p) {
						t.Errorf("Close got %v, want a PanicError", err)
					}
					goesOn(other)
				}
			})
		})
	}
}

// A callback that writes more than its peer takes waits, and nobody else does.
func TestCallbackThatWaitsForItsPeer(t *testing.T) {
	for _, host := range withSockets {
		host.narrow = true
		t.Run(host.name, func(t *testing.T) {
			h, blocked, release, _ := blocker(func(c *websocket.Conn) {
				for range 2 { // over the loop it is the second that waits
					c.Write(bg, websocket.Binary, make([]byte, 1<<20))
				}
				c.Write(bg, websocket.Text, []byte("done"))
			})
			h.WriteTimeout = -1
			s := host.run(t, h)
			other, peer := s.peer(t), s.peer(t)
			peer.send(peer.text("block"), peer.text("next"))
			c := within(t, host, "the callback", blocked)
			close(release)
			eventually(t, host, "a line that is taken", c.IsWriting)
			goesOn(other)
			peer.want("binary 1048576 bytes", "binary 1048576 bytes", "text done", "text next")
			goesOn(other)
		})
	}
}

// Callbacks that blocked get goroutines of their own for a while, and the loop runs
// them again when they do not any more.
func TestHandlerCalmsDown(t *testing.T) {
	parks(t)
	h := &websocket.Handler{Message: func(c *websocket.Conn, typ websocket.MessageType, p []byte) {
		if string(p) == "block" {
			time.Sleep(5 * time.Millisecond) // what is tested: the loop is not waited for so long
		}
		where := "alone"
		if bytes.Contains(debug.Stack(), []byte("(*turn).run(")) {
			where = "in the loop"
		}
		c.Write(bg, typ, []byte(where))
	}}
	h.PingInterval = -1
	peer := overLoop.run(t, h).peer(t)
	ask := func(what, want string) func() bool {
		return func() bool {
			peer.send(peer.text(what))
			return peer.next() == "text "+want
		}
	}
	for range 2 {
		eventually(t, overLoop, "a callback in the loop", ask("short", "in the loop"))
		eventually(t, overLoop, "a callback with a goroutine of its own", ask("block", "alone"))
	}
	eventually(t, overLoop, "a callback in the loop again", ask("short", "in the loop"))
}
