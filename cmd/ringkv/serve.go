package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
)

// stopGrace is how long a stopping node may take to hand over and to finish requests.
const stopGrace = 20 * time.Second

// node is a running node with its HTTP server.
type node interface {
	// Done is closed when the node has stopped by itself, which it does only on a fault.
	Done() <-chan struct{}
	// Err is why, after Done.
	Err() error
	// Stop lets requests end until ctx does, and returns when everything of the node has ended.
	Stop(ctx context.Context) error
}

// startFunc brings a node up. It returns when the node answers on its HTTP address, or with why it cannot.
// ctx bounds the start only.
type startFunc func(ctx context.Context, cfg serveConfig, log *slog.Logger) (node, error)

func (a *app) serveCommand() *cobra.Command {
	var (
		cfg  serveConfig
		file string
	)
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node",
		Long: `Run a node until SIGINT or SIGTERM; a second signal ends it at once.

On an empty data directory a node without --join forms a cluster of its own; with --join it joins the cluster of any of
those nodes. Afterwards the data directory knows its cluster.

Every flag can also be given as an environment variable (--data-dir as RINGKV_DATA_DIR, lists with commas) or in the YAML
file named by --config or RINGKV_CONFIG (data-dir: …). A flag beats a variable beats the file.`,
		Example: examples(
			"ringkv serve --name n1 --data-dir /var/lib/ringkv",
			"ringkv serve --name n2 --http 127.0.0.1:8082 --peer 127.0.0.1:7957 --gossip 127.0.0.1:7956 "+
				"--data-dir n2 --join 127.0.0.1:7946"),
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fillFlags(cmd.Flags(), file, a.env); err != nil {
				return usageError(cmd, err)
			}
			if err := cfg.validate(); err != nil {
				return usageError(cmd, err)
			}
			return a.serve(cmd.Context(), cfg)
		},
	}
	cfg.flags(cmd.Flags())
	cmd.Flags().StringVar(&file, configFlag, "", "YAML file with these settings (env RINGKV_CONFIG)")
	fileFlags(cmd, configFlag, "data-dir")
	return cmd
}

// serve runs a node until ctx ends or the node fails.
func (a *app) serve(ctx context.Context, cfg serveConfig) error {
	log := cfg.logger(a.stderr)
	n, err := a.start(ctx, cfg, log)
	if err != nil {
		if interrupted(ctx, err) {
			return nil
		}
		return fmt.Errorf("serve: %w", err)
	}
	if !memoryIsSet(a.env) {
		tunerCtx, stopTuner := context.WithCancel(ctx)
		tuned := make(chan struct{})
		go func() {
			defer close(tuned)
			tuneGC(tunerCtx)
		}()
		defer func() { stopTuner(); <-tuned }()
	}
	log.Info("node is up", "name", cfg.Name, "http", cfg.HTTP, "data_dir", cfg.DataDir)
	select {
	case <-ctx.Done():
		log.Info("stopping", "name", cfg.Name)
	case <-n.Done():
		err = n.Err()
	}
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	if stopErr := n.Stop(stopCtx); err == nil {
		err = stopErr
	}
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	log.Info("stopped", "name", cfg.Name)
	return nil
}
