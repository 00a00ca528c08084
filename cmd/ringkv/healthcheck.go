package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringkv/ringkv/api"
)

func (a *app) healthcheckCommand() *cobra.Command {
	var (
		addr    string
		ready   bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask one node whether it is alive; for containers",
		Long: `Ask one node for /healthz, or /readyz with --ready; exit code 0 if it says yes, else 1.

The node is --http, else RINGKV_HTTP as serve has it, else 127.0.0.1:8080.`,
		Example: examples("ringkv healthcheck", "ringkv healthcheck --http 127.0.0.1:8081 --ready"),
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return usageError(cmd, fmt.Errorf("--timeout %v: want more than 0", timeout))
			}
			if addr == "" {
				addr = a.getenv(envPrefix + "HTTP")
			}
			if addr == "" {
				addr = defaultHTTP
			}
			path := api.PathHealth
			if ready {
				path = api.PathReady
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return probe(ctx, localAddr(addr), path)
		},
	}
	cmd.Flags().StringVar(&addr, "http", "", "host:port of the node (env RINGKV_HTTP, default "+defaultHTTP+")")
	cmd.Flags().BoolVar(&ready, "ready", false, "ask whether it has caught up and serves")
	cmd.Flags().DurationVar(&timeout, "timeout", 3*time.Second, "give up after this long")
	return cmd
}

// probe asks the node at addr for path and fails unless it answers 200.
func probe(ctx context.Context, addr, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("%w\nNo node answers at %s. Is it running, and is that its --http?", err, addr)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s at %s: %s", path, addr, resp.Status)
	}
	return nil
}
