package websocket_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/duplexgo/duplex/websocket"
)

func ExampleReconnect() {
	r := websocket.Reconnect{
		URL:    "wss://example.com/feed",
		Failed: func(err error, wait time.Duration) { fmt.Println(err, "- again in", wait) },
	}
	ctx := context.Background() // its end ends Run
	err := r.Run(ctx, func(ctx context.Context, c *websocket.Conn) error {
		for {
			_, p, err := c.Read(ctx)
			if err != nil {
				return err
			}
			fmt.Printf("%s\n", p)
		}
	})
	fmt.Println("over:", err)
}

func ExampleDialOptions_proxy() {
	proxy := &url.URL{Scheme: "socks5h", User: url.UserPassword("ann", "secret"), Host: "proxy.example:1080"}
	c, _, err := websocket.Dial(context.Background(), "wss://example.com/feed", &websocket.DialOptions{
		Proxy: http.ProxyURL(proxy),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
}

func ExampleLimits() {
	h := &websocket.Handler{AcceptOptions: websocket.AcceptOptions{
		Options: websocket.Options{MessageRate: 50, ByteRate: 1 << 20},
		Limits: &websocket.Limits{
			MaxConns:        50_000,
			MaxConnsPerAddr: 100,
			HandshakeRate:   10,
			TrustedProxies:  []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		},
	}}
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second, // half a request is waited for no longer
		MaxHeaderBytes:    16 << 10,
	}
	srv.ListenAndServe()
}
