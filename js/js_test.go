package js_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/duplexgo/duplex/js"
)

// maxPacked is what the client may weigh in bytes on its way to a page.
const maxPacked = 5000

func get(t *testing.T, method string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "/duplex.js", nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	js.Handler().ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, resp *http.Response) []byte {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHandler(t *testing.T) {
	plain := get(t, "GET")
	script := body(t, plain)
	if plain.StatusCode != 200 || plain.Header.Get("Content-Type") != "text/javascript; charset=utf-8" || plain.Header.Get("Content-Encoding") != "" {
		t.Errorf("status %d, header %v", plain.StatusCode, plain.Header)
	}
	packed := get(t, "GET", "Accept-Encoding", "br, gzip;q=0.5")
	bytesPacked := body(t, packed)
	if packed.Header.Get("Content-Encoding") != "gzip" || packed.Header.Get("Vary") != "Accept-Encoding" {
		t.Fatalf("header %v", packed.Header)
	}
	if len(bytesPacked) >= maxPacked {
		t.Errorf("the client weighs %d bytes, want less than %d", len(bytesPacked), maxPacked)
	}
	r, err := gzip.NewReader(bytes.NewReader(bytesPacked))
	if err != nil {
		t.Fatal(err)
	}
	if unpacked, err := io.ReadAll(r); err != nil || !bytes.Equal(unpacked, script) {
		t.Errorf("packed it is another script (%v)", err)
	}
	if plain.Header.Get("ETag") == packed.Header.Get("ETag") {
		t.Error("two representations have one ETag")
	}
	for _, test := range []struct {
		name, method string
		header       []string
		status       int
		coding       string
	}{
		{"not changed", "GET", []string{"If-None-Match", plain.Header.Get("ETag")}, 304, ""},
		{"not changed, packed", "GET", []string{"Accept-Encoding", "gzip", "If-None-Match", packed.Header.Get("ETag")}, 304, ""},
		{"gzip is not wanted", "GET", []string{"Accept-Encoding", "gzip;q=0, br"}, 200, ""},
		{"nor with zeros", "GET", []string{"Accept-Encoding", "gzip; q=0.000"}, 200, ""},
		{"gzip in a second line", "GET", []string{"Accept-Encoding", "br", "Accept-Encoding", "GZIP"}, 200, "gzip"},
		{"HEAD", "HEAD", nil, 200, ""},
		{"POST", "POST", nil, 405, ""},
	} {
		resp := get(t, test.method, test.header...)
		if resp.StatusCode != test.status || resp.Header.Get("Content-Encoding") != test.coding {
			t.Errorf("%s: status %d, coding %q", test.name, resp.StatusCode, resp.Header.Get("Content-Encoding"))
		}
	}
}

// need returns the path of a program. Without it the test is skipped, except where CI
// is set and the program must be there.
func need(t *testing.T, program string, inCI bool) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if inCI && os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed", program)
		}
		t.Skipf("%s is not installed", program)
	}
	return path
}

// The client's own tests, of the readable file and of the one that is served.
func TestClient(t *testing.T) {
	node := need(t, "node", true)
	for _, file := range []string{"duplex.js", "duplex.min.js"} {
		t.Run(file, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), node, "--test", "--test-reporter=spec", "tests/")
			cmd.Env = append(os.Environ(), "DUPLEX_JS=../"+file)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if !bytes.Contains(out, []byte("nothing lost, doubled or out of order: 1")) {
				t.Errorf("the tests have not run:\n%s", out)
			}
		})
	}
}

// What is served is made of the present source.
func TestGenerated(t *testing.T) {
	source, err := os.ReadFile("js.go")
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(source), "//go:generate ")
	line, _, _ = strings.Cut(line, "\n")
	args := strings.Fields(strings.Replace(line, "--outfile=duplex.min.js --allow-overwrite", "", 1))
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var fault bytes.Buffer
	cmd.Stderr = &fault
	out, err := cmd.Output()
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("the minifier cannot be run here: %v\n%s", err, &fault)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, &fault)
	}
	served, err := os.ReadFile("duplex.min.js")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out, served) {
		t.Error("duplex.min.js is not made of duplex.js: run GOWORK=off go generate ./js")
	}
}

func TestTypes(t *testing.T) {
	tsc := need(t, "tsc", false)
	out, err := exec.CommandContext(t.Context(), tsc, "--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom",
		"--module", "nodenext", "--moduleResolution", "nodenext", "tests/usage.ts").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
