package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

// putFlags are the flags of put.
type putFlags struct {
	target
	conditions
	ifAbsent    bool
	ttl         time.Duration
	keepTTL     bool
	contentType string
	asJSON      bool
}

func (a *app) putCommand() *cobra.Command {
	var f putFlags
	cmd := &cobra.Command{
		Use:   "put KEY [VALUE]",
		Short: "Store a value under a key",
		Long: `Store a value under a key. Without VALUE, or with -, the value is standard input, byte for byte.

Exit code 4 if a condition does not hold, 5 if it is not known whether the value was stored.`,
		Example: examples(
			"ringkv put greeting hello",
			"ringkv put photo --content-type image/jpeg < photo.jpg",
			"ringkv put lease me --if-absent --ttl 30s",
			"ringkv put greeting goodbye --if-match 17"),
		Args: usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("ttl") && f.ttl == 0 {
				return usageError(cmd, errors.New("--ttl 0: want 1ms to 87600h; leave it out for a key that stays"))
			}
			opts, err := f.options()
			if err != nil {
				return usageError(cmd, err)
			}
			value, err := a.value(cmd.Context(), args[1:])
			if interrupted(cmd.Context(), err) {
				return err
			}
			if err != nil {
				return usageError(cmd, err)
			}
			return a.withClient(cmd, &f.target, func(ctx context.Context, c *client.Client) error {
				return a.put(ctx, c, args[0], value, opts, f.asJSON)
			})
		},
	}
	f.target.flags(cmd)
	f.conditions.flags(cmd)
	cmd.Flags().BoolVar(&f.ifAbsent, "if-absent", false, "only if the key does not exist")
	cmd.Flags().DurationVar(&f.ttl, "ttl", 0, "let the key expire after this long, 1ms to 87600h")
	cmd.Flags().BoolVar(&f.keepTTL, "keep-ttl", false, "leave the key's time to live as it is")
	cmd.Flags().StringVar(&f.contentType, "content-type", "", "media type to store beside the value")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print the result as JSON")
	return cmd
}

// options turns the flags into the client's.
func (f *putFlags) options() ([]client.PutOption, error) {
	var opts []client.PutOption
	condition, err := f.conditions.option()
	switch {
	case err != nil:
		return nil, err
	case condition != nil && f.ifAbsent:
		return nil, errors.New("--if-absent excludes --if-match and --if-exists")
	case condition != nil:
		opts = append(opts, *condition)
	case f.ifAbsent:
		opts = append(opts, client.IfAbsent())
	}
	switch {
	case f.ttl != 0 && f.keepTTL:
		return nil, errors.New("--ttl excludes --keep-ttl")
	case f.ttl < 0:
		return nil, errors.New("--ttl is negative")
	case f.ttl > 0:
		opts = append(opts, client.TTL(f.ttl))
	case f.keepTTL:
		opts = append(opts, client.KeepTTL())
	}
	if f.contentType != "" {
		opts = append(opts, client.ContentType(f.contentType))
	}
	return opts, nil
}

// value returns the value to store: the argument, or else what standard input holds.
func (a *app) value(ctx context.Context, args []string) ([]byte, error) {
	if len(args) == 1 && args[0] != "-" {
		return []byte(args[0]), nil
	}
	if len(args) == 0 && isTerminal(a.stdin) {
		return nil, errors.New("no value: give one, or pipe it in, or say - to type it")
	}
	return a.input(ctx)
}

func (a *app) put(
	ctx context.Context, c *client.Client, key string, value []byte, opts []client.PutOption, asJSON bool,
) error {
	res, err := c.Put(ctx, key, value, opts...)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(struct {
			keyField
			Version api.Version `json:"version"`
			Created bool        `json:"created"`
		}{keyOf(key), res.Version, res.Created})
	}
	verb := "replaced"
	if res.Created {
		verb = "created"
	}
	_, err = fmt.Fprintf(a.stdout, "%s version %d\n", verb, res.Version)
	return err
}
