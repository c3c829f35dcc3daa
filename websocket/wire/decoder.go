package wire

// A Decoder holds the rules for the frames of one direction of a connection
// (RFC 6455, 5.1 to 5.6) and the little that must be remembered from frame to
// frame. For each frame call Frame with its header and then Payload with all of
// its payload, in any number of pieces. After an error it must not be used any
// more.
//
// The zero value is a client's Decoder without limits. Fields must not be
// changed after the first frame.
type Decoder struct {
	Server       bool  // frames come from a client: they must be masked (5.1)
	Rsv          uint8 // bits that extensions claimed; allowed on the first frame of a message
	FrameRsv     uint8 // bits that extensions claimed; allowed on every data frame
	MaxFrame     int64 // longest payload of a data frame in bytes; 0: no limit
	MaxMessage   int64 // longest message in bytes, on the wire; 0: no limit
	MaxFragments int   // most frames of one message; 0: no limit
	AnyText      bool  // do not check that text is UTF-8

	frame     Header // the frame in hand; Key is turned as its payload goes by
	remaining int64  // of its payload

	message   Opcode // of the message in hand: OpText, OpBinary; OpContinuation: none
	rsv       uint8  // of the message's first frame
	size      int64  // payload bytes that its headers have declared up to now
	fragments int    // frames up to now
	text      UTF8
}

// Frame takes the header of the next frame. It must not be called before the
// last frame's payload has been given. Sizes are judged by what headers declare,
// so that a frame over a limit is refused before its payload comes.
func (d *Decoder) Frame(h Header) error {
	if err := d.check(h); err != nil {
		return err
	}
	d.frame, d.remaining = h, h.Length
	if h.Opcode.IsControl() {
		return nil
	}
	if h.Opcode != OpContinuation {
		d.message, d.rsv, d.size, d.fragments = h.Opcode, h.Rsv, 0, 0
		d.text.Reset()
	}
	d.size += h.Length
	d.fragments++
	return d.end()
}

// check is every rule that a header can break.
func (d *Decoder) check(h Header) error {
	control, first := h.Opcode.IsControl(), h.Opcode == OpText || h.Opcode == OpBinary
	switch {
	// RFC 6455, 5.2: "MUST be 0 unless an extension is negotiated"; RFC 7692, 6:
	// the bit belongs to a message and stands on its first frame.
	case h.Rsv&^(d.Rsv|d.FrameRsv) != 0, h.Rsv&^d.FrameRsv != 0 && !first, h.Rsv != 0 && control:
		return errRsv
	// RFC 6455, 5.2: an unknown opcode fails the connection.
	case h.Opcode.IsReserved():
		return errReserved
	// RFC 6455, 5.1: a client masks every frame, a server none.
	case d.Server && !h.Masked:
		return errUnmasked
	case !d.Server && h.Masked:
		return errMasked
	// RFC 6455, 5.5: control frames are short and whole.
	case control && !h.Fin:
		return errControlFin
	case control && h.Length > MaxControl:
		return errControlLength
	case control:
		return nil
	// RFC 6455, 5.4: the fragments of messages are not interleaved.
	case first && d.message != OpContinuation:
		return errInterleaved
	case !first && d.message == OpContinuation:
		return errContinuation
	case d.MaxFrame > 0 && h.Length > d.MaxFrame:
		return errFrameTooBig
	}
	size, fragments := d.size, d.fragments
	if first {
		size, fragments = 0, 0
	}
	switch {
	// Written so that no sum can overflow: size is at most MaxMessage.
	case d.MaxMessage > 0 && h.Length > d.MaxMessage-size:
		return errMessageTooBig
	case d.MaxMessage <= 0 && h.Length > 1<<63-1-size:
		return errMessageTooBig
	case d.MaxFragments > 0 && fragments >= d.MaxFragments:
		return errFragments
	}
	return nil
}

// Payload takes the next piece of the frame's payload, at most Remaining bytes,
// and unmasks it in place. Text is checked to be UTF-8 and fails at its first
// wrong byte, unless an RSV bit says that an extension changed it.
func (d *Decoder) Payload(p []byte) error {
	if d.frame.Masked {
		d.frame.Key = Mask(p, d.frame.Key)
	}
	d.remaining -= int64(len(p))
	if d.frame.Opcode.IsControl() {
		return nil
	}
	if d.checksText() && !d.text.Valid(p) {
		return errText
	}
	return d.end()
}

// end is done at the end of a frame: a text must not end within a character,
// and after the message's last frame there is no message in hand.
func (d *Decoder) end() error {
	if d.remaining > 0 || !d.frame.Fin {
		return nil
	}
	if d.checksText() && !d.text.Complete() {
		return errText
	}
	d.message = OpContinuation
	return nil
}

func (d *Decoder) checksText() bool {
	return d.message == OpText && d.rsv == 0 && !d.AnyText
}

// Remaining returns how many bytes of the frame's payload have not been given to
// Payload yet.
func (d *Decoder) Remaining() int64 { return d.remaining }

// InMessage reports whether a message has begun and its last byte has not been
// given yet.
func (d *Decoder) InMessage() bool { return d.message != OpContinuation }
