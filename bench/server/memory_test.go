package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"github.com/duplexgo/duplex/websocket"
	"github.com/gobwas/ws"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
)

// A memoryConn is a net.Conn without a network, for what the libraries themselves
// cost: from it come so many masked messages and then io.EOF, and what is written
// to it is counted and dropped.
type memoryConn struct {
	frame    []byte
	left     int  // messages
	at       int  // how much of the next one was read
	together bool // a Read returns as many messages as fit, not one at most
	written  int  // bytes
	reads    int
	writes   int
}

func newMemoryConn(messages, size int, together bool) *memoryConn {
	payload := bytes.Repeat([]byte("x"), size)
	key := [4]byte{0x9d, 0x41, 0xe6, 0x7b}
	ws.Cipher(payload, key, 0)
	var frame bytes.Buffer
	h := ws.Header{Fin: true, OpCode: ws.OpBinary, Masked: true, Mask: key, Length: int64(size)}
	if err := ws.WriteHeader(&frame, h); err != nil {
		panic(err)
	}
	frame.Write(payload)
	return &memoryConn{frame: frame.Bytes(), left: messages, together: together}
}

func (c *memoryConn) Read(p []byte) (n int, err error) {
	c.reads++
	for n < len(p) && c.left > 0 {
		k := copy(p[n:], c.frame[c.at:])
		n += k
		if c.at += k; c.at == len(c.frame) {
			c.at = 0
			c.left--
			if !c.together {
				break
			}
		}
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (c *memoryConn) Write(p []byte) (int, error) {
	c.writes++
	c.written += len(p)
	return len(p), nil
}

func (c *memoryConn) Close() error                     { return nil }
func (c *memoryConn) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }
func (c *memoryConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 81} }
func (c *memoryConn) SetDeadline(time.Time) error      { return nil }
func (c *memoryConn) SetReadDeadline(time.Time) error  { return nil }
func (c *memoryConn) SetWriteDeadline(time.Time) error { return nil }

// A hijacked is the ResponseWriter of a request over a memoryConn.
type hijacked struct {
	http.ResponseWriter
	c net.Conn
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.c, bufio.NewReadWriter(bufio.NewReader(h.c), bufio.NewWriter(h.c)), nil
}

// upgrade returns what a handler gets for a handshake over the connection.
func upgrade(c net.Conn) (http.ResponseWriter, *http.Request) {
	r := httptest.NewRequest("GET", "http://127.0.0.1/", nil)
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket",
		"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
		r.Header.Set(name, value)
	}
	return hijacked{httptest.NewRecorder(), c}, r
}

// A library does with a connection what the benchmarks measure. Where it cannot be
// done over a net.Conn in memory, the function is nil.
type library struct {
	name string
	read func(c net.Conn, message func(p []byte)) error // until the end
	echo func(c net.Conn) error                         // until the end
	// writer returns a function that writes one message.
	writer func(c net.Conn) (func(p []byte) error, error)
}

