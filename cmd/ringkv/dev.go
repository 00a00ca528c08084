package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// devFlags are the flags of dev.
type devFlags struct {
	nodes                          int
	dir                            string
	restart                        bool
	httpPort, peerPort, gossipPort int
	readyWithin                    time.Duration
	logLevel                       string
}

// maxDevNodes keeps the ports of different kinds apart at their defaults.
const maxDevNodes = 99

func (a *app) devCommand() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole cluster on this machine, to try it",
		Long: `Run a cluster of real node processes on loopback until Ctrl-C, which stops them all.

Kill any of them with kill -9 PID: the others serve on, and it is started again after a moment.
The data lives in a temporary directory that is removed at the end, or in --dir, which is kept and can be used again.`,
		Example: examples("ringkv dev", "ringkv dev --nodes 5 --dir ./dev-data"),
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return usageError(cmd, err)
			}
			return a.dev(cmd.Context(), &f)
		},
	}
	cmd.Flags().IntVar(&f.nodes, "nodes", 3, "how many nodes")
	cmd.Flags().StringVar(&f.dir, "dir", "", "directory for the data, kept (default: a temporary one)")
	fileFlags(cmd, "dir")
	cmd.Flags().BoolVar(&f.restart, "restart", true, "start a node again when it dies")
	cmd.Flags().IntVar(&f.httpPort, "http-port", 8081, "port of the first node for clients; the others follow")
	cmd.Flags().IntVar(&f.peerPort, "peer-port", 7101, "port of the first node for nodes")
	cmd.Flags().IntVar(&f.gossipPort, "gossip-port", 7201, "port of the first node for gossip")
	cmd.Flags().DurationVar(&f.readyWithin, "ready-within", time.Minute, "give up if the nodes are not ready by then")
	cmd.Flags().StringVar(&f.logLevel, "log-level", "info", "of the nodes: debug, info, warn or error")
	return cmd
}

// check holds the number of nodes and all their ports to what there is.
func (f *devFlags) check() error {
	if f.nodes < 1 || f.nodes > maxDevNodes {
		return fmt.Errorf("--nodes %d: want 1 to %d", f.nodes, maxDevNodes)
	}
	for flag, port := range map[string]int{"--http-port": f.httpPort, "--peer-port": f.peerPort, "--gossip-port": f.gossipPort} {
		if most := math.MaxUint16 + 1 - f.nodes; port < 1 || port > most {
			return fmt.Errorf("%s %d: want 1 to %d, as every node takes the next one", flag, port, most)
		}
	}
	return nil
}

// dev runs a fleet until ctx ends.
func (a *app) dev(ctx context.Context, f *devFlags) (err error) {
	dir, cleanup, err := dataDir(f.dir, "ringkv-dev-")
	if err != nil {
		return err
	}
	defer cleanup()
	specs := localSpecs(f.nodes, dir, f.httpPort, f.peerPort, f.gossipPort)
	for i := range specs {
		specs[i].extra = []string{"--log-level", f.logLevel}
	}
	if err := checkPorts(ctx, specs); err != nil {
		return err
	}
	out := newConsole(a.stdout, a.colourful(a.stdout), specs)
	nodes := newFleet(specs, out, a.env, f.restart)
	defer nodes.wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	readyCtx, cancelReady := context.WithTimeout(ctx, f.readyWithin)
	defer cancelReady()
	if err := nodes.start(ctx, readyCtx); err != nil {
		if interrupted(ctx, ctx.Err()) {
			return nil
		}
		return err
	}
	out.print(welcome(specs, nodes.currentPIDs(), dir, f.dir != ""))
	return a.untilStopped(ctx, nodes, f.restart)
}

// untilStopped waits for the end of ctx or, without restarts, of the last node.
func (a *app) untilStopped(ctx context.Context, nodes *fleet, restart bool) error {
	if restart {
		<-ctx.Done()
	}
	for alive := len(nodes.specs); alive > 0; alive-- {
		select {
		case <-ctx.Done():
			nodes.console.print("\nstopping all nodes\n")
			return nil
		case err := <-nodes.died:
			nodes.console.print("ringkv: " + err.Error() + "\n")
		}
	}
	return errors.New("all nodes have ended")
}

// dataDir returns dir, made if need be, or a temporary directory if it is empty, and what to do with it at the end.
func dataDir(dir, pattern string) (path string, cleanup func(), err error) {
	if dir != "" {
		return dir, func() {}, os.MkdirAll(dir, 0o700)
	}
	dir, err = os.MkdirTemp("", pattern)
	return dir, func() { _ = os.RemoveAll(dir) }, err
}

// welcome says where the nodes are and what to try.
func welcome(specs []nodeSpec, pids []int, dir string, kept bool) string {
	var b strings.Builder
	b.WriteString("\nThe cluster is up.\n\n")
	for i, s := range specs {
		fmt.Fprintf(&b, "  %s  http://%s  pid %d\n", s.name, s.http, pids[i])
	}
	first, last := specs[0], specs[len(specs)-1]
	fmt.Fprintf(&b, `
Put a key on one node, get it from another:

  curl -X PUT -H 'Content-Type: text/plain' -d hello http://%s/v1/kv/greeting
  curl http://%s/v1/kv/greeting
  curl http://%s/v1/cluster
  kill -9 %d        # nothing is lost

See transactions at work, also while you kill a node:

  ringkv demo bank --node %s --node %s

`, first.http, last.http, first.http, pids[len(pids)-1], first.http, last.http)
	fate := "removed at the end"
	if kept {
		fate = "kept"
	}
	fmt.Fprintf(&b, "Data is in %s (%s). Ctrl-C stops all nodes.\n\n", dir, fate)
	return b.String()
}
