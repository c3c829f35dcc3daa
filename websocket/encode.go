package websocket

import (
	"sync"
	"time"

	"github.com/duplexgo/duplex/websocket/wire"
)

// encoders are a connection's Encoders, made when a message first has to pass one.
// out.mu guards them: frames pass them in the order in which they are sent.
type encoders struct {
	list  []Encoder // in the order of the answer; nil where there is none
	idle  time.Duration
	alarm alarm       // of a Handler's Conn
	timer *time.Timer // of any other
	armed bool
	used  bool // since the alarm began
}

// A scratch is memory for frames that Encoders make. Each writes into the half that
// the last one has not written into.
type scratch struct {
	halves [2][]byte
	next   int
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// release gives the memory back. What was encoded must not be used any more.
func (s *scratch) release() {
	for i, b := range s.halves {
		if s.halves[i] = b[:0]; cap(b) > keepScratch {
			s.halves[i] = nil
		}
	}
	scratches.Put(s)
}

// skips returns which Encoders a message does not pass whose first frame has size
// bytes.
func (a *agreed) skips(f Frame, size int) (skip uint16) {
	for i, with := range a.list {
		if with.NewEncoder == nil || with.Skip != nil && with.Skip(f, size) {
			skip |= 1 << i
		}
	}
	return skip
}

// encode returns the RSV bits and the payload of a frame whose turn has come, as it is
// sent. The payload may lie in s. w is the message that it is a fragment of, or nil.
//
// A large frame is encoded without the mutex, as if it were being written: control
// frames may gather meanwhile, other messages not, which have to be encoded after it.
func (o *out) encode(s *scratch, f Frame, p []byte, w *messageWriter) (rsv uint8, payload []byte, err error) {
	var skip uint16
	if f.First {
		skip = o.c.settings.agreed.skips(f, len(p))
	} else {
		skip = w.skip
	}
	if w != nil {
		w.skip = skip
	}
	k := o.encoding(skip)
	switch {
	case k == nil:
		return 0, p, nil
	case len(p) <= gatherSize || o.busy || o.batch != nil:
		rsv, p = k.encode(s, f, p, skip)
		return rsv, p, nil
	}
	o.busy, o.apart = true, true
	func() {
		o.mu.Unlock()
		defer func() {
			o.mu.Lock()
			o.busy, o.apart = false, false
			o.change()
		}()
		rsv, p = k.encode(s, f, p, skip)
	}()
	if err = o.failed(); err != nil {
		o.background() // what has gathered: a close frame, perhaps
	}
	return rsv, p, err
}

// encode passes a frame through Encoders. RFC 6455, 9.1: the first extension of the
// answer comes first.
func (k *encoders) encode(s *scratch, f Frame, p []byte, skip uint16) (rsv uint8, payload []byte) {
	for i, with := range k.alarm.c.settings.agreed.list {
		if skip&(1<<i) != 0 {
			continue
		}
		b, rsv, ok := k.list[i].Encode(s.halves[s.next][:0], f, p)
		if !ok {
			continue
		}
		s.halves[s.next] = b
		s.next = 1 - s.next
		p = b
		if !f.First {
			rsv &= with.FrameRsv
		}
		f.Rsv |= rsv & (with.Rsv | with.FrameRsv)
	}
	return f.Rsv, p
}

// encoded returns the Encoders, nil where no message has passed one.
func (o *out) encoded() *encoders {
	if o.aside == nil {
		return nil
	}
	return o.aside.encoders
}

// encoding returns the Encoders, which are in use now, nil where all are skipped.
func (o *out) encoding(skip uint16) *encoders {
	if skip == 1<<len(o.c.settings.agreed.list)-1 {
		return nil
	}
	k := o.encoded()
	if k == nil {
		k = &encoders{alarm: alarm{c: o.c, do: (*Conn).encodersIdle}}
		for _, with := range o.c.settings.agreed.list {
			var e Encoder
			if with.NewEncoder != nil {
				e = with.NewEncoder()
			}
			k.list = append(k.list, e)
			if _, ok := e.(Idler); ok {
				k.idle = max(k.idle, with.Idle)
			}
		}
		o.rare().encoders = k
	}
	if k.used = true; !k.armed && k.idle > 0 {
		k.armed, k.used = true, false
		k.start()
	}
	return k
}

// start has encodersIdle called once more.
func (k *encoders) start() {
	c := k.alarm.c
	switch {
	case c.settings.handler != nil:
		c.settings.handler.wheel.start(&k.alarm, k.idle)
	case k.timer == nil:
		k.timer = time.AfterFunc(k.idle, c.encodersIdle)
	default:
		k.timer.Reset(k.idle)
	}
}

// encodersIdle is the alarm: what has not been used for all its time is idle.
func (c *Conn) encodersIdle() {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	k := o.encoded()
	switch {
	case k == nil:
	case k.used || o.writer != nil || o.apart: // in the middle of a message an Encoder needs all it has
		k.used = false
		k.start()
	default:
		k.armed = false
		for _, e := range k.list {
			if e, ok := e.(Idler); ok {
				e.Idle()
			}
		}
	}
}

// dropEncoders is called when nothing can be sent any more.
func (o *out) dropEncoders() {
	k := o.encoded()
	if k == nil {
		return
	}
	o.aside.encoders = nil
	switch {
	case k.timer != nil:
		k.timer.Stop()
	case o.c.settings.handler != nil:
		o.c.settings.handler.wheel.stop(&k.alarm)
	}
}

// gatherMessage puts a message of Send into the batch that has to be encoded or
// masked for this connection.
func (o *out) gatherMessage(m *Prepared) {
	h := wire.Header{Fin: true, Opcode: m.typ.opcode()}
	p := m.payload()
	if a := o.c.settings.agreed; a != nil && m.typ.valid() {
		s := scratches.Get().(*scratch)
		defer s.release()
		f := m.typ.frame(true, true)
		skip := a.skips(f, len(p))
		if k := o.encoding(skip); k != nil {
			h.Rsv, p = k.encode(s, f, p, skip)
		}
	}
	o.gather(o.masked(h, len(p)), p)
}

// fit returns a message as it is sent on this server's connection: encoded once for
// many where it has to be encoded.
func (o *out) fit(m *Prepared) *Prepared {
	a := o.c.settings.agreed
	if a == nil {
		return m
	}
	encoded := a.list[0].share(m)
	if encoded == nil {
		return m
	}
	if k := o.encoded(); k != nil {
		k.list[0].(interface{ sent(p []byte) }).sent(m.payload())
	}
	return encoded
}

// encodeShared encodes a message that is about to be sent, before the mutex is taken:
// fit finds that it has been.
func (c *Conn) encodeShared(m *Prepared) {
	if a := c.settings.agreed; a != nil && c.settings.shares() {
		a.list[0].share(m)
	}
}

// shares reports whether messages can be encoded once for many, and be sent without a
// mask.
func (s *settings) shares() bool {
	return s.server && (s.agreed == nil || s.agreed.shared() != nil)
}
