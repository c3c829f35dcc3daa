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

// readmeFile is below the repository's root, as the page of a suite is.
const readmeFile = "README.md"

// checkDocuments says before a long comparison what would go wrong after it.
func (s suite) checkDocuments(root string) error {
	module, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil || !bytes.HasPrefix(module, []byte("module github.com/duplexgo/duplex\n")) {
		return fmt.Errorf("%s is not the repository whose documents are to be written: run it in the folder bench, or with -write=false", root)
	}
	readme, err := os.ReadFile(filepath.Join(root, readmeFile))
	if err != nil {
		return err
	}
	_, err = s.splice(string(readme), "")
	return err
}

// splice replaces what stands between the marks of the README.
func (s suite) splice(readme, table string) (string, error) {
	before, rest, begins := strings.Cut(readme, s.begins)
	_, after, ends := strings.Cut(rest, s.ends)
	switch {
	case !begins || !ends:
		return "", fmt.Errorf("%s has not the lines %q and, below it, %q, between which its table is written", readmeFile, strings.TrimSpace(s.begins), strings.TrimSpace(s.ends))
	case strings.Contains(after, s.begins) || strings.Contains(before+after, s.ends):
		return "", fmt.Errorf("%s has the marks of its table more than once", readmeFile)
	}
	return before + s.begins + table + s.ends + after, nil
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
	text, err := c.options.suite.splice(string(readme), table.String())
	if err != nil {
		return err
	}
	return errors.Join(
		replace(filepath.Join(root, c.options.suite.document), page.Bytes()),
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
