package websocket

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/duplexgo/duplex/websocket/internal/flate"
	"github.com/duplexgo/duplex/websocket/wire"
)

// Deflate is compression of messages, permessage-deflate (RFC 7692), which browsers
// offer by themselves. A pointer to the zero value is good:
//
//	websocket.Options{Extensions: []websocket.Extension{&websocket.Deflate{}}}
//
// It is not in force unless it is asked for: a client that finds it agreed on
// compresses whatever it sends, and decompressing a small message costs more than
// all else that is done for it.
//
// # What it costs
//
// A connection that has agreed on it takes no more memory than another before its
// first compressed message. After that it has the windows: with takeover, what was
// sent last and what was received last, as plain bytes, up to 1<<SendBits and
// 1<<ReceiveBits (4 KiB each at 12 bits, 32 KiB at 15), and some 200 bytes beside.
// Without takeover there is nothing between two messages.
//
// A compressor, about 1 MiB, and a decompressor, 110 KiB, are borrowed for a message
// and shared by all connections. A borrowed compressor has to read the window first,
// which is what takeover costs. For 1 KiB of JSON, on one core of a server, and with
// what is left of 100 bytes:
//
//	window      without takeover   takeover   with KeepCompressor   left
//	9 bits                 13 us      14 us                 11 us   26
//	12 bits                13 us      31 us                 12 us   26
//	15 bits                13 us     120 us                 15 us   25
//
// Without takeover 30 bytes of 100 are left; of a message of 300 bytes 42, where
// takeover leaves 34. Decompressing takes about 6 us with any window. So 15 bits with
// takeover are for those who keep compressors, or have few messages.
//
// # Secrets
//
// Whoever can have text of their own put beside a secret in a message, or before it
// in a window, and can see how long messages are, can guess the secret bit by bit,
// encrypted or not (CRIME, BREACH). Send such messages with [Uncompressed].
type Deflate struct {
	// SendBits is the largest window that this side compresses with, and ReceiveBits
	// the largest that the peer is asked to, as powers of two from 8 to 15. A peer
	// may ask for less. Default 12, 4 KiB; as a client's ReceiveBits 15, since not
	// every server keeps to the window that it has agreed on.
	//
	// A peer that cannot limit its window is asked to forget it after each message.
	SendBits, ReceiveBits int

	// SendNoTakeover has this side begin each message with an empty window, and
	// ReceiveNoTakeover asks the peer to: messages of some hundred bytes that are
	// like those before them get two or three times as long, and no memory is kept.
	SendNoTakeover, ReceiveNoTakeover bool

	// Threshold is the size of the shortest message that is compressed, in bytes.
	// Default 128: the compressor finds nothing to gain below. Negative: 0.
	Threshold int

	// KeepCompressor keeps a compressor for each connection that has compressed a
	// message and may take its window over: 1.1 MB for the time that the
	// table above shows. For few connections and many messages.
	KeepCompressor bool

	// IdleTimeout is after how long without a message sent the window of this side,
	// and a kept compressor, are given back. The next message begins with an empty
	// window, which the peer need not be told. Default 1 min; negative: never.
	IdleTimeout time.Duration
}

const (
	defaultBits        = 12
	defaultThreshold   = 128
	defaultIdleTimeout = time.Minute
)

// Name returns "permessage-deflate".
func (d *Deflate) Name() string { return "permessage-deflate" }

func (d *Deflate) check() error {
	for _, bits := range []int{d.SendBits, d.ReceiveBits} {
		if bits != 0 && (bits < flate.MinBits || bits > flate.MaxBits) {
			return fmt.Errorf("windows of %d bits; use 8 to 15, or 0 for the default", bits)
		}
	}
	return nil
}

// The parameters. RFC 7692, 7.1.
const (
	serverNoTakeover = "server_no_context_takeover"
	clientNoTakeover = "client_no_context_takeover"
	serverBits       = "server_max_window_bits"
	clientBits       = "client_max_window_bits"
)

// deflateParams are the parameters of an offer or an answer. Bits are 0 where the
// parameter is not there, and anyBits where it has no value.
type deflateParams struct {
	serverNoTakeover, clientNoTakeover bool
	serverBits, clientBits             int
}

const anyBits = 16

var errDeflateParams = errors.New("a parameter is unknown, stands there twice, or has a value out of its range")

// parse reads parameters. It fails on whatever RFC 7692, 7.1 does not know.
func (p *deflateParams) parse(list []ExtensionParam) error {
	seen := make(map[string]bool, 4)
	for _, param := range list {
		if seen[param.Name] {
			return errDeflateParams
		}
		seen[param.Name] = true
		ok := param.Value == ""
		switch param.Name {
		case serverNoTakeover:
			p.serverNoTakeover = true
		case clientNoTakeover:
			p.clientNoTakeover = true
		case serverBits:
			p.serverBits, ok = parseBits(param.Value)
		case clientBits:
			p.clientBits = anyBits
			if !ok {
				p.clientBits, ok = parseBits(param.Value)
			}
		default:
			ok = false
		}
		if !ok {
			return errDeflateParams
		}
	}
	return nil
}

