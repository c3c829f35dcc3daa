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

// encode returns the RSV bits and the payload of a frame as it is sent, which may
// lie in s. RFC 6455, 9.1: the first extension of the answer comes first.
func (o *out) encode(s *scratch, f Frame, p []byte, skip uint16) (rsv uint8, payload []byte) {
	a := o.c.settings.agreed
	if skip == 1<<len(a.list)-1 {
		return 0, p
	}
	k := o.encoding()
	for i, with := range a.list {
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

// encoding returns the Encoders, which are in use now.
func (o *out) encoding() *encoders {
	k := o.encoders
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
		o.encoders = k
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
	k := o.encoders
	switch {
	case k == nil:
	case k.used || o.writer != nil: // in the middle of a message an Encoder needs all it has
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
	k := o.encoders
	if k == nil {
		return
	}
	o.encoders = nil
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
		h.Rsv, p = o.encode(s, f, p, a.skips(f, len(p)))
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
	if o.encoders != nil {
		o.encoders.list[0].(interface{ sent(p []byte) }).sent(m.payload())
	}
	return encoded
}

// shares reports whether messages can be encoded once for many, and be sent without a
// mask.
func (s *settings) shares() bool {
	return s.server && (s.agreed == nil || s.agreed.shared() != nil)
}
