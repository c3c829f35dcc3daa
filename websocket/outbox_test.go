package websocket_test

import (
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// crowd returns the server's ends of n connections over the system's sockets, and
// the clients'.
func crowd(t testing.TB, n int, o *websocket.Options) (servers, clients []*websocket.Conn) {
	for range n {
		client, server := overTCP(t, o)
		servers, clients = append(servers, server), append(clients, client)
	}
	return servers, clients
}

// broadcast fails unless all connections take the messages.
func broadcast(t testing.TB, to []*websocket.Conn, messages ...string) {
	t.Helper()
	for _, m := range messages {
		if sent := websocket.Broadcast(slices.Values(to), prepared("%s", m)); sent != len(to) {
			t.Errorf("%.40q: %d of %d took it", m, sent, len(to))
		}
	}
}

// What one goroutine sends goes out in the order of its calls, also where Broadcast
// is among them, and where several workers write.
func TestBroadcastOrder(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	servers, clients := crowd(t, 300, patiently(-1, websocket.SlowRefuse))
	go func() {
		for i := range 10 {
			broadcast(t, servers, fmt.Sprint(4*i))
			for _, c := range servers {
				m := []byte(fmt.Sprint(4*i + 1))
				if i%2 == 0 {
					c.Write(bg, websocket.Text, m)
				} else {
					c.Send(websocket.Prepare(websocket.Text, m))
				}
			}
			broadcast(t, servers, fmt.Sprint(4*i+2), fmt.Sprint(4*i+3))
		}
	}()
	var readers sync.WaitGroup
	for _, c := range clients {
		readers.Go(func() {
			for i := range 40 {
				if _, p, err := c.Read(bg); err != nil || string(p) != fmt.Sprint(i) {
					t.Errorf("got %q, %v, want %d", p, err, i)
					return
				}
			}
		})
	}
	readers.Wait()
}

// Peers that take nothing delay nobody, and each is cut off by its own write
// timeout, however many there are.
func TestBroadcastWithStuckPeers(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		var conns []*websocket.Conn
		var peers []*raw
		for i := range 40 {
			c, peer := against(t, kind, true, &websocket.Options{PingInterval: -1})
			if i%2 == 0 {
				peer.s.Peer().SetBuffer(0)
			}
			conns, peers = append(conns, c), append(peers, peer)
		}
		begin := time.Now()
		for i := range 3 {
			broadcast(t, conns, fmt.Sprint(i))
			for j := 1; j < len(peers); j += 2 {
				peers[j].want(fmt.Sprintf("text %d", i))
			}
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("the others waited %v", took)
		}
		time.Sleep(10*time.Second + time.Nanosecond)
		synctest.Wait()
		for i, c := range conns {
			if err := c.Send(prepared("x")); errors.Is(err, os.ErrDeadlineExceeded) != (i%2 == 0) {
				t.Errorf("connection %d: %v", i, err)
			}
		}
	})
}

// The same over the system's sockets, which are written to without waiting at first.
func TestBroadcastWithStuckSockets(t *testing.T) {
	const stuck, size = 3, 200_000
	nothingLeft(t)
	servers, clients := crowd(t, 20, &websocket.Options{SendLimit: -1, WriteTimeout: 300 * time.Millisecond, PingInterval: -1})
	var ends []func() error
	for _, c := range servers[:stuck] {
		ends = append(ends, reading(c))
	}
	number := 0
	for left := stuck; left > 0; number++ { // until all that are stuck have ended
		left = stuck - (len(servers) - websocket.Broadcast(slices.Values(servers), prepared("%d %s", number, message(size))))
		for _, c := range clients[stuck:] {
			_, p, err := c.Read(bg)
			if got, _, _ := strings.Cut(string(p), " "); err != nil || got != fmt.Sprint(number) {
				t.Fatalf("got message %s, %v, want %d", got, err, number)
			}
		}
	}
	for i, end := range ends {
		if err := end(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("stuck connection %d: %v", i, err)
		}
	}
	broadcast(t, servers[stuck:], "after")
	for _, c := range clients[stuck:] {
		read(t, c, "after")
	}
}

// A close frame goes behind what was sent before, and nothing behind it.
func TestBroadcastThenClose(t *testing.T) {
	servers, clients := crowd(t, 20, patiently(-1, websocket.SlowRefuse))
	broadcast(t, servers, "a", message(1_000_000), "b")
	for _, c := range servers {
		if err := c.CloseWrite(4000, "done"); err != nil {
			t.Fatal(err)
		}
		reading(c) // else the client waits for the end of the stream
	}
	if sent := websocket.Broadcast(slices.Values(servers), prepared("late")); sent != 0 {
		t.Errorf("%d took a message behind the close frame", sent)
	}
	for _, c := range clients {
		for _, want := range []string{"a", message(1_000_000), "b"} {
			read(t, c, want)
		}
		wantClose(t, reading(c)(), websocket.CloseError{Code: 4000, Reason: "done"})
	}
}

// Connections take a message before the Broadcast has come to its end, which may be
// as slow as the sequence that it ranges over.
func TestBroadcastOverASlowSequence(t *testing.T) {
	overKinds(t, func(t *testing.T, kind wstest.Kind) {
		var conns []*websocket.Conn
		var peers []*raw
		for range 3 {
			c, peer := against(t, kind, true, nil)
			conns, peers = append(conns, c), append(peers, peer)
		}
		var slowly iter.Seq[*websocket.Conn] = func(yield func(*websocket.Conn) bool) {
			for i, c := range conns {
				if !yield(c) {
					return
				}
				peers[i].want("text now")
			}
		}
		if sent := websocket.Broadcast(slowly, prepared("now")); sent != 3 {
			t.Errorf("%d took it", sent)
		}
	})
}

