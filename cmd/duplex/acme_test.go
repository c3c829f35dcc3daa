//go:build unix

package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

const acmeHost = "push.duplex.test"

// nowhere is a port at which nobody listens.
const nowhere = "1"

// startIssuer starts an issuer, which asks over HTTP and TLS at two ports, and returns its
// directory, the file with the certificate of its own, what it signs with, and what ends
// it.
func startIssuer(t *testing.T, httpPort, tlsPort string) (directory, trust string, roots *x509.CertPool, end func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	trust = filepath.Join(t.TempDir(), "own.pem")
	root := filepath.Join(t.TempDir(), "root.pem")
	cmd := exec.CommandContext(t.Context(), self, httpPort, tlsPort, trust, root)
	cmd.Env = append(os.Environ(), asIssuer+"=1", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	stderr := new(lockedBuffer)
	cmd.Stderr = stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() { stdin.Close(); cmd.Wait() }
	t.Cleanup(end)
	directory, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the issuer does not begin: %v, %s", err, stderr)
	}
	text, err := os.ReadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return strings.TrimSpace(directory), trust, roots, end
}

// A certificate is got from the issuer when the first client comes, and kept: the server
// that starts again without the issuer still has it.
func TestACME(t *testing.T) {
	needTrust(t)
	socket, addr := passed(t, "tcp", "127.0.0.1:0")
	directory, trust, roots, endIssuer := startIssuer(t, nowhere, portIn(addr))
	cache := filepath.Join(t.TempDir(), "state")
	serveAt := func() (*exec.Cmd, *lockedBuffer) {
		t.Helper()
		return serveACME(t, []*os.File{socket}, "", trust, directory, cache)
	}
	ask := func(host string) error { return askOverTLS(addr, host, roots) }
	first, stderr := serveAt()
	if err := ask(acmeHost); err != nil {
		t.Fatalf("%v; stderr %s", err, stderr)
	}
	if err := ask("other.duplex.test"); err == nil {
		t.Error("there is a certificate for a host that nobody has asked for")
	}
	if info, err := os.Stat(cache); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder with the keys: %v, %v", info.Mode(), err)
	}
	first.Process.Signal(os.Interrupt)
	first.Wait()
	endIssuer()
	_, stderr = serveAt()
	if err := ask(acmeHost); err != nil {
		t.Errorf("after a restart: %v; stderr %s", err, stderr)
	}
}

// An issuer that reaches no TLS asks over HTTP, with the port in the Host where it is not
// 80, and is answered at the socket that sends others to HTTPS.
func TestACMEOverHTTP(t *testing.T) {
	needTrust(t)
	socket, addr := passed(t, "tcp", "127.0.0.1:0")
	plain, from := passed(t, "tcp", "127.0.0.1:0")
	directory, trust, roots, _ := startIssuer(t, portIn(from), nowhere)
	_, stderr := serveACME(t, []*os.File{plain, socket}, redirectSocket+":duplex.socket", trust, directory, t.TempDir())
	if err := askOverTLS(addr, acmeHost, roots); err != nil {
		t.Fatalf("%v; stderr %s", err, stderr)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(httptest.NewRequestWithContext(t.Context(), "GET", "http://"+from+"/console", nil))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("Location"); got != "https://"+addr+"/console" {
		t.Errorf("others are sent to %q", got)
	}
}

// needTrust skips the test where a process cannot be told whom to trust.
func needTrust(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only on Linux can a process be told whom to trust")
	}
}

