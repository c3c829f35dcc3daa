package load

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
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
	if r.Server.Gone != nil {
		return Result{}, r.Server.Gone
	}
	return Result{
		Messages: r.Received, Wall: r.Wall, Server: r.Server.CPU, Generator: r.Generator.CPU, Conns: j.Conns,
		Wire: float64(r.Wire) / float64(r.Received), Plain: float64(r.Bytes) / float64(r.Received),
	}, nil
}

// run does a Job with the load of duplex bench. Anything that went wrong is an error.
func run(j Job, job load.Job) (*load.Result, error) {
	addr, err := netip.ParseAddrPort(j.Addr)
	if err != nil {
		return nil, err
	}
	job.URL, job.Addr = &url.URL{Scheme: "ws", Host: j.Addr, Path: j.Path}, addr
	job.Conns, job.Warmup, job.Duration, job.Timeout = j.Conns, j.Warm, j.Duration, j.Patience
	r, err := load.Run(context.Background(), job)
	if err != nil {
		return nil, err
	}
	for _, f := range r.Failures {
		err = errors.Join(err, fmt.Errorf("%d connections failed, %s: %s", f.Count, f.Kind, f.Example))
	}
	if r.Received == 0 {
		err = errors.Join(err, errors.New("no message came in the time of the measurement"))
	}
	return r, errors.Join(err, r.Stopped)
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
	lines := bytes.Split(bytes.TrimSpace(packedLines(j.Size)), []byte("\n"))
	use := func(n int) error {
		for range n {
			c, err := packedDial(j)
			if err != nil {
				return err
			}
			all = append(all, c)
			if err := packedEcho(c, lines[:packedMessages]); err != nil {
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

// packedEcho sends messages and compares the answers. It compresses each by itself,
// which takeover does not forbid.
func packedEcho(c net.Conn, messages [][]byte) error {
	const tail = "\x00\x00\xff\xff"
	var window []byte
	for i, want := range messages {
		var b bytes.Buffer
		w, err := flate.NewWriter(&b, flate.BestSpeed)
		if err != nil {
			return err
		}
		w.Write(want) // a Buffer takes everything
		w.Flush()
		p := b.Bytes()[:b.Len()-len(tail)]
		h := wire.Header{Fin: true, Rsv: wire.Rsv1, Opcode: wire.OpText, Masked: true, Key: maskKey, Length: int64(len(p))}
		wire.Mask(p, h.Key)
		if _, err := c.Write(append(h.Append(nil), p...)); err != nil {
			return err
		}
		var head [4]byte
		if _, err := io.ReadFull(c, head[:2]); err != nil {
			return err
		}
		n := int(head[1])
		if n == 126 {
			if _, err := io.ReadFull(c, head[2:]); err != nil {
				return err
			}
			n = int(binary.BigEndian.Uint16(head[2:]))
		}
		if head[0] != 0xc1 || n == 127 {
			return fmt.Errorf("message %d came as % x, not as compressed text", i, head[:2])
		}
		p = make([]byte, n)
		if _, err := io.ReadFull(c, p); err != nil {
			return err
		}
		got, err := io.ReadAll(flate.NewReaderDict(io.MultiReader(bytes.NewReader(p), bytes.NewReader([]byte(tail+"\x01\x00\x00\xff\xff"))), window))
		if err != nil || !bytes.Equal(got, want) {
			return fmt.Errorf("message %d came as %.60q, %v", i, got, err)
		}
		window = append(window, got...)
	}
	return c.SetDeadline(time.Time{})
}
