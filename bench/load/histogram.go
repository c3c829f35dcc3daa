package load

import (
	"math/bits"
	"time"
)

// A histogram counts durations in steps of a sixteenth or finer, from a
// microsecond to hours, in constant memory. The zero value is empty.
type histogram struct {
	counts [64 * 16]int64
	total  int64
	max    time.Duration
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(d)]++
	h.total++
	h.max = max(h.max, d)
}

// bucket numbers the steps: below 16 us each has its own, then sixteen for each
// doubling.
func bucket(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < 16 {
		return int(us)
	}
	shift := bits.Len64(us) - 5
	return shift*16 + int(us>>shift)
}

// top returns the end of a step.
func top(bucket int) time.Duration {
	if bucket < 16 {
		return time.Duration(bucket+1) * time.Microsecond
	}
	shift := bucket/16 - 1
	return time.Duration(bucket%16+16+1) << shift * time.Microsecond
}

// quantile returns the duration that a share q of all does not exceed, rounded up
// to its step, and 0 if there are none.
func (h *histogram) quantile(q float64) time.Duration {
	rank := max(int64(q*float64(h.total)+0.5), 1)
	for i, n := range h.counts {
		if rank -= n; rank <= 0 && n > 0 {
			return min(top(i), h.max)
		}
	}
	return h.max
}
