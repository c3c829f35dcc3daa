package duplex_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What docs/migrating.md shows of this library compiles, with the names that it
// explains.
func TestMigratingCompiles(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("docs", "migrating.md"))
	if err != nil {
		t.Fatal(err)
	}
	var program strings.Builder
	program.WriteString(`package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/duplexgo/duplex/websocket"
)

var _ = errors.New
var _ net.Conn

type given struct {
	a        websocket.AcceptOptions
	o        websocket.DialOptions
	c        *websocket.Conn
	ctx      context.Context
	w        http.ResponseWriter
	r        *http.Request
	url      string
	header   http.Header
	p        []byte
	v        any
	n        int64
	d        time.Duration
	err      error
	u        *url.URL
	jar      http.CookieJar
	config   *tls.Config
	registry *websocket.Registry
	closed   *websocket.CloseError
}

func main() {}
`)
	declared := regexp.MustCompile(`^([a-z, ]+) := `)
	row := regexp.MustCompile("(?m)^\\|.*\\| `([^`]*)` \\|$")
	count := 0
	for _, match := range row.FindAllStringSubmatch(string(text), -1) {
		code := match[1]
		count++
		fmt.Fprintf(&program, "\nfunc _(g given) {\n\ta, o, c, ctx, w, r, url, header, p, v, n, d, err, u, jar, config, registry, closed := g.a, g.o, g.c, g.ctx, g.w, g.r, g.url, g.header, g.p, g.v, g.n, g.d, g.err, g.u, g.jar, g.config, g.registry, g.closed\n")
		program.WriteString("\tuse(a, o, c, ctx, w, r, url, header, p, v, n, d, err, u, jar, config, registry, closed)\n\t{\n\t\t" + code + "\n")
		if names := declared.FindStringSubmatch(code); names != nil {
			program.WriteString("\t\tuse(" + names[1] + ")\n")
		}
		program.WriteString("\t}\n}\n")
	}
	program.WriteString("\nfunc use(...any) {}\n")
	if count < 20 {
		t.Errorf("the document shows %d calls, want 20 at least", count)
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(program.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", filepath.Join(filepath.Dir(file), "program"), file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, program.String())
	}
}
