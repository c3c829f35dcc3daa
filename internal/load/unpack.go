package load

import (
	"compress/flate"
	"errors"
	"io"

	"github.com/duplexgo/duplex/websocket/wire"
)

// A flow is what a connection that is compressed has beside others.
type flow struct {
	agreed *agreement
	out    *packing // nil where nothing is sent

	// In.
	packed bool       // the message in hand is compressed
	came   int        // how much of it has come, as it was sent
	pieces []byte     // of it, where it did not come at once
	whole  []byte     // all of it, until feed returns
	window []byte     // what was decompressed last
	text   *wire.UTF8 // of a message that is compared with nothing
}

// packSlack is how much longer a compressed message may be than it is plain, beside
// an eighth: more is never needed, and a server must not fill the memory.
const packSlack = 1 << 10

// takePacked takes a piece of a compressed message. It is decompressed when it is
// whole: what comes at once, which is nearly everything, is not copied.
func (c *conn) takePacked(piece []byte) error {
	f := c.flow
	if f.came += len(piece); c.role == idles || c.role == sends || c.closing {
		return nil
	}
	most := MaxPayload
	if c.compares() {
		most = c.s.w.job.Payload.size(c.stream(), c.next)
	}
	if f.came > most+most/8+packSlack {
		return failure(Wrong, "connection %d: message %d came with %d bytes compressed and more, and was sent with %d bytes", c.id, c.next, f.came, most)
	}
	if len(f.pieces) == 0 && c.frame.Fin && c.decoder.Remaining() == 0 {
		f.whole = piece
		return nil
	}
	f.pieces = append(f.pieces, piece...)
	f.whole = f.pieces
	return nil
}

// unpack decompresses the message in hand, and gives what it says to compare.
func (c *conn) unpack() error {
	f := c.flow
	u := &c.s.unpacker
	err := u.run(f.window, f.whole, func(piece []byte) error {
		if f.text != nil && !f.text.Valid(piece) {
			return failure(Protocol, "connection %d: the server sent text that is not UTF-8", c.id)
		}
		return c.compare(piece)
	})
	f.pieces, f.whole = nil, nil
	switch _, ok := errors.AsType[*Failure](err); {
	case ok:
		return err
	case err != nil:
		return failure(Protocol, "connection %d: message %d cannot be decompressed: %v", c.id, c.next, err)
	case f.text != nil && !f.text.Complete():
		return failure(Protocol, "connection %d: the server sent text that is not UTF-8", c.id)
	}
	if f.agreed.receiveTakeover {
		f.window = append(f.window[:0], u.last(1<<f.agreed.receive)...)
	}
	return nil
}

// An unpacker decompresses one message after the other. It is the standard library's,
// which has nothing in common with the compressors that are measured.
type unpacker struct {
	inflate io.ReadCloser
	source  source
	buf     []byte
	history []byte // the window and what has come after it, its end at the least
}

// A source is the bytes of a message and the end that it has been sent without. It
// gives single bytes, so that the reader takes no more than it needs.
type source struct{ p, end []byte }

// ending is what a message is sent without, and a last block, which is empty. RFC
// 7692, 7.2.2.
var ending = []byte(flushed + "\x01\x00\x00\xff\xff")

func (s *source) ReadByte() (byte, error) {
	var b [1]byte
	_, err := s.Read(b[:])
	return b[0], err
}

func (s *source) Read(b []byte) (int, error) {
	if len(s.p) == 0 {
		s.p, s.end = s.end, nil
	}
	if len(s.p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, s.p)
	s.p = s.p[n:]
	return n, nil
}

const maxWindow = 1 << maxBits

// run decompresses a message behind a window and gives it to take, piece by piece. An
// error of take is returned as it is.
func (u *unpacker) run(window, p []byte, take func([]byte) error) error {
	if u.buf == nil {
		u.buf = make([]byte, 16<<10)
		u.inflate = flate.NewReader(&u.source)
	}
	u.history = append(u.history[:0], window...)
	for u.source = (source{p, ending}); ; {
		// A block may say that it is the last, and be followed by more. RFC 7692, 7.2.3.4.
		if len(u.source.end) == len(ending) && len(u.source.p) == 0 {
			return nil
		}
		_ = u.inflate.(flate.Resetter).Reset(&u.source, u.last(maxWindow)) // fails never
		if err := u.stream(take); err != nil {
			return err
		}
		if len(u.source.end) == 0 && len(u.source.p) == 0 {
			return nil
		}
	}
}

// stream decompresses up to the end of a block that says it is the last.
func (u *unpacker) stream(take func([]byte) error) error {
	for {
		n, err := u.inflate.Read(u.buf)
		if len(u.history)+n > 4*maxWindow {
			u.history = append(u.history[:0], u.last(maxWindow)...)
		}
		u.history = append(u.history, u.buf[:n]...)
		if n > 0 {
			if err := take(u.buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// last returns up to n of the last bytes.
func (u *unpacker) last(n int) []byte { return u.history[max(0, len(u.history)-n):] }
