// Package links finds what the documents of a folder point to and is not there.
package links

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"unicode"
)

var (
	fenced  = regexp.MustCompile("(?ms)^```.*?^```")
	inline  = regexp.MustCompile("`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)[^)]*\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.*?) *$`)
)

// Dead returns a line for each relative link in a Markdown file of a folder whose file,
// or whose heading, is not there. Folders whose names begin with a dot are not looked at.
func Dead(folder fs.FS) ([]string, error) {
	var dead []string
	err := fs.WalkDir(folder, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".md":
			return nil
		}
		text, err := fs.ReadFile(folder, name)
		if err != nil {
			return err
		}
		prose := inline.ReplaceAllString(fenced.ReplaceAllString(string(text), ""), "")
		for _, match := range link.FindAllStringSubmatch(prose, -1) {
			if why := check(folder, name, match[1]); why != "" {
				dead = append(dead, fmt.Sprintf("%s points to %s: %s", name, match[1], why))
			}
		}
		return nil
	})
	return dead, err
}

// check returns what is wrong with a link in a document, "" if nothing is.
func check(folder fs.FS, document, target string) string {
	if strings.Contains(target, ":") { // somebody else's
		return ""
	}
	file, anchor, hasAnchor := strings.Cut(target, "#")
	if file == "" {
		file = path.Base(document)
	}
	file = path.Join(path.Dir(document), file)
	if _, err := fs.Stat(folder, file); err != nil {
		return "there is no such file"
	}
	if !hasAnchor {
		return ""
	}
	text, err := fs.ReadFile(folder, file)
	if err != nil {
		return "it cannot be read"
	}
	for _, a := range anchors(string(text)) {
		if a == anchor {
			return ""
		}
	}
	return "there is no such heading"
}

// anchors returns what a document's headings are called in links, as GitHub makes it of
// them.
func anchors(text string) (all []string) {
	seen := map[string]int{}
	for _, match := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		a := strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsNumber(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, match[1])
		n := seen[a]
		seen[a]++
		if n > 0 {
			a = fmt.Sprintf("%s-%d", a, n)
		}
		all = append(all, a)
	}
	return all
}
