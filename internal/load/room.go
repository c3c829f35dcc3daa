package load

import "sync"

// A room is what the connections of a broadcast have in common: which messages are
// on their way, and to how many receivers each still has to come.
type room struct {
	ready func() // is called when a message is with all; may be called from any goroutine

	mu          sync.Mutex
	receivers   int    // that are open
	first       uint64 // the oldest message on its way
	open        []delivery
	outstanding int // deliveries
}

type delivery struct {
	intended int64 // when the message should have been sent
	missing  int   // receivers
}

func (r *room) enter() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.receivers++
}

// begin takes a message and returns to how many it is to come.
func (r *room) begin(intended int64) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.receivers == 0 {
		r.first++
		return 0
	}
	r.open = append(r.open, delivery{intended, r.receivers})
	r.outstanding += r.receivers
	return r.receivers
}

// begun returns the number of the next message to begin.
func (r *room) begun() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first + uint64(len(r.open))
}

// inFlight returns how many messages are not with all.
func (r *room) inFlight() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open)
}

// empty reports whether nobody is there to receive.
func (r *room) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.receivers == 0
}

func (r *room) missing() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outstanding
}

// since returns when message number should have been sent, and false if it has not
// been begun.
func (r *room) since(number uint64) (intended int64, begun bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := number - r.first
	if i >= uint64(len(r.open)) {
		return 0, false
	}
	return r.open[i].intended, true
}

// got notes that a receiver has message number, the next that it waited for.
func (r *room) got(number uint64) (intended int64) {
	r.mu.Lock()
	d := &r.open[number-r.first]
	intended = d.intended
	d.missing--
	r.outstanding--
	done := r.drop()
	r.mu.Unlock()
	if done {
		r.ready()
	}
	return intended
}

// leave takes a receiver out that waited for message next, and returns when those
// should have been sent that it will not get.
func (r *room) leave(next uint64) (lost []int64) {
	r.mu.Lock()
	r.receivers--
	for i := int(next - r.first); i < len(r.open); i++ {
		lost = append(lost, r.open[i].intended)
		r.open[i].missing--
		r.outstanding--
	}
	done := r.drop()
	r.mu.Unlock()
	if done {
		r.ready()
	}
	return lost
}

// drop forgets what is with all.
func (r *room) drop() (any bool) {
	for len(r.open) > 0 && r.open[0].missing == 0 {
		r.open = r.open[1:]
		r.first++
		any = true
	}
	return any
}
