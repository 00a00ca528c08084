package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

func (a *app) watchCommand() *cobra.Command {
	var (
		t target
		p watchPrinter
		o watchFlags
	)
	cmd := &cobra.Command{
		Use:   "watch [PREFIX]",
		Short: "Print changes as they happen",
		Long: `Print what changes under a prefix, one change a line, until interrupted: put, delete or expire, the key's new
version, and the key, with tabs between. A key that is not plain text is quoted as in Go.

With --values the value of a put follows after a tab, quoted likewise. With --json every line is one JSON object, whose
cursor can be given to --cursor later, to go on behind that change at any node. If a node fails, the watch goes on at
another one; nothing is left out or printed twice.`,
		Example: examples("ringkv watch", "ringkv watch user/ --values", "ringkv watch acct/ --json --limit 10"),
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.limit < 0 {
				return usageError(cmd, fmt.Errorf("--limit %d: want 0 or more", o.limit))
			}
			p.a = a
			return a.withClient(cmd, &t, func(ctx context.Context, c *client.Client) error {
				return a.watch(ctx, cmd.Context(), c, strings.Join(args, ""), o, &p)
			})
		},
	}
	t.flags(cmd)
	cmd.Flags().StringVar(&o.cursor, "cursor", "", "go on behind this cursor of an earlier watch of the same prefix")
	cmd.Flags().IntVar(&o.limit, "limit", 0, "end after so many changes; 0 for no end")
	cmd.Flags().BoolVar(&p.values, "values", false, "print values too")
	cmd.Flags().BoolVar(&p.json, "json", false, "print JSON lines, with values and cursors")
	return cmd
}

// watchFlags say what to watch.
type watchFlags struct {
	cursor string
	limit  int
}

// watch prints until ctx ends; begin bounds only the beginning.
func (a *app) watch(begin, ctx context.Context, c *client.Client, prefix string, o watchFlags, p *watchPrinter) error {
	var opts []client.WatchOption
	if o.cursor != "" {
		opts = append(opts, client.WatchFrom(o.cursor))
	}
	w, err := c.Watch(begin, prefix, opts...)
	if err != nil {
		return err
	}
	defer w.Close()
	for n := 0; o.limit == 0 || n < o.limit; n++ {
		e, err := w.Next(ctx)
		switch {
		case err != nil && interrupted(ctx, err):
			return nil
		case err != nil:
			return err
		}
		if err := p.print(&e); err != nil {
			return err
		}
	}
	return nil
}

// watchPrinter prints events, each at once.
type watchPrinter struct {
	a      *app
	values bool
	json   bool
}

func (p *watchPrinter) print(e *client.Event) error {
	var line []byte
	if p.json {
		line = appendWatchJSON(nil, e)
	} else {
		line = append(append(line, e.Kind...), '\t')
		line = strconv.AppendUint(line, uint64(e.Version), 10)
		line = appendPlain(append(line, '\t'), e.Key)
		if p.values && e.Value != nil {
			line = appendPlain(append(line, '\t'), string(e.Value))
		}
	}
	_, err := p.a.stdout.Write(append(line, '\n'))
	return err
}

// appendWatchJSON appends an event as an object: its kind, the members of an api.WatchChange, its cursor.
func appendWatchJSON(dst []byte, e *client.Event) []byte {
	change := api.WatchChange{Key: []byte(e.Key), Value: e.Value, Version: e.Version, Txn: e.Txn}
	cursor, _ := json.Marshal(e.Cursor) // a string
	dst = append(append(append(dst, `{"event":"`...), e.Kind...), `",`...)
	dst = append(dst, change.AppendJSON(nil)[1:]...)
	return append(append(append(dst[:len(dst)-1], `,"cursor":`...), cursor...), '}')
}