// parseBits reads a number from 8 to 15, without a leading zero.
func parseBits(s string) (int, bool) {
	bits, err := strconv.Atoi(s)
	return bits, err == nil && bits >= flate.MinBits && bits <= flate.MaxBits && s == strconv.Itoa(bits)
}

// list returns the parameters in a fixed order.
func (p *deflateParams) list() (list []ExtensionParam) {
	for _, param := range []struct {
		name string
		set  bool
		bits int
	}{
		{serverNoTakeover, p.serverNoTakeover, 0},
		{clientNoTakeover, p.clientNoTakeover, 0},
		{serverBits, p.serverBits != 0, p.serverBits},
		{clientBits, p.clientBits != 0, p.clientBits},
	} {
		value := ""
		if param.bits != 0 && param.bits != anyBits {
			value = strconv.Itoa(param.bits)
		}
		if param.set {
			list = append(list, ExtensionParam{Name: param.name, Value: value})
		}
	}
	return list
}

// or returns bits, or what they are if none are given.
func or(bits, fallback int) int {
	if bits == 0 {
		return fallback
	}
	return bits
}

// Accept decides about an offer as a server. It declines one with parameters that
// it does not know, that stand there twice, or whose value is out of range. RFC
// 7692, 5.1 and 7.1.
func (d *Deflate) Accept(offer []ExtensionParam) (answer []ExtensionParam, a *Agreement) {
	var p deflateParams
	if d.check() != nil || p.parse(offer) != nil {
		return nil, nil
	}
	send := min(or(d.SendBits, defaultBits), or(p.serverBits, flate.MaxBits))
	receive := or(d.ReceiveBits, defaultBits)
	asked := p.serverBits != 0
	if p.serverBits = send; send == flate.MaxBits && !asked {
		p.serverBits = 0
	}
	switch {
	case p.clientBits == 0 && receive < flate.MaxBits:
		p.clientNoTakeover = true // its window is 15 bits, and not to be limited: RFC 7692, 7.1.2.2
	case p.clientBits != 0:
		receive = min(receive, p.clientBits)
		if p.clientBits = receive; receive == flate.MaxBits {
			p.clientBits = 0
		}
	}
	p.serverNoTakeover = p.serverNoTakeover || d.SendNoTakeover
	p.clientNoTakeover = p.clientNoTakeover || d.ReceiveNoTakeover
	return p.list(), d.agree(send, or(p.clientBits, flate.MaxBits), p.serverNoTakeover, p.clientNoTakeover)
}

// Offers returns what a client asks for.
func (d *Deflate) Offers() [][]ExtensionParam {
	p := deflateParams{
		serverNoTakeover: d.ReceiveNoTakeover,
		clientNoTakeover: d.SendNoTakeover,
		clientBits:       anyBits,
	}
	if bits := or(d.SendBits, defaultBits); bits < flate.MaxBits {
		p.clientBits = bits
	}
	if or(d.ReceiveBits, flate.MaxBits) == flate.MaxBits {
		return [][]ExtensionParam{p.list()}
	}
	second := p
	p.serverBits, second.serverNoTakeover = d.ReceiveBits, true
	return [][]ExtensionParam{p.list(), second.list()}
}

// Confirm judges a server's answer. RFC 7692, 7.1.
func (d *Deflate) Confirm(answer []ExtensionParam) (*Agreement, error) {
	var p deflateParams
	if err := p.parse(answer); err != nil {
		return nil, err
	}
	receive := or(p.serverBits, flate.MaxBits)
	switch {
	case p.clientBits == anyBits:
		return nil, errDeflateParams
	case d.ReceiveNoTakeover && !p.serverNoTakeover:
		return nil, errors.New("it does not say " + serverNoTakeover + ", which was asked for")
	case receive > or(d.ReceiveBits, flate.MaxBits) && !p.serverNoTakeover:
		return nil, fmt.Errorf("it says neither %s=%d nor %s, which were asked for", serverBits, d.ReceiveBits, serverNoTakeover)
	}
	send := min(or(d.SendBits, defaultBits), or(p.clientBits, flate.MaxBits))
	return d.agree(send, receive, p.clientNoTakeover || d.SendNoTakeover, p.serverNoTakeover), nil
}

// agree returns what a connection does with these parameters.
func (d *Deflate) agree(send, receive int, sendNoTakeover, receiveNoTakeover bool) *Agreement {
	c := &compression{
		send: send, receive: receive,
		sendTakeover: !sendNoTakeover, receiveTakeover: !receiveNoTakeover,
		threshold: max(0, or(d.Threshold, defaultThreshold)),
		keep:      d.KeepCompressor && !sendNoTakeover,
	}
	return &Agreement{
		Rsv:        wire.Rsv1,
		NewEncoder: func() Encoder { return &deflater{c: c} },
		NewDecoder: func() Decoder { return &inflater{c: c} },
		Skip:       c.skip,
		Idle:       setting(d.IdleTimeout, defaultIdleTimeout),
		share:      c.prepare,
	}
}

