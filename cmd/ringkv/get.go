package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

func (a *app) getCommand() *cobra.Command {
	var (
		t             target
		stale, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "Print the value of a key",
		Long: `Print the value of a key, byte for byte. Only on a terminal a newline is added.

Exit code 3 if the key does not exist.`,
		Example: examples("ringkv get greeting", "ringkv get photo > photo.jpg", "ringkv get greeting --json"),
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(cmd, &t, func(ctx context.Context, c *client.Client) error {
				return a.get(ctx, c, args[0], stale, asJSON)
			})
		},
	}
	t.flags(cmd)
	cmd.Flags().BoolVar(&stale, "stale", false, "let any replica answer as it stands, perhaps behind")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print value and metadata as JSON")
	return cmd
}

func (a *app) get(ctx context.Context, c *client.Client, key string, stale, asJSON bool) error {
	var opts []client.GetOption
	if stale {
		opts = append(opts, client.Stale())
	}
	item, err := c.Get(ctx, key, opts...)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(detail(item))
	}
	if _, err := a.stdout.Write(item.Value); err != nil {
		return err
	}
	if isTerminal(a.stdout) {
		_, err = io.WriteString(a.stdout, "\n")
	}
	return err
}

// itemDetail is an item as get --json prints it: as in a listing, and what only a single read tells.
type itemDetail struct {
	api.Item
	contentType string
	partition   api.PartitionID
}

func detail(it client.Item) itemDetail {
	value := it.Value
	if value == nil {
		value = []byte{}
	}
	return itemDetail{
		Item:        api.Item{Key: []byte(it.Key), Value: value, Version: it.Version, TTL: it.TTL},
		contentType: it.ContentType, partition: it.Partition,
	}
}

// MarshalJSON implements json.Marshaler.
func (d itemDetail) MarshalJSON() ([]byte, error) {
	b := d.AppendJSON(nil)
	contentType, err := json.Marshal(d.contentType)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(b[:len(b)-1], `,"content_type":%s,"partition":%d}`, contentType, d.partition), nil
}
