package server

import (
	stdtls "crypto/tls"
	"net"
	"net/http"

	"github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
)

// serveNbio is nbio's own engine as its author sets it up for a comparison: all
// connections in its poller, callbacks in its pool of goroutines, where they may
// wait.
func serveNbio(ln net.Listener) error { return nbioServe(ln, nil, nil) }

// serveNbioInline runs the callbacks in the poller itself, which is the quickest for
// those that never wait, and stops everybody where one does.
func serveNbioInline(ln net.Listener) error { return nbioServe(ln, nil, inline) }

func serveNbioTLS(ln net.Listener, cert stdtls.Certificate) error {
	return nbioServe(ln, nbioTLS(cert), nil)
}

func serveNbioInlineTLS(ln net.Listener, cert stdtls.Certificate) error {
	return nbioServe(ln, nbioTLS(cert), inline)
}

func inline(f func()) { f() }

// nbioTLS is for nbio's copy of crypto/tls, which can stop in the middle of a record.
func nbioTLS(cert stdtls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: cert.Certificate, PrivateKey: cert.PrivateKey}}}
}

func nbioServe(ln net.Listener, secure *tls.Config, execute func(func())) error {
	logging.SetLevel(logging.LevelNone) // it writes to the standard output, which is spoken for
	config := nbhttp.Config{
		// The listener is there already, so the address only says that there is one.
		Network: "tcp",
		Listen:  func(string, string) (net.Listener, error) { return ln, nil },
		Handler: nbioHandler(),
		// The default for a server with more connections than goroutines are good for;
		// the number of pollers, too, is better left alone, says its author.
		IOMod: nbhttp.IOModNonBlocking,
		// Buffers of messages go back to the pool after the callback.
		ReleaseWebsocketPayload: true,
		// The default cuts an answer of 1 MiB into 32 frames.
		MaxWebsocketFramePayloadSize: 2 << 20,
		TLSConfig:                    secure,
		ServerExecutor:               execute,
	}
	if secure == nil {
		config.Addrs = []string{ln.Addr().String()}
	} else {
		config.AddrsTLS = []string{ln.Addr().String()}
	}
	return runNbio(nbhttp.NewEngine(config))
}

// runNbio runs an engine until it can take no more connections.
func runNbio(engine *nbhttp.Engine) error {
	failed := make(chan error, 1)
	engine.OnAcceptError(func(err error) {
		select {
		case failed <- err:
		default:
		}
	})
	if err := engine.Start(); err != nil {
		return err
	}
	return <-failed
}

func nbioHandler() http.Handler {
	mux := http.NewServeMux()
	for path, pause := range echoPaths {
		u := websocket.NewUpgrader()
		u.OnMessage(func(c *websocket.Conn, t websocket.MessageType, p []byte) {
			pause(len(p))
			c.WriteMessage(t, p)
		})
		mux.HandleFunc(path, nbioUpgrade(u))
	}
	var members room[*websocket.Conn]
	u := websocket.NewUpgrader()
	u.OnOpen(members.join)
	u.OnMessage(func(_ *websocket.Conn, t websocket.MessageType, p []byte) {
		for _, c := range members.all() { // it has no message that is encoded once for many
			c.WriteMessage(t, p)
		}
	})
	u.OnClose(func(c *websocket.Conn, _ error) { members.leave(c) })
	mux.HandleFunc(broadcastPath, nbioUpgrade(u))
	return mux
}

// nbioUpgrade leaves the time limit for silent connections at its default, two
// minutes: its author asks for one, and none is silent for so long here.
func nbioUpgrade(u *websocket.Upgrader) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		u.Upgrade(w, r, nil) // it has answered an error
	}
}