var libraries = []library{
	{
		name: "duplex",
		read: func(c net.Conn, message func([]byte)) error {
			return handle(c, func(_ *websocket.Conn, _ websocket.MessageType, p []byte) { message(p) })
		},
		echo: func(c net.Conn) error {
			return handle(c, func(c *websocket.Conn, t websocket.MessageType, p []byte) {
				c.Write(context.Background(), t, p)
			})
		},
	},
	{
		name: "duplex-conn",
		read: func(c net.Conn, message func([]byte)) error {
			duplexRead(websocket.Server(c, nil), func(_ websocket.MessageType, p []byte) { message(p) })
			return nil
		},
		echo: func(c net.Conn) error {
			conn := websocket.Server(c, nil)
			duplexRead(conn, func(t websocket.MessageType, p []byte) { conn.Write(context.Background(), t, p) })
			return nil
		},
		writer: func(c net.Conn) (func([]byte) error, error) {
			conn := websocket.Server(c, nil)
			return func(p []byte) error { return conn.Write(context.Background(), websocket.Binary, p) }, nil
		},
	},
	{
		name: "gobwas",
		read: func(c net.Conn, message func([]byte)) error {
			gobwasRead(c, func(_ ws.Header, p, _ []byte) error { message(p); return nil })
			return nil
		},
		echo: func(c net.Conn) error {
			gobwasRead(c, func(_ ws.Header, _, frame []byte) error {
				_, err := c.Write(frame)
				return err
			})
			return nil
		},
		writer: func(c net.Conn) (func([]byte) error, error) {
			head := make([]byte, ws.MaxHeaderSize)
			var buf sink
			return func(p []byte) error {
				buf = buf[:0]
				h := ws.Header{Fin: true, OpCode: ws.OpBinary, Length: int64(len(p))}
				if err := ws.WriteHeaderBuffer(&buf, h, head); err != nil {
					return err
				}
				buf = append(buf, p...)
				_, err := c.Write(buf)
				return err
			}, nil
		},
	},
	{
		name: "gorilla",
		read: func(c net.Conn, message func([]byte)) error {
			w, r := upgrade(c)
			conn, err := gorillaUpgrader.Upgrade(w, r, nil)
			if err != nil {
				return err
			}
			(&gorillaConn{Conn: conn}).read(func(_ int, p []byte) error { message(p); return nil })
			return nil
		},
		echo: func(c net.Conn) error {
			w, r := upgrade(c)
			conn, err := gorillaUpgrader.Upgrade(w, r, nil)
			if err != nil {
				return err
			}
			(&gorillaConn{Conn: conn}).read(conn.WriteMessage)
			return nil
		},
		writer: func(c net.Conn) (func([]byte) error, error) {
			w, r := upgrade(c)
			conn, err := gorillaUpgrader.Upgrade(w, r, nil)
			return func(p []byte) error { return conn.WriteMessage(gorilla.BinaryMessage, p) }, err
		},
	},
	{
		name: "gws",
		read: func(c net.Conn, message func([]byte)) error {
			conn, err := gwsConn(c, func(_ *gws.Conn, m *gws.Message) { message(m.Bytes()) })
			if err == nil {
				conn.ReadLoop()
			}
			return err
		},
		echo: func(c net.Conn) error {
			conn, err := gwsConn(c, func(c *gws.Conn, m *gws.Message) { c.WriteMessage(m.Opcode, m.Bytes()) })
			if err == nil {
				conn.ReadLoop()
			}
			return err
		},
		writer: func(c net.Conn) (func([]byte) error, error) {
			conn, err := gwsConn(c, nil)
			return func(p []byte) error { return conn.WriteMessage(gws.OpcodeBinary, p) }, err
		},
	},
	{
		name: "coder",
		read: func(c net.Conn, message func([]byte)) error {
			w, r := upgrade(c)
			conn, err := coder.Accept(w, r, nil)
			if err != nil {
				return err
			}
			coderRead(conn, func(_ coder.MessageType, p []byte) error { message(p); return nil })
			return nil
		},
		echo: func(c net.Conn) error {
			w, r := upgrade(c)
			conn, err := coder.Accept(w, r, nil)
			if err != nil {
				return err
			}
			coderRead(conn, func(t coder.MessageType, p []byte) error { return conn.Write(context.Background(), t, p) })
			return nil
		},
		writer: func(c net.Conn) (func([]byte) error, error) {
			w, r := upgrade(c)
			conn, err := coder.Accept(w, r, nil)
			return func(p []byte) error { return conn.Write(context.Background(), coder.MessageBinary, p) }, err
		},
	},
}

// handle serves a connection with callbacks until it has ended.
func handle(c net.Conn, message func(*websocket.Conn, websocket.MessageType, []byte)) error {
	ended := make(chan struct{})
	h := &websocket.Handler{Message: message, Close: func(*websocket.Conn, error) { close(ended) }}
	w, r := upgrade(c)
	h.ServeHTTP(w, r)
	<-ended
	return nil
}

