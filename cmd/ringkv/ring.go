package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

func (a *app) ringCommand() *cobra.Command {
	var (
		t      target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:     "ring [KEY]",
		Short:   "Show where partitions, or one key, live",
		Example: examples("ringkv ring", "ringkv ring user/42", "ringkv ring --json"),
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(cmd, &t, func(ctx context.Context, c *client.Client) error {
				if len(args) == 1 {
					return a.locate(ctx, c, args[0], asJSON)
				}
				return a.ring(ctx, c, asJSON)
			})
		},
	}
	t.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) locate(ctx context.Context, c *client.Client, key string, asJSON bool) error {
	loc, err := c.Locate(ctx, key)
	switch {
	case err != nil:
		return err
	case asJSON:
		return a.printJSON(loc)
	}
	_, err = fmt.Fprintf(a.stdout, "partition %d, leader %s, replicas %s\n",
		loc.Partition, orNone(loc.Leader), strings.Join(loc.Replicas, " "))
	return err
}

func (a *app) ring(ctx context.Context, c *client.Client, asJSON bool) error {
	r, err := c.Ring(ctx)
	switch {
	case err != nil:
		return err
	case asJSON:
		return a.printJSON(r)
	}
	_, _ = fmt.Fprintf(a.stdout, "epoch %d, %d partitions by %s\n\n", r.Epoch, len(r.Partitions), r.Hash)
	w := a.table()
	_, _ = fmt.Fprintln(w, "PARTITIONS\tLEADER\tREPLICAS")
	for i := 0; i < len(r.Partitions); {
		n := alike(r.Partitions[i:])
		p := r.Partitions[i]
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n",
			span(p.ID, r.Partitions[i+n-1].ID), orNone(p.Leader), strings.Join(p.Replicas, " "))
		i += n
	}
	return w.Flush()
}

// alike counts how many partitions from the first on live in the same places.
func alike(ps []api.Partition) int {
	n := 1
	for n < len(ps) && ps[n].Leader == ps[0].Leader && strings.Join(ps[n].Replicas, " ") == strings.Join(ps[0].Replicas, " ") {
		n++
	}
	return n
}

func span(first, last api.PartitionID) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

func orNone(leader string) string {
	if leader == "" {
		return "none"
	}
	return leader
}
