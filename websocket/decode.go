package websocket

import (
	"errors"
	"io"

	"github.com/duplexgo/duplex/websocket/wire"
)

// The receiving half of a connection that has extensions. All its messages take
// this way, those too that no Decoder changes:
//
//	buf ── unmasked ──▶ Decoders ── counted, checked ──▶ the message's slice
//
// A Decoder never waits. What it lacks is brought, or the call is stopped and the
// next one goes on, as without extensions.

// wireSlack is how much longer than the message a frame may be on the wire: text
// that does not compress gets longer by a little.
func wireSlack(limit int64) int64 {
	if limit == 0 {
		return 0
	}
	return limit + limit>>8 + 1024
}

var (
	errDecodedTooBig = &Error{Code: CloseMessageTooBig, Msg: "message over the limit"}
	errDecodedFrame  = &Error{Code: CloseMessageTooBig, Msg: "frame over the limit"}
	errDecodedText   = &Error{Code: CloseInvalidPayload, Msg: "text that is not UTF-8"}
)

// decoded is read for a connection that has extensions.
func (in *in) decoded(p []byte) (int, error) {
	p = p[:in.within(len(p))]
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if !in.pending {
			if in.control == 0 && !in.dec.InMessage() {
				return 0, in.decodedAll()
			}
			if err := in.frame(); err != nil {
				return 0, err
			}
			continue
		}
		if err := in.unmask(); err != nil {
			return 0, err
		}
		d := in.decoders
		if d == nil {
			d = &noDecoders
		}
		src := in.buf[in.r : in.r+in.ahead]
		n, used, err := d.decode(p, src, in.dec.Remaining() == 0)
		in.r += used
		in.ahead -= used
		in.pending = err != io.EOF
		if err != nil && err != io.EOF {
			return 0, violation(extensionError(err))
		}
		if err := in.count(p[:n]); err != nil {
			return 0, violation(err)
		}
		if n > 0 {
			return n, nil
		}
	}
}

// within returns how much room is given at most: a byte more than the message may
// still have, so that the limit is passed by a byte and no more.
func (in *in) within(n int) int {
	if limit := in.c.settings.MaxMessage; limit > 0 {
		return int(min(int64(n), limit-in.total+1))
	}
	return n
}

// unmask sees to it that there are bytes for the Decoders, unless the frame has no
// more.
func (in *in) unmask() error {
	if in.ahead > 0 || in.dec.Remaining() == 0 {
		return nil
	}
	if in.r == in.w {
		if err := in.fill(); err != nil {
			return err
		}
	}
	n := int(min(int64(in.w-in.r), in.dec.Remaining()))
	in.ahead = n
	return in.checked(in.buf[in.r : in.r+n])
}

// skipDecoded is skip: what is thrown away has to be decoded, too, for what follows
// may refer to it.
func (in *in) skipDecoded() error {
	b := smallBuffers.Get().(*[smallBuffer]byte)
	defer smallBuffers.Put(b)
	_, err := in.decoded(b[:])
	if err == io.EOF {
		in.skipping = false
		return nil
	}
	return err
}

// count holds what comes out of the Decoders to the rules.
func (in *in) count(p []byte) error {
	s := in.c.settings
	in.total += int64(len(p))
	switch {
	case s.MaxMessage > 0 && in.total > s.MaxMessage:
		return errDecodedTooBig
	case in.typ == Text && !s.AnyText && !in.text.Valid(p):
		return errDecodedText
	}
	return nil
}

// decodedAll is the end of a message.
func (in *in) decodedAll() error {
	if in.typ == Text && !in.c.settings.AnyText && !in.text.Complete() {
		return violation(errDecodedText)
	}
	in.open, in.taken, in.decoders = false, false, nil
	return io.EOF
}

// begin takes the header of a data frame.
func (in *in) begin(h wire.Header) error {
	s := in.c.settings
	in.pending = true
	first := h.Opcode != wire.OpContinuation
	if first {
		in.total = 0
		in.text.Reset()
		in.passes = s.agreed.passed(h.Rsv)
	}
	if in.passes == 0 {
		switch {
		case s.MaxFrame > 0 && h.Length > s.MaxFrame:
			return violation(errDecodedFrame)
		case s.MaxMessage > 0 && h.Length > s.MaxMessage-in.total:
			return violation(errDecodedTooBig)
		}
	}
	if in.passes == 0 {
		return nil
	}
	if in.decoders == nil {
		in.decoders = in.c.out.decoding()
	}
	in.decoders.passes = in.passes
	in.decoders.frame = Frame{Type: in.typ, First: first, Last: h.Fin, Rsv: h.Rsv}
	return nil
}

// passed returns the Decoders that a message passes whose first frame has these
// bits.
func (a *agreed) passed(rsv uint8) (passes uint16) {
	for i, with := range a.list {
		if with.NewDecoder != nil && (with.Rsv == 0 || with.FrameRsv != 0 || rsv&with.Rsv != 0) {
			passes |= 1 << a.place(i)
		}
	}
	return passes
}

// noDecoders let everything through.
var noDecoders decoders

// decoding returns a connection's Decoders. They lie beside the sending half, where
// memory is that most connections do not need.
func (o *out) decoding() *decoders {
	o.mu.Lock()
	defer o.mu.Unlock()
	a := o.rare()
	if a.decoders == nil {
		a.decoders = o.c.settings.agreed.newDecoders()
	}
	return a.decoders
}

// newDecoders returns the Decoders of a connection.
func (a *agreed) newDecoders() *decoders {
	d := &decoders{list: make([]Decoder, len(a.list)), between: make([]stage, len(a.list))}
	for i, with := range a.list {
		if with.NewDecoder != nil {
			d.list[a.place(i)] = with.NewDecoder()
		}
	}
	return d
}

// place returns when what comes in passes the Decoder of an Agreement: that of the
// first Agreement comes last. RFC 6455, 9.1.
func (a *agreed) place(i int) int { return len(a.list) - 1 - i }

// extensionError makes of a Decoder's error what ends the connection.
func extensionError(err error) error {
	var broken *Error
	if errors.As(err, &broken) {
		return err
	}
	return &extensionFailure{Error{Code: CloseInvalidPayload, Msg: "a message that an extension cannot decode"}, err}
}

// An extensionFailure is a Decoder's error that has no code.
type extensionFailure struct {
	broken Error
	err    error
}

func (e *extensionFailure) Error() string   { return e.broken.Error() + ": " + e.err.Error() }
func (e *extensionFailure) Unwrap() []error { return []error{&e.broken, e.err} }
