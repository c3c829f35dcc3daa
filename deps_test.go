package duplex_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// policy says who may import what. It is a decision, not a list of what happens to
// be imported: a change here needs a reason in docs/decisions.
//
// "a b < c d" lets each of c and d import each of a and b, and nothing that no line
// grants. On both sides stand packages of this repository by their folder (. is
// the root), elsewhere by their import path; std is the whole standard library,
// and x/... is x and all below it. On the right, :test means the tests of a
// package, which may also import what the package itself may; a name that ends
// in .go is a file that is held to a stricter rule than its package.
const policy = `
# The library. The wire is bytes and rules: no network, no clock, no locks.
encoding/binary errors io math/bits strconv unicode/utf8 < websocket/wire
# The one package of others is a compressor, and one package of ours knows it.
std < websocket/internal/handshake websocket/internal/leak websocket/internal/netpoll websocket/internal/slowflate
std github.com/klauspost/compress/flate < websocket/internal/flate
encoding/binary errors sync < websocket/internal/flate/inflate.go
std websocket/wire websocket/internal/flate websocket/internal/handshake websocket/internal/netpoll < websocket
std websocket websocket/wire < websocket/wstest

# Its users get the standard library and that compressor, its tests included: other
# peers, browsers and test helpers are for the tests of the root module.
std websocket/... < websocket/...:test

# The push server. A session knows no transport, the protocol knows no server.
std < push/protocol js
std js < js:test
std < push/compare
std js push push/protocol push/compare < push/console
std push/protocol websocket < push
std push/protocol < push/session.go push/hub.go push/log.go push/memory.go push/broker.go

# Tokens stand beside the server, which knows no kind of them. Signatures, and the
# forms in which keys come, are not ours to write again.
std push push/protocol github.com/go-jose/go-jose/v4 github.com/go-jose/go-jose/v4/json < push/token
github.com/go-jose/go-jose/v4 < push/token:test

std js push/... websocket websocket/wstest go.uber.org/goleak github.com/chromedp/... < push/...:test

std push push/protocol github.com/prometheus/client_golang/prometheus/... < push/metrics

# Of OpenTelemetry, who embeds the server needs the interfaces alone: the program that they
# are a part of brings the rest.
std push go.opentelemetry.io/otel/attribute go.opentelemetry.io/otel/codes go.opentelemetry.io/otel/propagation go.opentelemetry.io/otel/semconv/v1.43.0 go.opentelemetry.io/otel/trace < push/tracing
go.opentelemetry.io/otel/sdk/trace/... < push/tracing:test

# The load: its connections are its own, for what a library does would be measured
# with the server. So it compresses by itself, in one file, what it sends.
std websocket/wire < internal/load
std github.com/klauspost/compress/flate < internal/load/pack.go
go.uber.org/goleak < internal/load:test

# The command may have anything, and nobody may have the command.
std internal/load js push push/protocol push/compare push/console push/metrics push/token push/tracing websocket websocket/wire github.com/spf13/cobra github.com/spf13/pflag go.yaml.in/yaml/v4 golang.org/x/crypto/acme/... < cmd/duplex
go.opentelemetry.io/otel/sdk/... go.opentelemetry.io/otel/semconv/v1.43.0 go.opentelemetry.io/otel/exporters/otlp/otlptrace go.opentelemetry.io/proto/otlp/trace/v1 google.golang.org/protobuf/proto google.golang.org/protobuf/encoding/protowire < cmd/duplex
go.uber.org/goleak websocket/wire websocket/wstest github.com/letsencrypt/pebble/v2/... github.com/miekg/dns go.opentelemetry.io/proto/otlp/... < cmd/duplex:test

# The comparison may have what it compares, and nobody may have the comparison.
std internal/load websocket websocket/wire push bench/... github.com/centrifugal/centrifuge github.com/coder/websocket github.com/gobwas/ws github.com/gorilla/websocket github.com/lesismal/... github.com/lxzan/gws < bench/...

# Tests against others, and of the repository itself.
std websocket push push/compare push/console go.uber.org/goleak github.com/chromedp/... < peers:test
std < internal/links
std internal/links < packaging:test
std internal/links < .:test
`

