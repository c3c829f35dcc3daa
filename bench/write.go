package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The README's table stands between these lines.
const (
	tableBegins = "<!-- bench:begin -->\n"
	tableEnds   = "<!-- bench:end -->\n"
)

// Where a comparison is written, below the repository's root.
const (
	documentFile = "docs/performance.md"
	readmeFile   = "README.md"
)

// checkDocuments says before a long comparison what would go wrong after it.
func checkDocuments(root string) error {
	module, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil || !bytes.HasPrefix(module, []byte("module github.com/duplexgo/duplex\n")) {
		return fmt.Errorf("%s is not the repository whose documents are to be written: run it in the folder bench, or with -write=false", root)
	}
	readme, err := os.ReadFile(filepath.Join(root, readmeFile))
	if err != nil {
		return err
	}
	_, err = splice(string(readme), "")
	return err
}

// splice replaces what stands between the marks of the README.
func splice(readme, table string) (string, error) {
	before, rest, begins := strings.Cut(readme, tableBegins)
	_, after, ends := strings.Cut(rest, tableEnds)
	switch {
	case !begins || !ends:
		return "", fmt.Errorf("%s has not the lines %q and, below it, %q, between which its table is written", readmeFile, strings.TrimSpace(tableBegins), strings.TrimSpace(tableEnds))
	case strings.Contains(after, tableBegins) || strings.Contains(before+after, tableEnds):
		return "", fmt.Errorf("%s has the marks of its table more than once", readmeFile)
	}
	return before + tableBegins + table + tableEnds + after, nil
}

// writeDocuments writes the page and the README's table. A file is whole or as it
// was before.
func (c *comparison) writeDocuments(root string) error {
	var page, table bytes.Buffer
	if err := errors.Join(c.writeDocument(&page), c.writeShort(&table)); err != nil {
		return err
	}
	readme, err := os.ReadFile(filepath.Join(root, readmeFile))
	if err != nil {
		return err
	}
	text, err := splice(string(readme), table.String())
	if err != nil {
		return err
	}
	return errors.Join(
		replace(filepath.Join(root, documentFile), page.Bytes()),
		replace(filepath.Join(root, readmeFile), []byte(text)))
}

func replace(name string, content []byte) error {
	temporary := name + ".new"
	if err := os.WriteFile(temporary, content, 0o644); err != nil {
		return err
	}
	if err := os.Rename(temporary, name); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return nil
}
