package netpoll

import (
	"fmt"
	"io"
	"testing"
	"time"
)

var sizes = []int{32, 4 << 10, 64 << 10}

// BenchmarkRead compares ways to read what is there. Writing it is in the figures.
func BenchmarkRead(b *testing.B) {
	for _, size := range sizes {
		p := make([]byte, size)
		b.Run(fmt.Sprintf("net.Conn/%d", size), func(b *testing.B) {
			s, peer := socketPair(b)
			for b.Loop() {
				fill(b, s, p)
				io.ReadFull(peer, p)
			}
		})
		b.Run(fmt.Sprintf("ReadLent/%d", size), func(b *testing.B) {
			s, peer := socketPair(b)
			c, l := NewBlocking(peer), &oneBuffer{p}
			for b.Loop() {
				fill(b, s, p)
				for n := 0; n < size; {
					taken, err := c.ReadLent(l)
					if err != nil {
						b.Fatal(err)
					}
					n += taken
				}
			}
		})
		b.Run(fmt.Sprintf("Socket/%d", size), func(b *testing.B) {
			s, peer := socketPair(b)
			from, err := Take(peer)
			if err != nil {
				b.Fatal(err)
			}
			defer from.Close()
			for b.Loop() {
				fill(b, s, p)
				empty(b, from, p)
			}
		})
	}
}

// BenchmarkWrite compares ways to write where there is room. Reading it is in the
// figures.
func BenchmarkWrite(b *testing.B) {
	for _, size := range sizes {
		p := make([]byte, size)
		for _, way := range []struct {
			name  string
			write func(*Blocking)
		}{
			{"net.Conn", func(c *Blocking) { c.Write(p) }},
			{"net.Conn+deadline", func(c *Blocking) { c.SetWriteDeadline(time.Now().Add(time.Minute)); c.Write(p) }},
			{"Write2+timeout", func(c *Blocking) { c.Write2(time.Minute, p[:10], p[10:]) }},
			{"TryWrite", func(c *Blocking) { c.TryWrite(p) }},
			{"Write2+timeout,one", func(c *Blocking) { c.Write2(time.Minute, p, nil) }},
		} {
			b.Run(fmt.Sprintf("%s/%d", way.name, size), func(b *testing.B) {
				s, peer := socketPair(b)
				c := NewBlocking(peer)
				for b.Loop() {
					way.write(c)
					empty(b, s, p)
				}
			})
		}
		b.Run(fmt.Sprintf("Socket/%d", size), func(b *testing.B) {
			s, peer := socketPair(b)
			to, err := Take(peer)
			if err != nil {
				b.Fatal(err)
			}
			defer to.Close()
			for b.Loop() {
				fill(b, to, p)
				empty(b, s, p)
			}
		})
	}
}

// BenchmarkNothingThere is what a read costs that finds nothing, which is little
// but the way into the kernel and back.
func BenchmarkNothingThere(b *testing.B) {
	s, _ := socketPair(b)
	p := make([]byte, 2*rawSize)
	for _, size := range []int{rawSize, 2 * rawSize} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			for b.Loop() {
				s.Read(p[:size])
			}
		})
	}
}

func BenchmarkWaitForNothing(b *testing.B) {
	p := newPoller[int](b)
	events := make([]Event[int], 0, 100)
	for b.Loop() {
		events, _ = p.Wait(events, false)
	}
}

type oneBuffer struct{ p []byte }

func (l *oneBuffer) Lend() []byte { return l.p }
func (l *oneBuffer) GiveBack()    {}

func fill(b *testing.B, s *Socket, p []byte) {
	for len(p) > 0 {
		n, err := s.Write(p)
		if p = p[n:]; err != nil && err != ErrWouldBlock {
			b.Fatal(err)
		}
	}
}

func empty(b *testing.B, s *Socket, p []byte) {
	for n := 0; n < len(p); {
		taken, err := s.Read(p)
		if n += taken; err != nil && err != ErrWouldBlock {
			b.Fatal(err)
		}
	}
}
