package wstest

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexgo/duplex/websocket/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// bubble runs a test with streams in fake time: where the test says that a call
// waits, synctest.Wait proves it.
func bubble(t *testing.T, f func(t *testing.T, a, b *Stream)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, b := Streams()
		defer a.Close()
		defer b.Close()
		f(t, a, b)
	})
}

// A call is one that may wait.
type call struct {
	n    int
	err  error
	done bool
}

// begin starts f and returns when it is over or waits.
func begin(f func() (int, error)) *call {
	c := new(call)
	go func() {
		c.n, c.err = f()
		c.done = true
	}()
	synctest.Wait()
	return c
}

func beginRead(s *Stream) *call {
	return begin(func() (int, error) { return s.Read(make([]byte, 100)) })
}

func beginWrite(s *Stream, n int) *call {
	return begin(func() (int, error) { return s.Write(make([]byte, n)) })
}

func (c *call) mustWait(t *testing.T) {
	t.Helper()
	if synctest.Wait(); c.done {
		t.Fatalf("returned %d, %v; want it to wait", c.n, c.err)
	}
}

func (c *call) mustReturn(t *testing.T, n int, err error) {
	t.Helper()
	synctest.Wait()
	if !c.done || c.n != n || !errors.Is(c.err, err) {
		t.Fatalf("returned %v: %d, %v; want %d, %v", c.done, c.n, c.err, n, err)
	}
}

func mustWrite(t *testing.T, s *Stream, data string) {
	t.Helper()
	if n, err := s.Write([]byte(data)); n != len(data) || err != nil {
		t.Fatalf("Write(%q) = %d, %v", data, n, err)
	}
}

// mustRead reads once.
func mustRead(t *testing.T, s *Stream, data string, want error) {
	t.Helper()
	b := make([]byte, 100)
	n, err := s.Read(b)
	if string(b[:n]) != data || !errors.Is(err, want) {
		t.Fatalf("Read = %q, %v; want %q, %v", b[:n], err, data, want)
	}
}

func TestStreamCarriesBytes(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Stream) {
		read := beginRead(b)
		read.mustWait(t)
		buf := []byte("hello")
		a.Write(buf)
		copy(buf, "XXXXX") // the slice is the caller's again
		read.mustReturn(t, 5, nil)
		mustWrite(t, a, "one ")
		mustWrite(t, a, "two")
		mustRead(t, b, "one two", nil)
		mustWrite(t, b, "back")
		mustRead(t, a, "back", nil)
		if n, err := a.Read(nil); n != 0 || err != nil {
			t.Errorf("Read of nothing = %d, %v; it must not wait", n, err)
		}
		if n, err := a.Write(nil); n != 0 || err != nil {
			t.Errorf("Write of nothing = %d, %v", n, err)
		}
	})
}

func TestStreamWriteDoesNotKeepTheSlice(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Stream) {
		buf := []byte("hello")
		a.Write(buf)
		copy(buf, "XXXXX")
		mustRead(t, b, "hello", nil)
	})
}

func TestStreamBuffer(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Stream) {
		write := beginWrite(a, 64<<10)
		write.mustReturn(t, 64<<10, nil)
		write = beginWrite(a, 1)
		write.mustWait(t)
		mustReadN(t, b, 1)
		write.mustReturn(t, 1, nil)
		mustReadN(t, b, 64<<10)

		a.SetBuffer(10)
		write = beginWrite(a, 25)
		write.mustWait(t)
		mustReadN(t, b, 10)
		write.mustWait(t)
		mustReadN(t, b, 5)
		write.mustReturn(t, 25, nil)
		mustReadN(t, b, 10)
	})
}

// mustReadN reads n bytes.
func mustReadN(t *testing.T, s *Stream, n int) {
	t.Helper()
	synctest.Wait()
	if _, err := io.ReadFull(s, make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func TestStreamStuck(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Stream) {
		mustWrite(t, a, "before")
		a.SetBuffer(0)
		write, read := beginWrite(a, 3), beginRead(b)
		read.mustReturn(t, 6, nil) // what had passed before
		read = beginRead(b)
		write.mustWait(t)
		read.mustWait(t)
		a.SetBuffer(1 << 10)
		write.mustReturn(t, 3, nil)
		read.mustReturn(t, 3, nil)
	})
}

