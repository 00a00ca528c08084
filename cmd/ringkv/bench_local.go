package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
)

const (
	localNodes = 3
	// settleWithin is how long the nodes may take to share all partitions.
	settleWithin = 2 * time.Minute
	// restBefore is left for compactions to end before idle cost is watched.
	restBefore = 2 * time.Second
)

// localResult is what bench --local measured, as --json prints it.
type localResult struct {
	Workloads []*benchResult `json:"workloads"`
	Idle      []idleAccount  `json:"idle,omitempty"`
	Samples   []sample       `json:"samples,omitempty"`
}

// idleAccount is what a node used while nobody asked it anything.
type idleAccount struct {
	PID       int     `json:"pid"`
	CoreShare float64 `json:"core_share"` // 1 is a whole core
	RSSBytes  int64   `json:"rss_bytes"`
}

// benchLocal starts three nodes, measures them, and stops them.
func (a *app) benchLocal(ctx context.Context, f *benchFlags) error {
	dir, cleanup, err := dataDir(f.dir, "ringkv-bench-")
	if err != nil {
		return err
	}
	defer cleanup()
	if !isEmptyDir(dir) {
		return fmt.Errorf("--dir %s is not empty: a cluster in it would look for its nodes at other ports", dir)
	}
	specs, err := freeSpecs(ctx, localNodes, dir)
	if err != nil {
		return err
	}
	nodes := newFleet(specs, newConsole(a.stderr, a.colourful(a.stderr), specs), a.env, false)
	defer nodes.wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	readyCtx, cancelReady := context.WithTimeout(ctx, settleWithin)
	defer cancelReady()
	if err := nodes.start(ctx, readyCtx); err != nil {
		return err
	}
	addrs, dirs := make([]string, len(specs)), make([]string, len(specs))
	for i, s := range specs {
		addrs[i], dirs[i] = s.http, s.dir
	}
	if err := settled(readyCtx, addrs); err != nil {
		return err
	}
	return a.measureLocal(ctx, f, addrs, a.sampler(f, nodes.currentPIDs(), dirs))
}

// freeSpecs lays out n nodes under dir on ports that are free now.
func freeSpecs(ctx context.Context, n int, dir string) ([]nodeSpec, error) {
	specs := localSpecs(n, dir, 1, 1, 1)
	var lc net.ListenConfig
	free := func() (string, error) {
		ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		defer func() { _ = ln.Close() }()
		return ln.Addr().String(), nil
	}
	for i := range specs {
		s := &specs[i]
		s.extra = []string{"--log-level", "warn"}
		for _, addr := range []*string{&s.http, &s.peer, &s.gossip} {
			var err error
			if *addr, err = free(); err != nil {
				return nil, fmt.Errorf("find a free port: %w", err)
			}
		}
	}
	for i := range specs {
		for j := range specs[i].join {
			specs[i].join[j] = specs[(i+1+j)%n].gossip
		}
	}
	return specs, nil
}

// settled waits until every node of the cluster at addrs holds all partitions and leads some.
func settled(ctx context.Context, addrs []string) error {
	c, err := client.New(client.Config{Nodes: addrs, Direct: true})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for {
		cluster, err := c.Cluster(ctx)
		if err == nil && isSettled(&cluster, len(addrs)) {
			return nil
		}
		if !sleep(ctx, probePause) {
			return fmt.Errorf("the nodes do not share all partitions: %+v, %w", cluster.Nodes, context.Cause(ctx))
		}
	}
}

func isSettled(c *api.Cluster, nodes int) bool {
	leaders := 0
	for _, n := range c.Nodes {
		if n.Replicas != c.Partitions*min(c.Replication, nodes)/nodes || n.Leaders < c.Partitions/nodes {
			return false
		}
		leaders += n.Leaders
	}
	return len(c.Nodes) == nodes && leaders == c.Partitions
}

// measureLocal runs the workloads and watches the nodes idle.
func (a *app) measureLocal(ctx context.Context, f *benchFlags, addrs []string, s *sampler) error {
	var all localResult
	stop := s.start(ctx)
	err := a.measureWithIdle(ctx, f, addrs, s, &all)
	samples, failed := stop()
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	all.Samples = samples
	if f.asJSON {
		return a.printJSON(all)
	}
	return a.printIdle(all.Idle)
}

func (a *app) measureWithIdle(ctx context.Context, f *benchFlags, addrs []string, s *sampler, into *localResult) (err error) {
	if into.Workloads, err = a.measureAll(ctx, f, addrs, s); err != nil {
		return err
	}
	into.Idle, err = watchIdle(ctx, f.idleFor, s.pids)
	return err
}

// watchIdle accounts the processes over d, in which nobody asks them anything.
func watchIdle(ctx context.Context, d time.Duration, pids []int) ([]idleAccount, error) {
	if d <= 0 {
		return nil, nil
	}
	if !sleep(ctx, restBefore) {
		return nil, context.Cause(ctx)
	}
	before, err := readUsages(pids)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if !sleep(ctx, d) {
		return nil, context.Cause(ctx)
	}
	after, err := readUsages(pids)
	if err != nil {
		return nil, err
	}
	list := make([]idleAccount, len(after))
	for i, acc := range accounts(before, after) {
		list[i] = idleAccount{PID: acc.PID, CoreShare: acc.cpu.Seconds() / time.Since(began).Seconds(), RSSBytes: acc.RSSBytes}
	}
	return list, nil
}

func (a *app) printIdle(list []idleAccount) error {
	for _, i := range list {
		_, err := fmt.Fprintf(a.stdout, "idle: pid %d uses %.1f %% of a core, %.0f MB RSS\n",
			i.PID, 100*i.CoreShare, float64(i.RSSBytes)/1e6)
		if err != nil {
			return err
		}
	}
	return nil
}
