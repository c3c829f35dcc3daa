package peers

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/duplexgo/duplex/websocket"
)

// The library itself in a browser: Dial and Conn as anywhere else.
func TestBrowserBuild(t *testing.T) {
	if _, err := exec.LookPath("chromium"); err != nil {
		missing(t, "Chromium")
	}
	program := filepath.Join(t.TempDir(), "browser.wasm")
	build := exec.Command("go", "build", "-o", program, "./testdata/browser")
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	support := filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js")

	ends := make(chan error, 4)
	srv := newPageServer(t, map[string]http.Handler{
		"/browser.wasm": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, program) }),
		"/wasm_exec.js": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, support) }),
		"/echo": &websocket.Handler{
			AcceptOptions: websocket.AcceptOptions{Subprotocols: []string{"v1"}},
			Message: func(c *websocket.Conn, kind websocket.MessageType, p []byte) {
				c.Write(context.Background(), kind, p)
			},
			Close: func(_ *websocket.Conn, err error) { ends <- err },
		},
		"/close": &websocket.Handler{
			Open: func(c *websocket.Conn, r *http.Request) {
				if r.URL.RawQuery != "why=%20" {
					t.Errorf("the query is %q", r.URL.RawQuery)
				}
				c.Write(r.Context(), websocket.Text, []byte("last words"))
				c.Close(4003, "grüße")
			},
		},
		"/cut": &websocket.Handler{
			Message: func(c *websocket.Conn, _ websocket.MessageType, _ []byte) { c.CloseNow() },
		},
	})
	page := openPage(t, srv.URL)
	got := run[string](t, page, `
		globalThis.server = "ws" + location.origin.slice(4);
		globalThis.report = ok;
		const script = document.createElement("script");
		script.src = "/wasm_exec.js";
		script.onload = async () => {
			const go = new Go();
			const program = await WebAssembly.instantiateStreaming(fetch("/browser.wasm"), go.importObject);
			go.run(program.instance).catch(fail);
		};
		script.onerror = () => fail(new Error("wasm_exec.js"));
		document.head.append(script);
	`)
	if got != "ok" {
		t.Error(got)
	}
	wantClose(t, <-ends, websocket.CloseError{Code: 4001, Reason: "done"})
}