// Whole writes one after the other, as a socket's: one that comes while another
// waits for room waits too, even if there is room by then.
func TestStreamWritesDoNotMix(t *testing.T) {
	for range 20 {
		bubble(t, func(t *testing.T, a, b *Stream) {
			a.SetBuffer(7)
			first := begin(func() (int, error) { return a.Write([]byte(strings.Repeat("a", 20))) })
			first.mustWait(t)
			b.Read(make([]byte, 7)) // room, which this goroutine is likely to see first
			rest := make(chan string)
			go func() {
				p, _ := io.ReadAll(b)
				rest <- string(p)
			}()
			mustWrite(t, a, "bb")
			a.Close()
			if got := <-rest; got != strings.Repeat("a", 13)+"bb" {
				t.Fatalf("writes are mixed: %q", got)
			}
			first.mustReturn(t, 20, nil)
		})
	}
}

func TestStreamClose(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Stream) {
		a.SetBuffer(5)
		mustWrite(t, a, "12345")
		mustWrite(t, b, "unread")
		mustReadN(t, a, 6)
		b.SetBuffer(0)
		ownRead, ownWrite, peerWrite := beginRead(a), beginWrite(a, 1), beginWrite(b, 1)
		ownRead.mustWait(t)
		ownWrite.mustWait(t)
		peerWrite.mustWait(t)
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		ownRead.mustReturn(t, 0, net.ErrClosed)
		ownWrite.mustReturn(t, 0, net.ErrClosed)
		peerWrite.mustReturn(t, 0, io.ErrClosedPipe)

		mustRead(t, a, "", net.ErrClosed)
		beginWrite(a, 1).mustReturn(t, 0, net.ErrClosed)
		for name, err := range map[string]error{
			"Close": a.Close(), "CloseWrite": a.CloseWrite(), "Reset": a.Reset(), "SetDeadline": a.SetDeadline(time.Now()),
			"SetReadDeadline": a.SetReadDeadline(time.Time{}), "SetWriteDeadline": a.SetWriteDeadline(time.Time{}),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s after Close = %v, want net.ErrClosed", name, err)
			}
		}

		mustRead(t, b, "12345", nil)
		mustRead(t, b, "", io.EOF)
		mustRead(t, b, "", io.EOF)
		beginWrite(b, 1).mustReturn(t, 0, io.ErrClosedPipe)
	})
}

// io.EOF is compared with == everywhere; a socket returns it bare. All else is an
// *net.OpError, as a socket's.
func TestStreamErrorsAsOfANetConn(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Stream) {
		a.Close()
		if _, err := b.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("Read = %#v, want io.EOF itself", err)
		}
		_, err := a.Read(make([]byte, 1))
		if op, ok := err.(*net.OpError); !ok || op.Op != "read" {
			t.Errorf("Read = %#v, want an *net.OpError", err)
		}
		b.SetReadDeadline(time.Now())
		_, err = b.Read(make([]byte, 1))
		if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() {
			t.Errorf("Read = %#v, want a net.Error with Timeout", err)
		}
	})
}

func TestStreamCloseWrite(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Stream) {
		a.SetBuffer(4)
		mustWrite(t, a, "last")
		write, read := beginWrite(a, 1), beginRead(b)
		read.mustReturn(t, 4, nil)
		write.mustReturn(t, 1, nil)
		mustWrite(t, a, "123")
		write = beginWrite(a, 1)
		write.mustWait(t)
		if err := a.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		write.mustReturn(t, 0, io.ErrClosedPipe)
		if err := a.CloseWrite(); err != nil {
			t.Errorf("second CloseWrite: %v", err)
		}
		mustRead(t, b, "\x00123", nil)
		mustRead(t, b, "", io.EOF)
		mustWrite(t, b, "the other way")
		mustRead(t, a, "the other way", nil)
		b.Close()
		mustRead(t, a, "", io.EOF)
	})
}

func TestStreamReset(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Stream) {
		b.SetBuffer(1)
		write := beginWrite(b, 2)
		write.mustWait(t)
		mustWrite(t, a, "lost")
		if err := a.Reset(); err != nil {
			t.Fatal(err)
		}
		write.mustReturn(t, 1, syscall.ECONNRESET)
		mustRead(t, b, "", syscall.ECONNRESET)
		mustRead(t, a, "", net.ErrClosed)
	})
}

