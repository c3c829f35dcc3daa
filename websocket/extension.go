package websocket

import (
	"io"
	"time"

	"github.com/duplexgo/duplex/websocket/internal/handshake"
)

// An Extension changes what a connection's messages look like on the wire, as both
// ends have agreed in the opening handshake: it compresses, signs, numbers. Name
// those that are wanted in [Options.Extensions]. [Deflate] is one; others can be
// written with nothing but what is documented here. RFC 6455, 9.
//
// An Extension has the settings. For each connection it makes an [Agreement], from
// what is offered and answered; the Agreement makes an [Encoder] for what the
// connection sends and a [Decoder] for what it receives. Its methods may be called
// by many goroutines at once.
type Extension interface {
	// Name is the extension's registered name, a token. RFC 6455, 11.4.
	Name() string

	// Offers returns what a client offers, the parameters liked best first. The
	// server takes one of them or none. Without any, the extension is not offered.
	Offers() [][]ExtensionParam

	// Accept is a server's decision about one offer: what it answers, and what that
	// means for the connection. It declines by returning nil, which is also what to
	// do with parameters that it does not know; then the next offer is tried.
	Accept(offer []ExtensionParam) (answer []ExtensionParam, a *Agreement)

	// Confirm is a client's view of the answer to one of its offers. An error fails
	// the opening handshake.
	Confirm(answer []ExtensionParam) (*Agreement, error)
}

// An ExtensionParam is a parameter of an extension: a token, and a token or nothing
// as its value. Quotes are taken away before an Extension sees it. RFC 6455, 9.1.
type ExtensionParam = handshake.Param

// An Agreement is what both ends of a connection have settled on about an
// extension. It may serve many connections and must not be changed.
type Agreement struct {
	// Rsv are the bits that the extension claims on the first frame of a message,
	// and FrameRsv those that it claims on every data frame: of wire.Rsv1, Rsv2 and
	// Rsv3. Of two extensions that claim the same bit only the first is accepted; a
	// client fails the handshake. RFC 6455, 5.2 and 9.1.
	Rsv, FrameRsv uint8

	// NewEncoder returns what a connection's frames pass on their way out, before
	// the first of them; nil: they are not changed.
	NewEncoder func() Encoder

	// NewDecoder returns what a connection's frames pass on their way in, before the
	// first of them; nil: they are not changed. Where bits of Rsv but none of
	// FrameRsv are claimed, only messages pass whose first frame has one of them.
	NewDecoder func() Decoder

	// Skip, if set, is asked before the first frame of a message is sent, which has
	// size bytes; a message for which it returns true does not pass the Encoder. A
	// connection that skips every message never gets one.
	Skip func(f Frame, size int) bool

	// Idle is after how long without a message sent the Encoder's Idle is called, if
	// it is an [Idler]. 0: never.
	Idle time.Duration

	// share returns m as all connections of the same Agreement can get it, nil where
	// it is sent as it is.
	share func(m *Prepared) *Prepared
}

// A Frame is what an extension gets to know of a data frame.
type Frame struct {
	Type         MessageType // of its message: Text or Binary
	First        bool        // it begins the message
	Last         bool        // it ends the message
	Rsv          uint8       // bits that it came with; when it is sent, those that other extensions have set
	Uncompressed bool        // it is sent with the flag [Uncompressed]
}

// An Encoder changes the frames that one connection sends. Its calls do not
// overlap.
type Encoder interface {
	// Encode appends to dst what is sent in place of p, a frame's payload, and
	// returns the extended slice with the claimed bits that are to be set. ok is
	// false where the frame is to be sent as it is; what was appended is ignored
	// then. p must not be changed, and neither slice be kept.
	//
	// It is called with frames in the order in which they are sent, and while the
	// connection's line is held: it must not wait for anything.
	Encode(dst []byte, f Frame, p []byte) (b []byte, rsv uint8, ok bool)
}

// A Decoder changes the frames that one connection receives. Its calls do not
// overlap.
type Decoder interface {
	// Decode takes what has come of a frame's payload from src and puts what it
	// stands for into dst. end says that src is the rest of the frame. It returns
	// how many bytes of both it has used, and io.EOF once it has put out all that
	// the frame stands for. Until then it is called again: with more room if it
	// has filled dst, else with more of the frame, or with end. Neither slice may be
	// kept.
	//
	// Output counts against [Options.MaxMessage] as it comes, and in Text is
	// checked to be UTF-8.
	//
	// An [*Error] ends the connection with its code, any other error with 1007.
	Decode(dst, src []byte, f Frame, end bool) (nDst, nSrc int, err error)
}

