package main

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A config knows where the values of a command's flags come from: a flag, else the
// environment, else a file, else the default. The flags are the only list: the flag
// --max-lines is the variable DUPLEX_MAX_LINES and the key max-lines of the file.
type config struct {
	file    string
	print   bool
	sources map[string]string // by flag, where it is not the default
}

// aboutSettings are flags that say where settings are, and are none.
var aboutSettings = []string{"config", "print-config", "help"}

// keySources are the flags whose variables keyRing reads, since each of them stands
// for the others that are in its list: what is set in one place counts more than any of
// them in a later one.
var keySources = map[string][]string{
	"api-key-file":   {envAPIKey, envAPIKeyFile},
	"token-key-file": {envTokenKey, envTokenKeyFile, envJWKSURL},
	"jwks-url":       {envTokenKey, envTokenKeyFile, envJWKSURL},
	"audience":       {envAudience},
	"issuer":         {envIssuer},
}

// secretVariables hold keys themselves, and are never shown.
var secretVariables = []string{envAPIKey, envTokenKey, envToken}

func (s *config) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.file, "config", "", "read settings from this `FILE` (YAML), whose keys are the names of flags; flags and the environment count more")
	cmd.Flags().BoolVar(&s.print, "print-config", false, "print every setting with where it comes from, in the form of --config, and end")
}

// variable returns the environment variable of a flag.
func variable(flag string) string {
	return "DUPLEX_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// load sets the flags that were not given from the environment and the file.
func (s *config) load(cmd *cobra.Command) error {
	s.sources = map[string]string{}
	cmd.Flags().Visit(func(f *pflag.Flag) { s.sources[f.Name] = "flag" })
	if s.file == "" && !cmd.Flags().Changed("config") {
		_, path, err := oneOf(variable("config"))
		if err != nil {
			return err
		}
		s.file = path
	} else if s.file == "" {
		return wrongUse("--config is empty: give it a value, or leave it away")
	}
	if err := s.fromEnvironment(cmd.Flags()); err != nil || s.file == "" {
		return err
	}
	return s.fromFile(cmd.Flags())
}

// each calls f for every setting.
func (s *config) each(flags *pflag.FlagSet, f func(*pflag.Flag)) {
	flags.VisitAll(func(flag *pflag.Flag) {
		if !slices.Contains(aboutSettings, flag.Name) {
			f(flag)
		}
	})
}

func (s *config) fromEnvironment(flags *pflag.FlagSet) (err error) {
	s.each(flags, func(f *pflag.Flag) {
		name := variable(f.Name)
		if _, set := os.LookupEnv(name); !set || f.Changed || err != nil {
			return
		}
		if keySources[f.Name] != nil {
			if s.decided(f.Name) == "" {
				s.sources[f.Name] = "environment " + name
			}
			return
		}
		_, value, e := oneOf(name)
		values := []string{value}
		if f.Value.Type() == "PREFIX" {
			values = strings.Split(value, ",")
		}
		if err = e; err == nil {
			err = s.set(flags, f, values, "the environment variable "+name)
		}
		s.sources[f.Name] = "environment " + name
	})
	return err
}

// set gives a flag its values. where is for the error.
func (s *config) set(flags *pflag.FlagSet, f *pflag.Flag, values []string, where string) error {
	for _, value := range values {
		if err := flags.Set(f.Name, strings.TrimSpace(value)); err != nil {
			return wrongUse("%s: %v", where, flagError(nil, err))
		}
	}
	return nil
}

// decided returns the flag or variable that has decided on a source of keys before
// the environment is asked for it, or the file; "" if none has.
func (s *config) decided(flag string) string {
	for other, variables := range keySources {
		if slices.Equal(variables, keySources[flag]) && s.sources[other] == "flag" {
			return "--" + other
		}
	}
	return ""
}

// overridden reports whether something counts more than the file for a flag.
func (s *config) overridden(f *pflag.Flag) bool {
	if s.sources[f.Name] != "" || s.decided(f.Name) != "" {
		return true
	}
	return slices.ContainsFunc(keySources[f.Name], func(name string) bool {
		_, set := os.LookupEnv(name)
		return set
	})
}

// warn tells of variables that look like settings and are none. They may be meant for
// others, and so are no error: service managers make up some of their own.
func (s *config) warn(flags *pflag.FlagSet, log *slog.Logger) {
	var known []string // without what all of them begin with, which is no likeness
	for _, name := range append([]string{variable("config")}, secretVariables...) {
		known = append(known, strings.TrimPrefix(name, "DUPLEX_"))
	}
	s.each(flags, func(f *pflag.Flag) { known = append(known, strings.TrimPrefix(variable(f.Name), "DUPLEX_")) })
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		rest, ours := strings.CutPrefix(name, "DUPLEX_")
		if !ours || slices.Contains(known, rest) {
			continue
		}
		if near := nearest(rest, known); near != "" {
			log.Warn("an environment variable is no setting", "variable", name, "nearest", "DUPLEX_"+near)
		}
	}
}

// write prints every setting as a line of the file, with where it comes from. Keys are
// named and not shown.
func (s *config) write(cmd *cobra.Command) {
	out := cmd.OutOrStdout()
	s.each(cmd.Flags(), func(f *pflag.Flag) {
		source, value := s.sources[f.Name], inYAML(f)
		switch {
		case source == "":
			source = "default"
		case keySources[f.Name] != nil && strings.HasPrefix(source, "environment "):
			value = scalarInYAML(withoutPassword(os.Getenv(variable(f.Name))))
		}
		off := ""
		if value == `""` {
			off = "# " // a value that is not there cannot be written
		}
		fmt.Fprintf(out, "%s%s: %s # %s\n", off, f.Name, value, source)
	})
	for _, name := range []string{envAPIKey, envTokenKey} {
		if _, set := os.LookupEnv(name); set {
			fmt.Fprintf(out, "# %s is set, and not shown\n", name)
		}
	}
}

// withoutPassword takes the password out of what may be a URL.
func withoutPassword(text string) string {
	if u, err := url.Parse(text); err == nil && u.User != nil {
		return u.Redacted()
	}
	return text
}

// nearest returns the name that is most like one that is wrong, "" if none is.
func nearest(wrong string, names []string) string {
	best, least := "", len(wrong)/3+1
	for _, name := range names {
		if d := distance(strings.ToLower(wrong), strings.ToLower(name)); d < least {
			best, least = name, d
		}
	}
	return best
}

// distance is how many letters have to be put in, left out or changed to make one
// text of the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
