package websocket

import (
	"io"
	"net"
	"sync"
	"syscall/js"
	"time"

	"github.com/duplexgo/duplex/websocket/wire"
)

// A browserStream makes a stream of frames of a browser's WebSocket, which takes and
// gives whole messages: so a Conn over it is the same as over any other stream.
//
//	Conn ── frames, masked ──▶ Write ── messages ──▶ send, close
//	Conn ◀── frames ── Read ◀── messages ── onmessage, onclose
//
// Pings and pongs do not pass: the browser has its own.
type browserStream struct {
	socket js.Value
	funcs  []js.Func
	opened chan struct{}
	ended  chan struct{} // closed with the browser's close event, or by Close

	mu      sync.Mutex
	arrived sync.Cond
	in      []byte // frames to be read
	over    bool   // there will be no more
	closed  bool   // by Close

	// Of the one who writes.
	out     []byte // of a frame that is not complete
	message []byte
	text    bool
}

const (
	// maxBuffered is how many bytes wait in the browser before Write does.
	maxBuffered = 1 << 20

	// drainPause is the time between two looks at how many there are.
	drainPause = 5 * time.Millisecond
)

func newBrowserStream(socket js.Value) *browserStream {
	s := &browserStream{socket: socket, opened: make(chan struct{}), ended: make(chan struct{})}
	s.arrived.L = &s.mu
	socket.Set("binaryType", "arraybuffer")
	s.on("open", func(js.Value) { close(s.opened) })
	s.on("message", s.onMessage)
	s.on("close", s.onClose)
	return s
}

func (s *browserStream) on(event string, f func(e js.Value)) {
	fn := js.FuncOf(func(_ js.Value, args []js.Value) any {
		f(args[0])
		return nil
	})
	s.funcs = append(s.funcs, fn)
	s.socket.Set("on"+event, fn)
}

func (s *browserStream) onMessage(e js.Value) {
	data := e.Get("data")
	if data.Type() == js.TypeString {
		s.arrive(wire.OpText, []byte(data.String()))
		return
	}
	array := js.Global().Get("Uint8Array").New(data)
	p := make([]byte, array.Get("length").Int())
	js.CopyBytesToGo(p, array)
	s.arrive(wire.OpBinary, p)
}

func (s *browserStream) onClose(e js.Value) {
	if e.Get("wasClean").Bool() {
		code := CloseCode(e.Get("code").Int())
		var p []byte
		if code != CloseNoStatus {
			p = wire.AppendClose(nil, code, e.Get("reason").String())
		}
		s.arrive(wire.OpClose, p)
	}
	s.end()
}

// arrive puts a frame behind those that are to be read.
func (s *browserStream) arrive(op wire.Opcode, p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.in = append(wire.Header{Fin: true, Opcode: op, Length: int64(len(p))}.Append(s.in), p...)
	s.arrived.Broadcast()
}

// end is called when nothing will arrive any more, and lets go of the socket.
func (s *browserStream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.over = true
	s.arrived.Broadcast()
	close(s.ended)
	for _, event := range []string{"onopen", "onmessage", "onclose"} {
		s.socket.Set(event, js.Null())
	}
	for _, f := range s.funcs {
		f.Release()
	}
}

// Read returns bytes of frames as a server sends them.
func (s *browserStream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.in) == 0 && !s.over {
		s.arrived.Wait()
	}
	switch {
	case s.closed:
		return 0, net.ErrClosed
	case len(s.in) == 0:
		return 0, io.EOF
	}
	n := copy(p, s.in)
	if s.in = s.in[n:]; len(s.in) == 0 {
		s.in = nil
	}
	return n, nil
}

// Write takes bytes of frames as a client sends them.
func (s *browserStream) Write(p []byte) (int, error) {
	s.out = append(s.out, p...)
	for {
		h, n, err := wire.ParseHeader(s.out)
		if err != nil || h.Length > int64(len(s.out)-n) {
			break // the rest is still to come
		}
		payload := s.out[n : n+int(h.Length)]
		if h.Masked {
			wire.Mask(payload, h.Key)
		}
		if err := s.frame(h, payload); err != nil {
			return 0, err
		}
		s.out = s.out[n+int(h.Length):]
	}
	if len(s.out) == 0 {
		s.out = nil
	}
	return len(p), nil
}

// frame does with the browser's WebSocket what a frame says.
func (s *browserStream) frame(h wire.Header, p []byte) error {
	switch h.Opcode {
	case wire.OpClose:
		code, reason, _ := wire.ParseClose(p)
		s.close(code, reason)
		return nil
	case wire.OpPing, wire.OpPong:
		return nil
	case wire.OpText, wire.OpBinary:
		s.text = h.Opcode == wire.OpText
	}
	if !h.Fin || len(s.message) > 0 {
		s.message = append(s.message, p...)
		p = s.message
	}
	if !h.Fin {
		return nil
	}
	s.message = nil
	return s.send(p)
}

// send sends a message, and waits while too much waits in the browser.
func (s *browserStream) send(p []byte) error {
	if s.ready() != socketOpen {
		return net.ErrClosed
	}
	if s.text {
		s.socket.Call("send", string(p))
	} else {
		array := js.Global().Get("Uint8Array").New(len(p))
		js.CopyBytesToJS(array, p)
		s.socket.Call("send", array)
	}
	for s.ready() == socketOpen && s.socket.Get("bufferedAmount").Int() > maxBuffered {
		select {
		case <-time.After(drainPause):
		case <-s.ended:
			return net.ErrClosed
		}
	}
	return nil
}

// The states of a browser's WebSocket.
const (
	socketOpen    = 1
	socketClosing = 2
)

func (s *browserStream) ready() int { return s.socket.Get("readyState").Int() }

// close begins the closing handshake. Browsers let a program send only some of the
// codes; instead of the others none is sent.
func (s *browserStream) close(code CloseCode, reason string) {
	switch {
	case s.ready() >= socketClosing:
	case code == CloseNormal || code >= 3000 && code <= 4999:
		s.socket.Call("close", int(code), reason)
	default:
		s.socket.Call("close")
	}
}

// Close lets the browser end the connection, which it does in its own time.
func (s *browserStream) Close() error {
	s.mu.Lock()
	s.closed = true
	s.arrived.Broadcast()
	s.mu.Unlock()
	s.close(CloseNoStatus, "")
	s.end()
	return nil
}
