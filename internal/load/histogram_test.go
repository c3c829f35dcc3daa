package load

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Quantiles are those of the sorted durations, or as much more as is stated.
func TestHistogramIsAsPreciseAsStated(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() time.Duration{
		"nanoseconds":  func() time.Duration { return time.Duration(random.IntN(400)) },
		"even":         func() time.Duration { return time.Duration(random.IntN(int(time.Second))) },
		"long-tailed":  func() time.Duration { return time.Duration(math.Exp(random.Float64()*28 + 3)) },
		"all the same": func() time.Duration { return 1234567 },
	} {
		var h, half Histogram
		var all []time.Duration
		for i := range 5000 {
			d := draw()
			all = append(all, d)
			if i%2 == 0 {
				h.Add(d)
			} else {
				half.Add(d)
			}
		}
		h.Merge(&half)
		slices.Sort(all)
		for _, q := range []float64{0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1} {
			want := all[max(int(math.Ceil(q*float64(len(all))))-1, 0)]
			got := h.Quantile(q)
			if got < want || float64(got) > float64(want)*(1+Precision) {
				t.Errorf("%s: quantile %v is %v, the true one is %v", name, q, got, want)
			}
		}
		var sum time.Duration
		for _, d := range all {
			sum += d
		}
		if mean := sum / time.Duration(len(all)); (h.Mean() - mean).Abs() > time.Nanosecond+mean/1e9 {
			t.Errorf("%s: the mean is %v, the true one is %v", name, h.Mean(), mean)
		}
		if h.Max() != all[len(all)-1] || h.Count() != uint64(len(all)) {
			t.Errorf("%s: max %v, count %d", name, h.Max(), h.Count())
		}
		var count uint64
		last := time.Duration(-1)
		for upTo, n := range h.Steps() {
			if upTo <= last || n == 0 {
				t.Errorf("%s: step up to %v with %d after one up to %v", name, upTo, n, last)
			}
			last, count = upTo, count+n
		}
		if count != h.Count() {
			t.Errorf("%s: the steps hold %d of %d", name, count, h.Count())
		}
	}
}

// Every duration belongs to the step that ends at or behind it, and begins behind
// the end of the one before.
func TestHistogramSteps(t *testing.T) {
	durations := []time.Duration{0, 1, math.MaxInt64}
	for shift := range 63 {
		for _, d := range []int64{-1, 0, 1} {
			durations = append(durations, time.Duration(max(1<<shift+d, 0)))
		}
	}
	for _, d := range durations {
		i := step(d)
		if end(i) < d || i > 0 && end(i-1) >= d {
			t.Errorf("%d is in the step from %d to %d", d, end(i-1)+1, end(i))
		}
	}
	if last := step(math.MaxInt64); last != len(Histogram{}.counts)-1 {
		t.Errorf("the longest duration is in step %d of %d", last, len(Histogram{}.counts))
	}
}

func TestHistogramOfNothing(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Mean() != 0 || h.Max() != 0 || h.Count() != 0 {
		t.Errorf("p50 %v, mean %v, max %v", h.Quantile(0.5), h.Mean(), h.Max())
	}
	h.Add(-5)
	if h.Quantile(1) != 0 || h.Count() != 1 {
		t.Error("a negative duration is not counted as 0")
	}
}
