package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

func (a *app) listCommand() *cobra.Command {
	var (
		t              target
		opts           client.ListOptions
		values, asJSON bool
	)
	cmd := &cobra.Command{
		Use:     "list [PREFIX]",
		Aliases: []string{"ls"},
		Short:   "List keys in byte order",
		Long: `List keys in byte order, one a line; a key that is not plain text is quoted as in Go.

With --values the value follows after a tab, quoted likewise. With --json every line is one JSON object.
A listing sees every write acknowledged before it began; it is not one snapshot.`,
		Example: examples("ringkv list", "ringkv list user/ --values --limit 10",
			"ringkv list --start b --end d --json"),
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if opts.Limit < 0 {
				return usageError(cmd, fmt.Errorf("--limit %d: want 0 or more", opts.Limit))
			}
			opts.Prefix = strings.Join(args, "")
			opts.KeysOnly = !values && !asJSON
			return a.withClient(cmd, &t, func(ctx context.Context, c *client.Client) error {
				return a.list(ctx, c, opts, asJSON)
			})
		},
	}
	t.flags(cmd)
	cmd.Flags().StringVar(&opts.Start, "start", "", "from this key on")
	cmd.Flags().StringVar(&opts.End, "end", "", "up to before this key")
	cmd.Flags().IntVar(&opts.Limit, "limit", 0, "print at most so many; 0 for all")
	cmd.Flags().BoolVar(&values, "values", false, "print values too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON lines, with values and versions")
	return cmd
}

func (a *app) list(ctx context.Context, c *client.Client, opts client.ListOptions, asJSON bool) error {
	out := bufio.NewWriter(a.stdout)
	err := printItems(ctx, c, opts, asJSON, out)
	if flushErr := out.Flush(); err == nil {
		err = flushErr
	}
	return err
}

func printItems(ctx context.Context, c *client.Client, opts client.ListOptions, asJSON bool, out io.Writer) error {
	for item, err := range c.List(ctx, opts) {
		if err != nil {
			return err
		}
		var line []byte
		switch {
		case asJSON:
			it := api.Item{Key: []byte(item.Key), Value: item.Value, Version: item.Version, TTL: item.TTL}
			line = it.AppendJSON(nil)
		case opts.KeysOnly:
			line = appendPlain(nil, item.Key)
		default:
			line = appendPlain(append(appendPlain(nil, item.Key), '\t'), string(item.Value))
		}
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// appendPlain appends s if it is plain text that cannot be taken for a quoted one, else s quoted.
func appendPlain(dst []byte, s string) []byte {
	plain := utf8.ValidString(s) && s != "" && s[0] != '"' &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
	if plain {
		return append(dst, s...)
	}
	return strconv.AppendQuote(dst, s)
}
