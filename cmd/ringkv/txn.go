package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

// txnFlags are the flags of txn.
type txnFlags struct {
	target
	short    shortTxn
	protocol string
	key      string
	once     bool
	asJSON   bool
}

const txnLong = `Carry out a transaction on any keys: all of it, or nothing.

It comes as the JSON of the HTTP API from FILE or standard input, or in short from flags. Flags are taken in the order
given; each operation sees those before it:

  --if KEY=VALUE     demand that the key holds this value    --get KEY
  --if KEY@17        that it has this version                --put KEY=VALUE   (then --ttl 30s or --keep-ttl for it)
  --if KEY!          that it exists                          --delete KEY
  --if !KEY          that it does not                        --add KEY=BY[,min=N][,max=N]
  --if-lock NAME@42  that the lock is held with this token   --else-get, --else-put, --else-delete, --else-add

There is no condition that compares numbers: a bound on an add does that. --add acct/1=-100,min=0 fails the transaction
if less than 100 is there. A key ends at the first "=" (and for @ at the last one): others need the JSON form. Quote "!"
in the shell, as in --if '!tx/9'.

If the answer gets lost, the command asks what became of the transaction. With --exactly-once or --idempotency-key it
also learns that if the node dies, and has the results; this costs one partition more in nearly every transaction.

Exit code 4 if a condition was false or a bound was broken, 6 if others were faster until time was up, 5 if the outcome
is not known: then "ringkv txn status ID" can tell later.`

func (a *app) txnCommand() *cobra.Command {
	var f txnFlags
	cmd := &cobra.Command{
		Use:   "txn [FILE | --if … --put … --add …]",
		Short: "Carry out a transaction on several keys",
		Long:  txnLong,
		Example: examples(
			"ringkv txn --add acct/1=-100,min=0 --add acct/2=100",
			"ringkv txn --if '!tx/9' --add acct/1=-100,min=0 --add acct/2=100 --put tx/9=paid --ttl 24h --get acct/2",
			"ringkv txn --if sku/7@17 --put sku/7=red --else-get sku/7 --json",
			"ringkv txn transfer.json --idempotency-key 'rent of May'",
			`echo '{"then":[{"op":"get","key":"a"},{"op":"get","key":"b"}]}' | ringkv txn`,
			"ringkv txn status ID"),
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := a.transaction(cmd, &f, args)
			if interrupted(cmd.Context(), err) {
				return err
			}
			if err != nil {
				return usageError(cmd, err)
			}
			return a.withClient(cmd, &f.target, func(ctx context.Context, c *client.Client) error {
				return a.transact(ctx, c, t, f.asJSON)
			})
		},
	}
	f.nodeFlag(cmd)
	f.short.flags(cmd)
	fs := cmd.Flags()
	fs.DurationVar(&f.timeout, "timeout", api.DefaultTxnTimeout, "how long the nodes may try, 1ms to 60s")
	fs.StringVar(&f.protocol, "protocol", "", "auto, 2pc or 3pc (default auto)")
	fs.StringVar(&f.key, "idempotency-key", "", "do the transaction of this name once in 24 hours, whoever sends it")
	fs.BoolVar(&f.once, "exactly-once", false, "make up such a key, and send again until there is an answer")
	fs.BoolVar(&f.asJSON, "json", false, "print the answer as JSON, also of a refused transaction")
	cmd.ValidArgsFunction = completeFiles
	cmd.AddCommand(a.txnStatusCommand())
	return cmd
}

