package push

import "time"

// A bucket lets events pass at a rate: tokens a second flow in, up to a burst,
// and each event takes one.
type bucket struct {
	rate   int // tokens a second; 0: no limit
	tokens float64
	filled time.Time
}

// burstSeconds is how many seconds' worth of tokens a bucket holds.
const burstSeconds = 10

func (b *bucket) init(rate int) {
	b.rate, b.tokens, b.filled = rate, float64(rate*burstSeconds), time.Now()
}

// burst returns how many events may come at once.
func (b *bucket) burst() int { return b.rate * burstSeconds }

// fill lets the tokens flow in that have come since the last time.
func (b *bucket) fill() {
	now := time.Now()
	b.tokens = min(float64(b.burst()), b.tokens+now.Sub(b.filled).Seconds()*float64(b.rate))
	b.filled = now
}

// full reports whether the bucket is as at the beginning.
func (b *bucket) full() bool {
	b.fill()
	return b.tokens >= float64(b.burst())
}

// take reports whether an event may pass now.
func (b *bucket) take() bool {
	if b.rate <= 0 {
		return true
	}
	b.fill()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
