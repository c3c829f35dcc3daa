package websocket

import "time"

// A bucket lets events pass at a rate. Tokens flow in, up to burstSeconds' worth,
// and each event takes some. The zero value is full.
type bucket struct {
	spent float64 // what is missing to a full one
	at    time.Duration
}

// take takes n tokens and returns 0 if there was one. Then there may be fewer than
// none left, which has to be waited for. Else it returns how long until there is
// one. A rate of 0 is no limit.
func (b *bucket) take(rate, n int) time.Duration {
	if rate <= 0 {
		return 0
	}
	size := float64(rate) * burstSeconds
	b.flow(rate)
	if missing := b.spent - (size - 1); missing > 0 {
		return time.Duration(missing / float64(rate) * float64(time.Second))
	}
	b.spent += float64(n)
	return 0
}

func (b *bucket) full(rate int) bool {
	if rate <= 0 {
		return true
	}
	b.flow(rate)
	return b.spent == 0
}

// flow lets in what has come since the last time.
func (b *bucket) flow(rate int) {
	now := clock()
	if b.spent > 0 { // else at may never have been set
		b.spent = max(0, b.spent-(now-b.at).Seconds()*float64(rate))
	}
	b.at = now
}
