package websocket

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A bell is an alarm that writes down when it rang.
type bell struct {
	alarm
	name string
	rang []time.Duration // since it was hung
}

func hang(name string) *bell {
	begin := clock()
	b := &bell{name: name}
	b.do = func(*Conn) { b.rang = append(b.rang, clock()-begin) }
	return b
}

// rest waits until no alarm rings any more, and fails if a timer is left.
func rest(t *testing.T, w *wheel) {
	t.Helper()
	time.Sleep(24 * time.Hour)
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wake != 0 {
		t.Error("a timer runs for no alarm")
	}
}

// late fails unless the alarm rang as often as there are times, at each of them or
// up to a 128th of its length after.
func (b *bell) late(t *testing.T, length time.Duration, at ...time.Duration) {
	t.Helper()
	for i, want := range at {
		if i >= len(b.rang) || b.rang[i] < want || b.rang[i] > want+length/128 {
			t.Fatalf("%s rang at %v, want %v", b.name, b.rang, at)
		}
	}
	if len(b.rang) > len(at) {
		t.Fatalf("%s rang at %v, want %v", b.name, b.rang, at)
	}
}

// Alarms of all lengths, started at any time, ring once, in time and not before.
func TestWheelRingsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wheel
		lengths := []time.Duration{time.Minute, time.Second, 10 * time.Second, time.Millisecond}
		var all []*bell
		for i := range 200 {
			b := hang(fmt.Sprint(i))
			w.start(&b.alarm, lengths[i*7%len(lengths)])
			all = append(all, b)
			time.Sleep(100 * time.Millisecond)
		}
		rest(t, &w)
		for i, b := range all {
			length := lengths[i*7%len(lengths)]
			b.late(t, length, length)
		}
	})
}

// Alarms of one length that are due together ring together, in their order.
func TestWheelGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wheel
		var order []int
		wakes := map[time.Time]bool{}
		alarms := make([]alarm, 1000)
		for i := range alarms {
			alarms[i].do = func(*Conn) {
				order = append(order, i)
				wakes[time.Now()] = true
			}
			w.start(&alarms[i], 128*time.Second)
			time.Sleep(time.Millisecond)
		}
		rest(t, &w)
		if len(order) != len(alarms) || !slices.IsSorted(order) {
			t.Errorf("%d of %d rang, in the order %v", len(order), len(alarms), order)
		}
		if len(wakes) != 1 {
			t.Errorf("the process was woken %d times for alarms that were due within a second", len(wakes))
		}
	})
}

func TestWheelStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wheel
		first, middle, last, again := hang("first"), hang("middle"), hang("last"), hang("again")
		for _, b := range []*alarm{&first.alarm, &middle.alarm, &last.alarm, &again.alarm} {
			w.start(b, time.Second)
		}
		w.stop(&middle.alarm)
		w.stop(&middle.alarm) // harmless
		w.stop(&first.alarm)
		time.Sleep(100 * time.Millisecond)
		w.stop(&last.alarm)
		timer := w.timer
		w.stop(&again.alarm)
		if timer.Stop() {
			t.Error("a timer ran for no alarm")
		}
		w.start(&again.alarm, time.Minute)
		w.start(&first.alarm, time.Second)
		rest(t, &w)
		first.late(t, time.Second, 1100*time.Millisecond)
		again.late(t, time.Minute, 100*time.Millisecond+time.Minute)
		middle.late(t, 0)
		last.late(t, 0)
	})
}

// An alarm that runs and is started again begins again, whatever its length was,
// and others go on.
func TestWheelRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wheel
		a, b, c := hang("a"), hang("b"), hang("c")
		w.start(&a.alarm, time.Second)
		w.start(&b.alarm, time.Second)
		w.start(&c.alarm, time.Second)
		time.Sleep(500 * time.Millisecond)
		w.start(&a.alarm, time.Second)
		w.start(&c.alarm, time.Minute)
		w.start(&c.alarm, time.Minute)
		rest(t, &w)
		a.late(t, time.Second, 1500*time.Millisecond)
		b.late(t, time.Second, time.Second)
		c.late(t, time.Minute, 500*time.Millisecond+time.Minute)
	})
}

// An alarm may start itself and others, and stop them, from within do.
func TestWheelWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wheel
		other, stopped := hang("other"), hang("stopped")
		var rounds []time.Duration
		begin := clock()
		self := new(alarm)
		self.do = func(*Conn) {
			rounds = append(rounds, clock()-begin)
			switch len(rounds) {
			case 1:
				w.start(&other.alarm, time.Millisecond)
				w.start(&stopped.alarm, 10*time.Second)
				fallthrough
			case 2, 3, 4:
				w.start(self, time.Second)
			case 5:
				w.stop(&stopped.alarm)
			}
		}
		w.start(self, time.Second)
		rest(t, &w)
		if len(rounds) != 5 || rounds[4] < 5*time.Second || rounds[4] > 5*time.Second+5*time.Second/128 {
			t.Errorf("it rang at %v, want every second, 5 times", rounds)
		}
		other.late(t, 2*time.Second, time.Second)
		stopped.late(t, 0)
	})
}

// The wheel costs the same however many alarms there are.
func BenchmarkWheel(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var w wheel
			alarms := make([]alarm, n)
			for i := range alarms {
				w.start(&alarms[i], time.Hour)
			}
			b.ReportAllocs()
			for i := range b.N {
				a := &alarms[i%n]
				w.stop(a)
				w.start(a, time.Hour)
			}
			for i := range alarms {
				w.stop(&alarms[i])
			}
		})
	}
}
