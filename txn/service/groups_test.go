package service_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/memdb"
	"github.com/ringkv/ringkv/txn"
	"github.com/ringkv/ringkv/txn/service"
)

const (
	clusterID  = "test-cluster"
	partitions = 8
)

// groups is a cluster's partitions without raft: each command is applied at once. It plays the part of every node.
type groups struct {
	t      *testing.T
	ring   *ring.Ring
	engine storage.Engine

	mu      sync.Mutex // guards what is below
	parts   []*storage.Partition
	nodes   map[ring.NodeID]*service.Service
	dead    []service.Incarnations
	swept   []service.Incarnations
	refuse  func(p storage.PartitionID, c *storage.Command) error // not applied
	silence func(p storage.PartitionID, c *storage.Command) error // applied, but not answered
	applied map[storage.Kind]int
}

func newGroups(t *testing.T) *groups {
	t.Helper()
	rg, err := ring.New(partitions)
	if err != nil {
		t.Fatal(err)
	}
	g := &groups{t: t, ring: rg, engine: memdb.New(), nodes: make(map[ring.NodeID]*service.Service), applied: make(map[storage.Kind]int)}
	v := g.engine.View()
	defer v.Close()
	for p := range storage.PartitionID(partitions) {
		part, err := storage.OpenPartition(v, p)
		if err != nil {
			t.Fatal(err)
		}
		g.parts = append(g.parts, part)
	}
	return g
}

// start begins a node.
func (g *groups) start(node ring.NodeID, incarnation uint32) *service.Service {
	g.t.Helper()
	s := service.New(service.Config{
		Groups: g,
		Identify: func(context.Context, uint32) (service.Identity, error) {
			return service.Identity{Node: node, Incarnation: incarnation, ClusterID: clusterID, Ring: g.ring}, nil
		},
	})
	g.mu.Lock()
	g.nodes[node] = s
	g.mu.Unlock()
	g.eventually("the service does not know who it is", func() bool {
		_, err := s.TxnStatus(g.t.Context(), "no such id")
		return errors.Is(err, txn.ErrNotFound)
	})
	return s
}

func (g *groups) eventually(what string, ok func() bool) {
	g.t.Helper()
	limit := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(limit) {
			g.t.Fatal(what)
		}
		select {
		case <-g.t.Context().Done():
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (g *groups) Transact(ctx context.Context, p storage.PartitionID, cmd []byte) (storage.Result, error) {
	if err := ctx.Err(); err != nil {
		return storage.Result{}, err
	}
	c, err := storage.DecodeCommand(cmd)
	if err != nil {
		return storage.Result{}, err
	}
	g.mu.Lock()
	refuse, silence := g.refuse, g.silence
	g.mu.Unlock()
	if refuse != nil {
		if err := refuse(p, &c); err != nil {
			return storage.Result{}, err
		}
	}
	res, err := g.apply(p, cmd)
	if err != nil {
		g.t.Errorf("apply to partition %d: %v", p, err)
		return storage.Result{}, err
	}
	if silence != nil {
		if err := silence(p, &c); err != nil {
			return storage.Result{}, err
		}
	}
	return res, nil
}

// BeginTransact ends at once with whatever Transact finds: on the goroutine of who asks, which a node does where it refuses.
func (g *groups) BeginTransact(p storage.PartitionID, cmd []byte, _ time.Time, done func(storage.Result, error)) {
	done(g.Transact(g.t.Context(), p, cmd))
}

// NotSent is never sure: what was refused may have been applied by somebody who was silent.
func (g *groups) NotSent(error) bool { return false }

func (g *groups) apply(p storage.PartitionID, cmd []byte) (storage.Result, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c, err := storage.DecodeCommand(cmd); err == nil {
		g.applied[c.Kind]++
	}
	b := g.engine.Batch()
	defer b.Discard()
	part := g.parts[p]
	res, err := part.Apply(b, part.Meta().Applied+1, 1, cmd)
	if err != nil {
		return res, err
	}
	return res.Clone(), errors.Join(part.Flush(b), b.Commit())
}

func (g *groups) put(key, value string) {
	g.t.Helper()
	cmd := storage.AppendCommand(nil, &storage.Command{Kind: storage.KindPut, Key: []byte(key), Value: []byte(value)})
	if _, err := g.apply(g.ring.Partition([]byte(key)), cmd); err != nil {
		g.t.Fatal(err)
	}
}

func (g *groups) get(key string) string {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	v := g.engine.View()
	defer v.Close()
	it, err := storage.Get(v, g.ring.Partition([]byte(key)), []byte(key))
	if errors.Is(err, storage.ErrNotFound) {
		return "(absent)"
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return string(it.Value)
}

func (g *groups) ReadKeys(ctx context.Context, p storage.PartitionID, keys, locks [][]byte) (storage.ReadSet, error) {
	for {
		set, free, err := g.tryRead(p, keys, locks)
		if free || err != nil {
			return set, err
		}
		select {
		case <-ctx.Done():
			return storage.ReadSet{}, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func (g *groups) tryRead(p storage.PartitionID, keys, locks [][]byte) (storage.ReadSet, bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, key := range keys {
		if _, held := g.parts[p].Locks().XLocked(key); held {
			return storage.ReadSet{}, false, nil
		}
	}
	v := g.engine.View()
	defer v.Close()
	set, err := storage.ReadKeys(v, p, keys, locks)
	return set, true, err
}

func (g *groups) TxnState(_ context.Context, p storage.PartitionID, t storage.TxnID) (storage.TxnStatus, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := g.engine.View()
	defer v.Close()
	return storage.ReadTxn(v, p, t)
}

var errDown = errors.New("node is down")

func (g *groups) AskTxn(ctx context.Context, to ring.NodeID, body []byte) ([]byte, error) {
	g.mu.Lock()
	s := g.nodes[to]
	g.mu.Unlock()
	if s == nil {
		return nil, errDown
	}
	return s.HandlePeer(ctx, 0, body)
}

func (g *groups) DeadIncarnations() []service.Incarnations {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dead
}

func (g *groups) Swept(_ context.Context, node ring.NodeID, first uint32) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.swept = append(g.swept, service.Incarnations{Node: node, First: first})
	return nil
}

// open lists what is in doubt anywhere.
func (g *groups) open() (open []storage.OpenTxn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.parts {
		for _, o := range p.Open() {
			open = append(open, *o)
		}
	}
	return open
}

// forgotten tells whether the groups of keys have all forgotten last and those before.
func (g *groups) forgotten(keys []string, last storage.TxnID) bool {
	for _, key := range keys {
		for t := last; t.Seq > 0; t.Seq-- {
			st, err := g.TxnState(g.t.Context(), g.ring.Partition([]byte(key)), t)
			if err != nil || st.State != storage.TxnGone {
				return false
			}
		}
	}
	return true
}

// gone tells whether every group has forgotten t.
func (g *groups) gone(t storage.TxnID) bool {
	for p := range storage.PartitionID(partitions) {
		if st, err := g.TxnState(g.t.Context(), p, t); err != nil || st.State != storage.TxnGone {
			return false
		}
	}
	return true
}

func uint32ID(i int) ring.NodeID { return ring.NodeID(i) }

func deadIncarnations(node ring.NodeID, first uint32) service.Incarnations {
	return service.Incarnations{Node: node, First: first}
}
