package server_test

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/server"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// fakePartition is where every key of a fakeStore lives.
const fakePartition ring.PartitionID = 12

// fakeStore is a Store in memory. It has no clock: a TTL stays what it was set to.
type fakeStore struct {
	fakeLocks
	before func(ctx context.Context, op string) error // if set, runs first; its error is the answer

	mu       sync.Mutex // guards what follows
	items    map[string]server.Item
	revision storage.Version
	lists    []server.ListQuery
	pageSize int // if set, pages have at most as many items
}

func newFakeStore() *fakeStore { return &fakeStore{items: make(map[string]server.Item)} }

func (f *fakeStore) enter(ctx context.Context, op string) error {
	if f.before == nil {
		return nil
	}
	return f.before(ctx, op)
}

func (f *fakeStore) Get(ctx context.Context, key []byte, consistency api.Consistency) (server.Item, error) {
	if err := f.enter(ctx, "get "+string(consistency)); err != nil {
		return server.Item{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	item, ok := f.items[string(key)]
	if !ok {
		return server.Item{}, api.ErrNotFound
	}
	return item, nil
}

func (f *fakeStore) Put(ctx context.Context, p server.Put) (server.WriteResult, error) {
	if err := f.enter(ctx, "put"); err != nil {
		return server.WriteResult{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	old, exists := f.items[string(p.Key)]
	if err := judge(p.Cond, old.Version); err != nil {
		return server.WriteResult{}, err
	}
	if p.KeepTTL {
		p.TTL = old.TTL
	}
	f.revision++
	f.items[string(p.Key)] = server.Item{
		Key: p.Key, Value: p.Value, ContentType: p.ContentType, Version: f.revision, TTL: p.TTL, Partition: fakePartition,
	}
	return server.WriteResult{Version: f.revision, Created: !exists, Partition: fakePartition}, nil
}

func (f *fakeStore) Delete(ctx context.Context, d server.Delete) (server.WriteResult, error) {
	if err := f.enter(ctx, "delete"); err != nil {
		return server.WriteResult{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := judge(d.Cond, f.items[string(d.Key)].Version); err != nil {
		return server.WriteResult{}, err
	}
	delete(f.items, string(d.Key))
	f.revision++
	return server.WriteResult{Version: f.revision, Partition: fakePartition}, nil
}

// judge applies a condition to a key's version, 0 if it is absent.
func judge(c storage.Condition, version storage.Version) error {
	exists := version != 0
	holds := (!c.IfMatchAny || exists) && (!c.IfNoneMatchAny || !exists) &&
		(c.IfMatch == nil || slices.Contains(c.IfMatch, version)) && !slices.Contains(c.IfNoneMatch, version)
	if holds {
		return nil
	}
	return &api.ConditionError{Version: api.Version(version)}
}

func (f *fakeStore) List(ctx context.Context, q server.ListQuery) (server.ListResult, error) {
	if err := f.enter(ctx, "list"); err != nil {
		return server.ListResult{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists = append(f.lists, q)
	if f.pageSize > 0 {
		q.Limit = min(q.Limit, f.pageSize)
	}
	var res server.ListResult
	size := 0
	for _, key := range slices.Sorted(maps.Keys(f.items)) {
		if key < string(q.Start) || (q.End != nil && key >= string(q.End)) {
			continue
		}
		if len(res.Items) == q.Limit || size >= q.MaxBytes {
			res.Next = []byte(key)
			break
		}
		item := f.items[key]
		if q.KeysOnly || len(item.Value) == 0 {
			item.Value = nil // an empty value may well come as nil over a wire
		}
		size += len(key) + len(item.Value)
		res.Items = append(res.Items, item)
	}
	return res, nil
}

func (f *fakeStore) Cluster(ctx context.Context) (api.Cluster, error) {
	return api.Cluster{
		ClusterID: "c1", Epoch: 7, Partitions: 2, Replication: 1,
		Nodes: []api.Node{{ID: "u1", Name: "n1", State: api.NodeActive, Alive: true, HTTP: "127.0.0.1:8080", Weight: 1, Replicas: 2, Leaders: 2}},
	}, f.enter(ctx, "cluster")
}

func (f *fakeStore) Ring(ctx context.Context) (api.Ring, error) {
	return api.Ring{Epoch: 7, Hash: api.HashXXH64, Partitions: []api.Partition{
		{ID: 0, Replicas: []string{"n1"}, Leader: "n1"}, {ID: 1, Replicas: []string{"n1"}, Leader: "n1"},
	}}, f.enter(ctx, "ring")
}

func (f *fakeStore) Locate(key []byte) (api.Location, error) {
	return api.Location{Key: bytes.Clone(key), Partition: fakePartition, Replicas: []string{"n1"}, Leader: "n1"}, nil
}

func (f *fakeStore) Ready(ctx context.Context) error { return f.enter(ctx, "ready") }

func (f *fakeStore) Stats() server.Stats {
	return server.Stats{
		Partitions:  []server.PartitionStats{{ID: 3, Role: server.RoleLeader, Term: 4, Commit: 90, Applied: 89, Lag: 1, Keys: 5, Bytes: 600, Unpurged: 7}},
		GossipAlive: 3, GossipDead: 1, Epoch: 7,
		Fsync: server.Latency{
			Bounds: []time.Duration{time.Millisecond, 10 * time.Millisecond}, Counts: []uint64{5, 2, 1}, Sum: 50 * time.Millisecond,
		},
		EngineDiskBytes: 1000, LogDiskBytes: 2000, DiskFreeBytes: 3000, DiskFullness: 2,
		ScrubPasses: 6, ScrubLastEnd: time.Unix(1700000000, 0), ScrubRefilled: 4, ScrubDamaged: 3,
		ExpiredKeys: 11, ExpiryOverdue: 1500 * time.Millisecond, LocksHeld: 12, LockWaiters: 13,
	}
}

// keys returns the stored keys in order.
func (f *fakeStore) keys() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.items))
}
