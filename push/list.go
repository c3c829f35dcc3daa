package push

import "time"

// A list is logs in the order of their last use. It runs through the logs
// themselves, so that a log moves without a search.
type list struct{ oldest, newest *log }

// A place is a log's place in a list, if it is in one.
type place struct {
	list       *list
	prev, next *log
	used       time.Duration // when it was last used, since the broker began
	opens      int           // how often it is open
}

// push makes the log the newest of the list and takes it from where it was.
func (s *list) push(l *log) {
	l.place.leave()
	l.place.list, l.place.prev = s, s.newest
	if s.newest != nil {
		s.newest.place.next = l
	} else {
		s.oldest = l
	}
	s.newest = l
}

// leave takes the log from its list.
func (p *place) leave() {
	if p.list == nil {
		return
	}
	if p.prev != nil {
		p.prev.place.next = p.next
	} else {
		p.list.oldest = p.next
	}
	if p.next != nil {
		p.next.place.prev = p.prev
	} else {
		p.list.newest = p.prev
	}
	p.list, p.prev, p.next = nil, nil, nil
}
