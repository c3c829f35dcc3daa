package push_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
	"github.com/duplexgo/duplex/websocket/wstest"
)

// A push server in one's own program, beside other handlers; the program itself
// publishes by a method. The client is written in a few lines, too.
func ExampleServer() {
	var events push.Server
	mux := http.NewServeMux()
	mux.Handle("/live/", http.StripPrefix("/live", &events))
	srv := wstest.NewServer(mux) // in a program: http.ListenAndServe("127.0.0.1:8080", mux)
	defer srv.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	line, _, err := srv.Dial(ctx, "/live/connect", &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}})
	if err != nil {
		fmt.Println(err)
		return
	}
	subscribe, _ := json.Marshal(protocol.Command{ID: 1, Command: protocol.Subscribe, Channel: "orders", History: 10})
	line.Write(ctx, websocket.Text, subscribe)

	events.Publish(ctx, "orders", json.RawMessage(`{"order": 7, "state": "paid"}`))

	for received := false; !received; {
		_, text, err := line.Read(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		for item := range protocol.Items(text) {
			if item.IsMessage() {
				fmt.Printf("%s: %s\n", item.Channel, item.Data)
				received = true
			}
		}
	}
	line.Close(websocket.CloseNormal, "")
	events.Shutdown(ctx) // before the http.Server's
	// Output:
	// orders: {"order":7,"state":"paid"}
}
