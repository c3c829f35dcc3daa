package links

import (
	"slices"
	"testing"
	"testing/fstest"
)

func TestDead(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	folder := fstest.MapFS{
		"README.md":         file("# One two\n[a](docs/a.md) [b](docs/a.md#b-c) ![p](docs/p.png) [own](#one-two) [web](https://a.test/x#y) [folder](docs)\n[no](docs/no.md) [no](docs/a.md#no) [no](#no) [no](no \"title\")\n"),
		"docs/a.md":         file("# A\n## B, `c`!\n## Twice\n## Twice\n```sh\n# no heading\necho [x](no)\n```\n`[x](no)` [up](../README.md#one-two) [2](#twice-1) [no](#twice-2) [no](#no-heading) [no](../../a)\n"),
		"docs/p.png":        file(""),
		".hidden/README.md": file("[no](no)"),
	}
	got, err := Dead(folder)
	want := []string{
		"README.md points to docs/no.md: there is no such file",
		"README.md points to docs/a.md#no: there is no such heading",
		"README.md points to #no: there is no such heading",
		"README.md points to no: there is no such file",
		"docs/a.md points to #twice-2: there is no such heading",
		"docs/a.md points to #no-heading: there is no such heading",
		"docs/a.md points to ../../a: there is no such file",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}
