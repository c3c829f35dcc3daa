package netpoll

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestReferences(t *testing.T) {
	var r references
	for range 2 {
		if !r.acquire() {
			t.Fatal("no reference before end")
		}
	}
	if r.release() {
		t.Error("the last reference before end is told to close")
	}
	for _, first := range []bool{true, false} {
		if r.end() != first {
			t.Errorf("end does not return %v", first)
		}
	}
	if r.acquire() {
		t.Error("a reference after end")
	}
	if !r.release() {
		t.Error("the last reference after end is not told to close")
	}
	if r.acquire() {
		t.Error("a reference after the last")
	}
}

// Of many who use and end it, one is told to close, when no other holds a
// reference.
func TestReferencesAtOnce(t *testing.T) {
	for range 2000 {
		var r references
		var users, closers atomic.Int32
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				for n := 0; r.acquire(); n++ {
					users.Add(1)
					if n == 10*i {
						r.end()
					}
					users.Add(-1)
					if r.release() {
						closers.Add(1)
						if users.Load() != 0 {
							t.Error("closed while it is used")
						}
					}
				}
			})
		}
		wg.Wait()
		if closers.Load() != 1 {
			t.Fatalf("%d were told to close, want 1", closers.Load())
		}
	}
}
