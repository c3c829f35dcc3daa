//go:build !js

package websocket_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/duplexgo/duplex/websocket"
)

// The environment is read once in a process, so that each case has one of its own.
func TestProxyEnvironment(t *testing.T) {
	if url := os.Getenv("WEBSOCKET_TEST_URL"); url != "" {
		way, err := websocket.ProxyOf(url)
		fmt.Printf("way=%s error=%v\n", way, err)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		url  string
		env  []string
		want string
	}{
		{"ws://server.test", []string{"HTTP_PROXY=http://plain.test:3128", "HTTPS_PROXY=http://tls.test:3129"}, "http://plain.test:3128"},
		{"wss://server.test", []string{"HTTP_PROXY=http://plain.test:3128", "HTTPS_PROXY=http://tls.test:3129"}, "http://tls.test:3129"},
		{"wss://server.test", []string{"HTTPS_PROXY=socks5h://ann:x@tls.test"}, "socks5h://tls.test:1080"},
		{"wss://a.server.test", []string{"HTTPS_PROXY=tls.test", "NO_PROXY=.server.test"}, ""},
		{"wss://server.test:8443", []string{"HTTPS_PROXY=tls.test", "NO_PROXY=server.test:8443"}, ""},
		{"wss://10.1.2.3", []string{"HTTPS_PROXY=tls.test", "NO_PROXY=10.0.0.0/8"}, ""},
		{"wss://11.1.2.3", []string{"HTTPS_PROXY=tls.test", "NO_PROXY=10.0.0.0/8"}, "http://tls.test:80"},
		{"ws://127.0.0.1:9001", []string{"HTTP_PROXY=plain.test"}, ""},
		{"ws://server.test", nil, ""},
	}
	for _, test := range tests {
		cmd := exec.Command(exe, "-test.run=^TestProxyEnvironment$")
		cmd.Env = append(test.env, "WEBSOCKET_TEST_URL="+test.url)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "way="+test.want+" error=<nil>\n") {
			t.Errorf("%s with %q: %v, %s", test.url, test.env, err, out)
		}
	}
}
