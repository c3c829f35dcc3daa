package wire_test

import (
	"fmt"
	"io"

	"github.com/duplexgo/duplex/websocket/wire"
)

// A server's way from bytes to messages: here they are all at hand, but any piece
// of them would do.
func ExampleDecoder() {
	b := []byte("\x01\x83\x37\xfa\x21\x3d\x7f\x9f\x4d" + // a fragment, masked
		"\x89\x80\x37\xfa\x21\x3d" + // a ping between fragments
		"\x80\x82\x37\xfa\x21\x3d\x5b\x95" + // the last fragment
		"\x81\x02Hi") // not masked

	d := wire.Decoder{Server: true, MaxMessage: 1 << 20}
	var message []byte
	for {
		h, n, err := wire.ParseHeader(b)
		if err == io.ErrUnexpectedEOF {
			return // more has to come
		}
		if err == nil {
			err = d.Frame(h)
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		payload := b[n : n+int(h.Length)]
		if err := d.Payload(payload); err != nil {
			fmt.Println(err)
			return
		}
		b = b[n+len(payload):]
		if h.Opcode.IsControl() {
			fmt.Println(h.Opcode)
			continue
		}
		message = append(message, payload...)
		if !d.InMessage() {
			fmt.Printf("message %q\n", message)
			message = message[:0]
		}
	}
	// Output:
	// ping
	// message "Hello"
	// frame from a client without a mask, answered with 1002 (protocol error)
}

func ExampleHeader_Append() {
	payload := []byte("Hello")
	h := wire.Header{Fin: true, Opcode: wire.OpText, Masked: true, Key: 0x3d21fa37, Length: int64(len(payload))}
	frame := h.Append(nil)
	frame = append(frame, payload...)
	wire.Mask(frame[h.Size():], h.Key)
	fmt.Printf("% x\n", frame)
	// Output: 81 85 37 fa 21 3d 7f 9f 4d 51 58
}
