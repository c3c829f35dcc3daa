package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/duplexgo/duplex/push/protocol"
	"github.com/duplexgo/duplex/websocket"
)

const (
	testSecret = "a secret for tokens that nobody may see"
	testAPIKey = "an-API-key-that-nobody-may-see"
)

// keyFile writes keys into a file and returns its name.
func keyFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// mintToken makes a token with the secret of the tests.
func mintToken(t *testing.T, args ...string) string {
	t.Helper()
	got := duplex(t, nil, append([]string{"token", "--token-key-file", keyFile(t, testSecret)}, args...)...)
	if got.code != exitOK || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	return strings.TrimSpace(got.stdout)
}

// A holder is somebody with a token, or with none, at a server.
type holder struct {
	*testing.T
	url, token string
}

// do sends a request and returns the answer, whose body the test closes.
func (h holder) do(method, path, body string) *http.Response {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), patience)
	h.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	if h.token != "" {
		req.Header.Set("Authorization", "Bearer "+h.token)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { resp.Body.Close() })
	return resp
}

// refused returns the code of a refusal, 0 for an answer that is none.
func (h holder) refused(resp *http.Response) protocol.Code {
	h.Helper()
	if resp.StatusCode == http.StatusOK {
		return 0
	}
	var problem struct{ Code protocol.Code }
	text, _ := io.ReadAll(resp.Body)
	if err := json.Unmarshal(text, &problem); err != nil || problem.Code == 0 {
		h.Fatalf("the answer is %s, %s", resp.Status, text)
	}
	want := map[protocol.Code]int{protocol.Unauthorized: 401, protocol.Expired: 401, protocol.Forbidden: 403}
	if resp.StatusCode != want[problem.Code] {
		h.Errorf("the answer is %s, of code %d", resp.Status, problem.Code)
	}
	if bytes.Contains(text, []byte(h.token)) && h.token != "" || bytes.Contains(text, []byte(testSecret)) {
		h.Errorf("the answer holds what nobody may see: %s", text)
	}
	return problem.Code
}

// The ways in: each does one thing in one channel, and returns the code with which
// that is refused, 0 for none. Those that read must get a message that is there.
var waysIn = map[string]func(h holder, channel string) protocol.Code{
	"POST": func(h holder, channel string) protocol.Code {
		return h.refused(h.do("POST", "/channels/"+channel, "posted"))
	},
	"history": func(h holder, channel string) protocol.Code {
		return h.read(h.do("GET", "/channels/"+channel, ""))
	},
	"poll": func(h holder, channel string) protocol.Code {
		return h.read(h.do("GET", "/poll?wait=0&channel="+channel, ""))
	},
	"SSE": func(h holder, channel string) protocol.Code {
		return h.read(h.do("GET", "/events?history=1&channel="+channel, ""))
	},
	"SSE with the token in the URL": func(h holder, channel string) protocol.Code {
		token := h.token
		h.token = ""
		return h.read(h.do("GET", "/events?history=1&channel="+channel+"&token="+token, ""))
	},
	"presence": func(h holder, channel string) protocol.Code {
		return h.refused(h.do("GET", "/channels/"+channel+"/presence", ""))
	},
	"list of channels": func(h holder, _ string) protocol.Code {
		return h.refused(h.do("GET", "/channels", ""))
	},
	"WebSocket, subscribe": func(h holder, channel string) protocol.Code {
		return h.command(`{"id":2,"command":"subscribe","history":1,"channel":"` + channel + `"}`)
	},
	"WebSocket, publish": func(h holder, channel string) protocol.Code {
		return h.command(`{"id":2,"command":"publish","data":1,"channel":"` + channel + `"}`)
	},
}

// read reads up to a message.
func (h holder) read(resp *http.Response) protocol.Code {
	h.Helper()
	if code := h.refused(resp); code != 0 {
		return code
	}
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		if strings.Contains(s.Text(), `"data":`) {
			return 0
		}
	}
	h.Error("no message comes")
	return 0
}

