package peers

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/duplexgo/duplex/websocket"
)

// scripts are foreign peers with compression.
var scripts = map[string]func(t *testing.T, args ...string) *exec.Cmd{
	"python": func(t *testing.T, args ...string) *exec.Cmd {
		return pythonScript(lasting(t), t, "deflate.py", args...)
	},
	"node": func(t *testing.T, args ...string) *exec.Cmd {
		return nodeJS(lasting(t), t, "ws", "deflate.cjs", args...)
	},
}

// lasting returns a context that bounds a peer's life, and goes on for a while when the
// test has failed.
func lasting(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

// deflating serves echoes with compression.
func deflating(t *testing.T, d *websocket.Deflate) string {
	srv := httptest.NewServer(&websocket.Handler{
		AcceptOptions: websocket.AcceptOptions{
			Options: websocket.Options{Extensions: []websocket.Extension{d}},
			Origins: []string{"*"},
		},
		Message: func(c *websocket.Conn, kind websocket.MessageType, p []byte) {
			c.Write(context.Background(), kind, p)
		},
	})
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

// Foreign clients with every window that zlib knows, with takeover and without.
func TestDeflateClients(t *testing.T) {
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			url := deflating(t, &websocket.Deflate{SendBits: 15, ReceiveBits: 15})
			cmd := script(t, "connect", url)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, out, &stderr)
			}
			agreed := strings.Split(strings.TrimSpace(string(out)), "\n")
			if len(agreed) != 14 {
				t.Fatalf("agreed on %q", agreed)
			}
			for i, got := range agreed {
				bits := fmt.Sprint(9 + i/2)
				if !strings.Contains(got, "server_max_window_bits="+bits) ||
					bits != "15" && !strings.Contains(got, "client_max_window_bits="+bits) ||
					strings.Count(got, "no_context_takeover") != i%2*2 {
					t.Errorf("with %s bits agreed on %q", bits, got)
				}
			}
		})
	}
}

// Our client with every window, against foreign servers.
func TestDeflateServers(t *testing.T) {
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			cmd := script(t, "serve")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			stdin, err1 := cmd.StdinPipe()
			stdout, err2 := cmd.StdoutPipe()
			if err1 != nil || err2 != nil || cmd.Start() != nil {
				t.Fatal(err1, err2, "the script did not start")
			}
			t.Cleanup(func() {
				stdin.Close()
				io.Copy(io.Discard, stdout)
				if cmd.Wait(); t.Failed() {
					t.Logf("stderr: %s", &stderr)
				}
			})
			var port int
			line, err := bufio.NewReader(stdout).ReadString('\n')
			if _, err := fmt.Sscan(line, &port); err != nil {
				t.Fatal(line, err)
			}
			if err != nil {
				t.Fatal(err)
			}
			for bits := 9; bits <= 15; bits++ {
				for _, forget := range []bool{false, true} {
					d := &websocket.Deflate{SendBits: bits, ReceiveBits: bits, SendNoTakeover: forget, ReceiveNoTakeover: forget, Threshold: -1}
					echoes(t, fmt.Sprintf("ws://127.0.0.1:%d/", port), d, name == "python")
				}
			}
			// An offer that the server can answer in many ways.
			echoes(t, fmt.Sprintf("ws://127.0.0.1:%d/", port), &websocket.Deflate{}, false)
		})
	}
}

// echoes sends messages that must come back.
func echoes(t *testing.T, url string, d *websocket.Deflate, limits bool) {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Options: websocket.Options{Extensions: []websocket.Extension{d}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	agreed := c.Extensions()
	if !strings.HasPrefix(agreed, "permessage-deflate") ||
		limits && d.SendBits < 15 && !strings.Contains(agreed, fmt.Sprint("server_max_window_bits=", d.ReceiveBits)) ||
		d.SendNoTakeover && strings.Count(agreed, "no_context_takeover") != 2 {
		t.Errorf("%+v: agreed on %q", d, agreed)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		var b bytes.Buffer
		for n := rng.IntN(90); n > 0; n-- {
			fmt.Fprintf(&b, `{"id":%d,"name":"grüße%d"}`, rng.IntN(1000), rng.IntN(40))
		}
		if err := c.Write(t.Context(), websocket.Text, b.Bytes()); err != nil {
			t.Fatal(err)
		}
		if _, p, err := c.Read(t.Context()); err != nil || !bytes.Equal(p, b.Bytes()) {
			t.Fatalf("%s: %d bytes came back for %d, %v", agreed, len(p), b.Len(), err)
		}
	}
	if err := c.Close(websocket.CloseNormal, ""); err != nil {
		t.Error(err)
	}
}

// Chromium's own offer, with the settings that a server of ours has by default, the
// largest, and none of the windows taken over.
func TestDeflateChromium(t *testing.T) {
	page := openPage(t, newPageServer(t, map[string]http.Handler{}).URL)
	for _, test := range []struct {
		d    *websocket.Deflate
		want string
	}{
		{&websocket.Deflate{}, "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"},
		{&websocket.Deflate{SendBits: 9, ReceiveBits: 9}, "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9"},
		{&websocket.Deflate{SendBits: 8, ReceiveBits: 15}, "permessage-deflate; server_max_window_bits=8"},
		{&websocket.Deflate{SendBits: 15, ReceiveBits: 15}, "permessage-deflate"},
		{&websocket.Deflate{SendBits: 15, ReceiveBits: 15, SendNoTakeover: true, ReceiveNoTakeover: true}, "permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
	} {
		got := run[string](t, page, `
			const socket = new WebSocket("`+deflating(t, test.d)+`");
			let sent = "", n = 0;
			const next = () => {
				sent = "";
				for (let i = 0; i < n * 7 % 90; i++) sent += JSON.stringify({id: i * n % 1000, name: "grüße" + i});
				socket.send(sent);
			};
			socket.onopen = next;
			socket.onerror = () => fail(new Error("error"));
			socket.onmessage = e => {
				if (e.data !== sent) fail(new Error("another message came back"));
				if (++n < 100) return next();
				ok(socket.extensions);
				socket.close();
			};
		`)
		if got != test.want {
			t.Errorf("Chromium agreed on %q, want %q", got, test.want)
		}
	}
}