// An Idler is an Encoder that can give memory back. Its connection has sent nothing
// for [Agreement.Idle].
type Idler interface{ Idle() }

// An Encoder's output that is longer than this is not kept as memory for the next.
const keepScratch = 1 << 20

// maxExtensions is how many extensions a connection can have: Encoders and Decoders
// that a message skips are bits.
const maxExtensions = 16

// agreed is what the opening handshake has settled on. It does not change.
type agreed struct {
	header        string // as the answer had it
	rsv, frameRsv uint8
	list          []*Agreement // in the order of the answer
}

// shared returns the one Agreement of a connection whose messages can be encoded
// once for many, nil if there is none.
func (a *agreed) shared() *Agreement {
	if len(a.list) == 1 && a.list[0].share != nil {
		return a.list[0]
	}
	return nil
}

// conflicts reports whether an Agreement claims bits that others have.
func (a *agreed) conflicts(with *Agreement) bool {
	bits := with.Rsv | with.FrameRsv
	return bits&(a.rsv|a.frameRsv) != 0 || with.Rsv&with.FrameRsv != 0 || bits&^rsvBits != 0
}

func (a *agreed) add(name string, params []ExtensionParam, with *Agreement) {
	a.header = string(handshake.AppendExtension([]byte(a.header), handshake.Extension{Name: name, Params: params}))
	a.rsv |= with.Rsv
	a.frameRsv |= with.FrameRsv
	a.list = append(a.list, with)
}

// Extensions returns the extensions that the opening handshake settled on, with
// their parameters, as the server's answer had them, or "". RFC 6455, 9.1.
func (c *Conn) Extensions() string {
	if c.settings.agreed == nil {
		return ""
	}
	return c.settings.agreed.header
}

// decoders are a connection's Decoders, made when a message first has to pass one.
// They are in the order in which frames pass them, which is that of the answer from
// its end. RFC 6455, 9.1.
type decoders struct {
	list    []Decoder
	passes  uint16  // those that the message in hand passes
	frame   Frame   // in hand
	between []stage // what the Decoders before each have put out; the first has none
}

// A stage is bytes between two Decoders.
type stage struct {
	b    []byte // not used yet
	mem  []byte
	done bool // the Decoders before have finished the frame
}

// stageSize is how much goes from one Decoder to the next at once.
const stageSize = 4 << 10

var errNoProgress = &Error{Code: CloseInternalError, Msg: "an extension does not use what it is given"}

// decode is Decode by all that the message passes.
func (d *decoders) decode(dst, src []byte, end bool) (nDst, nSrc int, err error) {
	i := d.before(len(d.list))
	if i < 0 {
		n := copy(dst, src)
		if end && n == len(src) {
			err = io.EOF
		}
		return n, n, err
	}
	n, err := d.pull(i, dst, &src, &nSrc, end)
	if err == io.EOF {
		for i := range d.between {
			d.between[i].done = false
		}
	}
	return n, nSrc, err
}

// suspend has Decoders give up what they have borrowed: the connection waits.
func (d *decoders) suspend() {
	for _, x := range d.list {
		if x, ok := x.(interface{ suspend() }); ok {
			x.suspend()
		}
	}
}

// before returns the place of the Decoder that comes before place i, -1 if none
// does.
func (d *decoders) before(i int) int {
	for i--; i >= 0 && d.passes&(1<<i) == 0; i-- {
	}
	return i
}

// pull puts output of the Decoder at place i into dst.
func (d *decoders) pull(i int, dst []byte, src *[]byte, used *int, end bool) (int, error) {
	j, s := d.before(i), &d.between[i]
	for {
		in, last := *src, end
		if j >= 0 {
			in, last = s.b, s.done
		}
		n, m, err := d.list[i].Decode(dst, in, d.frame, last)
		if n < 0 || n > len(dst) || m < 0 || m > len(in) || err == io.EOF && (!last || m < len(in)) {
			return 0, errNoProgress
		}
		if j >= 0 {
			s.b = s.b[m:]
		} else {
			*src = (*src)[m:]
			*used += m
		}
		switch {
		case n > 0 || err != nil:
			return n, err
		case last, len(in) > m:
			return 0, errNoProgress
		case j < 0:
			return 0, nil
		}
		if s.mem == nil {
			s.mem = make([]byte, stageSize)
		}
		n, err = d.pull(j, s.mem, src, used, end)
		s.b, s.done = s.mem[:n], err == io.EOF
		if err != nil && err != io.EOF {
			return 0, err
		}
		if n == 0 && err == nil {
			return 0, nil
		}
	}
}
