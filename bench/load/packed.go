package load

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/duplexgo/duplex/internal/load"
	"github.com/duplexgo/duplex/websocket/wire"
)

// packedLines are 64 messages of JSON, of size bytes or a little more, as orders
// and prices look that a server sends all day.
func packedLines(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var all []byte
	for i := range 64 {
		type item struct {
			ID    int     `json:"id"`
			Name  string  `json:"name"`
			Price float64 `json:"price"`
			Open  bool    `json:"open"`
		}
		var line []byte
		for items := []item(nil); len(line) < size; {
			items = append(items, item{random.IntN(1e6), []string{"north", "harbour", "field", "tower"}[random.IntN(4)], float64(random.IntN(1e5)) / 100, random.IntN(2) == 0})
			line, _ = json.Marshal(map[string]any{"type": "orders", "number": i, "items": items}) // of no kind that fails
		}
		all = append(append(all, line...), '\n')
	}
	return all
}

// runPacked measures an echo of compressed messages. The load of duplex bench makes
// and checks them.
func runPacked(j Job) (Result, error) {
	payload, err := load.Lines(packedLines(j.Size))
	if err != nil {
		return Result{}, err
	}
	r, err := run(j, load.Job{Payload: payload, Compression: j.Deflate, InFlight: j.Window, PID: j.PID})
	if err != nil {
		return Result{}, err
	}
	if r.Compression == "" {
		return Result{}, errors.New("the server did not agree to compress")
	}
	return Result{
		Messages: r.Received, Wall: r.Wall, Server: r.Server.CPU, Generator: r.Generator.CPU, Conns: j.Conns,
		Wire: float64(r.Wire) / float64(r.Received), Plain: float64(r.Bytes) / float64(r.Received),
	}, nil
}

// runPackedIdle measures what a connection holds that has echoed some compressed
// messages.
func runPackedIdle(j Job) (r Result, err error) {
	var all []net.Conn
	defer func() {
		for _, c := range all {
			c.Close()
		}
	}()
	messages, err := packMessages(bytes.Split(bytes.TrimSpace(packedLines(j.Size)), []byte("\n"))[:packedMessages])
	if err != nil {
		return r, err
	}
	use := func(n int) error {
		for range n {
			c, err := packedDial(j)
			if err != nil {
				return err
			}
			all = append(all, c)
			if err := packedEcho(c, messages); err != nil {
				return err
			}
		}
		time.Sleep(j.Settle)
		return nil
	}
	if err := use(few / 4); err != nil {
		return r, err
	}
	base, err := j.Control.Memory()
	if err != nil {
		return r, err
	}
	if err := use(j.Conns); err != nil {
		return r, err
	}
	r.Conns = j.Conns
	r.Used, err = settled(j, base)
	return r, err
}

// packedMessages is how many messages fill windows of 15 bits.
const packedMessages = 40

func packedDial(j Job) (net.Conn, error) {
	c, err := net.DialTimeout("tcp", j.Addr, handshakeTime)
	if err != nil {
		return nil, err
	}
	c.(*net.TCPConn).SetLinger(0)
	c.SetDeadline(time.Now().Add(handshakeTime))
	request := bytes.TrimSuffix(handshakeRequest(j.Addr, j.Path), []byte("\r\n"))
	if _, err := fmt.Fprintf(c, "%sSec-WebSocket-Extensions: %s\r\n\r\n", request, j.Deflate.Offer()); err != nil {
		return nil, err
	}
	return c, readAnswer(c)
}

// A packedMessage is one to be echoed, and its frame. It is compressed by itself,
// which takeover does not forbid.
type packedMessage struct{ text, frame []byte }

const packedTail = "\x00\x00\xff\xff" // RFC 7692, 7.2.1

func packMessages(texts [][]byte) (all []packedMessage, err error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	for _, text := range texts {
		if err != nil {
			return nil, err
		}
		b.Reset()
		w.Reset(&b)
		w.Write(text) // a Buffer takes everything
		err = w.Flush()
		p := bytes.Clone(b.Bytes()[:b.Len()-len(packedTail)])
		h := wire.Header{Fin: true, Rsv: wire.Rsv1, Opcode: wire.OpText, Masked: true, Key: maskKey, Length: int64(len(p))}
		wire.Mask(p, h.Key)
		all = append(all, packedMessage{text, append(h.Append(nil), p...)})
	}
	return all, err
}

// packedEcho sends messages and compares the answers.
func packedEcho(c net.Conn, messages []packedMessage) error {
	var window []byte
	unpack := flate.NewReader(nil)
	for i, m := range messages {
		if _, err := c.Write(m.frame); err != nil {
			return err
		}
		p, err := packedAnswer(c)
		if err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
		unpack.(flate.Resetter).Reset(io.MultiReader(bytes.NewReader(p), strings.NewReader(packedTail+"\x01\x00\x00\xff\xff")), window)
		got, err := io.ReadAll(unpack)
		if err != nil || !bytes.Equal(got, m.text) {
			return fmt.Errorf("message %d came as %.60q, %v", i, got, err)
		}
		window = append(window, got...)
	}
	return c.SetDeadline(time.Time{})
}

// packedAnswer returns the payload of the next frame, which must be a compressed text.
func packedAnswer(c net.Conn) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:2]); err != nil {
		return nil, err
	}
	n := int(head[1])
	if n == 126 {
		if _, err := io.ReadFull(c, head[2:]); err != nil {
			return nil, err
		}
		n = int(binary.BigEndian.Uint16(head[2:]))
	}
	if head[0] != 0xc1 || n == 127 {
		return nil, fmt.Errorf("it came as % x, not as compressed text", head[:2])
	}
	p := make([]byte, n)
	_, err := io.ReadFull(c, p)
	return p, err
}
