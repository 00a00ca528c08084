package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

// benchFlags are the flags of bench.
type benchFlags struct {
	target
	workloads  []string
	protocol   string
	once       bool
	expiring   int
	load       loadConfig
	serverPIDs []int
	anyNode    bool
	netHTTP    bool
	asJSON     bool

	local   bool
	dir     string
	idleFor time.Duration
	every   time.Duration // between two samples
}

const benchLong = `Load a cluster from this machine and measure it: each client sends its next request when the last is answered.

Workloads:
  put      overwrite random keys
  get      read random keys, after writing them all
  mix      half of each, likewise
  txn1     move 1 between two numbers of one partition: a transaction of two bounded adds
  txn-add  the same between two partitions
  txn2     read two keys of two partitions, and write both in a transaction if they are unchanged; else begin again
  expire   mix, first in calm, then while --expiring further keys reach the end of their TTL
  lock     take a lock and give it back; with --hot 1 all clients wait for one, and the hand-over is measured

Several workloads run one after another and are compared: "ringkv bench put txn1 txn-add --clients 1" shows what a
transaction takes more than a put. --hot 2 has all clients work on two keys.

A slow growth shows with --every, which prints again and again what the servers take, the time of --idle included; --rate
holds the load down meanwhile.

Throughput and latency are those of the measured time after the warm-up; failed requests count as errors, by kind, and
not as operations. With --server-pids the processes' CPU time per operation and memory are reported too (Linux).

--local starts three nodes as processes of this binary, waits until they share all partitions, runs the workloads (put,
get and mix if none is named), and reports what an idle cluster costs.`

func (a *app) benchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench [WORKLOAD…]",
		Short: "Measure throughput and latency",
		Long:  benchLong,
		Example: examples("ringkv bench --local", "ringkv bench put --clients 64 --value-size 256 --duration 30s", "ringkv bench get --json",
			"ringkv bench put txn1 txn2 txn-add --clients 1", "ringkv bench txn-add --hot 2",
			"ringkv bench txn-add --local --count 1000000 --idle 16m --every 1m"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.finish(args); err != nil {
				return usageError(cmd, err)
			}
			if f.local {
				return a.benchLocal(cmd.Context(), &f)
			}
			return a.bench(cmd.Context(), &f)
		},
	}
	f.nodeFlag(cmd)
	fs := cmd.Flags()
	fs.StringSliceVar(&f.workloads, "workload", nil, "the workloads, if not given as arguments (default put; with --local put, get and mix)")
	fs.IntVar(&f.load.clients, "clients", 64, "requests under way at a time")
	fs.IntVar(&f.load.valueBytes, "value-size", 256, "bytes of each value")
	fs.IntVar(&f.load.keys, "keys", 100_000, "different keys")
	fs.IntVar(&f.load.hot, "hot", 0, "all clients on so few keys, in place of --keys")
	fs.IntVar(&f.expiring, "expiring", 1_000_000, "with expire: keys that fall due, evenly over --duration")
	fs.StringVar(&f.protocol, "protocol", "", "of transactions: auto, 2pc or 3pc (default auto)")
	fs.BoolVar(&f.once, "exactly-once", false, "give each transaction an idempotency key")
	fs.DurationVar(&f.load.duration, "duration", 10*time.Second, "how long to measure")
	fs.Int64Var(&f.load.count, "count", 0, "how many requests to measure, in place of --duration")
	fs.IntVar(&f.load.rate, "rate", 0, "operations a second at most (default: as many as can be)")
	fs.DurationVar(&f.every, "every", 0, "print the servers' memory, and with --local their disk, so often")
	fs.DurationVar(&f.load.warmup, "warmup", 2*time.Second, "how long to run before that")
	fs.IntSliceVar(&f.serverPIDs, "server-pids", nil, "process ids of the nodes, to account their CPU and memory")
	fs.BoolVar(&f.anyNode, "any-node", false, "spread requests over the nodes given, instead of asking leaders")
	fs.BoolVar(&f.netHTTP, "net-http", false, "send by net/http instead of the client's own transport")
	fs.BoolVar(&f.asJSON, "json", false, "print the result as JSON")
	fs.BoolVar(&f.local, "local", false, "start three nodes on this machine and measure those")
	fs.StringVar(&f.dir, "dir", "", "with --local: directory for the data, kept (default: a temporary one)")
	fileFlags(cmd, "dir")
	fs.DurationVar(&f.idleFor, "idle", 5*time.Second, "with --local: how long to watch the idle nodes")
	return cmd
}

// finish checks f and brings in the positional arguments.
func (f *benchFlags) finish(args []string) error {
	switch {
	case len(args) > 0 && len(f.workloads) > 0:
		return errors.New("the workload is given twice")
	case len(args) > 0:
		f.workloads = args
	case len(f.workloads) == 0 && f.local:
		f.workloads = []string{workloadPut, workloadGet, workloadMix}
	case len(f.workloads) == 0:
		f.workloads = []string{workloadPut}
	}
	for _, name := range f.workloads {
		w, err := findWorkload(name)
		if err == nil {
			err = checkHot(f.load.hot, w)
		}
		if err == nil && w.expires {
			err = f.checkExpiring()
		}
		if err != nil {
			return err
		}
	}
	if f.local && (len(f.nodes) > 0 || len(f.serverPIDs) > 0) {
		return errors.New("--local excludes --node and --server-pids")
	}
	if _, err := f.txnOptions(); err != nil {
		return err
	}
	if f.every < 0 {
		return fmt.Errorf("--every %v: want a time between two samples", f.every)
	}
	return f.load.validate()
}

