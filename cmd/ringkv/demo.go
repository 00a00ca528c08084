package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringkv/ringkv/api/client"
	"github.com/ringkv/ringkv/cmd/ringkv/demo"
)

// demoFlags are the flags of all demos.
type demoFlags struct {
	target
	cfg      demo.Config
	protocol string
	asJSON   bool
}

const demoLong = `Play a business on a cluster, and audit its books.

Several clients carry out transactions on the same keys for a while. Then all keys are read as of one moment, and each
promise is checked: no money made or lost, no order half done, every transaction done exactly once. A broken promise is
named, and the exit code is 1.

Kill nodes meanwhile, as long as most of them live: every transaction carries an idempotency key, so that one whose answer
got lost is asked for again, and never done twice. Transactions that could not be done, or that nobody could tell of in
time, are counted; the audit allows for either.

All keys lie under demo/ and a random name, and are removed at the end.`

func (a *app) demoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "Play a business with transactions, and audit it",
		Long:    demoLong,
		Example: examples("ringkv demo bank", "ringkv demo shop --clients 16 --duration 1m", "ringkv demo delivery --count 5000 --keep --json"),
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.businessCommand("bank", "Move money among accounts",
			`Move money among accounts: half of the transfers as two bounded adds, half by reading both balances and writing both on
condition that they are unchanged. Now and then a client adds up all accounts while transfers go on.

Checked: the sum of all accounts, at every moment; that none is below 0; that each transfer was done exactly once.`),
		a.businessCommand("shop", "Sell goods: order, stock and payment in one",
			`Sell goods: an order, the stock, the customer's money and the till change together or not at all. Some orders are cancelled
later. Nothing is read: bounds keep the stock and the money from going below 0.

Checked: stock, money and till against the orders; that every order is as its client was told.`),
		a.businessCommand("delivery", "Hand parcels over from hub to hub",
			`Hand parcels over from hub to hub: the parcel's record, the shelves of both hubs and their counts change together. Clients
want the same parcels, so that many lose the race and begin again.

Checked: that each parcel lies on exactly one shelf, the one that its record names; the counts; that each hand-over was done
exactly once.`),
	)
	return cmd
}

func (a *app) businessCommand(name, short, long string) *cobra.Command {
	f := demoFlags{cfg: demo.Config{Business: name}}
	cmd := &cobra.Command{
		Use:     name,
		Short:   short,
		Long:    long,
		Example: examples("ringkv demo "+name, "ringkv demo "+name+" --node 10.0.0.7:8080 --clients 32 --duration 1m"),
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := protocolOption(f.protocol)
			if err == nil {
				err = f.check(cmd)
			}
			if err != nil {
				return usageError(cmd, err)
			}
			f.cfg.Options = opts
			return a.demo(cmd.Context(), &f)
		},
	}
	f.nodeFlag(cmd)
	fs := cmd.Flags()
	fs.IntVar(&f.cfg.Clients, "clients", 8, "how many clients work at a time")
	fs.DurationVar(&f.cfg.Duration, "duration", 10*time.Second, "how long they work")
	fs.Int64Var(&f.cfg.Count, "count", 0, "how many transactions they try instead, in all")
	fs.IntVar(&f.cfg.Size, "size", 20, "accounts, products and customers, or parcels: fewer are in each other's way more often")
	fs.StringVar(&f.protocol, "protocol", "", "auto, 2pc or 3pc (default auto)")
	fs.BoolVar(&f.cfg.Keep, "keep", false, "leave the keys in place")
	fs.BoolVar(&f.asJSON, "json", false, "print the result as JSON")
	return cmd
}

// check refuses what package demo would take for its defaults, or cannot do.
func (f *demoFlags) check(cmd *cobra.Command) error {
	counted := cmd.Flags().Changed("count")
	switch {
	case min(f.cfg.Clients, f.cfg.Size) <= 0, f.cfg.Duration <= 0, counted && f.cfg.Count <= 0:
		return errors.New("--clients, --size, --duration and --count: want more than 0")
	case counted && cmd.Flags().Changed("duration"):
		return errors.New("--count and --duration exclude each other")
	}
	return nil
}

func (a *app) demo(ctx context.Context, f *demoFlags) error {
	nodes := f.addrs(a)
	if _, err := reachable(ctx, nodes); err != nil {
		return err
	}
	c, err := client.New(client.Config{Nodes: nodes})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	show := a.progress()
	f.cfg.Progress = func(part float64, now demo.Tally) { show(demoLine(f.cfg.Business, part, now)) }
	report, err := demo.Run(ctx, c, f.cfg)
	show("")
	if report != nil {
		if err := a.printDemo(report, f); err != nil {
			return err
		}
	}
	return err
}

// demoLine shows how far a demo is.
func demoLine(name string, part float64, now demo.Tally) string {
	const width = 24
	done := int(part * width)
	return fmt.Sprintf("%s [%s%s] %3.0f %%  %d committed  %d refused  %d conflicts  %d unknown  %d failed", name,
		strings.Repeat("#", done), strings.Repeat(".", width-done), 100*part,
		now.Committed, now.Refused, now.Conflicts, now.Unknown, now.Failed)
}

func (a *app) printDemo(r *demo.Report, f *demoFlags) error {
	if f.asJSON {
		return a.printJSON(r)
	}
	_, _ = fmt.Fprintf(a.stdout, "%s: %d transactions committed in %.1f s, %.0f a second, by %d clients\n",
		r.Business, r.Committed, r.Seconds, r.PerSecond, r.Clients)
	_, _ = fmt.Fprintf(a.stdout, "  refused %d, began again after conflicts %d, lost answers given again %d\n",
		r.Refused, r.Conflicts, r.Replayed)
	_, _ = fmt.Fprintf(a.stdout, "  gave up amid conflicts %d, not done %d, unknown %d\n", r.GivenUp, r.Failed, r.Unknown)
	_, _ = fmt.Fprintf(a.stdout, "  latency ms: p50 %.1f, p99 %.1f, max %.1f\n", r.P50Ms, r.P99Ms, r.MaxMs)
	if r.LastError != "" {
		_, _ = fmt.Fprintf(a.stdout, "  last error: %s\n", r.LastError)
	}
	if len(r.Checks) > 0 {
		_, _ = fmt.Fprintf(a.stdout, "checked %d keys in %s\n", r.Keys, r.ReadIn)
	}
	for _, c := range r.Checks {
		verdict := "kept  "
		if !c.Kept {
			verdict = "BROKEN"
		}
		_, _ = fmt.Fprintf(a.stdout, "  %s  %s: %s\n", verdict, c.Name, c.Detail)
	}
	if !f.cfg.Keep {
		return nil
	}
	_, err := fmt.Fprintf(a.stdout, "the keys are left: ringkv list %s --values\n", r.Prefix)
	return err
}
