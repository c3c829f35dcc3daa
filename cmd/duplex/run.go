package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The exit codes of every command.
const (
	exitOK      = 0
	exitFailure = 1 // it was asked rightly and did not work
	exitUsage   = 2 // it was asked wrongly, and nothing was done
)

// A usageError is a command line that cannot be obeyed: exit code 2.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

// wrongUse makes a usageError. The message says what is wrong and what to do.
func wrongUse(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// run is the whole command: it obeys args and returns the exit code. It ends in
// order when ctx is done. Whatever goes wrong is one line on stderr.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)

	// Flags and arguments are looked at before a command starts, so an error that
	// comes earlier is wrong use, whoever has found it.
	started := false
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }

	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	var usage *usageError
	code := exitFailure
	msg := err.Error()
	if errors.As(err, &usage) || !started {
		code = exitUsage
		msg += "; try '" + cmd.CommandPath() + " --help'"
	}
	fmt.Fprintf(stderr, "%s: %s\n", cmd.CommandPath(), visible(msg))
	return code
}

func init() { cobra.EnableCommandSorting = false }

// newRoot returns the table of commands.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "duplex",
		Short: "A push server over WebSocket, and tools to try any WebSocket server or client",
		Long: `Duplex delivers messages to everyone who listens, now.

'duplex serve' runs the push server: a backend posts a message to a channel, and
every page or program that has subscribed gets it over WebSocket. 'pub' and 'sub'
do both from a shell, and 'token' says who may. 'echo' and 'connect' are for trying any WebSocket client or
server, and 'bench' is for measuring a server under load; 'compare' shows what
four ways to receive the same cost.

Exit codes: 0 all went well, 1 it did not work, 2 the command line was wrong.`,
		Example: `  duplex serve                                    # then open the page that it prints
  duplex sub http://127.0.0.1:8080 news           # in a second terminal
  duplex pub http://127.0.0.1:8080 news '"hello"' # in a third

  duplex echo
  echo hello | duplex connect ws://127.0.0.1:9001/
  duplex bench ws://127.0.0.1:9001/`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return wrongUse("no command given: it is one of %s", commandNames(cmd))
			}
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				return wrongUse("unknown command %q: is it %s?", args[0], strings.Join(near, " or "))
			}
			return wrongUse("unknown command %q: it is one of %s", args[0], commandNames(cmd))
		},
		RunE: func(*cobra.Command, []string) error { return nil }, // Args refuses whatever would come here
	}
	root.SetFlagErrorFunc(flagError)
	root.SuggestionsMinimumDistance = 2
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetVersionTemplate("duplex {{.Version}}\n")
	root.SetHelpCommand(newHelp())
	root.AddCommand(newServe(), newEcho(), newConnect(), newPub(), newSub(), newToken(), newCompare(), newBench(), newCompletion())
	return root
}

// flagError says what is wrong with a flag in the words of a person where the
// library for flags repeats those of a parser.
func flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	var unknown *pflag.NotExistError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return wrongUse("%v; before arguments that begin with - write --", err)
	case unknown != nil && cmd != nil:
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := nearest(unknown.GetSpecifiedName(), names); near != "" {
			return wrongUse("%v: is it --%s?", err, near)
		}
		return err
	case !errors.As(err, &invalid):
		return err
	}
	wants := ""
	switch invalid.GetFlag().Value.Type() {
	case "int", "int64":
		wants = "a whole number is wanted"
	case "float64":
		wants = "a number is wanted"
	case "duration":
		wants = "a time has a unit, as in 10s or 1h30m"
	default:
		return err
	}
	return wrongUse("invalid argument %q for \"--%s\" flag: %s", invalid.GetValue(), invalid.GetFlag().Name, wants)
}

// commandNames lists the commands of root for a message.
func commandNames(root *cobra.Command) string {
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			names = append(names, c.Name())
		}
	}
	return strings.Join(names, ", ")
}

// release is the version that packaging/release has built, set by the linker.
var release string

// version returns the version of the module that this binary was built from.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// positional checks the number of arguments that are not flags: at least as many
// as there are names, and no more unless more are welcome.
func positional(names []string, more bool) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return wrongUse("%s is missing", names[len(args)])
		case len(args) > len(names) && !more:
			return wrongUse("unexpected argument %q", args[len(names)])
		}
		return nil
	}
}