// txnOptions turns the flags into the client's.
func (f *benchFlags) txnOptions() ([]client.TxnOption, error) {
	opts, err := protocolOption(f.protocol)
	if f.once {
		opts = append(opts, client.ExactlyOnce())
	}
	return opts, err
}

// bench runs the workloads against a running cluster and prints the results.
func (a *app) bench(ctx context.Context, f *benchFlags) error {
	s := a.sampler(f, f.serverPIDs, nil)
	stop := s.start(ctx)
	results, err := a.measureAll(ctx, f, f.addrs(a), s)
	samples, failed := stop()
	switch err := errors.Join(err, failed); {
	case err != nil:
		return err
	case f.asJSON && len(results) == 1 && len(samples) == 0:
		return a.printJSON(results[0])
	case f.asJSON:
		return a.printJSON(localResult{Workloads: results, Samples: samples})
	default:
		return nil
	}
}

// sampler looks at the processes pids and their directories.
func (a *app) sampler(f *benchFlags, pids []int, dirs []string) *sampler {
	s := &sampler{every: f.every, pids: pids, dirs: dirs}
	if !f.asJSON {
		a.stdout = &sharedWriter{w: a.stdout} // with the results
		s.tell = func(now sample) {
			a.progress()("")
			_, _ = fmt.Fprintln(a.stdout, now)
		}
	}
	return s
}

// measureAll runs the workloads one after another. Without --json it prints each result, and their comparison.
func (a *app) measureAll(ctx context.Context, f *benchFlags, nodes []string, s *sampler) ([]*benchResult, error) {
	var results []*benchResult
	for _, w := range f.workloads {
		r, err := a.measure(ctx, f, w, nodes, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w, err)
		}
		results = append(results, r)
		if f.asJSON {
			continue
		}
		if err := a.printResult(r); err != nil {
			return nil, err
		}
	}
	if f.asJSON || len(results) < 2 {
		return results, nil
	}
	return results, a.printComparison(results)
}

// measure runs the workload called name against nodes, whose processes s knows.
func (a *app) measure(ctx context.Context, f *benchFlags, name string, nodes []string, s *sampler) (*benchResult, error) {
	partitions, err := reachable(ctx, nodes)
	if err != nil {
		return nil, err
	}
	clients, closeAll, err := dialBench(f, nodes)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	l := &load{cfg: f.load, clients: clients, progress: a.progress(), sampled: &s.done}
	if err := l.plan(f, name, partitions); err != nil {
		return nil, err
	}
	if l.workload.filled {
		if err := l.fill(ctx); err != nil {
			return nil, fmt.Errorf("load keys: %w", err)
		}
	}
	if l.workload.expires {
		return l.runExpiry(ctx, f.expiring, nodes, s.pids)
	}
	return l.run(ctx, s.pids)
}

// plan gives l its workload and keys.
func (l *load) plan(f *benchFlags, name string, partitions int) (err error) {
	if l.workload, err = findWorkload(name); err != nil {
		return err
	}
	if l.opts, err = f.txnOptions(); err != nil {
		return err
	}
	prefix, n := "bench/", cmp.Or(l.cfg.hot, l.cfg.keys)
	if l.workload.numbers {
		prefix = "benchn/"
	}
	l.keys, err = newBenchKeys(prefix, n, partitions, l.cfg.hot > 0)
	return err
}

// reachable fails early, and readably, where there is no cluster. It returns how many partitions there are.
func reachable(ctx context.Context, nodes []string) (partitions int, err error) {
	c, err := client.New(client.Config{Nodes: nodes, Direct: true, MaxAttempts: cliAttempts})
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	cluster, err := c.Cluster(ctx)
	return cluster.Partitions, explain(err, nodes)
}

// dialBench returns the clients to spread the load over: one that knows the leaders, or one for each node.
func dialBench(f *benchFlags, nodes []string) (clients []*client.Client, closeAll func(), err error) {
	configs := []client.Config{{Nodes: nodes}}
	if f.anyNode {
		configs = nil
		for _, n := range nodes {
			configs = append(configs, client.Config{Nodes: []string{n}, Direct: true})
		}
	}
	closeAll = func() {
		for _, c := range clients {
			_ = c.Close()
		}
	}
	for _, cfg := range configs {
		if f.netHTTP {
			cfg.HTTPClient = netHTTPClient(f.load.clients)
		}
		c, err := client.New(cfg)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		clients = append(clients, c)
	}
	return clients, closeAll, nil
}

// errorKind names the sort of a failed request, for counting.
func errorKind(err error) string {
	var p *api.Problem
	switch {
	case errors.Is(err, client.ErrUnknownOutcome):
		return "unknown_outcome"
	case errors.As(err, &p):
		return string(p.Code)
	case errors.Is(err, client.ErrUnavailable):
		return "unreachable"
	default:
		return "other"
	}
}
