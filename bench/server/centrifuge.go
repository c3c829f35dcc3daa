package server

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/centrifugal/centrifuge"
)

// The history of a channel on the engine, which its documents want to be small.
const (
	centrifugeHistory = 100
	centrifugeAge     = time.Hour
)

// serveCentrifuge is a small server on Centrifugo's engine, as its README has it: the
// broker in memory, everybody may subscribe, a channel keeps its last messages and
// gives those that were missed to who comes back. Its JSON protocol. Write buffers
// come from a pool, which saves it memory; the rest are its defaults, up to 16
// messages in a frame among them.
func serveCentrifuge(ln net.Listener) error {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: new(centrifuge.Credentials)}, nil
	})
	node.OnConnect(func(c *centrifuge.Client) {
		c.OnSubscribe(func(_ centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
			answer(centrifuge.SubscribeReply{Options: centrifuge.SubscribeOptions{EnableRecovery: true}}, nil)
		})
	})
	if err := node.Run(); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{UseWriteBufferPool: true}))
	mux.HandleFunc("POST /channels/{channel}", func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
		if err == nil && !json.Valid(data) {
			err = errNotJSON // it would end the clients
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		result, err := node.Publish(r.PathValue("channel"), data, centrifuge.WithHistory(centrifugeHistory, centrifugeAge))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(result.StreamPosition)
	})
	return serveHTTP(ln, mux)
}
