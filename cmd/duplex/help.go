package main

import "github.com/spf13/cobra"

// newHelp replaces the help command that comes with the command library, which
// shows a page and reports success for a command that does not exist.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show what a command does, with examples",
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			if len(args) == 0 {
				return root.Help()
			}
			about, rest, err := root.Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return wrongUse("no help for %q: the commands are %s", rest[0], commandNames(root))
			}
			about.InitDefaultHelpFlag() // which is else made only when a command runs
			return about.Help()
		},
	}
}
