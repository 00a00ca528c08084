package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/ringkv/ringkv/api"
)

const (
	// refreshTimeout bounds one background look at the ring.
	refreshTimeout = 5 * time.Second
	// refreshPause is the least time between the beginnings of two of them.
	refreshPause = 100 * time.Millisecond
)

// refreshSoon starts a look at the ring in the background, unless one is under way or just was, or the client is closed.
func (c *Client) refreshSoon() {
	if c.cfg.Direct {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.refreshing || time.Since(c.refreshed) < refreshPause {
		return
	}
	c.refreshing, c.refreshed = true, time.Now()
	c.tasks.Go(func() {
		c.refresh()
		c.mu.Lock()
		c.refreshing = false
		c.mu.Unlock()
	})
}

// refresh learns the ring from the first node that tells it. A failure leaves what is known in place: requests then
// still reach any node, which forwards them, and the next request tries again.
func (c *Client) refresh() {
	ctx, cancel := context.WithTimeout(c.life, refreshTimeout)
	defer cancel()
	old := c.topo.Load()
	r := route{nodes: old.nodes, turn: int(c.turn.Add(1))}
	for range old.nodes {
		e := r.next(time.Now())
		next, err := c.learn(ctx, e, old)
		if err == nil {
			c.topo.Store(next)
			return
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// learn asks e for the ring and, if that has changed, for the nodes' addresses.
func (c *Client) learn(ctx context.Context, e *endpoint, old *topology) (*topology, error) {
	var wire api.Ring
	header := http.Header{}
	if old.etag != "" {
		header[api.HeaderIfNoneMatch] = []string{old.etag}
	}
	resp, err := c.ask(ctx, e, "ring", api.PathRing, header, &wire)
	if err != nil {
		return nil, err
	}
	if resp.status == http.StatusNotModified {
		return old.confirmed(time.Now()), nil
	}
	if wire.Hash != api.HashXXH64 {
		return nil, fmt.Errorf("%w: unknown hash %q", errMalformed, wire.Hash)
	}
	var cluster api.Cluster
	if _, err := c.ask(ctx, e, "cluster", api.PathCluster, nil, &cluster); err != nil {
		return nil, err
	}
	names := make(map[string]*endpoint, len(cluster.Nodes))
	for _, n := range cluster.Nodes {
		if n.State != api.NodeLeft && dialable(n.HTTP) {
			names[n.Name] = c.endpointAt(n.HTTP)
		}
	}
	return old.withRing(&wire, resp.etag, names, time.Now())
}

// ask sends one GET to e, once, and decodes a 200 into v.
func (c *Client) ask(
	ctx context.Context, e *endpoint, op, target string, header http.Header, v any,
) (*response, error) {
	cl := &call{op: op, req: request{method: http.MethodGet, target: target, header: header}}
	verdict := c.attempt(ctx, cl, e)
	if verdict.err != nil {
		return nil, verdict.err
	}
	if verdict.resp.status == http.StatusOK {
		if err := json.Unmarshal(verdict.resp.body, v); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", errMalformed, op, err)
		}
	}
	return verdict.resp, nil
}