// transaction puts the transaction together, and gives f's timeout what the answer may take besides.
func (a *app) transaction(cmd *cobra.Command, f *txnFlags, args []string) (*client.Txn, error) {
	const slack = 10 * time.Second // for the way, and for learning how it ended
	opts, err := f.options(cmd)
	if err != nil {
		return nil, err
	}
	var t *client.Txn
	if len(f.short.steps) > 0 {
		if len(args) > 0 {
			return nil, errors.New("a file and a transaction in flags exclude each other")
		}
		t = f.short.txn(opts...)
		f.timeout += slack
	} else {
		if cmd.Flags().Changed("timeout") || f.protocol != "" {
			return nil, errors.New("--timeout and --protocol of a transaction in JSON stand in the JSON")
		}
		body, err := a.txnBody(cmd.Context(), args)
		if err != nil {
			return nil, err
		}
		t = client.TxnFromJSON(body, opts...)
		f.timeout = api.MaxTxnTimeout + slack
	}
	if f.key != "" {
		t.IdempotencyKey(f.key)
	}
	return t, nil
}

// options turns the flags into the client's.
func (f *txnFlags) options(cmd *cobra.Command) ([]client.TxnOption, error) {
	opts, err := protocolOption(f.protocol)
	if err != nil {
		return nil, err
	}
	if cmd.Flags().Changed("timeout") {
		if f.timeout < api.MinTxnTimeout || f.timeout > api.MaxTxnTimeout {
			return nil, fmt.Errorf("--timeout %v: want %v to %v", f.timeout, api.MinTxnTimeout, api.MaxTxnTimeout)
		}
		opts = append(opts, client.TxnTimeout(f.timeout))
	}
	if f.once && f.key != "" {
		return nil, errors.New("--exactly-once makes up a key: it excludes --idempotency-key")
	}
	if f.once {
		opts = append(opts, client.ExactlyOnce())
	}
	return opts, nil
}

// protocolOption returns the client's option for the protocol called name, none for "".
func protocolOption(name string) ([]client.TxnOption, error) {
	switch p := api.TxnProtocol(name); p {
	case "":
		return nil, nil
	case api.ProtocolAuto, api.Protocol2PC, api.Protocol3PC:
		return []client.TxnOption{client.Protocol(p)}, nil
	default:
		return nil, fmt.Errorf("--protocol %q: want auto, 2pc or 3pc", name)
	}
}

// txnBody reads the JSON from the file named, or from standard input.
func (a *app) txnBody(ctx context.Context, args []string) ([]byte, error) {
	if len(args) == 1 && args[0] != "-" {
		return os.ReadFile(args[0])
	}
	if len(args) == 0 && isTerminal(a.stdin) {
		return nil, errors.New("no transaction: give it in flags, name a file with its JSON, or pipe that in")
	}
	body, err := a.input(ctx)
	if err == nil && len(body) == 0 {
		return nil, errors.New("no transaction: neither flags, nor a file, nor anything on standard input")
	}
	return body, err
}

func (a *app) transact(ctx context.Context, c *client.Client, t *client.Txn, asJSON bool) error {
	r, err := c.Transact(ctx, t)
	switch {
	case err != nil:
		return a.txnFailed(err, asJSON)
	case asJSON:
		return a.printTxnJSON(r)
	default:
		return a.printTxn(r)
	}
}

// txnFailed prints what was refused if JSON is wanted, and returns err with all that a person may want to know.
func (a *app) txnFailed(err error, asJSON bool) error {
	var (
		failed  *client.Error
		refused *client.TxnFailedError
	)
	if !errors.As(err, &failed) {
		return err
	}
	if failed.Outcome == api.Unknown && failed.Txn != "" {
		return fmt.Errorf("%w\nAsk later what became of it: ringkv txn status %s", err, failed.Txn)
	}
	if !errors.As(err, &refused) {
		return err
	}
	if asJSON {
		if printErr := a.printJSON(txnRefusal{Txn: failed.Txn, Failed: refused.Failed}); printErr != nil {
			return printErr
		}
		return err
	}
	text := "nothing was done"
	for i := range refused.Failed {
		text += "\n  " + refused.Failed[i].String()
	}
	return &codedError{code: exitCondition, err: errors.New(text)}
}

// txnRefusal is a refused transaction as --json prints it.
type txnRefusal struct {
	Txn       string           `json:"txn"`
	Committed bool             `json:"committed"` // always false
	Failed    []api.TxnFailure `json:"failed"`
}
