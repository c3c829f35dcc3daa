package peers

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/duplexgo/duplex/websocket"
)

// A said is a line of testdata/peer.py.
type said struct {
	Port   int
	Open   *string
	Text   *string
	Base64 []byte
	Code   int
	Reason string
	Error  string
}

// A python is a running testdata/peer.py.
type python struct {
	t     *testing.T
	stdin io.WriteCloser
	lines *bufio.Reader
}

// startPython runs the script. env is added to the environment.
func startPython(t *testing.T, env []string, args ...string) *python {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	cmd := pythonScript(ctx, t, "peer.py", args...)
	cmd.Env = append(os.Environ(), env...)
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("the script ended with %v and stderr %q", err, stderr)
		}
		cancel()
	})
	return &python{t, stdin, bufio.NewReader(stdout)}
}

// next returns the next line of the script.
func (p *python) next() said {
	p.t.Helper()
	line, err := p.lines.ReadBytes('\n')
	if err != nil {
		p.t.Fatalf("the script said %q and then %v", line, err)
	}
	var s said
	if err := json.Unmarshal(line, &s); err != nil {
		p.t.Fatalf("the script said %q: %v", line, err)
	}
	if s.Error != "" {
		p.t.Fatalf("the script failed: %s", s.Error)
	}
	return s
}

// opened waits for the connection and checks its subprotocol.
func (p *python) opened(subprotocol string) {
	p.t.Helper()
	if s := p.next(); s.Open == nil || *s.Open != subprotocol {
		p.t.Fatalf("the script said %+v, want a connection with subprotocol %q", s, subprotocol)
	}
}

// do has the script do something, without waiting for its answer.
func (p *python) do(what string, args map[string]any) {
	p.t.Helper()
	command := map[string]any{"do": what}
	for name, value := range args {
		command[name] = value
	}
	line, err := json.Marshal(command)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		p.t.Fatal(err)
	}
}

// obey has the script do something and returns its answer.
func (p *python) obey(what string, args map[string]any) said {
	p.t.Helper()
	p.do(what, args)
	return p.next()
}

// A pair is one of our connections and the script at its other end.
type pair struct {
	conn   *websocket.Conn
	python *python
}

// The two ways to make a pair: the script dials our server, or we dial its. ours
// are the subprotocols of our side, theirs those of the script's.
var roles = map[string]func(t *testing.T, secure bool, ours, theirs []string) pair{
	"python client": pythonClient,
	"python server": pythonServer,
}

func pythonClient(t *testing.T, secure bool, ours, theirs []string) pair {
	t.Helper()
	conns := make(chan *websocket.Conn, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: ours})
		if err != nil {
			t.Errorf("refused: %v", err)
			return
		}
		conns <- c
	}))
	scheme, env := "ws://", []string(nil)
	if secure {
		cert := newCertificate(t)
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert.pair}}
		srv.StartTLS()
		scheme, env = "wss://", []string{"PEER_CA=" + cert.file}
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	p := startPython(t, env, append([]string{"connect", scheme + srv.Listener.Addr().String() + "/"}, theirs...)...)
	s := p.next()
	if s.Open == nil {
		t.Fatalf("the script said %+v", s)
	}
	c := <-conns
	t.Cleanup(func() { c.CloseNow() })
	if *s.Open != c.Subprotocol() {
		t.Errorf("the subprotocol is %q here and %q there", c.Subprotocol(), *s.Open)
	}
	return pair{c, p}
}