// As TCP: a Close with something unread overtakes what was sent before it.
func TestStreamResetUnread(t *testing.T) {
	for _, on := range []bool{false, true} {
		bubble(t, func(t *testing.T, a, b *Stream) {
			a.ResetUnread(on)
			mustWrite(t, b, "not read")
			mustWrite(t, a, "goodbye")
			a.Close()
			if on {
				mustRead(t, b, "", syscall.ECONNRESET)
			} else {
				mustRead(t, b, "goodbye", nil)
			}
		})
		bubble(t, func(t *testing.T, a, b *Stream) {
			a.ResetUnread(on)
			mustWrite(t, b, "read")
			mustRead(t, a, "read", nil)
			mustWrite(t, a, "goodbye")
			a.Close()
			mustRead(t, b, "goodbye", nil)
		})
	}
}

func TestStreamDeadlineWhileWaiting(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Stream) {
		begun := time.Now()
		a.SetBuffer(2)
		a.SetDeadline(begun.Add(time.Hour))
		if n, err := a.Write([]byte("12345")); n != 2 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write = %d, %v; want 2 and the deadline", n, err)
		}
		if got := time.Since(begun); got != time.Hour {
			t.Errorf("after %v, want an hour", got)
		}
		mustRead(t, a, "", os.ErrDeadlineExceeded)

		a.SetDeadline(time.Time{})
		mustWrite(t, b, "in time")
		mustRead(t, a, "in time", nil)
		mustRead(t, b, "12", nil)
		mustWrite(t, a, "34")
	})
}

// Setting a deadline reaches a call that waits already: to stop it, to give it
// more time, to take its time away.
func TestStreamDeadlineChanged(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Stream) {
		read := beginRead(a)
		a.SetReadDeadline(time.Unix(1, 0))
		read.mustReturn(t, 0, os.ErrDeadlineExceeded)

		a.SetReadDeadline(time.Now().Add(time.Second))
		read = beginRead(a)
		a.SetReadDeadline(time.Now().Add(time.Minute))
		time.Sleep(2 * time.Second)
		read.mustWait(t)
		a.SetReadDeadline(time.Time{})
		time.Sleep(time.Hour)
		read.mustWait(t)
		a.SetReadDeadline(time.Now().Add(time.Hour))
		a.SetReadDeadline(time.Now().Add(time.Second))
		time.Sleep(time.Second)
		read.mustReturn(t, 0, os.ErrDeadlineExceeded)

		a.SetBuffer(0)
		a.SetReadDeadline(time.Time{})
		write, read := beginWrite(a, 1), beginRead(a)
		a.SetWriteDeadline(time.Now().Add(-time.Second))
		write.mustReturn(t, 0, os.ErrDeadlineExceeded)
		read.mustWait(t) // the other direction's
		b.Close()
		read.mustReturn(t, 0, io.EOF)
	})
}

// A passed deadline counts even where there is something to read, room to write.
func TestStreamDeadlinePassed(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Stream) {
		mustWrite(t, b, "data")
		a.SetDeadline(time.Now())
		mustRead(t, a, "", os.ErrDeadlineExceeded)
		beginWrite(a, 1).mustReturn(t, 0, os.ErrDeadlineExceeded)
		a.SetDeadline(time.Now().Add(time.Second))
		mustRead(t, a, "data", nil)
		mustWrite(t, a, "x")
		mustRead(t, b, "x", nil)
	})
}

func TestStreamSplitReads(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Stream) {
		b.SplitReads(2)
		mustWrite(t, a, "12345")
		mustRead(t, b, "12", nil)
		mustRead(t, b, "34", nil)
		mustRead(t, b, "5", nil)
		b.SplitReads(0)
		mustWrite(t, a, "12345")
		mustRead(t, b, "12345", nil)
	})
}

