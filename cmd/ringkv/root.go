package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const rootLong = `ringkv is a sharded, replicated key-value store.

  ringkv dev                      three nodes on this machine, to try it
  ringkv demo bank                transactions at work on it
  ringkv serve                    one node
  ringkv put greeting hello       the client commands ask any node
  ringkv get greeting

Client commands find their node by --node, else RINGKV_NODES, else 127.0.0.1:8080 and dev's 8081 to 8083.

With --json errors are JSON too, on standard error: the problem document that the HTTP API answers with.

Exit codes:
  0  done
  1  error; a write that fails so was not done, unless the message says otherwise
  2  wrong usage
  3  key not found
  4  condition failed (--if-match, --if-absent, a condition or bound of txn, …)
  5  outcome unknown: the write may have been done, or may be done later
  6  conflict: other writers of the same keys were faster; nothing was done, and trying again may help
  7  lock: held by somebody else for as long as it was waited for, or lost
  130  interrupted before the end (Ctrl-C or SIGTERM); watch, serve and dev end so, and return 0`

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "ringkv",
		Short:         "A sharded, replicated key-value store",
		Long:          rootLong,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          usageArgs(cobra.NoArgs),
		Version:       readVersion().String(),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRun: func(cmd *cobra.Command, args []string) {
			if !wantsJSON(cmd, args) {
				a.warnUnknownVariables()
			}
		},
	}
	root.SuggestionsMinimumDistance = 2 // letters
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError(cmd, err) })
	root.AddGroup(
		&cobra.Group{ID: "cluster", Title: "Run a cluster:"},
		&cobra.Group{ID: "keys", Title: "Read and write keys:"},
		&cobra.Group{ID: "look", Title: "Look at a cluster:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("cluster", a.serveCommand(), a.devCommand(), a.demoCommand(), a.benchCommand())
	add("keys", a.getCommand(), a.putCommand(), a.deleteCommand(), a.listCommand(), a.watchCommand(), a.txnCommand(), a.lockCommand())
	add("look", a.statusCommand(), a.ringCommand(), a.healthcheckCommand(), a.versionCommand())
	completeNoFiles(root)
	return root
}

// completeNoFiles keeps shells from offering file names where keys, addresses and numbers are wanted. A command or flag
// that takes a file says so before.
func completeNoFiles(cmd *cobra.Command) {
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if _, known := cmd.GetFlagCompletionFunc(f.Name); !known && f.NoOptDefVal == "" {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions) // fails only for a flag that is not there
		}
	})
	for _, c := range cmd.Commands() {
		completeNoFiles(c)
	}
}

// completeFiles offers file names: for arguments and flags that are some.
func completeFiles(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// fileFlags marks flags that take a file or directory.
func fileFlags(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		_ = cmd.RegisterFlagCompletionFunc(name, completeFiles) // fails only for a flag that is not there
	}
}

// usageArgs makes a violation of check a usage error, which says what the command takes.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		form := strings.TrimSuffix(cmd.UseLine(), " [flags]")
		switch {
		case err == nil:
			return nil
		case len(args) == 0:
			return usageError(cmd, fmt.Errorf("want %s", form))
		case cmd.HasSubCommands():
			return usageError(cmd, withSuggestions(cmd, args[0], err))
		default:
			return usageError(cmd, fmt.Errorf("unexpected argument %q: want %s", args[len(args)-1], form))
		}
	}
}

// withSuggestions adds to the complaint about an unknown command those that were perhaps meant.
func withSuggestions(cmd *cobra.Command, unknown string, err error) error {
	meant := cmd.SuggestionsFor(unknown)
	if len(meant) == 0 {
		return err
	}
	return fmt.Errorf("%w; did you mean %s?", err, strings.Join(meant, " or "))
}

// usageError marks err as the caller's mistake and points to the help.
func usageError(cmd *cobra.Command, err error) error {
	return &codedError{code: exitUsage, err: fmt.Errorf("%w\nTry: %s --help", err, cmd.CommandPath())}
}

// examples indents lines for cobra's help.
func examples(lines ...string) string { return "  " + strings.Join(lines, "\n  ") }
