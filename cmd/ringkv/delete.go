package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/ringkv/ringkv/api/client"
)

func (a *app) deleteCommand() *cobra.Command {
	var (
		t      target
		cond   conditions
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:     "delete KEY",
		Aliases: []string{"del", "rm"},
		Short:   "Remove a key",
		Long: `Remove a key, whether or not it exists. Prints nothing.

Exit code 4 if a condition does not hold, 5 if it is not known whether the key was removed.`,
		Example: examples("ringkv delete greeting", "ringkv delete greeting --if-match 17"),
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			condition, err := cond.option()
			if err != nil {
				return usageError(cmd, err)
			}
			return a.withClient(cmd, &t, func(ctx context.Context, c *client.Client) error {
				return a.delete(ctx, c, args[0], condition, asJSON)
			})
		},
	}
	t.flags(cmd)
	cond.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

func (a *app) delete(ctx context.Context, c *client.Client, key string, cond *client.Condition, asJSON bool) error {
	var opts []client.DeleteOption
	if cond != nil {
		opts = append(opts, *cond)
	}
	if err := c.Delete(ctx, key, opts...); err != nil || !asJSON {
		return err
	}
	return a.printJSON(struct {
		keyField
		Exists bool `json:"exists"`
	}{keyOf(key), false})
}
