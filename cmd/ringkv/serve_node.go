package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/ringkv/ringkv/api/server"
	"github.com/ringkv/ringkv/cluster"
	"github.com/ringkv/ringkv/txn/service"
)

// clusterNode is a cluster node with its transactions and the HTTP server over it.
type clusterNode struct {
	node   *cluster.Node
	txns   *service.Service
	server *server.Server
	served chan error // gets what Serve returned
}

// startNode brings up the node that cfg describes: the cluster node and the HTTP server over it. The listener comes
// first, so that a taken port is noticed before anything is written.
func startNode(_ context.Context, cfg serveConfig, log *slog.Logger) (node, error) {
	ln, err := net.Listen("tcp", cfg.HTTP)
	if err != nil {
		return nil, fmt.Errorf("listen for clients (--http): %w", err)
	}
	hooks := &service.Hooks{}
	n, err := cluster.Start(cluster.Config{
		Name: cfg.Name, DataDir: cfg.DataDir,
		HTTP: ln.Addr().String(), Peer: cfg.Peer, Gossip: cfg.Gossip, Advertise: cfg.Advertise, Join: cfg.Join,
		Partitions: cfg.Partitions, Replicas: cfg.Replicas, Zone: cfg.Zone, Weight: uint32(cfg.Weight),
		DeadAfter: cfg.DeadAfter, MinFreeBytes: cfg.MinFreeBytes, ScrubInterval: cmp.Or(cfg.ScrubInterval, -1),
		OnStuck: hooks.OnStuck, OnTxn: hooks.OnTxn,
		Logger: log,
	})
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	txns := service.ForNode(n, hooks, log)
	s, err := server.New(server.Config{MaxValueBytes: int64(cfg.MaxValueBytes), Logger: log}, server.ForNode(n),
		server.WithTransactor(txns), server.WithWatches(server.WatchesOf(n)))
	if err != nil {
		txns.Close()
		return nil, errors.Join(err, ln.Close(), n.Close())
	}
	c := &clusterNode{node: n, txns: txns, server: s, served: make(chan error, 1)}
	go func() { c.served <- s.Serve(ln) }() // joined by Stop
	return c, nil
}

// Done implements node.
func (c *clusterNode) Done() <-chan struct{} { return c.node.Done() }

// Err implements node.
func (c *clusterNode) Err() error { return c.node.Err() }

// Stop implements node: the requests end before the transactions do, and those before the node.
func (c *clusterNode) Stop(ctx context.Context) error {
	err := errors.Join(c.server.Shutdown(ctx), <-c.served)
	c.txns.Close()
	return errors.Join(err, c.node.Close())
}
