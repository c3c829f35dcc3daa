package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// shells are those that completion can be made for.
var shells = []string{"bash", "zsh", "fish", "powershell"}

// newCompletion prints what a shell needs to complete the command's words. It stands
// for the command that comes with the command library, which shows a page of help
// and reports success where the shell is missing.
func newCompletion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a script that completes commands and flags in bash, zsh, fish or powershell",
		Long: `Print a script by which a shell completes the commands and flags of duplex. SHELL is
bash, zsh, fish or powershell.`,
		Example: `  source <(duplex completion bash)       # for this session; bash needs bash-completion
  duplex completion bash >/etc/bash_completion.d/duplex
  duplex completion zsh >"${fpath[1]}/_duplex"
  duplex completion fish >~/.config/fish/completions/duplex.fish
  duplex completion powershell | Out-String | Invoke-Expression`,
		Args:      positional([]string{"SHELL"}, false),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return wrongUse("there is no completion for the shell %q: it is one of %s", args[0], strings.Join(shells, ", "))
		},
	}
}
