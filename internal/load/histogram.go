package load

import (
	"iter"
	"math"
	"math/bits"
	"time"
)

// Precision is how much greater a quantile of a Histogram can be than the true one,
// as a share of it: 0.8 %.
const Precision = 1.0 / (1 << steps)

// steps is the binary logarithm of how many steps there are for each doubling.
const steps = 7

// A Histogram counts durations from a nanosecond to centuries in constant memory, 57
// KiB. Up to 255 ns each nanosecond has a step of its own, above there are 128
// steps for each doubling. The zero value is empty. It must not be used by two
// goroutines at once.
type Histogram struct {
	counts [(64 - steps) << steps]uint64
	total  uint64
	max    time.Duration
	sum    float64
}

// Add counts a duration; a negative one counts as 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.counts[step(d)]++
	h.total++
	h.max = max(h.max, d)
	h.sum += float64(d)
}

// Merge adds all that other has counted.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
	h.max = max(h.max, other.max)
	h.sum += other.sum
}

// Count returns how many durations there are.
func (h *Histogram) Count() uint64 { return h.total }

// Max returns the longest duration, exactly; 0 if there is none.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean returns the exact mean; 0 if there is none.
func (h *Histogram) Mean() time.Duration {
	if h.total == 0 {
		return 0
	}
	return time.Duration(h.sum / float64(h.total))
}

// Quantile returns the duration that a share q of all, from 0 to 1, does not exceed:
// not less than the true one, and at most Precision more. It is 0 if there are
// none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := max(uint64(math.Ceil(q*float64(h.total))), 1)
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return min(end(i), h.max)
		}
	}
	return h.max
}

// Steps returns the steps that have counted anything, in order: the longest
// duration that belongs to each, and how many there were.
func (h *Histogram) Steps() iter.Seq2[time.Duration, uint64] {
	return func(yield func(time.Duration, uint64) bool) {
		for i, n := range h.counts {
			if n > 0 && !yield(end(i), n) {
				return
			}
		}
	}
}

// step numbers the step of a duration.
func step(d time.Duration) int {
	shift := max(bits.Len64(uint64(d))-1-steps, 0)
	return shift<<steps + int(uint64(d)>>shift)
}

// end returns the longest duration of a step.
func end(step int) time.Duration {
	if step < 2<<steps {
		return time.Duration(step)
	}
	shift := step>>steps - 1
	return time.Duration(uint64(step&(1<<steps-1)+1<<steps+1)<<shift - 1)
}
