package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

// benchFlags are the flags of bench.
type benchFlags struct {
	target
	workload   string
	load       loadConfig
	serverPIDs []int
	anyNode    bool
	netHTTP    bool
	asJSON     bool

	local   bool
	dir     string
	idleFor time.Duration
}

const benchLong = `Load a cluster from this machine and measure it: each client sends its next request when the last is answered.

Workloads:
  put   overwrite random keys
  get   read random keys, after writing them all
  mix   half of each, likewise

Throughput and latency are those of the measured time after the warm-up; failed requests count as errors, by kind, and
not as operations. With --server-pids the processes' CPU time per operation and memory are reported too (Linux).

--local starts three nodes as processes of this binary, waits until they share all partitions, runs every workload, and
reports what an idle cluster costs.`

func (a *app) benchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:     "bench [put|get|mix]",
		Short:   "Measure throughput and latency",
		Long:    benchLong,
		Example: examples("ringkv bench --local", "ringkv bench put --clients 64 --value-size 256 --duration 30s", "ringkv bench get --json"),
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.finish(cmd, args); err != nil {
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
	fs.StringVar(&f.workload, "workload", "", "put, get or mix (default put; with --local all of them)")
	fs.IntVar(&f.load.clients, "clients", 64, "requests under way at a time")
	fs.IntVar(&f.load.valueBytes, "value-size", 256, "bytes of each value")
	fs.IntVar(&f.load.keys, "keys", 100_000, "different keys")
	fs.DurationVar(&f.load.duration, "duration", 10*time.Second, "how long to measure")
	fs.DurationVar(&f.load.warmup, "warmup", 2*time.Second, "how long to run before that")
	fs.IntSliceVar(&f.serverPIDs, "server-pids", nil, "process ids of the nodes, to account their CPU and memory")
	fs.BoolVar(&f.anyNode, "any-node", false, "spread requests over the nodes given, instead of asking leaders")
	fs.BoolVar(&f.netHTTP, "net-http", false, "send by net/http instead of the client's own transport")
	fs.BoolVar(&f.asJSON, "json", false, "print the result as JSON")
	fs.BoolVar(&f.local, "local", false, "start three nodes on this machine and measure those")
	fs.StringVar(&f.dir, "dir", "", "with --local: directory for the data, kept (default: a temporary one)")
	fs.DurationVar(&f.idleFor, "idle", 5*time.Second, "with --local: how long to watch the idle nodes")
	return cmd
}

// finish checks f and brings in the positional argument.
func (f *benchFlags) finish(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		if cmd.Flags().Changed("workload") && f.workload != args[0] {
			return errors.New("the workload is given twice")
		}
		f.workload = args[0]
	}
	if f.workload == "" && !f.local {
		f.workload = workloadPut
	}
	if f.workload != "" && !isWorkload(f.workload) {
		return fmt.Errorf("workload %q: want put, get or mix", f.workload)
	}
	if f.local && (len(f.nodes) > 0 || len(f.serverPIDs) > 0) {
		return errors.New("--local excludes --node and --server-pids")
	}
	return f.load.validate()
}

// bench runs one workload against a running cluster and prints the result.
func (a *app) bench(ctx context.Context, f *benchFlags) error {
	result, err := a.measure(ctx, f, f.workload, f.addrs(a), f.serverPIDs)
	if err != nil {
		return err
	}
	if f.asJSON {
		return a.printJSON(result)
	}
	return a.printResult(result)
}

// measure runs workload against nodes, whose processes are pids.
func (a *app) measure(ctx context.Context, f *benchFlags, workload string, nodes []string, pids []int) (*benchResult, error) {
	if err := reachable(ctx, nodes); err != nil {
		return nil, err
	}
	clients, closeAll, err := dialBench(f, nodes)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	l := newLoad(f.load, workload, clients, a.progress())
	if workload != workloadPut {
		if err := l.fill(ctx); err != nil {
			return nil, fmt.Errorf("load keys: %w", err)
		}
	}
	return l.run(ctx, pids)
}

// reachable fails early, and readably, where there is no cluster.
func reachable(ctx context.Context, nodes []string) error {
	c, err := client.New(client.Config{Nodes: nodes, Direct: true, MaxAttempts: cliAttempts})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_, err = c.Cluster(ctx)
	return explain(err, nodes)
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

// benchKey is the i-th key: 16 bytes up to a hundred million keys.
func benchKey(i int) string {
	const digits = "00000000"
	s := strconv.Itoa(i)
	return "bench/k-" + digits[:max(0, len(digits)-len(s))] + s
}
