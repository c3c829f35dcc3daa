// Command browser is a WebSocket client for a browser, built for js/wasm by a test.
// It calls the page's function report with what it has found.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall/js"
	"time"

	"github.com/duplexgo/duplex/websocket"
)

func main() {
	text := "ok"
	if err := try(js.Global().Get("server").String()); err != nil {
		text = err.Error()
	}
	js.Global().Call("report", text)
}

func try(url string) error {
	for _, f := range []func(ctx context.Context, url string) error{echo, ends, refused} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f(ctx, url); err != nil {
			return err
		}
	}
	return nil
}

func echo(ctx context.Context, url string) error {
	c, _, err := websocket.Dial(ctx, url+"/echo", &websocket.DialOptions{Subprotocols: []string{"v1"}})
	if err != nil {
		return err
	}
	defer c.CloseNow()
	if c.Subprotocol() != "v1" {
		return fmt.Errorf("the subprotocol is %q", c.Subprotocol())
	}
	for _, m := range []struct {
		t websocket.MessageType
		p string
	}{
		{websocket.Text, "hello"}, {websocket.Text, ""}, {websocket.Text, "grüße 世界 🙂"}, {websocket.Binary, "\x00\xff\x80"},
		{websocket.Binary, ""}, {websocket.Text, strings.Repeat("x", 126)}, {websocket.Binary, strings.Repeat("\xfe", 1<<20)},
	} {
		if err := c.Write(ctx, m.t, []byte(m.p)); err != nil {
			return err
		}
		t, p, err := c.Read(ctx)
		if err != nil || t != m.t || string(p) != m.p {
			return fmt.Errorf("sent %v of %d bytes, got %v of %d, %v", m.t, len(m.p), t, len(p), err)
		}
	}
	w, err := c.Writer(ctx, websocket.Text)
	if err != nil {
		return err
	}
	for range 3 {
		io.WriteString(w, strings.Repeat("y", 3000))
	}
	if err := w.Close(); err != nil {
		return err
	}
	_, r, err := c.Reader(ctx)
	if err != nil {
		return err
	}
	if p, err := io.ReadAll(r); err != nil || len(p) != 9000 {
		return fmt.Errorf("a stream of %d bytes came back, %v", len(p), err)
	}
	// A Read that is stopped loses nothing.
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, _, err := c.Read(short); !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("a Read that was stopped: %v", err)
	}
	var v struct{ A int }
	if err := c.WriteJSON(ctx, map[string]int{"a": 7}); err != nil {
		return err
	}
	if err := c.ReadJSON(ctx, &v); err != nil || v.A != 7 {
		return fmt.Errorf("JSON: %v, %v", v, err)
	}
	if err := c.Ping(ctx); !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("ping: %v", err)
	}
	return c.Close(4001, "done")
}

// ends looks at what the server does to connections.
func ends(ctx context.Context, url string) error {
	c, _, err := websocket.Dial(ctx, url+"/close?why=%20", nil)
	if err != nil {
		return err
	}
	_, p, err := c.Read(ctx)
	if err != nil || string(p) != "last words" {
		return fmt.Errorf("%q, %v", p, err)
	}
	_, _, err = c.Read(ctx)
	var closed *websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != 4003 || closed.Reason != "grüße" || closed.Local {
		return fmt.Errorf("closed by the server: %v", err)
	}
	c, _, err = websocket.Dial(ctx, url+"/cut", nil)
	if err != nil {
		return err
	}
	c.Write(ctx, websocket.Text, []byte("x"))
	if _, _, err = c.Read(ctx); !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("cut by the server: %v", err)
	}
	c, _, err = websocket.Dial(ctx, url+"/echo", &websocket.DialOptions{Options: websocket.Options{MaxMessage: 10}})
	if err != nil {
		return err
	}
	c.Write(ctx, websocket.Text, make([]byte, 11))
	if _, _, err = c.Read(ctx); !errors.Is(err, websocket.ErrMessageTooBig) {
		return fmt.Errorf("over the limit: %v", err)
	}
	return nil
}

func refused(ctx context.Context, url string) error {
	if _, _, err := websocket.Dial(ctx, url+"/nothing", nil); err == nil || !strings.Contains(err.Error(), "browser") {
		return fmt.Errorf("a path that is not there: %v", err)
	}
	if _, _, err := websocket.Dial(ctx, url+"/echo", &websocket.DialOptions{Header: http.Header{"X": {"1"}}}); err == nil || !strings.Contains(err.Error(), "DialOptions.Header") {
		return fmt.Errorf("a header: %v", err)
	}
	return nil
}
