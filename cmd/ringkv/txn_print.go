package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

// printTxn prints r for people: what was committed, and a line for each operation.
func (a *app) printTxn(r *client.TxnResult) error {
	if r.Lost {
		_, err := fmt.Fprintf(a.stdout, "committed %s (the answer with its results was lost)\n", r.ID)
		return err
	}
	again := ""
	switch {
	case r.Truncated:
		again = ", done before under this idempotency key, with results too large to be kept"
	case r.Replayed:
		again = ", done before under this idempotency key"
	}
	_, _ = fmt.Fprintf(a.stdout, "committed %s: branch %s, %s, %s, %s%s\n", r.ID, r.Branch, r.Protocol,
		counted(len(r.Partitions), "partition"), counted(r.Attempts, "attempt"), again)
	w := a.table()
	for i := range r.Results {
		_, _ = fmt.Fprintln(w, resultLine(&r.Results[i]))
	}
	return w.Flush()
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// resultLine is KEY, the value where the operation told one, and the version, separated by tabs.
func resultLine(r *client.OpResult) string {
	line := appendPlain([]byte("  "), r.Key)
	switch {
	case !r.Exists:
		return string(line) + "\t\tabsent"
	case r.Value == nil:
		return fmt.Sprintf("%s\t\tversion %d", line, r.Version)
	default:
		return fmt.Sprintf("%s\t= %s\tversion %d", line, appendPlain(nil, string(r.Value)), r.Version)
	}
}

// printTxnJSON prints r as the HTTP API does, and what the client knows besides.
func (a *app) printTxnJSON(r *client.TxnResult) error {
	if r.Lost {
		return a.printJSON(struct {
			Txn       string `json:"txn"`
			Committed bool   `json:"committed"`
			Lost      bool   `json:"lost"`
		}{r.ID, true, true})
	}
	v := api.TxnResult{
		Txn: r.ID, Committed: true, Branch: r.Branch, Protocol: r.Protocol, Partitions: r.Partitions, Attempts: r.Attempts,
		ResultsTruncated: r.Truncated,
	}
	for _, op := range r.Results {
		v.Results = append(v.Results, api.TxnOpResult{
			Key: []byte(op.Key), Exists: op.Exists, Value: op.Value, Version: op.Version,
		})
	}
	text := v.AppendJSON(nil)
	if r.Replayed {
		text = append(text[:len(text)-1], `,"replayed":true}`...)
	}
	_, err := fmt.Fprintf(a.stdout, "%s\n", text)
	return err
}

func (a *app) txnStatusCommand() *cobra.Command {
	var (
		t      target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "status ID",
		Short: "Tell what became of a transaction",
		Long: `Tell what became of a transaction: committed, aborted (nothing was done, and nothing will be) or pending. It is known
for at least 15 minutes, for every transaction that could write; of reads alone nothing is kept.

Exit code 0 whichever it is, 3 if no such transaction is known.`,
		Example: examples("ringkv txn status 1A2b…"),
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(cmd, &t, func(ctx context.Context, c *client.Client) error {
				state, err := c.TxnStatus(ctx, strings.TrimSpace(args[0]))
				switch {
				case err != nil:
					return err
				case asJSON:
					return a.printJSON(api.TxnStatus{Txn: strings.TrimSpace(args[0]), Status: state})
				}
				_, err = fmt.Fprintln(a.stdout, state)
				return err
			})
		},
	}
	t.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
