package token_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/duplexgo/duplex/push"
	"github.com/duplexgo/duplex/push/token"
	"github.com/duplexgo/duplex/websocket"
)

// Whose key is taken away does not come in again. A line that is open goes on: that of
// a token until the token ends, and that of an API key for as long as it likes.
func TestTakenKeys(t *testing.T) {
	const apiKey, secret = "an-API-key-that-is-stolen", "a secret for tokens that is stolen, too"
	folder := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	quiet := slog.New(slog.DiscardHandler)
	apiKeys, err := token.OpenAPIKeys(file("api", apiKey), quiet)
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := token.OpenKeyFile(file("secret", secret), quiet)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := token.ParseKeys([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	ofUser, err := token.Claims{User: "42", Expires: time.Now().Add(time.Hour), Publish: []string{"news"}}.Sign(keys)
	if err != nil {
		t.Fatal(err)
	}
	server := &push.Server{Authorize: token.Authorizer(&token.Verifier{Keys: secrets}, apiKeys), Log: quiet}
	web := httptest.NewServer(server)
	defer web.Close()
	defer server.Shutdown(t.Context())
	dial := func(bearer string) (*websocket.Conn, *http.Response) {
		c, resp, _ := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(web.URL, "http")+"/connect", &websocket.DialOptions{Header: http.Header{"Authorization": {"Bearer " + bearer}}})
		return c, resp
	}
	lines := map[string]*websocket.Conn{}
	for _, bearer := range []string{apiKey, ofUser} {
		c, resp := dial(bearer)
		if c == nil {
			t.Fatalf("%.10s does not come in: %v", bearer, resp)
		}
		defer c.CloseNow()
		lines[bearer] = c
	}
	file("api", "another-API-key-than-that")
	file("secret", strings.Repeat("another", 5))
	if err := apiKeys.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := secrets.Reload(); err != nil {
		t.Fatal(err)
	}
	for bearer, c := range lines {
		if err := c.Write(t.Context(), websocket.Text, []byte(`{"id":1,"command":"publish","channel":"news","data":1}`)); err != nil {
			t.Fatal(err)
		}
		if _, text, err := c.Read(t.Context()); err != nil || !strings.Contains(string(text), `"position"`) {
			t.Errorf("%.10s: the open line says %s, %v", bearer, text, err)
		}
	}
	for bearer := range lines {
		if c, resp := dial(bearer); c != nil || resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%.10s comes in again: %v", bearer, resp)
		}
	}
}
