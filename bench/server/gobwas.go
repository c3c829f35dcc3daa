package server

import (
	"bufio"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// serveGobwas is gobwas/ws as its README shows the fastest way: without net/http,
// frames by hand, every buffer used again.
func serveGobwas(ln net.Listener) error {
	var members room[net.Conn]
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			path, err := gobwasUpgrade(c)
			if err != nil {
				return
			}
			if path == broadcastPath {
				members.join(c)
				defer members.leave(c)
				gobwasRead(c, func(h ws.Header, p []byte, _ []byte) error {
					frame, err := ws.CompileFrame(ws.NewFrame(h.OpCode, true, p))
					if err != nil {
						return err
					}
					for _, to := range members.all() {
						to.Write(frame) // whole frames: net.Conn lets one writer in at a time
					}
					return nil
				})
				return
			}
			pause := echoPaths[path]
			gobwasRead(c, func(h ws.Header, p []byte, frame []byte) error {
				pause(len(p))
				_, err := c.Write(frame)
				return err
			})
		}()
	}
}

func gobwasUpgrade(c net.Conn) (path string, err error) {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	u := ws.Upgrader{OnRequest: func(uri []byte) error {
		path = string(uri)
		if echoPaths[path] == nil && path != broadcastPath {
			return ws.RejectConnectionError(ws.RejectionStatus(404))
		}
		return nil
	}}
	if _, err := u.Upgrade(c); err != nil {
		return "", err
	}
	return path, c.SetDeadline(time.Time{})
}

// gobwasReaders are the buffers for reading, of the size that gorilla's have too.
var gobwasReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 2048) }}

var errFragmented = errors.New("this server takes messages of one frame only")

// gobwasRead calls back for each message, until one of them fails, with its
// payload and with a frame around it that is ready to be sent back.
func gobwasRead(c net.Conn, message func(h ws.Header, p, frame []byte) error) error {
	br := gobwasReaders.Get().(*bufio.Reader)
	br.Reset(c)
	defer func() {
		br.Reset(nil)
		gobwasReaders.Put(br)
	}()
	head := make([]byte, ws.MaxHeaderSize)
	var buf []byte // room for a header, and the payload
	var out sink
	for {
		h, err := ws.ReadHeaderBuffer(br, head)
		if err != nil {
			return err
		}
		if err := ws.CheckHeader(h, ws.StateServerSide); err != nil {
			return err
		}
		if !h.Fin || h.Length > 1<<20 {
			return errFragmented
		}
		buf = slices.Grow(buf[:0], ws.MaxHeaderSize+int(h.Length))[:ws.MaxHeaderSize+int(h.Length)]
		p := buf[ws.MaxHeaderSize:]
		if _, err := io.ReadFull(br, p); err != nil {
			return err
		}
		ws.Cipher(p, h.Mask, 0)
		answer := ws.Header{Fin: true, OpCode: h.OpCode, Length: h.Length}
		if h.OpCode == ws.OpPing {
			answer.OpCode = ws.OpPong
		}
		start := ws.MaxHeaderSize - ws.HeaderSize(answer)
		out = buf[start:start]
		if err := ws.WriteHeaderBuffer(&out, answer, head); err != nil {
			return err
		}
		switch frame := buf[start:]; h.OpCode {
		case ws.OpPing:
			_, err = c.Write(frame)
		case ws.OpPong:
		case ws.OpClose:
			c.Write(frame)
			return io.EOF
		default:
			err = message(h, p, frame)
		}
		if err != nil {
			return err
		}
	}
}

// A sink is a slice that is written to.
type sink []byte

func (s *sink) Write(p []byte) (int, error) {
	*s = append(*s, p...)
	return len(p), nil
}
