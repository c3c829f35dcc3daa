package load

// A queue holds the times of messages in flight, the oldest first. The zero value is
// empty.
type queue struct {
	ring []int64 // its length is a power of two
	head uint32
	n    uint32
}

func (q *queue) push(v int64) {
	if int(q.n) == len(q.ring) {
		ring := make([]int64, max(1, 2*len(q.ring)))
		for i := range q.n {
			ring[i] = q.at(i)
		}
		q.ring, q.head = ring, 0
	}
	q.ring[(q.head+q.n)&uint32(len(q.ring)-1)] = v
	q.n++
}

func (q *queue) at(i uint32) int64 { return q.ring[(q.head+i)&uint32(len(q.ring)-1)] }

func (q *queue) pop() int64 {
	v := q.at(0)
	q.head++
	q.n--
	return v
}