func TestStreamFails(t *testing.T) {
	cable := errors.New("the cable is cut")
	bubble(t, func(t *testing.T, a, b *Stream) {
		b.FailRead(3, cable)
		mustWrite(t, a, "12345")
		mustRead(t, b, "123", nil)
		mustRead(t, b, "", cable)
		mustRead(t, b, "", cable)
		b.FailRead(0, nil)
		mustRead(t, b, "45", nil)
		read := beginRead(b)
		b.FailRead(0, cable)
		read.mustReturn(t, 0, cable)

		a.FailWrite(3, cable)
		mustWrite(t, a, "1")
		beginWrite(a, 5).mustReturn(t, 2, cable)
		beginWrite(a, 5).mustReturn(t, 0, cable)
		a.FailWrite(2, cable)
		mustWrite(t, a, "12") // the fault is for the next byte
		beginWrite(a, 1).mustReturn(t, 0, cable)
		a.FailWrite(0, nil)
		a.SetBuffer(0)
		write := beginWrite(a, 1)
		write.mustWait(t)
		a.FailWrite(0, cable)
		write.mustReturn(t, 0, cable)
	})
}

func TestStreamStats(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Stream) {
		mustWrite(t, a, "12345")
		mustWrite(t, a, "678")
		b.SplitReads(3)
		mustRead(t, b, "123", nil)
		mustRead(t, b, "456", nil)
		a.SetBuffer(4)
		beginWrite(a, 10).mustWait(t)
		if got, want := a.Stats(), (Stats{Writes: 3, BytesWritten: 10}); got != want {
			t.Errorf("writer's: %+v, want %+v", got, want)
		}
		if got, want := b.Stats(), (Stats{Reads: 2, BytesRead: 6}); got != want {
			t.Errorf("reader's: %+v, want %+v", got, want)
		}
	})
}

func TestStreamAddrs(t *testing.T) {
	a, b := Streams()
	if a.LocalAddr().String() != b.RemoteAddr().String() || a.RemoteAddr().String() != b.LocalAddr().String() ||
		a.LocalAddr().String() == a.RemoteAddr().String() {
		t.Errorf("%v-%v, %v-%v", a.LocalAddr(), a.RemoteAddr(), b.LocalAddr(), b.RemoteAddr())
	}
	if a.Peer() != b || b.Peer() != a {
		t.Error("Peer is not the other end")
	}
}

func TestKinds(t *testing.T) {
	for _, kind := range Kinds {
		t.Run(kind.String(), func(t *testing.T) {
			a, b := Streams()
			s := a.As(kind)
			_, deadlines := s.(interface{ SetDeadline(time.Time) error })
			_, readDeadline := s.(interface{ SetReadDeadline(time.Time) error })
			_, writeDeadline := s.(interface{ SetWriteDeadline(time.Time) error })
			_, half := s.(interface{ CloseWrite() error })
			_, addrs := s.(interface{ RemoteAddr() net.Addr })
			want := kind == TCP
			for name, got := range map[string]bool{"SetDeadline": deadlines, "SetReadDeadline": readDeadline, "SetWriteDeadline": writeDeadline, "CloseWrite": half, "RemoteAddr": addrs} {
				if got != want {
					t.Errorf("has %s: %v, want %v", name, got, want)
				}
			}
			s.Write([]byte("out"))
			mustRead(t, b, "out", nil)
			mustWrite(t, b, "in")
			got := make([]byte, 2)
			if n, err := s.Read(got); n != 2 || err != nil || string(got) != "in" {
				t.Errorf("Read = %q, %v", got[:n], err)
			}
			s.Close()
			mustRead(t, b, "", io.EOF)
		})
	}
	if TCP.String() == Bare.String() || len(Kinds) != 2 {
		t.Error("kinds are not to be told apart")
	}
}

// Outside of bubbles and from many goroutines, for the race detector.
func TestStreamConcurrently(t *testing.T) {
	a, b := Streams()
	a.SetBuffer(100)
	const each = 200
	var ends sync.WaitGroup
	ends.Go(func() {
		defer a.CloseWrite()
		var writers sync.WaitGroup
		for range 4 {
			writers.Go(func() {
				for range each {
					a.Write(make([]byte, 33))
				}
			})
		}
		writers.Wait()
	})
	ends.Go(func() {
		for i := range each {
			a.SetWriteDeadline(time.Now().Add(time.Hour))
			b.SplitReads(i % 7 * 10)
			b.Stats()
		}
	})
	got, err := io.ReadAll(b)
	ends.Wait()
	if err != nil || len(got) != 4*each*33 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	a.Close()
	b.Close()
}
