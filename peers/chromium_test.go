package peers

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/duplexgo/duplex/websocket"
)

// openPage opens an empty page of a server in Chromium.
func openPage(t *testing.T, url string, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		missing(t, "Chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path))
	options = append(options, more...)
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium refuses to run as root with one
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	ctx, cancelAllocator := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancelAllocator)
	ctx, cancelBrowser := chromedp.NewContext(ctx)
	t.Cleanup(cancelBrowser)
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	// Waits for the browser's end, else its files could not be removed.
	t.Cleanup(func() { chromedp.Cancel(ctx) })
	return ctx
}

// run runs the body of a JavaScript function (ok, fail) that calls ok with what
// is to be returned.
func run[T any](t *testing.T, page context.Context, body string) T {
	t.Helper()
	result, err := chromedp.Run(page, chromedp.Evaluate[T]("new Promise((ok, fail) => {"+body+"})", chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return result
}

// A browserEnd is what a page is told of the end of a connection.
type browserEnd struct {
	Events []string
	Code   int
	Reason string
	Clean  bool
}

// watch is a script that opens a socket at the URL, notes its events and returns
// a browserEnd.
func watch(url string) string {
	u, _ := json.Marshal(url)
	return `
		const socket = new WebSocket(` + string(u) + `), events = [];
		socket.onopen = () => events.push("open");
		socket.onmessage = e => events.push("message " + e.data);
		socket.onerror = () => events.push("error");
		socket.onclose = e => ok({Events: [...events, "close"], Code: e.code, Reason: e.reason, Clean: e.wasClean});
	`
}

// newPageServer serves an empty page at / and what else there is in routes.
func newPageServer(t *testing.T, routes map[string]http.Handler) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, "<!doctype html><title>peers</title>")
	})
	for path, h := range routes {
		mux.Handle(path, h)
	}
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

func TestChromium(t *testing.T) {
	ends := make(chan error, 1)
	srv := newPageServer(t, map[string]http.Handler{
		"/echo": &websocket.Handler{
			AcceptOptions: websocket.AcceptOptions{Subprotocols: []string{"v2", "v1"}},
			Message: func(c *websocket.Conn, kind websocket.MessageType, p []byte) {
				c.Write(context.Background(), kind, p)
			},
			Close: func(_ *websocket.Conn, err error) { ends <- err },
		},
		"/close": &websocket.Handler{
			Open: func(c *websocket.Conn, r *http.Request) {
				c.Write(r.Context(), websocket.Text, []byte("last words"))
				c.Close(4003, "grüße")
			},
		},
		"/cut": &websocket.Handler{
			Message: func(c *websocket.Conn, _ websocket.MessageType, _ []byte) { c.CloseNow() },
		},
	})
	url := "ws" + strings.TrimPrefix(srv.URL, "http")
	page := openPage(t, srv.URL)

	t.Run("text", func(t *testing.T) {
		got := run[[]string](t, page, `
			const socket = new WebSocket("`+url+`/echo"), got = [];
			const sent = ["hello", "", "grüße 世界 \u{1F642}", "x".repeat(126), "x".repeat(65536)];
			socket.onopen = () => sent.forEach(s => socket.send(s));
			socket.onerror = () => fail(new Error("error"));
			socket.onmessage = e => {
				got.push(e.data === sent[got.length] ? "same" : "other: " + String(e.data).slice(0, 100));
				if (got.length === sent.length) socket.close(1000, "done");
			};
			socket.onclose = e => ok([...got, e.code + " " + e.wasClean]);
		`)
		if want := "same same same same same 1000 true"; strings.Join(got, " ") != want {
			t.Errorf("the page saw %q", got)
		}
		wantClose(t, <-ends, websocket.CloseError{Code: 1000, Reason: "done"})
	})

	t.Run("binary of 1 MiB", func(t *testing.T) {
		got := run[string](t, page, `
			const socket = new WebSocket("`+url+`/echo");
			socket.binaryType = "arraybuffer";
			const sent = new Uint8Array(1 << 20).map((_, i) => i * 31 >> 3);
			socket.onopen = () => socket.send(sent);
			socket.onerror = () => fail(new Error("error"));
			socket.onmessage = e => {
				const back = new Uint8Array(e.data);
				socket.close(4005);
				ok(back.length + " " + (back.length === sent.length && back.every((b, i) => b === sent[i])));
			};
		`)
		if got != "1048576 true" {
			t.Errorf("the page saw %q", got)
		}
		wantClose(t, <-ends, websocket.CloseError{Code: 4005})
	})

	t.Run("a message over the limit", func(t *testing.T) {
		got := run[browserEnd](t, page, watch(url+"/echo")+`socket.onopen = () => socket.send("x".repeat((1 << 20) + 1));`)
		if got.Code != 1009 || !got.Clean {
			t.Errorf("the page saw %+v", got)
		}
		if err := <-ends; !errors.Is(err, websocket.ErrMessageTooBig) {
			t.Errorf("the handler saw %v", err)
		}
	})

	t.Run("subprotocol", func(t *testing.T) {
		got := run[string](t, page, `
			const socket = new WebSocket("`+url+`/echo", ["v0", "v1", "v2"]);
			socket.onopen = () => { socket.close(); ok(socket.protocol); };
			socket.onerror = () => fail(new Error("error"));
		`)
		if got != "v2" {
			t.Errorf("the page speaks %q, want the one that the server likes best", got)
		}
		wantClose(t, <-ends, websocket.CloseError{Code: websocket.CloseNoStatus})
	})

	t.Run("closed by the server", func(t *testing.T) {
		got := run[browserEnd](t, page, watch(url+"/close"))
		if strings.Join(got.Events, ",") != "open,message last words,close" || got.Code != 4003 || got.Reason != "grüße" || !got.Clean {
			t.Errorf("the page saw %+v", got)
		}
	})

	t.Run("cut by the server", func(t *testing.T) {
		got := run[browserEnd](t, page, watch(url+"/cut")+`socket.onopen = () => socket.send("x");`)
		if got.Code != 1006 || got.Clean {
			t.Errorf("the page saw %+v", got)
		}
	})

	// Attack: a page of another origin speaks with the user's cookies.
	t.Run("another origin", func(t *testing.T) {
		other := newPageServer(t, map[string]http.Handler{"/echo": &websocket.Handler{
			Open: func(*websocket.Conn, *http.Request) { t.Error("the foreign page was let in") },
		}})
		got := run[browserEnd](t, page, watch("ws"+strings.TrimPrefix(other.URL, "http")+"/echo"))
		if strings.Join(got.Events, ",") != "error,close" || got.Code != 1006 || got.Clean {
			t.Errorf("the page saw %+v", got)
		}
	})
}

// wantClose checks how a Handler's connection ended.
func wantClose(t *testing.T, err error, want websocket.CloseError) {
	t.Helper()
	if closed, ok := errors.AsType[*websocket.CloseError](err); !ok || *closed != want {
		t.Errorf("the handler saw %v, want %v", err, &want)
	}
}
