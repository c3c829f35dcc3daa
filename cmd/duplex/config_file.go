package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v4"
)

// maxConfig is the longest file of settings, in bytes.
const maxConfig = 1 << 20

// fromFile sets what only the file says. Every line of it must be right, also one that
// something else counts more than.
func (s *config) fromFile(flags *pflag.FlagSet) error {
	pairs, err := s.readFile()
	if err != nil {
		return err
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(pairs); i += 2 {
		key, value := pairs[i], pairs[i+1]
		where := fmt.Sprintf("%s:%d", s.file, key.Line)
		f, err := s.known(flags, key.Value)
		if err != nil {
			return wrongUse("%s: %v", where, err)
		}
		if line, twice := seen[f.Name]; twice {
			return wrongUse("%s: %s is in line %d already", where, f.Name, line)
		}
		seen[f.Name] = key.Line
		values, err := scalars(value)
		if err != nil {
			return wrongUse("%s: %s: %v", where, f.Name, err)
		}
		if s.overridden(f) {
			continue
		}
		if err := s.set(flags, f, values, where); err != nil {
			return err
		}
		s.sources[f.Name] = "file " + where
	}
	return nil
}

// readFile returns the keys and values of the file, one after the other.
func (s *config) readFile() ([]*yaml.Node, error) {
	in, err := os.Open(s.file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the settings: %w", err)
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, maxConfig+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read the settings: %w", err)
	case len(text) > maxConfig:
		return nil, wrongUse("%s is longer than %d bytes: it is no file of settings", s.file, maxConfig)
	}
	var document, more yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	err = decoder.Decode(&document)
	switch {
	case errors.Is(err, io.EOF): // it is empty
		return nil, nil
	case err != nil:
		return nil, wrongUse("%s: %v", s.file, err)
	case !errors.Is(decoder.Decode(&more), io.EOF):
		return nil, wrongUse("%s: it has more than one document: leave away what begins with ---", s.file)
	}
	if document.Kind == yaml.DocumentNode && len(document.Content) == 1 {
		document = *document.Content[0]
	}
	switch {
	case document.Kind == yaml.ScalarNode && document.Tag == "!!null":
		return nil, nil
	case document.Kind != yaml.MappingNode:
		return nil, wrongUse("%s: each line is a setting, as in max-lines: 1000", s.file)
	}
	return document.Content, nil
}

// known returns the flag that a key stands for.
func (s *config) known(flags *pflag.FlagSet, key string) (found *pflag.Flag, err error) {
	var names []string
	s.each(flags, func(f *pflag.Flag) {
		names = append(names, f.Name)
		if f.Name == key {
			found = f
		}
	})
	switch near := nearest(key, names); {
	case found != nil:
		return found, nil
	case key == "api-key", key == "token-key":
		return nil, fmt.Errorf("a key does not belong into the settings: put it into a file of its own, and name that as %s-file", key)
	case near != "":
		return nil, fmt.Errorf("there is no setting %q: is it %s?", key, near)
	}
	return nil, fmt.Errorf("there is no setting %q: 'duplex serve --print-config' prints them all", key)
}

// scalars returns what a setting's value is: one value, or a list.
func scalars(value *yaml.Node) ([]string, error) {
	switch {
	case value.Kind == yaml.ScalarNode && value.Tag == "!!null":
		return nil, errors.New("it has no value: write one, or leave the line away")
	case value.Kind == yaml.ScalarNode:
		return []string{value.Value}, nil
	case value.Kind == yaml.SequenceNode:
		var values []string
		for _, item := range value.Content {
			if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
				return nil, errors.New("the items of a list are plain values")
			}
			values = append(values, item.Value)
		}
		return values, nil
	}
	return nil, errors.New("a plain value is wanted, or a list of them")
}

// inYAML writes the value of a flag as the file has it.
func inYAML(f *pflag.Flag) string {
	var list []string
	switch v := f.Value.(type) {
	case pflag.SliceValue:
		list = v.GetSlice()
	case *prefixes:
		if text := v.String(); text != "" {
			list = strings.Split(text, ",")
		}
	default:
		if text := f.Value.String(); f.Value.Type() != "string" {
			return text
		} else {
			return scalarInYAML(withoutPassword(text))
		}
	}
	for i, item := range list {
		list[i] = scalarInYAML(item)
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// scalarInYAML quotes what YAML would not read as a text on one line.
func scalarInYAML(text string) string {
	plain := text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./") == ""
	if plain && text[0] != '-' && text[0] != '.' && !strings.EqualFold(text, "null") {
		return text
	}
	quoted, err := yaml.Marshal(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: text})
	if err != nil {
		return `""`
	}
	return strings.ReplaceAll(strings.TrimSpace(string(quoted)), "\n", " ")
}