// A Broadcast starts few goroutines, not one for each connection.
func TestBroadcastGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const conns = 1000
		var mu sync.Mutex
		writers := map[string]int{}
		var to []*websocket.Conn
		for range conns {
			s := &tellingStream{closed: make(chan struct{}), wrote: func(goroutine string) {
				mu.Lock()
				defer mu.Unlock()
				writers[goroutine]++
			}}
			c := websocket.Server(s, patiently(0, websocket.SlowRefuse))
			defer c.CloseNow()
			to = append(to, c)
		}
		broadcast(t, to, "x")
		synctest.Wait()
		n := 0
		for _, writes := range writers {
			n += writes
		}
		if n != conns || len(writers) > conns/10 { // one that is put aside counts as one that waits
			t.Errorf("%d goroutines made %d writes for %d connections", len(writers), n, conns)
		}
	})
}

// A tellingStream tells which goroutine writes to it.
type tellingStream struct {
	closed chan struct{}
	wrote  func(goroutine string)
}

func (s *tellingStream) Read([]byte) (int, error) { <-s.closed; return 0, net.ErrClosed }
func (s *tellingStream) Close() error             { close(s.closed); return nil }
func (s *tellingStream) Write(p []byte) (int, error) {
	var stack [32]byte
	name, _, _ := strings.Cut(string(stack[:runtime.Stack(stack[:], false)]), " [")
	s.wrote(name)
	return len(p), nil
}

// In steady state a Broadcast allocates nothing for a delivery, also where several
// leave together.
func TestBroadcastNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const conns, messages = 50, 4
	servers, clients := crowd(t, conns, patiently(0, websocket.SlowRefuse))
	to := slices.Values(servers)
	var buf []byte
	for _, n := range []int{32, 5000, 20_000} {
		m := websocket.Prepare(websocket.Binary, make([]byte, n))
		allocs := testing.AllocsPerRun(50, func() {
			for range messages {
				websocket.Broadcast(to, m)
			}
			for _, c := range clients {
				for range messages {
					_, p, err := c.AppendRead(bg, buf[:0])
					if err != nil {
						t.Fatal(err)
					}
					buf = p
				}
			}
		})
		if got := allocs / (conns * messages); got > 0.1 { // a goroutine or two for each Broadcast
			t.Errorf("%d bytes: %.3f allocations a delivery", n, got)
		}
	}
}

// A lone message to a socket is written when Send returns.
func TestSendWritesToAnIdleSocket(t *testing.T) {
	client, server := overTCP(t, patiently(-1, websocket.SlowRefuse))
	send(t, server, "at once")
	if server.IsWriting() || server.Unsent() > 0 {
		t.Error("Send left the writing to somebody else")
	}
	read(t, client, "at once")
}

// What a socket does not take at once leaves when there is room, before all that
// comes later.
func TestSendMoreThanASocketTakes(t *testing.T) {
	const size = 16 << 20
	client, server := overTCP(t, &websocket.Options{MaxMessage: size})
	send(t, server, message(size), "second")
	wrote := async(func() error { return server.Write(bg, websocket.Text, []byte("third")) })
	for _, want := range []string{message(size), "second", "third"} {
		read(t, client, want)
	}
	if err := wrote(); err != nil {
		t.Error(err)
	}
}

// Send waits for nobody; the write timeout ends a connection whose peer takes
// nothing, and every call tells.
func TestSendToAStuckSocket(t *testing.T) {
	timeout := overLoop.short(0)
	_, server := overTCP(t, &websocket.Options{WriteTimeout: timeout, PingInterval: -1})
	end := reading(server)
	begin := time.Now()
	send(t, server, message(16<<20))
	err := end()
	overLoop.lasted(t, begin, timeout)
	if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), timeout.String()) {
		t.Errorf("the end: %v", err)
	}
	if again := server.Send(prepared("x")); again != err {
		t.Errorf("then Send: %v", again)
	}
}

// The error of a write that Send does itself is its own.
func TestSendToABrokenSocket(t *testing.T) {
	a, b := tcpPair(t)
	defer a.Close()
	c := websocket.Server(b, nil)
	defer c.CloseNow()
	b.Close()
	err := c.Send(prepared("x"))
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send: %v", err)
	}
	if again := c.Write(bg, websocket.Text, nil); again != err {
		t.Errorf("then Write: %v", again)
	}
}

// BenchmarkBroadcast is a delivery over the loopback, with its share of reading.
func BenchmarkBroadcast(b *testing.B) {
	const conns = 100
	for _, together := range []int{1, 8} {
		for name, send := range map[string]func([]*websocket.Conn, *websocket.Prepared){
			"Broadcast": func(to []*websocket.Conn, m *websocket.Prepared) { websocket.Broadcast(slices.Values(to), m) },
			"Send": func(to []*websocket.Conn, m *websocket.Prepared) {
				for _, c := range to {
					c.Send(m)
				}
			},
		} {
			b.Run(fmt.Sprintf("%s/%d", name, together), func(b *testing.B) {
				servers, clients := crowd(b, conns, nil)
				m := websocket.Prepare(websocket.Binary, make([]byte, 128))
				var buf []byte
				b.ReportAllocs()
				for b.Loop() {
					for range together {
						send(servers, m)
					}
					for _, c := range clients {
						for range together {
							_, buf, _ = c.AppendRead(bg, buf[:0])
						}
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*conns*together), "ns/delivery")
			})
		}
	}
}