func pythonServer(t *testing.T, secure bool, ours, theirs []string) pair {
	t.Helper()
	o := &websocket.DialOptions{Subprotocols: ours}
	scheme, env := "ws", []string(nil)
	if secure {
		cert := newCertificate(t)
		o.TLSConfig = &tls.Config{RootCAs: cert.pool}
		scheme, env = "wss", []string{"PEER_CERT=" + cert.file, "PEER_KEY=" + cert.key}
	}
	p := startPython(t, env, append([]string{"serve"}, theirs...)...)
	c, _, err := websocket.Dial(t.Context(), fmt.Sprintf("%s://127.0.0.1:%d/", scheme, p.next().Port), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	p.opened(c.Subprotocol())
	return pair{c, p}
}

// forBothRoles runs a test with the script as client and as server.
func forBothRoles(t *testing.T, test func(t *testing.T, p pair)) {
	for name, connect := range roles {
		t.Run(name, func(t *testing.T) { test(t, connect(t, false, nil, nil)) })
	}
}

func (p pair) receive(t *testing.T, kind websocket.MessageType, want string) {
	t.Helper()
	got, data, err := p.conn.Read(t.Context())
	if err != nil || got != kind || string(data) != want {
		t.Fatalf("received %v of %d bytes and %v, want %v of %d", got, len(data), err, kind, len(want))
	}
}

func (p pair) send(t *testing.T, kind websocket.MessageType, data string) {
	t.Helper()
	if err := p.conn.Write(t.Context(), kind, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func TestPythonMessages(t *testing.T) {
	forBothRoles(t, func(t *testing.T, p pair) {
		for _, data := range []string{"", "hello", "grüße 世界 \U0001F642", strings.Repeat("x", 125), strings.Repeat("x", 126), strings.Repeat("x", 65536), strings.Repeat("0123456789abcdef", 1<<16)} {
			p.python.do("send", map[string]any{"text": data})
			p.receive(t, websocket.Text, data)
			p.python.next()
			p.send(t, websocket.Text, data)
			if s := p.python.obey("receive", nil); s.Text == nil || *s.Text != data {
				t.Fatalf("text of %d bytes came as %+.100v", len(data), s)
			}
			binary := data + "\xff\x00\xfe"
			if len(binary) > 1<<20 {
				binary = binary[3:] // exactly the limit
			}
			p.python.do("send", map[string]any{"base64": base64.StdEncoding.EncodeToString([]byte(binary))})
			p.receive(t, websocket.Binary, binary)
			p.python.next()
			p.send(t, websocket.Binary, binary)
			if s := p.python.obey("receive", nil); string(s.Base64) != binary {
				t.Fatalf("binary of %d bytes came as %d bytes", len(binary), len(s.Base64))
			}
		}
	})
}

func TestPythonFragments(t *testing.T) {
	forBothRoles(t, func(t *testing.T, p pair) {
		p.python.do("send", map[string]any{"parts": []string{"one ", "", "grü", "ße"}})
		p.receive(t, websocket.Text, "one grüße")
		p.python.next()

		w, err := p.conn.Writer(t.Context(), websocket.Text)
		if err != nil {
			t.Fatal(err)
		}
		part := strings.Repeat("0123456789", 10_000)
		for range 5 { // more than a writer keeps before it sends a frame
			if _, err := io.WriteString(w, part); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if s := p.python.obey("receive", nil); s.Text == nil || *s.Text != strings.Repeat(part, 5) {
			t.Errorf("a message of several frames came as %+.100v", s)
		}
	})
}

func TestPythonPing(t *testing.T) {
	forBothRoles(t, func(t *testing.T, p pair) {
		read := make(chan error, 1)
		go func() {
			_, _, err := p.conn.Read(context.Background())
			read <- err
		}()
		p.python.obey("ping", nil)
		if err := p.conn.Ping(t.Context()); err != nil {
			t.Errorf("no pong: %v", err)
		}
		p.conn.CloseNow()
		<-read
	})
}

func TestPythonClosesFirst(t *testing.T) {
	forBothRoles(t, func(t *testing.T, p pair) {
		p.python.do("close", map[string]any{"code": 4001, "reason": "grüße"})
		_, _, err := p.conn.Read(t.Context())
		closed, ok := errors.AsType[*websocket.CloseError](err)
		if !ok || *closed != (websocket.CloseError{Code: 4001, Reason: "grüße"}) {
			t.Errorf("the connection ended with %v", err)
		}
		p.python.next()
		// Our close frame repeats the code: the script sees it as an answer.
		if s := p.python.obey("closed", nil); s.Code != 4001 {
			t.Errorf("the script was answered with %d %q", s.Code, s.Reason)
		}
	})
}

func TestPythonIsClosedFirst(t *testing.T) {
	forBothRoles(t, func(t *testing.T, p pair) {
		if err := p.conn.Close(4002, "done"); err != nil {
			t.Errorf("closing: %v", err)
		}
		if s := p.python.obey("closed", nil); s.Code != 4002 || s.Reason != "done" {
			t.Errorf("the script saw %d %q", s.Code, s.Reason)
		}
	})
}

func TestPythonSubprotocol(t *testing.T) {
	for name, connect := range roles {
		t.Run(name, func(t *testing.T) {
			// The server's order counts; the script's own order is no other.
			p := connect(t, false, []string{"v3", "v2"}, []string{"v1", "v2", "v3"})
			if got := p.conn.Subprotocol(); got != "v3" && got != "v2" {
				t.Errorf("the subprotocol is %q", got)
			}
			if name == "python client" && p.conn.Subprotocol() != "v3" {
				t.Errorf("our server chose %q, not the one that it likes best", p.conn.Subprotocol())
			}
		})
	}
}

func TestPythonTLS(t *testing.T) {
	for name, connect := range roles {
		t.Run(name, func(t *testing.T) {
			p := connect(t, true, nil, nil)
			data := strings.Repeat("0123456789abcdef", 1<<16)
			p.python.do("send", map[string]any{"text": data})
			p.receive(t, websocket.Text, data)
			p.python.next()
			p.send(t, websocket.Text, "back")
			if s := p.python.obey("receive", nil); s.Text == nil || *s.Text != "back" {
				t.Errorf("received %+v", s)
			}
			if err := p.conn.Close(websocket.CloseNormal, ""); err != nil {
				t.Errorf("closing: %v", err)
			}
			if s := p.python.obey("closed", nil); s.Code != 1000 {
				t.Errorf("the script saw %d %q", s.Code, s.Reason)
			}
		})
	}
}

// A certificate is one of our own making for 127.0.0.1.
type certificate struct {
	pair      tls.Certificate
	pool      *x509.CertPool
	file, key string // as PEM
}

func newCertificate(t *testing.T) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	c := certificate{pool: x509.NewCertPool(), file: filepath.Join(t.TempDir(), "cert.pem"), key: filepath.Join(t.TempDir(), "key.pem")}
	c.pool.AppendCertsFromPEM(certPEM)
	if c.pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(c.file, certPEM, 0o600), os.WriteFile(c.key, keyPEM, 0o600)); err != nil {
		t.Fatal(err)
	}
	return c
}
