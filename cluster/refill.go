package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

const (
	refillWithin = 10 * time.Minute
	refillPause  = 200 * time.Millisecond
)

// refill replaces this node's replica of p, which is damaged, by what its group's leader holds. Its votes and its log stay.
func (n *Node) refill(ctx context.Context, p ring.PartitionID) error {
	ctx, cancel := context.WithTimeout(ctx, refillWithin)
	defer cancel()
	for {
		err := n.tryRefill(ctx, p)
		if err == nil {
			return n.rested(ctx, p)
		}
		n.logger.Debug("refill replica", "partition", p, "err", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("refill partition %d: %w", p, err)
		case <-time.After(refillPause):
		}
	}
}

func (n *Node) tryRefill(ctx context.Context, p ring.PartitionID) error {
	var leading bool
	if err := n.loop.ask(ctx, func(w *worker.Worker) { leading = w.StepDown(p) }); err != nil {
		return err
	}
	from := n.routes.leader(p)
	if leading || from == 0 || from == n.self() {
		return fmt.Errorf("%w: nobody else leads it", worker.ErrNotNow)
	}
	sp, m, err := n.fetchState(ctx, p, from)
	if err != nil {
		return err
	}
	var refused error
	if err := n.loop.ask(ctx, func(w *worker.Worker) { refused = w.Refill(p, sp, m) }); err != nil {
		return err // a spool that stays goes with the next start
	}
	return refused
}

// rested waits until the replica of p is whole again.
func (n *Node) rested(ctx context.Context, p ring.PartitionID) error {
	for {
		var resting bool
		if err := n.loop.ask(ctx, func(w *worker.Worker) { resting = w.Resting(p) }); err != nil {
			return err
		}
		if !resting {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(refillPause):
		}
	}
}

// fetchState stores a snapshot of p's state from the node that leads it, and returns its bookkeeping.
func (n *Node) fetchState(ctx context.Context, p ring.PartitionID, from ring.NodeID) (spool, storage.Meta, error) {
	state := n.routes.state.Load()
	if state == nil {
		return spool{}, storage.Meta{}, ErrNotMember
	}
	m, ok := state.Node(from)
	if !ok {
		return spool{}, storage.Meta{}, fmt.Errorf("node %d is no member", from)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.Peer+snapshotPath+strconv.Itoa(int(p)), nil)
	if err != nil {
		return spool{}, storage.Meta{}, err
	}
	req.Header.Set(snapshotCluster, n.identity.Load().ClusterID)
	resp, err := n.peers.Client().Do(req)
	if err != nil {
		return spool{}, storage.Meta{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		reason, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return spool{}, storage.Meta{}, fmt.Errorf("%s: %s", resp.Status, reason)
	}
	sp, err := n.spools.receive(p, resp.Body)
	if err != nil {
		return spool{}, storage.Meta{}, fmt.Errorf("store snapshot: %w", err)
	}
	meta, err := sp.verify()
	if err != nil {
		sp.Remove()
	}
	return sp, meta, err
}

// serveState streams the state of a group that this node leads to a member whose own is damaged. That it breaks off, as it
// does where this node's is damaged as well, the receiver notices by itself.
func (n *Node) serveState(w http.ResponseWriter, r *http.Request) {
	group, err := strconv.ParseUint(r.PathValue("group"), 10, 16)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !n.isMember() || r.Header.Get(snapshotCluster) != n.identity.Load().ClusterID {
		http.Error(w, "not a member of this cluster", http.StatusConflict)
		return
	}
	p := ring.PartitionID(group)
	ctx, cancel := context.WithTimeout(r.Context(), joinTimeout)
	defer cancel()
	if _, err := n.readHere(ctx, p); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	v := n.engine.View()
	defer v.Close()
	if _, err := held(v, p); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	if err := storage.WriteSnapshot(v, p, w); err != nil && !errors.Is(err, context.Canceled) {
		n.logger.Warn("send state of a partition", "partition", p, "err", err)
		n.suspect(p, err)
		panic(http.ErrAbortHandler)
	}
}
