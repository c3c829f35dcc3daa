package server

import (
	"io"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/gorilla/websocket"
)

// gorillaUpgrader has buffers that hold nearly every message, as gorilla's page on
// buffers recommends. That for writing is borrowed from a pool while a message is
// written.
var gorillaUpgrader = websocket.Upgrader{
	ReadBufferSize:  2048,
	WriteBufferSize: 4096,
	WriteBufferPool: new(sync.Pool),
}

// A gorillaConn is a connection with what gorilla leaves to the application: the
// lock of the writers and the buffer of the reader.
type gorillaConn struct {
	*websocket.Conn
	mu  sync.Mutex
	buf []byte
}

func serveGorilla(ln net.Listener) error {
	mux := http.NewServeMux()
	for path, pause := range echoPaths {
		mux.HandleFunc(path, gorillaAccept(func(c *gorillaConn) {
			// Nobody else writes here, but pongs, which gorilla locks itself.
			c.read(func(t int, p []byte) error {
				pause(len(p))
				return c.WriteMessage(t, p)
			})
		}))
	}
	var members room[*gorillaConn]
	mux.HandleFunc(broadcastPath, gorillaAccept(func(c *gorillaConn) {
		members.join(c)
		defer members.leave(c)
		c.read(func(t int, p []byte) error {
			m, err := websocket.NewPreparedMessage(t, p)
			if err != nil {
				return err
			}
			for _, to := range members.all() {
				to.writePrepared(m)
			}
			return nil
		})
	}))
	return serveHTTP(ln, mux)
}

// gorillaAccept hands each connection to a goroutine, so that net/http can drop
// what it holds for a request that is being handled.
func gorillaAccept(serve func(*gorillaConn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := gorillaUpgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		c.SetReadLimit(1 << 20)
		go func() {
			defer c.Close()
			serve(&gorillaConn{Conn: c})
		}()
	}
}

// read calls back for each message until one of them fails. They share one slice.
func (c *gorillaConn) read(message func(int, []byte) error) {
	for {
		t, r, err := c.NextReader()
		if err != nil {
			return
		}
		if c.buf, err = appendAll(c.buf[:0], r); err != nil {
			return
		}
		if message(t, c.buf) != nil {
			return
		}
	}
}

func (c *gorillaConn) writePrepared(m *websocket.PreparedMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.WritePreparedMessage(m)
}

// appendAll is io.ReadAll into a slice that there is already.
func appendAll(p []byte, r io.Reader) ([]byte, error) {
	for {
		if len(p) == cap(p) {
			p = slices.Grow(p, max(512, len(p)))
		}
		n, err := r.Read(p[len(p):cap(p)])
		p = p[:len(p)+n]
		if err == io.EOF {
			return p, nil
		}
		if err != nil {
			return p, err
		}
	}
}
