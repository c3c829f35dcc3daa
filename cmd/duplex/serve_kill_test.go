//go:build unix

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
)

// serveProcess runs a push server as a process of its own and returns its HOST:PORT.
func serveProcess(t *testing.T, listen string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t), "serve", "--listen", listen)
	stdout, stderr := launch(t, cmd)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if _, url, ok := strings.Cut(lines.Text(), "http://"); ok {
			return cmd, strings.TrimSuffix(url, "/console")
		}
	}
	t.Fatalf("the server does not begin; stderr %q", stderr)
	return nil, ""
}

// A server that was killed and started again has forgotten all. Whoever comes back with
// a position is told so, on every transport, before anything else.
func TestServeKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd, addr := serveProcess(t, "127.0.0.1:0")
	post := func(data string) (position string) {
		t.Helper()
		body := httpText(ctx, t, http.MethodPost, "http://"+addr+"/channels/news", data)
		_, position, _ = strings.Cut(body, `"position":"`)
		position, _, _ = strings.Cut(position, `"`)
		return position
	}
	at := post("before")
	open := dial(t, "ws://"+addr+"/connect", &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}})
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait()
	if _, _, err := open.Read(ctx); err == nil {
		t.Error("the line of a killed server goes on")
	}

	serveProcess(t, addr)
	post("after")
	const reset, message = `"reason":"recreated"`, `"data":"after"`
	check := func(transport, got string) {
		t.Helper()
		if strings.Count(got, reset) != 1 || strings.Count(got, message) != 1 || strings.Contains(got, "before") {
			t.Errorf("%s: after the restart came %s", transport, got)
		}
	}
	c := dial(t, "ws://"+addr+"/connect", &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}})
	if err := c.Write(ctx, websocket.Text, fmt.Appendf(nil, `{"id":1,"command":"subscribe","channel":"news","since":%q}`, at)); err != nil {
		t.Fatal(err)
	}
	_, text, err := c.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	check("WebSocket", string(text))
	check("poll", httpText(ctx, t, http.MethodGet, "http://"+addr+"/poll?wait=0&channel=news&since="+at, ""))
	check("long poll", httpText(ctx, t, http.MethodGet, "http://"+addr+"/poll?channel=news&since="+at, ""))
	check("history", httpText(ctx, t, http.MethodGet, "http://"+addr+"/channels/news?since="+at, ""))

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/events?channel=news", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Last-Event-ID", at)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for lines := bufio.NewScanner(resp.Body); !strings.Contains(got.String(), message) && lines.Scan(); {
		got.WriteString(lines.Text() + "\n")
	}
	resp.Body.Close()
	check("SSE", got.String())
	http.DefaultClient.CloseIdleConnections()
}

// httpText sends a request that must succeed, and returns the answer.
func httpText(ctx context.Context, t *testing.T, method, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %s, %v", url, resp.Status, text, err)
	}
	return string(text)
}
