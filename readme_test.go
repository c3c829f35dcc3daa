package duplex_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
