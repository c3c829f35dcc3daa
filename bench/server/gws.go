package server

import (
	"net"
	"net/http"

	"github.com/lxzan/gws"
)

// gwsEvents are gws's callbacks. Pings are left to the built-in handler.
type gwsEvents struct {
	gws.BuiltinEventHandler
	open    func(*gws.Conn)
	message func(*gws.Conn, *gws.Message)
	close   func(*gws.Conn)
}

func (e *gwsEvents) OnOpen(c *gws.Conn)           { e.open(c) }
func (e *gwsEvents) OnClose(c *gws.Conn, _ error) { e.close(c) }
func (e *gwsEvents) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close() // gives the message's buffer back to gws's pool
	e.message(c, m)
}

// serveGws reads each connection in a goroutine of its own, which its README wants
// behind net/http. Messages are handled one after the other, in that goroutine:
// ParallelEnabled would start another for each message and lose their order.
func serveGws(ln net.Listener) error {
	mux := http.NewServeMux()
	for path, pause := range echoPaths {
		mux.Handle(path, gwsHandler(&gwsEvents{
			open: func(*gws.Conn) {},
			message: func(c *gws.Conn, m *gws.Message) {
				pause(m.Data.Len())
				c.WriteMessage(m.Opcode, m.Bytes())
			},
			close: func(*gws.Conn) {},
		}))
	}
	var members room[*gws.Conn]
	mux.Handle(broadcastPath, gwsHandler(&gwsEvents{
		open: members.join,
		message: func(_ *gws.Conn, m *gws.Message) {
			b := gws.NewBroadcaster(m.Opcode, m.Bytes())
			defer b.Close()
			for _, c := range members.all() {
				b.Broadcast(c)
			}
		},
		close: members.leave,
	}))
	return serveHTTP(ln, mux)
}

func gwsHandler(e *gwsEvents) http.Handler {
	u := gws.NewUpgrader(e, gwsOptions())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r)
		if err != nil {
			return
		}
		go c.ReadLoop()
	})
}

func gwsOptions() *gws.ServerOption {
	return &gws.ServerOption{
		ReadMaxPayloadSize:  1 << 20,
		WriteMaxPayloadSize: 1 << 20,
		Recovery:            gws.Recovery,
	}
}
