package push_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/protocol"
)

// A program has the server below a path of its own, knows its users by the cookie that
// it has given them anyway, and publishes by a method.
func Example_embedded() {
	sessions := map[string]string{"s3cr3t": "ann"} // by cookie

	events := &push.Server{
		Authorize: func(r *http.Request, _ string) (push.Grant, error) {
			cookie, err := r.Cookie("session")
			if err != nil || sessions[cookie.Value] == "" {
				return push.Grant{}, &protocol.Error{Code: protocol.Unauthorized, Message: "log in first"}
			}
			user := sessions[cookie.Value]
			own := func(channel string) bool { return channel == "news" || strings.HasPrefix(channel, "user:"+user+":") }
			return push.Grant{User: user, Subscribe: own}, nil // only the program publishes
		},
	}
	mux := http.NewServeMux()
	mux.Handle("/push/", http.StripPrefix("/push", events))
	// ... and the program's own paths.
	site := httptest.NewServer(mux)
	defer site.Close()

	// What a page of the program does by new EventSource("/push/events?channel=...").
	listen := func(channel, cookie string) *http.Response {
		req, err := http.NewRequest("GET", site.URL+"/push/events?history=1&channel="+channel, nil)
		if err != nil {
			panic(err)
		}
		req.AddCookie(&http.Cookie{Name: "session", Value: cookie})
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			panic(err)
		}
		return resp
	}
	fmt.Println(listen("news", "guessed").Status)
	fmt.Println(listen("user:ben:orders", "s3cr3t").Status)

	ctx := context.Background()
	events.Publish(ctx, "user:ann:orders", json.RawMessage(`{"order": 7}`))
	stream := listen("user:ann:orders", "s3cr3t")
	for lines := bufio.NewScanner(stream.Body); lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var m protocol.Message
			json.Unmarshal([]byte(data), &m)
			fmt.Printf("%s: %s\n", m.Channel, m.Data)
			break
		}
	}
	stream.Body.Close()
	events.Shutdown(ctx)
	// Output:
	// 401 Unauthorized
	// 403 Forbidden
	// user:ann:orders: {"order":7}
}
