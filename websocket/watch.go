package websocket

import (
	"context"
	"time"
)

// A watch stops a read when a context ends, by a read deadline in the past. It
// stays with a context from call to call, so that a loop which reads with the
// same one pays for it once.
type watch struct {
	done   <-chan struct{} // of the context; nil: none is watched
	source stoppable
	stop   func() bool
	fired  chan struct{} // closed when the deadline has been set
}

var past = time.Unix(1, 0)

// begin makes reads end with ctx, and with no other.
func (w *watch) begin(ctx context.Context) {
	done := ctx.Done()
	if done == w.done {
		return
	}
	w.end()
	if done == nil {
		return
	}
	fired := make(chan struct{})
	w.done, w.fired = done, fired
	w.stop = context.AfterFunc(ctx, func() {
		w.source.SetReadDeadline(past)
		close(fired)
	})
}

// end forgets the context and takes its deadline back.
func (w *watch) end() {
	if w.done == nil {
		return
	}
	if !w.stop() {
		<-w.fired // else it would set the deadline after the next line
		w.source.SetReadDeadline(time.Time{})
	}
	w.done, w.stop, w.fired = nil, nil, nil
}