func gwsConn(c net.Conn, message func(*gws.Conn, *gws.Message)) (*gws.Conn, error) {
	w, r := upgrade(c)
	u := gws.NewUpgrader(&gwsEvents{open: func(*gws.Conn) {}, message: message, close: func(*gws.Conn) {}}, gwsOptions())
	return u.Upgrade(w, r)
}

var memorySizes = []int{32, 1 << 10, 16 << 10}

// each runs a benchmark for every library and size, with messages that come alone
// and with messages that come together.
func each(b *testing.B, bench func(b *testing.B, l library, c *memoryConn)) {
	for _, size := range memorySizes {
		for _, together := range []bool{false, true} {
			for _, l := range libraries {
				how := "alone"
				if together {
					how = "together"
				}
				b.Run(fmt.Sprintf("%d-%s/%s", size, how, l.name), func(b *testing.B) {
					c := newMemoryConn(b.N, size, together)
					b.SetBytes(int64(size))
					b.ReportAllocs()
					bench(b, l, c)
					b.ReportMetric(float64(c.reads)/float64(b.N), "reads/op")
					b.ReportMetric(float64(c.writes)/float64(b.N), "writes/op")
				})
			}
		}
	}
}

func BenchmarkRead(b *testing.B) {
	each(b, func(b *testing.B, l library, c *memoryConn) {
		n := 0
		if err := l.read(c, func([]byte) { n++ }); err != nil || n != b.N {
			b.Fatalf("%d of %d messages, %v", n, b.N, err)
		}
	})
}

func BenchmarkEcho(b *testing.B) {
	each(b, func(b *testing.B, l library, c *memoryConn) {
		if err := l.echo(c); err != nil || c.left > 0 {
			b.Fatalf("%d messages not read, %v", c.left, err)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	for _, size := range memorySizes {
		for _, l := range libraries {
			if l.writer == nil {
				continue
			}
			b.Run(fmt.Sprintf("%d/%s", size, l.name), func(b *testing.B) {
				c := newMemoryConn(0, size, false)
				write, err := l.writer(c)
				if err != nil {
					b.Fatal(err)
				}
				p := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if err := write(p); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(c.writes)/float64(b.N), "writes/op")
			})
		}
	}
}

// What the benchmarks measure is right: every message is read, unmasked, and
// written whole.
func TestLibrariesInMemory(t *testing.T) {
	for _, l := range libraries {
		for _, size := range memorySizes {
			for _, together := range []bool{false, true} {
				const messages = 50
				want := bytes.Repeat([]byte("x"), size)
				n := 0
				err := l.read(newMemoryConn(messages, size, together), func(p []byte) {
					n++
					if !bytes.Equal(p, want) {
						t.Errorf("%s, %d bytes: message %d is wrong", l.name, size, n)
					}
				})
				if err != nil || n != messages {
					t.Errorf("%s, %d bytes: %d messages of %d, %v", l.name, size, n, messages, err)
				}
				frames := messages * (serverHeader(size) + size)
				c := newMemoryConn(messages, size, together)
				if err := l.echo(c); err != nil || c.written < frames || c.written > frames+300 { // a handshake, a close frame
					t.Errorf("%s, %d bytes: %d bytes were echoed, not %d, %v", l.name, size, c.written, frames, err)
				}
				if l.writer == nil {
					continue
				}
				c = newMemoryConn(0, size, together)
				write, err := l.writer(c)
				before := c.written
				if err == nil {
					err = write(want)
				}
				if err != nil || c.written-before != serverHeader(size)+size {
					t.Errorf("%s, %d bytes: %d bytes were written, %v", l.name, size, c.written-before, err)
				}
			}
		}
	}
}

func serverHeader(size int) int {
	if size < 126 {
		return 2
	}
	return 4
}
