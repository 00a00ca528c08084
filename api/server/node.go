package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/cluster"
	"github.com/ringkv/ringkv/storage"
)

// nodeStore is a cluster node as a Store: it turns the node's errors into those that travel to clients.
type nodeStore struct{ n *cluster.Node }

// ForNode returns n as a Store.
func ForNode(n *cluster.Node) Store { return nodeStore{n} }

func (s nodeStore) Get(ctx context.Context, key []byte, c api.Consistency) (Item, error) {
	it, err := s.n.Get(ctx, key, c == api.Stale)
	if err != nil {
		return Item{}, nodeError(err)
	}
	return nodeItem(it), nil
}

func nodeItem(it cluster.Item) Item {
	return Item{
		Key: it.Key, Value: it.Value, ContentType: it.ContentType,
		Version: it.Version, TTL: it.TTL, Partition: it.Partition,
	}
}

func (s nodeStore) Put(ctx context.Context, p Put) (WriteResult, error) {
	return s.write(ctx, cluster.Write{
		Key: p.Key, Value: p.Value, ContentType: p.ContentType, Cond: p.Cond, TTL: p.TTL, KeepTTL: p.KeepTTL,
	})
}

func (s nodeStore) Delete(ctx context.Context, d Delete) (WriteResult, error) {
	return s.write(ctx, cluster.Write{Delete: true, Key: d.Key, Cond: d.Cond})
}

func (s nodeStore) write(ctx context.Context, w cluster.Write) (WriteResult, error) {
	res, p, err := s.n.Write(ctx, w)
	if err != nil {
		return WriteResult{}, nodeError(err)
	}
	if res.Status == storage.StatusInvalid {
		return WriteResult{}, fmt.Errorf("%w: the state machine refused the command", api.ErrInternal)
	}
	return WriteResult{Version: res.Version, Created: res.Status == storage.StatusCreated, Partition: p}, nil
}

func (s nodeStore) List(ctx context.Context, q ListQuery) (ListResult, error) {
	page, err := s.n.List(ctx, cluster.List{Start: q.Start, End: q.End, Limit: q.Limit, MaxBytes: q.MaxBytes, KeysOnly: q.KeysOnly})
	if err != nil {
		return ListResult{}, nodeError(err)
	}
	items := make([]Item, len(page.Items))
	for i, it := range page.Items {
		items[i] = nodeItem(it)
	}
	return ListResult{Items: items, Next: page.Next}, nil
}

func (s nodeStore) Cluster(context.Context) (api.Cluster, error) {
	d, err := s.n.Describe()
	if err != nil {
		return api.Cluster{}, nodeError(err)
	}
	c := api.Cluster{ClusterID: d.ClusterID, Epoch: uint64(d.Epoch), Partitions: d.Partitions, Replication: d.Replicas}
	c.Nodes = make([]api.Node, len(d.Members))
	for i, m := range d.Members {
		c.Nodes[i] = api.Node{
			ID: strconv.FormatUint(uint64(m.ID), 10), Name: m.Name, State: api.NodeState(m.State), Alive: m.Alive,
			HTTP: m.HTTP, Zone: m.Zone, Weight: int(m.Weight), Replicas: m.Replicas, Leaders: m.Leaders,
		}
	}
	return c, nil
}

func (s nodeStore) Ring(context.Context) (api.Ring, error) {
	places, epoch, err := s.n.Places()
	if err != nil {
		return api.Ring{}, nodeError(err)
	}
	r := api.Ring{Epoch: uint64(epoch), Hash: api.HashXXH64, Partitions: make([]api.Partition, len(places))}
	for i, p := range places {
		r.Partitions[i] = api.Partition{ID: p.Partition, Replicas: p.Replicas, Leader: p.Leader}
	}
	return r, nil
}

func (s nodeStore) Locate(key []byte) (api.Location, error) {
	p, err := s.n.Locate(key)
	if err != nil {
		return api.Location{}, nodeError(err)
	}
	return api.Location{Key: key, Partition: p.Partition, Replicas: p.Replicas, Leader: p.Leader}, nil
}

func (s nodeStore) Ready(ctx context.Context) error { return s.n.Ready(ctx) }

// statsTimeout bounds how long a scrape waits for a busy worker.
const statsTimeout = 5 * time.Second

func (s nodeStore) Stats() Stats {
	ctx, cancel := context.WithTimeout(context.Background(), statsTimeout)
	defer cancel()
	st := s.n.Stats(ctx)
	out := Stats{
		GossipAlive: st.Alive, GossipDead: st.Dead, Epoch: uint64(st.Epoch),
		Fsync: Latency(st.Fsync), Apply: Latency(st.Apply),
		EngineDiskBytes: st.EngineDisk, LogDiskBytes: st.LogDisk, DiskFreeBytes: st.DiskFree, DiskFullness: uint8(st.DiskSpace),
		ScrubPasses: st.Scrub.Passes, ScrubLastEnd: st.Scrub.LastEnd, ScrubRefilled: st.Scrub.Refilled, ScrubDamaged: st.Scrub.Damaged,
	}
	out.ExpiredKeys = st.Expired
	for _, g := range st.Groups {
		if g.Partition == storage.MetaPartition {
			continue
		}
		if Role(g.Role) == RoleLeader {
			out.LocksHeld, out.LockWaiters = out.LocksHeld+g.Leases, out.LockWaiters+g.Waiters
			out.ExpiryOverdue = max(out.ExpiryOverdue, g.Overdue)
		}
		out.Partitions = append(out.Partitions, PartitionStats{
			ID: g.Partition, Role: Role(g.Role), Term: g.Term, Commit: g.Commit, Applied: g.Applied, Lag: g.Lag,
			Keys: g.Keys, Bytes: g.Bytes, Unpurged: g.Expired,
		})
	}
	return out
}

// nodeError is a node's error as clients know it.
func nodeError(err error) error {
	var cond *cluster.ConditionError
	if errors.As(err, &cond) {
		return &api.ConditionError{Version: api.Version(cond.Version)}
	}
	if errors.Is(err, cluster.ErrNotFound) {
		return api.ErrNotFound
	}
	for _, m := range []struct{ from, to error }{
		{cluster.ErrUnknownOutcome, api.ErrUnknownOutcome},
		{cluster.ErrOverloaded, api.ErrOverloaded},
		{cluster.ErrLocked, api.ErrOverloaded},
		{cluster.ErrDiskFull, api.ErrDiskFull},
		{cluster.ErrNotMember, api.ErrNotReady},
		{cluster.ErrClosed, api.ErrUnavailable},
		{cluster.ErrUnavailable, api.ErrUnavailable},
		{storage.ErrCorrupt, api.ErrCorrupt},
	} {
		if errors.Is(err, m.from) {
			return fmt.Errorf("%w: %w", m.to, err)
		}
	}
	return err
}