// A compression is what a connection has agreed on.
type compression struct {
	send, receive                 int // bits
	sendTakeover, receiveTakeover bool
	threshold                     int
	keep                          bool
}

// skip reports whether a message is sent as it is. Of one that comes in several
// frames nobody knows how long it will be.
func (c *compression) skip(f Frame, size int) bool {
	return f.Uncompressed || f.Last && size < c.threshold
}

// prepare returns a message that is compressed without a window before it.
func (c *compression) prepare(m *Prepared) *Prepared {
	if c.skip(Frame{Type: m.typ.base(), First: true, Last: true, Uncompressed: m.typ.uncompressed()}, len(m.payload())) {
		return nil
	}
	return m.deflated(c.send)
}

// A deflater compresses what a connection sends.
type deflater struct {
	c      *compression
	window flate.Window
	kept   *flate.Deflater
}

// Encode compresses a frame up to its last bit. RFC 7692, 7.2.1.
func (d *deflater) Encode(dst []byte, f Frame, p []byte) (b []byte, rsv uint8, ok bool) {
	m := d.kept
	if m == nil {
		m = flate.NewDeflater(d.c.send)
		m.Reset(d.window.Bytes())
		if d.c.keep {
			d.kept = m
		}
	}
	b = m.Deflate(dst, p)
	if f.Last {
		b = b[:len(b)-len(flate.Tail)]
	}
	worse := f.First && f.Last && len(b)-len(dst) >= len(p) && len(p) > 0
	switch {
	case d.c.keep && worse:
		m.Reset(nil) // it has taken in what the peer's window will not have
	case d.c.keep:
	case worse:
		m.Release()
	case !f.Last || d.c.sendTakeover:
		m.Release()
		d.window.Append(p, d.c.send)
	default:
		m.Release()
		d.window.Drop()
	}
	if f.First {
		rsv = wire.Rsv1
	}
	return b, rsv, !worse
}

// sent is told of a message that was compressed elsewhere, and is in the peer's
// window now. Who has no window does not need one for that.
func (d *deflater) sent(p []byte) {
	if d.kept != nil {
		d.kept.Reset(nil)
	} else if len(d.window.Bytes()) > 0 {
		d.window.Append(p, d.c.send)
	}
}

// Idle gives the window back, which the peer need not know.
func (d *deflater) Idle() {
	d.window.Drop()
	if d.kept != nil {
		d.kept.Release()
		d.kept = nil
	}
}

// An inflater decompresses what a connection receives.
type inflater struct {
	c      *compression
	window flate.Window
	f      *flate.Inflater  // lent for a message
	rest   *flate.Suspended // of a message that waits for more
	tail   int              // how much of the tail it has got
}

// suspend is called when the connection is about to wait, in the middle of a message
// perhaps.
func (d *inflater) suspend() {
	if d.f != nil {
		d.rest, d.f = d.f.Suspend(), nil
	}
}

var errInflate = &Error{Code: CloseInvalidPayload, Msg: "compressed message that cannot be decompressed"}

// Decode decompresses. RFC 7692, 7.2.2.
func (d *inflater) Decode(dst, src []byte, f Frame, end bool) (nDst, nSrc int, err error) {
	switch {
	case d.f != nil:
	case d.rest != nil:
		d.f, d.rest = d.rest.Resume(), nil
	default:
		d.f, d.tail = flate.NewInflater(d.window.Bytes()), 0
	}
	nDst, nSrc, err = d.f.Inflate(dst, src)
	switch {
	case err != nil:
		return nDst, nSrc, d.fail()
	case nDst == len(dst) || !end:
		return nDst, nSrc, nil
	case !f.Last:
		return nDst, nSrc, io.EOF
	}
	// Some senders end a message with a block that says it is the last, or send
	// nothing for nothing: the tail would be the beginning of another block.
	if d.tail > 0 || !d.f.Over() {
		n, used, err := d.f.Inflate(dst[nDst:], flate.Tail[d.tail:])
		nDst += n
		d.tail += used
		if err != nil {
			return nDst, nSrc, d.fail()
		}
		if nDst == len(dst) {
			return nDst, nSrc, nil
		}
		if !d.f.Clean() {
			return nDst, nSrc, d.fail()
		}
	}
	if d.c.receiveTakeover {
		d.window.Set(d.f.Window(1<<d.c.receive), d.c.receive)
	}
	d.f.Release()
	d.f = nil
	return nDst, nSrc, io.EOF
}

func (d *inflater) fail() error {
	d.f.Release()
	d.f = nil
	return errInflate
}