func portIn(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// serveACME starts a server that gets its certificate from an issuer, with sockets of
// these names.
func serveACME(t *testing.T, sockets []*os.File, names, trust, directory, cache string) (*exec.Cmd, *lockedBuffer) {
	t.Helper()
	cmd, out, stderr := activate(t, sockets, strconv.Itoa(len(sockets)), []string{"SSL_CERT_FILE=" + trust, envListenNames + "=" + names},
		"--insecure", "--acme-host", acmeHost, "--acme-directory", directory, "--acme-cache", cache)
	if line, err := out.ReadString('\n'); err != nil || !strings.Contains(line, "https://") {
		t.Fatalf("it says %q, %v, stderr %q", line, err, stderr)
	}
	return cmd, stderr
}

// askOverTLS asks a server whether it is well, under the name of a host.
func askOverTLS(addr, host string, roots *x509.CertPool) error {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: host},
	}}
	resp, err := client.Get("https://" + addr + "/healthz")
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

func TestACMEWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--acme-host", "localhost"}, exitUsage, "full name of a host"},
		{[]string{"--acme-host", "127.0.0.1"}, exitUsage, "full name of a host"},
		{[]string{"--acme-host", "*.example.com"}, exitUsage, "full name of a host"},
		{[]string{"--acme-host", "example.com:443"}, exitUsage, "full name of a host"},
		{[]string{"--acme-host", "a.example", "--tls-self-signed"}, exitUsage, "leave one away"},
		{[]string{"--acme-host", "a.example", "--acme-directory", "http://issuer.example"}, exitUsage, "https://"},
		{[]string{"--acme-host", "a.example", "--acme-cache", file}, exitFailure, "name one with --acme-cache"},
		{[]string{"--redirect-from", "127.0.0.1:0"}, exitUsage, "which this server does not speak"},
		{[]string{"--tls-self-signed", "--redirect-from", "127.0.0.1"}, exitUsage, "--redirect-from \"127.0.0.1\" is not HOST:PORT"},
		{[]string{"--tls-self-signed", "--redirect-from", "192.0.2.1:0"}, exitFailure, "with --redirect-from"},
	} {
		got := duplex(t, nil, append([]string{"serve", "--listen", "127.0.0.1:0", "--log-level", "error"}, test.args...)...)
		if got.code != test.code || got.stdout != "" || strings.Count(got.stderr, "\n") != 1 || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%q: %+v, want %q", test.args, got, test.want)
		}
	}
}

// Who comes by HTTP is sent to HTTPS at the same host and path.
func TestRedirect(t *testing.T) {
	for _, test := range []struct {
		port                    int
		method, url, host, want string
		status                  int
	}{
		{443, "GET", "/console", "push.example", "https://push.example/console", 308},
		{443, "GET", "/channels/a%2Fb?since=1&x=%20", "push.example:80", "https://push.example/channels/a%2Fb?since=1&x=%20", 308},
		{8443, "HEAD", "/", "push.example:8080", "https://push.example:8443/", 308},
		{8443, "GET", "/", "[::1]:80", "https://[::1]:8443/", 308},
		{443, "GET", "/", "[::1]", "https://[::1]/", 308},
		{443, "GET", "//evil.example/", "push.example", "https://push.example//evil.example/", 308},
		{443, "POST", "/channels/a", "push.example", "", 403},
		{443, "GET", "/", "", "", 400},
		{443, "GET", "/", "a@b/c", "", 400},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(test.method, test.url, nil)
		r.RequestURI, r.Host = test.url, test.host
		toHTTPS(test.port)(w, r)
		if got := w.Header().Get("Location"); w.Code != test.status || got != test.want {
			t.Errorf("%s %s at %q: status %d, %q; want %d, %q", test.method, test.url, test.host, w.Code, got, test.status, test.want)
		}
	}
	r := start(t, "serve", "--listen", "127.0.0.1:0", "--tls-self-signed", "--redirect-from", "127.0.0.1:0")
	url := strings.TrimSuffix(r.find("https://"), "/console")
	r.stderr.waitFor(t, "listen=127.0.0.1:")
	_, from, _ := strings.Cut(r.stderr.String(), "sending from HTTP to HTTPS\" listen=")
	from, _, _ = strings.Cut(from, "\n")
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+from+"/console", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("Location"); got != url+"/console" {
		t.Errorf("it sends to %s, want %s/console", got, url)
	}
}
