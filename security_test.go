package duplex_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every defence that docs/security.md claims names a test, and every test that it names
// is there.
func TestSecurityNamesTests(t *testing.T) {
	named := regexp.MustCompile("`([a-z0-9/]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)`")
	defences := 0
	for line := range strings.Lines(readFile(t, "docs/security.md")) {
		row := strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| attack |")
		tests := named.FindAllStringSubmatch(line, -1)
		if row {
			defences++
			if len(tests) == 0 {
				t.Errorf("a defence without a test: %s", line)
			}
		}
		for _, test := range tests {
			if !hasTest(t, test[1], test[2]) {
				t.Errorf("%s has no test %s", test[1], test[2])
			}
		}
	}
	if defences < 50 {
		t.Errorf("the page has %d defences", defences)
	}
}

// hasTest reports whether a folder has a test.
func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.Contains(readFile(t, file), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