const modulePath = "github.com/duplexgo/duplex"

// A sourceFile is a Go file and what it imports.
type sourceFile struct {
	path    string // below the root, with slashes
	imports []string
}

func (f sourceFile) folder() string { return path.Dir(f.path) }
func (f sourceFile) test() bool     { return strings.HasSuffix(f.path, "_test.go") }

// A rule is a line of the policy.
type rule struct{ may, who []string }

func parsePolicy(text string) ([]rule, error) {
	var rules []rule
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		may, who, ok := strings.Cut(line, "<")
		r := rule{strings.Fields(may), strings.Fields(who)}
		if !ok || len(r.may) == 0 || len(r.who) == 0 || strings.Contains(who, "<") {
			return nil, fmt.Errorf("the policy's line %q is not of the form a < b", line)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// violations returns a line for each import that no rule grants, and for each
// name in the rules that does not exist.
func violations(rules []rule, files []sourceFile) []string {
	var found []string
	for _, f := range files {
		for _, imported := range f.imports {
			if !granted(rules, f, imported) {
				found = append(found, fmt.Sprintf("%s imports %s", f.path, imported))
			}
		}
	}
	for _, r := range rules {
		for _, who := range r.who {
			if !slices.ContainsFunc(files, func(f sourceFile) bool { return who == f.path || covers(who, f) }) {
				found = append(found, fmt.Sprintf("the policy names %s, which does not exist", who))
			}
		}
	}
	return found
}

// granted reports whether a file may import a package. Where rules name the file
// itself, they alone count.
func granted(rules []rule, f sourceFile, imported string) bool {
	strict := slices.ContainsFunc(rules, func(r rule) bool { return slices.Contains(r.who, f.path) })
	return slices.ContainsFunc(rules, func(r rule) bool {
		return slices.ContainsFunc(r.who, func(who string) bool {
			if strict {
				return who == f.path
			}
			return covers(who, f)
		}) && slices.ContainsFunc(r.may, func(may string) bool { return names(may, imported) })
	})
}

// covers reports whether a name on the right of a rule means the package, or the
// tests, that a file belongs to.
func covers(who string, f sourceFile) bool {
	who, tests := strings.CutSuffix(who, ":test")
	return (f.test() || !tests) && matches(who, f.folder())
}

// names reports whether a name on the left of a rule means an imported package.
func names(may, imported string) bool {
	if own, ok := strings.CutPrefix(imported, modulePath+"/"); ok {
		return matches(may, own)
	}
	host, _, _ := strings.Cut(imported, "/")
	standard := !strings.Contains(host, ".")
	return may == "std" && standard || matches(may, imported)
}

// matches reports whether a pattern is a path, or has it below it.
func matches(pattern, path string) bool {
	root, tree := strings.CutSuffix(pattern, "/...")
	return path == root || tree && strings.HasPrefix(path, root+"/")
}

// sourceFiles reads what every Go file of the repository imports, for whatever
// system it is built.
func sourceFiles(t *testing.T) []sourceFile {
	t.Helper()
	var files []sourceFile
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		f := sourceFile{path: filepath.ToSlash(name)}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, imported)
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestImports(t *testing.T) {
	rules, err := parsePolicy(policy)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range violations(rules, sourceFiles(t)) {
		t.Error(v)
	}
}

// The check itself must not let pass what it is there for.
func TestImportsAreChecked(t *testing.T) {
	const own = modulePath + "/"
	for _, test := range []struct{ file, imports, want string }{
		{"websocket/conn.go", "net/http", ""},
		{"websocket/conn.go", own + "websocket/wire", ""},
		{"websocket/conn.go", own + "push", "websocket/conn.go imports " + own + "push"},
		{"websocket/conn.go", "github.com/klauspost/compress/flate", "websocket/conn.go imports github.com/klauspost/compress/flate"},
		{"websocket/internal/flate/deflate.go", "github.com/klauspost/compress/flate", ""},
		{"websocket/internal/flate/inflate.go", "github.com/klauspost/compress/flate", "websocket/internal/flate/inflate.go imports github.com/klauspost/compress/flate"},
		{"websocket/conn.go", "golang.org/x/net/http/httpguts", "websocket/conn.go imports golang.org/x/net/http/httpguts"},
		{"websocket/conn.go", own + "websocket/internal/leak", "websocket/conn.go imports " + own + "websocket/internal/leak"},
		{"websocket/conn_test.go", own + "websocket/internal/leak", ""},
		{"websocket/conn_test.go", "go.uber.org/goleak", "websocket/conn_test.go imports go.uber.org/goleak"},
		{"websocket/wire/header.go", "encoding/binary", ""},
		{"websocket/wire/header.go", "time", "websocket/wire/header.go imports time"},
		{"websocket/wire/header_test.go", "time", ""},
		{"push/server.go", own + "websocket", ""},
		{"push/server.go", "github.com/nats-io/nats.go", "push/server.go imports github.com/nats-io/nats.go"},
		{"push/session.go", "sync", ""},
		{"push/session.go", own + "websocket", "push/session.go imports " + own + "websocket"},
		{"push/session_test.go", own + "websocket", ""},
		{"push/server.go", "go.opentelemetry.io/otel/trace", "push/server.go imports go.opentelemetry.io/otel/trace"},
		{"push/tracing/tracing.go", "go.opentelemetry.io/otel/sdk/trace", "push/tracing/tracing.go imports go.opentelemetry.io/otel/sdk/trace"},
		{"push/tracing/tracing_test.go", "go.opentelemetry.io/otel/sdk/trace", ""},
		{"cmd/duplex/traces.go", "go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp", "cmd/duplex/traces.go imports go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"},
		{"push/new/new.go", "fmt", "push/new/new.go imports fmt"},
		{"push/console/console_test.go", "github.com/chromedp/cdproto/page", ""},
		{"push/console/console_test.go", "github.com/chromedpx/x", "push/console/console_test.go imports github.com/chromedpx/x"},
		{"cmd/duplex/main.go", "github.com/spf13/cobra", ""},
		{"cmd/duplex/main.go", "github.com/spf13/cobra/doc", "cmd/duplex/main.go imports github.com/spf13/cobra/doc"},
		{"internal/load/conn.go", own + "websocket/wire", ""},
		{"internal/load/conn.go", own + "websocket", "internal/load/conn.go imports " + own + "websocket"},
		{"internal/load/pack.go", "github.com/klauspost/compress/flate", ""},
		{"internal/load/unpack.go", "github.com/klauspost/compress/flate", "internal/load/unpack.go imports github.com/klauspost/compress/flate"},
		{"bench/server/gws.go", "github.com/lxzan/gws", ""},
		{"bench/server/push.go", own + "push", ""},
		{"bench/server/push.go", own + "push/token", "bench/server/push.go imports " + own + "push/token"},
		{"cmd/duplex/main.go", own + "bench/load", "cmd/duplex/main.go imports " + own + "bench/load"},
		{"peers/python_test.go", own + "cmd/duplex", "peers/python_test.go imports " + own + "cmd/duplex"},
	} {
		rules, err := parsePolicy(policy)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{test.want}
		if test.want == "" {
			want = nil
		}
		var got []string
		for _, v := range violations(rules, []sourceFile{{test.file, []string{test.imports}}}) {
			if !strings.HasPrefix(v, "the policy names ") {
				got = append(got, v)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s importing %s: %q, want %q", test.file, test.imports, got, want)
		}
	}
}

func TestPolicyNamesWhatIsThere(t *testing.T) {
	got := violations([]rule{{[]string{"std"}, []string{"a", "b/...:test", "c/x.go"}}}, []sourceFile{{"b/b.go", nil}})
	want := []string{"the policy names a, which does not exist", "the policy names b/...:test, which does not exist", "the policy names c/x.go, which does not exist"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, bad := range []string{"a b", "a <", "< a", "a < b < c"} {
		if rules, err := parsePolicy(bad); err == nil {
			t.Errorf("%q is read as %v", bad, rules)
		}
	}
}
