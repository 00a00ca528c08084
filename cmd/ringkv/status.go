package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

func (a *app) statusCommand() *cobra.Command {
	var (
		t      target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show the nodes of the cluster",
		Long:    "Show the nodes of the cluster as one of them knows it. Nodes that have left are shown with --json only.",
		Example: examples("ringkv status", "ringkv status --node 10.0.0.7:8080 --json"),
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(cmd, &t, func(ctx context.Context, c *client.Client) error {
				cluster, err := c.Cluster(ctx)
				switch {
				case err != nil:
					return err
				case asJSON:
					return a.printJSON(cluster)
				}
				return a.printCluster(&cluster)
			})
		},
	}
	t.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) printCluster(c *api.Cluster) error {
	nodes := slices.DeleteFunc(slices.Clone(c.Nodes), func(n api.Node) bool { return n.State == api.NodeLeft })
	_, _ = fmt.Fprintf(a.stdout, "cluster %s, epoch %d: %d partitions, up to %d replicas of each, %d nodes\n\n",
		c.ClusterID, c.Epoch, c.Partitions, c.Replication, len(nodes))
	w := a.table()
	_, _ = fmt.Fprintln(w, "NAME\tSTATE\tALIVE\tHTTP\tZONE\tWEIGHT\tREPLICAS\tLEADERS")
	for _, n := range nodes {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\n",
			n.Name, n.State, yesNo(n.Alive), n.HTTP, orDash(n.Zone), n.Weight, n.Replicas, n.Leaders)
	}
	return w.Flush()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return strconv.QuoteToGraphic(s)[1 : len(strconv.QuoteToGraphic(s))-1]
}
