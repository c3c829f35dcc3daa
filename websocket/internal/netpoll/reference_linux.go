package netpoll

import "sync/atomic"

// references says how long a descriptor may be used: as long as somebody holds a
// reference. Nobody can take one after end; whoever gives back the last one after
// end must close the descriptor, and release tells him so. It is told once.
//
// The zero value has no references and has not ended.
type references struct {
	word atomic.Uint32 // ended, and how many there are
}

const ended = 1 << 31

// acquire takes a reference and reports whether it could.
func (r *references) acquire() bool {
	for {
		word := r.word.Load()
		if word&ended != 0 {
			return false
		}
		// Adding first and looking afterwards would not do: after the last
		// reference is gone, those who come too late would see the last one go again.
		if r.word.CompareAndSwap(word, word+1) {
			return true
		}
	}
}

// release gives a reference back and reports whether the descriptor must be closed
// now, by the caller.
func (r *references) release() (last bool) { return r.word.Add(^uint32(0)) == ended }

// end lets nobody take a reference any more and reports whether it was the first
// to do so. The caller must hold a reference, so that there is a last one.
func (r *references) end() (first bool) { return r.word.Or(ended)&ended == 0 }

// over reports whether end has been called.
func (r *references) over() bool { return r.word.Load()&ended != 0 }
