package push

import (
	"slices"
	"testing"
)

// What is read ahead is what comes next, without a gap and without what is not due.
func TestFollowing(t *testing.T) {
	l := new(log)
	for seq := uint64(10); seq <= 60; seq += 10 {
		l.append(entry{seq: seq}, 4) // 30 to 60 are kept
	}
	for _, test := range []struct {
		after, upto uint64
		room        int
		want        []uint64
	}{
		{30, 60, 9, []uint64{40, 50, 60}},
		{30, 55, 9, []uint64{40, 50}},
		{30, 60, 2, []uint64{40, 50}},
		{20, 60, 9, []uint64{30, 40, 50, 60}},
		{10, 60, 9, nil}, // 20 is gone
		{60, 99, 9, nil},
	} {
		var got []uint64
		for _, e := range l.following(make([]entry, 0, test.room), test.after, test.upto) {
			got = append(got, e.seq)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("after %d up to %d, room for %d: %v, want %v", test.after, test.upto, test.room, got, test.want)
		}
	}
}