// command shows the token over WebSocket, as a browser must, and sends a command.
func (h holder) command(text string) protocol.Code {
	h.Helper()
	conn, _, err := websocket.Dial(h.Context(), "ws"+strings.TrimPrefix(h.url, "http")+"/connect", nil)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { conn.CloseNow() })
	auth, err := json.Marshal(map[string]any{"id": 1, "command": "auth", "token": h.token})
	if err != nil {
		h.Fatal(err)
	}
	if err := conn.Write(h.Context(), websocket.Text, append(auth, text...)); err != nil {
		h.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(h.Context(), patience)
	defer cancel()
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			h.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var reply protocol.Reply
			if err := json.Unmarshal([]byte(line), &reply); err != nil {
				h.Fatalf("%s: %v", line, err)
			}
			switch {
			case reply.Error != nil:
				return reply.Error.Code
			case reply.ID == 2:
				return 0
			}
		}
	}
}

// Over every transport a client may do what its token says, and nothing else.
func TestServeKeys(t *testing.T) {
	_, url := startServe(t, "--api-key-file", keyFile(t, testAPIKey+"\n"), "--token-key-file", keyFile(t, testSecret+"\n"), "--audience", "here,there", "--issuer", "me")
	admin := holder{t, url, testAPIKey}
	for _, channel := range []string{"news", "user:42", "user:43"} {
		if code := waysIn["POST"](admin, channel); code != 0 {
			t.Fatalf("publishing to %s with the API key is refused with %d", channel, code)
		}
	}
	mine := []string{"--audience", "here", "--issuer", "me", "--user", "42", "--subscribe", "user:{user}", "--publish", "user:{user}", "--presence", "user:*"}
	token := mintToken(t, mine...)
	reader := mintToken(t, "--audience", "there", "--issuer", "me", "--subscribe", "news")
	const unauthorized, forbidden = protocol.Unauthorized, protocol.Forbidden
	for _, test := range []struct {
		who, token, channel            string
		read, publish, presence, admin protocol.Code
	}{
		{"an API key", testAPIKey, "user:43", 0, 0, 0, 0},
		{"a user", token, "user:42", 0, 0, 0, forbidden},
		{"a user elsewhere", token, "user:43", forbidden, forbidden, 0, forbidden},
		{"a reader", reader, "news", 0, forbidden, forbidden, forbidden},
		{"nobody", "", "news", unauthorized, unauthorized, unauthorized, unauthorized},
		{"a wrong API key", testAPIKey + "x", "news", unauthorized, unauthorized, unauthorized, unauthorized},
		{"a broken token", token + "x", "user:42", unauthorized, unauthorized, unauthorized, unauthorized},
		{"a token for elsewhere", mintToken(t, append(mine, "--audience", "else")...), "user:42", unauthorized, unauthorized, unauthorized, unauthorized},
		{"a token of somebody", mintToken(t, append(mine, "--issuer", "you")...), "user:42", unauthorized, unauthorized, unauthorized, unauthorized},
	} {
		for name, way := range waysIn {
			want := test.read
			switch name {
			case "POST", "WebSocket, publish":
				want = test.publish
			case "presence":
				want = test.presence
			case "list of channels":
				want = test.admin
			case "SSE with the token in the URL":
				if test.token == testAPIKey {
					want = unauthorized
				}
			}
			t.Run(test.who+"/"+name, func(t *testing.T) {
				if got := way(holder{t, url, test.token}, test.channel); got != want {
					t.Errorf("%d, want %d", got, want)
				}
			})
		}
	}
}

