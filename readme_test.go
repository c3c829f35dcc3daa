package duplex_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/duplexgo/duplex/internal/links"
)

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The programs in the README are what a newcomer copies first: they compile.
func TestReadmeCompiles(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(readFile(t, "README.md"), -1)
	if len(blocks) == 0 {
		t.Fatal("the README shows no program")
	}
	for _, block := range blocks {
		vet(t, block[1])
	}
}

// vet checks a program as if it were in this module.
func vet(t *testing.T, program string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s%s", err, out, program)
	}
}

// Who reads the Japanese README learns the same: it has the sections, the programs and
// commands but for their comments, the rows of the tables, and the documents of the
// English one.
func TestJapaneseReadme(t *testing.T) {
	english, japanese := outlineOf(t, "README.md"), outlineOf(t, "README.ja.md")
	if english.sections != japanese.sections || english.parts != japanese.parts {
		t.Errorf("it has %d sections and %d rows about parts, want %d and %d", japanese.sections, japanese.parts, english.sections, english.parts)
	}
	if !slices.Equal(english.code, japanese.code) {
		t.Errorf("its programs and commands are\n%q, want\n%q", japanese.code, english.code)
	}
	if !slices.Equal(english.links, japanese.links) {
		t.Errorf("it points to\n%q, want\n%q", japanese.links, english.links)
	}
}

// An outline is what a README has in any language.
type outline struct {
	sections, parts int
	code, links     []string
}

func outlineOf(t *testing.T, name string) (o outline) {
	t.Helper()
	text := readFile(t, name)
	comment := regexp.MustCompile(`(?m)[ \t]+(#|//) .*$`)
	for _, block := range regexp.MustCompile("(?s)```[a-z]+\n(.*?)```").FindAllStringSubmatch(text, -1) {
		o.code = append(o.code, comment.ReplaceAllString(block[1], ""))
	}
	o.sections = strings.Count(text, "\n## ")
	measured := regexp.MustCompile(`(?s)<!-- bench.*?:begin -->.*?:end -->`) // in English alone
	o.parts = strings.Count(measured.ReplaceAllString(text, ""), "\n| ")
	for _, link := range regexp.MustCompile(`[^!]\[[^]]*\]\(([^)#]+)`).FindAllStringSubmatch(text, -1) {
		if !strings.HasPrefix(link[1], "README") {
			o.links = append(o.links, link[1])
		}
	}
	slices.Sort(o.links)
	o.links = slices.Compact(o.links)
	return o
}

// What the documents point to is there.
func TestLinks(t *testing.T) {
	dead, err := links.Dead(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range dead {
		t.Error(line)
	}
}
