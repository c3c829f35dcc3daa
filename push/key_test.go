package push

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A repeat within the window is answered like the first and stored once, over HTTP and
// WebSocket; another channel, another key, or later it is something new.
func TestIdempotencyKey(t *testing.T) {
	inMemory(t, new(Server), func(t *testing.T, s *site) {
		publish := func(channel, key string) string {
			t.Helper()
			resp := s.request("POST /channels/"+channel, "1", "Idempotency-Key: "+key)
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != 200 {
				t.Errorf("status %d: %s", resp.StatusCode, body)
			}
			return string(body)
		}
		first := publish("a", "k")
		time.Sleep(keyWindow - time.Second)
		if again := publish("a", "k"); again != first {
			t.Errorf("a repeat: %s, first %s", again, first)
		}
		c := s.dial()
		c.send(`{"id":1,"command":"publish","channel":"a","data":2,"key":"k"}`)
		if text := c.read(); !strings.Contains(text, strings.Trim(first, "{}\n")) {
			t.Errorf("over WebSocket: %s, first %s", text, first)
		}
		c.CloseNow()
		if other := publish("b", "k"); other == first {
			t.Error("another channel's message counts as a repeat")
		}
		if other := publish("a", "l"); other == first {
			t.Error("another key counts as a repeat")
		}
		time.Sleep(2 * time.Second)
		if late := publish("a", "k"); late == first {
			t.Error("the window has no end")
		}
		if p := s.poll("channel=a&wait=0"); len(p.Messages) != 3 {
			t.Errorf("stored are %d messages, want 3", len(p.Messages))
		}
	})
}

func TestBadKeys(t *testing.T) {
	for _, key := range []string{"", "a b", "ä", strings.Repeat("x", 256)} {
		resp := do(t, new(Server), "POST", "/channels/a", "1", "Idempotency-Key: "+key)
		wantProblem(t, resp, 400, 100, "idempotency key")
	}
	resp := do(t, new(Server), "POST", "/channels", `[{"channel":"a","data":1}]`, jsonType, "Idempotency-Key: k")
	wantProblem(t, resp, 400, 100, "write it into the message")
}

// Of repeats at the same time one publishes and the others wait for it; what has
// failed is tried again; the memory for keys has an end.
func TestKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k keys
		n := 0
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				p, err := k.once(t.Context(), "a", "k", func() (Position, error) {
					time.Sleep(time.Second)
					n++
					return Position{epoch: 1, seq: uint64(n)}, nil
				})
				if p.seq != 1 || err != nil {
					t.Errorf("got %v, %v", p, err)
				}
			})
		}
		all.Wait()
		broken := errors.New("broken")
		for range 2 {
			if _, err := k.once(t.Context(), "a", "f", func() (Position, error) { n++; return Position{}, broken }); err != broken {
				t.Errorf("got %v", err)
			}
		}
		if n != 3 {
			t.Errorf("published %d times, want 3", n)
		}
		for i := range maxKeys + 10 {
			k.once(t.Context(), "a", fmt.Sprint(i), func() (Position, error) { return Position{epoch: 1, seq: uint64(i)}, nil })
		}
		if len(k.known) > maxKeys || len(k.queue)-k.head > maxKeys {
			t.Errorf("%d keys are known, %d queue", len(k.known), len(k.queue)-k.head)
		}
		time.Sleep(keyWindow)
		k.once(t.Context(), "a", "last", func() (Position, error) { return Position{}, nil })
		if len(k.known) != 1 {
			t.Errorf("%d keys are known after the window", len(k.known))
		}
	})
}