// An open line ends with its token, and its client is told to come back with another.
func TestServeExpiry(t *testing.T) {
	_, url := startServe(t, "--token-key-file", keyFile(t, testSecret), "--token-leeway", "0s")
	token := mintToken(t, "--subscribe", "news", "--ttl", "1s")
	conn, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(url, "http")+"/connect", &websocket.DialOptions{Header: http.Header{"Authorization": {"Bearer " + token}}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, _, err = conn.Read(ctx)
	wantCode(t, err, protocol.CloseExpired)
	h := holder{t, url, token}
	if code := h.refused(h.do("GET", "/channels/news", "")); code != protocol.Expired {
		t.Errorf("afterwards it is refused with %d, want %d", code, protocol.Expired)
	}
}

// The tokens of an identity provider, which publishes its keys.
func TestServeJWKS(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"RSA","kid":"k","n":%q,"e":%q}]}`, b64(key.N.Bytes()), b64(big.NewInt(int64(key.E)).Bytes()))
	}))
	defer issuer.Close()
	input := b64([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + b64(fmt.Appendf(nil, `{"sub":"42","exp":%d,"https://duplex.example":{"publish":["news"],"subscribe":["news"]}}`, time.Now().Add(time.Hour).Unix()))
	hash := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, hash[:])
	if err != nil {
		t.Fatal(err)
	}
	r, url := startServe(t, "--jwks-url", issuer.URL+"/jwks", "--token-claim", "https://duplex.example")
	for _, way := range []string{"POST", "SSE", "poll", "WebSocket, subscribe"} {
		if code := waysIn[way](holder{t, url, input + "." + b64(signature)}, "news"); code != 0 {
			t.Errorf("%s is refused with %d; stderr %q", way, code, r.stderr)
		}
	}
}

// With keys a server may be reached from everywhere, under any name.
func TestServeWithKeysGoesOut(t *testing.T) {
	r := start(t, "serve", "--listen", "0.0.0.0:0", "--api-key-file", keyFile(t, testAPIKey))
	url := strings.TrimSuffix(r.find("http://"), "/console")
	if publish := r.line(); !strings.Contains(publish, `curl -H "Authorization: Bearer $DUPLEX_TOKEN" -d hello `) {
		t.Errorf("it says %q", publish)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", url+"/channels/news", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "push.example"
	req.Header.Set("Authorization", "Bearer "+testAPIKey)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("under another name it answers %s", resp.Status)
	}
	if strings.Contains(r.stderr.String(), "everybody") {
		t.Errorf("it warns: %s", r.stderr)
	}
}

// Keys and tokens from the environment, on both sides.
func TestKeysFromEnvironment(t *testing.T) {
	t.Setenv(envAPIKey, testAPIKey)
	t.Setenv(envTokenKey, testSecret)
	t.Setenv(envAudience, "here")
	_, url := startServe(t)
	if got := duplex(t, nil, "pub", url, "news", "1"); got.code != exitFailure || !strings.Contains(got.stderr, "401") || !strings.Contains(got.stderr, envToken) {
		t.Errorf("without a token: %+v", got)
	}
	t.Setenv(envToken, testAPIKey+"\n")
	if got := duplex(t, nil, "pub", url, "news", "1"); got.code != exitOK {
		t.Errorf("with the API key: %+v", got)
	}
	if got := duplex(t, nil, "pub", url, "news", "1", "-H", "Authorization: Bearer x"); got.code != exitFailure {
		t.Errorf("another header does not count more: %+v", got)
	}
	t.Setenv(envToken, strings.TrimSpace(duplex(t, nil, "token", "--audience", "here", "--subscribe", "news").stdout))
	if line := start(t, "sub", url, "news", "--history", "1").line(); !strings.Contains(line, `"data":1`) {
		t.Errorf("sub prints %s", line)
	}
	if got := duplex(t, nil, "pub", url, "news", "1"); got.code != exitFailure || !strings.Contains(got.stderr, "403") {
		t.Errorf("with a token to read: %+v", got)
	}
	t.Setenv(envToken, "a\x01b")
	if got := duplex(t, nil, "pub", url, "news", "1"); got.code != exitUsage || !strings.Contains(got.stderr, envToken) {
		t.Errorf("with a token that no header may have: %+v", got)
	}
}

// Settings that contradict each other, and keys that are none: one line says what is
// wrong, and does not quote them.
func TestKeySettings(t *testing.T) {
	secret, keys, none := keyFile(t, testSecret), keyFile(t, testAPIKey), filepath.Join(t.TempDir(), "none")
	for _, test := range []struct {
		args []string
		env  map[string]string
		code int
		want string
	}{
		{[]string{"--api-key-file", none}, nil, exitFailure, "cannot read the API keys in " + none + ": no such file"},
		{[]string{"--token-key-file", none}, nil, exitFailure, "cannot read the keys for tokens in " + none + ": no such file"},
		{[]string{"--api-key-file", keyFile(t, "nobody-sees")}, nil, exitFailure, "line 1: an API key has 16 to 512 characters, this one has 11"},
		{[]string{"--token-key-file", keyFile(t, "nobody-sees")}, nil, exitFailure, "at least 32 bytes, this one has 11: make one with 'openssl rand -hex 32'"},
		{nil, map[string]string{envAPIKey: "nobody-sees"}, exitFailure, "the environment variable DUPLEX_API_KEY: line 1: an API key"},
		{nil, map[string]string{envTokenKey: "nobody-sees"}, exitFailure, "the environment variable DUPLEX_TOKEN_KEY: a secret"},
		{nil, map[string]string{envAPIKey: " "}, exitUsage, "DUPLEX_API_KEY is empty: set it, or unset it"},
		{nil, map[string]string{envTokenKeyFile: ""}, exitUsage, "DUPLEX_TOKEN_KEY_FILE is empty"},
		{nil, map[string]string{envAPIKey: testAPIKey, envAPIKeyFile: keys}, exitUsage, "DUPLEX_API_KEY and DUPLEX_API_KEY_FILE are both set"},
		{nil, map[string]string{envTokenKey: testSecret, envJWKSURL: "https://issuer.example/"}, exitUsage, "DUPLEX_TOKEN_KEY and DUPLEX_JWKS_URL are both set"},
		{[]string{"--api-key-file", ""}, nil, exitUsage, "--api-key-file is empty"},
		{[]string{"--audience", ""}, nil, exitUsage, "--audience is empty"},
		{[]string{"--token-key-file", secret, "--jwks-url", "https://issuer.example/"}, nil, exitUsage, "two sources of keys"},
		{[]string{"--jwks-url", "http://issuer.example/"}, nil, exitUsage, "by https only"},
		{nil, map[string]string{envJWKSURL: "issuer"}, exitUsage, "is like https://"},
		{[]string{"--api-key-file", keys, "--issuer", "me"}, nil, exitUsage, "no key for tokens: add --token-key-file"},
		{nil, map[string]string{envAudience: "here"}, exitUsage, "no key for tokens"},
		{[]string{"--api-key-file", keys, "--insecure"}, nil, exitUsage, "--insecure lets everybody in, and keys are set"},
		{[]string{"--token-key-file", secret, "--token-leeway", "-1s"}, nil, exitUsage, "--token-leeway must be zero or more"},
	} {
		t.Run(test.want, func(t *testing.T) {
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			got := duplex(t, nil, append([]string{"serve", "--listen", "127.0.0.1:0"}, test.args...)...)
			if got.code != test.code || got.stdout != "" || !strings.Contains(got.stderr, test.want) || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("%+v, want exit code %d and %s", got, test.code, test.want)
			}
			if strings.Contains(got.stderr, "nobody") {
				t.Errorf("the key is on stderr: %s", got.stderr)
			}
		})
	}
}

func TestToken(t *testing.T) {
	before := time.Now().Unix()
	token := mintToken(t, "--user", "42", "--subscribe", "a,b", "--subscribe", "c", "--presence", "{user}", "--ttl", "90s")
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Exp    int64
		Duplex json.RawMessage
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	if ttl := claims.Exp - before; ttl < 90 || ttl > 92 {
		t.Errorf("it lasts %d seconds", ttl)
	}
	if want := `{"subscribe":["a,b","c"],"presence":["{user}"]}`; string(claims.Duplex) != want {
		t.Errorf("the rights are %s, want %s", claims.Duplex, want)
	}
	secret := keyFile(t, testSecret)
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "a secret to sign with is missing"},
		{[]string{"--token-key-file", secret, "--ttl", "0s"}, exitUsage, "--ttl must be at least a second"},
		{[]string{"--token-key-file", secret, "--subscribe", "{user}"}, exitFailure, "{user} stands for nobody"},
		{[]string{"--token-key-file", secret, "--user", "a\nb"}, exitFailure, "user's name has control characters"},
		{[]string{"--token-key-file", keyFile(t, `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`)}, exitFailure, "signed with a secret"},
		{[]string{"--token-key-file", secret, "news"}, exitUsage, "unexpected argument"},
	} {
		got := duplex(t, nil, append([]string{"token"}, test.args...)...)
		if got.code != test.code || got.stdout != "" || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%q: %+v, want exit code %d and %s", test.args, got, test.code, test.want)
		}
	}
}
