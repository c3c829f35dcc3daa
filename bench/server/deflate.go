package server

import (
	"context"
	"fmt"
	"net"
	"net/http"

	coder "github.com/coder/websocket"
	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	nbio "github.com/lesismal/nbio/nbhttp/websocket"
	"github.com/lxzan/gws"

	duplex "github.com/duplexgo/duplex/websocket"
)

// A Deflate is how a contestant is to compress. The client offers the same.
type Deflate struct {
	Bits     int // of both windows
	Takeover bool
	Kept     bool // a compressor for each connection: of duplex alone
}

// deflating are the contestants that compress, as each can. They have the path /echo
// alone.
var deflating = map[string]struct {
	can   func(Deflate) bool
	serve func(net.Listener, Deflate) error
}{
	"duplex":      {func(Deflate) bool { return true }, serveDuplexDeflate},
	"duplex-conn": {func(Deflate) bool { return true }, serveDuplexConnDeflate},
	"gorilla":     {func(d Deflate) bool { return !d.Takeover && d.Bits == 15 }, serveGorillaDeflate},
	"gws":         {func(d Deflate) bool { return !d.Kept }, serveGwsDeflate},
	"coder":       {func(d Deflate) bool { return d.Bits == 15 && !d.Kept }, serveCoderDeflate},
	"nbio":        {func(d Deflate) bool { return !d.Takeover && d.Bits == 15 }, serveNbioDeflate},
}

// Deflates reports whether a contestant can compress so.
func (c Contestant) Deflates(d Deflate) bool {
	s, ok := deflating[c.Name]
	return ok && s.can(d)
}

func (c Contestant) deflate(d Deflate) (func(net.Listener) error, error) {
	if !c.Deflates(d) {
		return nil, fmt.Errorf("%s does not compress with %+v", c.Name, d)
	}
	return func(ln net.Listener) error { return deflating[c.Name].serve(ln, d) }, nil
}

func duplexDeflate(d Deflate) duplex.Options {
	return duplex.Options{Extensions: []duplex.Extension{&duplex.Deflate{
		SendBits: d.Bits, ReceiveBits: d.Bits,
		SendNoTakeover: !d.Takeover, ReceiveNoTakeover: !d.Takeover,
		KeepCompressor: d.Kept,
	}}}
}

func serveDuplexDeflate(ln net.Listener, d Deflate) error {
	return serveHTTP(ln, &duplex.Handler{
		AcceptOptions: duplex.AcceptOptions{Options: duplexDeflate(d)},
		Message: func(c *duplex.Conn, t duplex.MessageType, p []byte) {
			c.Write(context.Background(), t, p)
		},
	})
}

func serveDuplexConnDeflate(ln net.Listener, d Deflate) error {
	o := &duplex.AcceptOptions{Options: duplexDeflate(d)}
	return serveHTTP(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := duplex.Accept(w, r, o)
		if err != nil {
			return
		}
		go func() {
			defer c.CloseNow()
			duplexRead(c, func(t duplex.MessageType, p []byte) { c.Write(context.Background(), t, p) })
		}()
	}))
}

// serveGorillaDeflate has gorilla's own level of compression, 1, and its windows of
// 15 bits without takeover, which is all that it has.
func serveGorillaDeflate(ln net.Listener, d Deflate) error {
	u := gorillaUpgrader
	u.EnableCompression = true
	return serveHTTP(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		c.SetReadLimit(1 << 20)
		go func() {
			defer c.Close()
			g := &gorillaConn{Conn: c}
			g.read(func(t int, p []byte) error { return c.WriteMessage(t, p) })
		}()
	}))
}

// serveGwsDeflate has gws's own level, 1, and pool.
func serveGwsDeflate(ln net.Listener, d Deflate) error {
	o := gwsOptions()
	o.PermessageDeflate = gws.PermessageDeflate{
		Enabled:               true,
		ServerContextTakeover: d.Takeover, ClientContextTakeover: d.Takeover,
		ServerMaxWindowBits: d.Bits, ClientMaxWindowBits: d.Bits,
	}
	u := gws.NewUpgrader(&gwsEvents{
		open:    func(*gws.Conn) {},
		message: func(c *gws.Conn, m *gws.Message) { c.WriteMessage(m.Opcode, m.Bytes()) },
		close:   func(*gws.Conn) {},
	}, o)
	return serveHTTP(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := u.Upgrade(w, r); err == nil {
			go c.ReadLoop()
		}
	}))
}

func serveCoderDeflate(ln net.Listener, d Deflate) error {
	o := &coder.AcceptOptions{CompressionMode: coder.CompressionNoContextTakeover}
	if d.Takeover {
		o.CompressionMode = coder.CompressionContextTakeover
	}
	return serveHTTP(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := coder.Accept(w, r, o)
		if err != nil {
			return
		}
		c.SetReadLimit(1 << 20)
		go func() {
			defer c.CloseNow()
			coderRead(c, func(t coder.MessageType, p []byte) error { return c.Write(context.Background(), t, p) })
		}()
	}))
}

// serveNbioDeflate has nbio's own level, 1; it has no takeover.
func serveNbioDeflate(ln net.Listener, d Deflate) error {
	logging.SetLevel(logging.LevelNone)
	u := nbio.NewUpgrader()
	u.EnableCompression(true)
	u.OnMessage(func(c *nbio.Conn, t nbio.MessageType, p []byte) { c.WriteMessage(t, p) })
	return runNbio(nbhttp.NewEngine(nbhttp.Config{
		Network:                 "tcp",
		Listen:                  func(string, string) (net.Listener, error) { return ln, nil },
		Addrs:                   []string{ln.Addr().String()},
		Handler:                 nbioUpgrade(u),
		IOMod:                   nbhttp.IOModNonBlocking,
		ReleaseWebsocketPayload: true,
	}))
}
