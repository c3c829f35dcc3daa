package load

import (
	"fmt"
	"strconv"
	"time"
)

// A channel is what is known on this side of one channel of a push server. Messages
// that are published at once may come in any order, but to all listeners in the same:
// the first who gets a message says what its place is.
type channel struct {
	listeners int
	published uint64 // number of the next message
	ordered   uint64 // places below are taken
	seen      uint64 // messages below have come to all listeners, if all are about as quick
	came      int    // deliveries since
	slots     []slot // a ring
}

// A slot has what belongs to a place, and to the number of a message.
type slot struct {
	number uint64    // of the message at the place
	due    time.Time // of the message of the number
}

// init prepares for so many messages under way.
func (ch *channel) init(underway int) { ch.slots = make([]slot, underway) }

func (ch *channel) slot(i uint64) *slot { return &ch.slots[i%uint64(len(ch.slots))] }

// publish returns the number of a message that is due then.
func (ch *channel) publish(at time.Time) (number uint64, err error) {
	if ch.published-ch.seen >= uint64(len(ch.slots)) {
		return 0, fmt.Errorf("the server is %d messages behind", len(ch.slots))
	}
	number = ch.published
	ch.slot(number).due = at
	ch.published++
	return number, nil
}

// dueAt returns when the message at a place was due.
func (ch *channel) dueAt(place uint64) time.Time { return ch.slot(ch.slot(place).number).due }

// delivered counts deliveries.
func (ch *channel) delivered(n int) {
	ch.came += n
	ch.seen = min(ch.published, ch.seen+uint64(ch.came/ch.listeners))
	ch.came %= ch.listeners
}

// check returns what is wrong with a message that a listener got as the one at a place.
func (ch *channel) check(channel int, place uint64, stamp []byte) error {
	of, err1 := strconv.ParseUint(string(stamp[:8]), 16, 64)
	number, err2 := strconv.ParseUint(string(stamp[8:]), 16, 64)
	switch {
	case err1 != nil || err2 != nil:
		return fmt.Errorf("data that begin with %q", stamp)
	case of != uint64(channel):
		return fmt.Errorf("message %d of channel %d came to a subscriber of channel %d", number, of, channel)
	case number >= ch.published:
		return fmt.Errorf("message %d of channel %d came, of which %d are published", number, channel, ch.published)
	case place < ch.ordered && place+uint64(len(ch.slots)) >= ch.ordered:
		if want := ch.slot(place).number; want != number {
			return fmt.Errorf("message %d of channel %d came where others got message %d", number, channel, want)
		}
		return nil
	case place != ch.ordered:
		return fmt.Errorf("message %d of channel %d came %d messages later than to others", number, channel, ch.ordered-place)
	}
	// Messages are at most so far from their places as there are connections to publish
	// with: so it is enough to look for a second time among the last ones.
	for back := range min(place, posting, uint64(len(ch.slots))) {
		if ch.slot(place-1-back).number == number {
			return fmt.Errorf("message %d of channel %d came twice", number, channel)
		}
	}
	if number+posting < place || number > place+posting {
		return fmt.Errorf("message %d of channel %d came at place %d", number, channel, place)
	}
	ch.slot(place).number = number
	ch.ordered++
	return nil
}
