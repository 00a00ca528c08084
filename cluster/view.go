package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
)

// Member is a node of the cluster with what this node has heard of it.
type Member struct {
	meta.Node
	Alive    bool
	Replicas int // placed on it
	Leaders  int // that it leads, as far as known here
}

// Description is the cluster as this node knows it.
type Description struct {
	ClusterID  string
	Epoch      uint32
	Partitions int
	Replicas   int
	Members    []Member // by name
}

// Describe tells what this node knows of the cluster. Error: ErrNotMember.
func (n *Node) Describe() (Description, error) {
	s := n.routes.state.Load()
	if s == nil {
		return Description{}, ErrNotMember
	}
	replicas, leaders := make(map[ring.NodeID]int), make(map[ring.NodeID]int)
	for p, ids := range s.Placement {
		for _, id := range ids {
			replicas[id.Node()]++
		}
		leaders[n.routes.leader(ring.PartitionID(p))]++
	}
	d := Description{ClusterID: s.ClusterID, Epoch: s.Epoch, Partitions: s.Partitions, Replicas: s.Replicas}
	for _, m := range s.Nodes {
		alive := m.State != meta.Left && n.alive(m.ID)
		d.Members = append(d.Members, Member{Node: m, Alive: alive, Replicas: replicas[m.ID], Leaders: leaders[m.ID]})
	}
	slices.SortFunc(d.Members, func(a, b Member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return d, nil
}

// Place is where a partition lives, in names.
type Place struct {
	Partition ring.PartitionID
	Replicas  []string
	Leader    string // "" while none is known
}

// Places tells where every partition is, and the epoch of that knowledge. Error: ErrNotMember.
func (n *Node) Places() ([]Place, uint32, error) {
	s := n.routes.state.Load()
	if s == nil {
		return nil, 0, ErrNotMember
	}
	out := make([]Place, s.Partitions)
	for p := range out {
		out[p] = n.place(s, ring.PartitionID(p))
	}
	return out, s.Epoch, nil
}

// Locate tells where a key is. Error: ErrNotMember.
func (n *Node) Locate(key []byte) (Place, error) {
	p, err := n.partition(key)
	if err != nil {
		return Place{}, err
	}
	return n.place(n.routes.state.Load(), p), nil
}

func (n *Node) place(s *meta.State, p ring.PartitionID) Place {
	pl := Place{Partition: p, Replicas: make([]string, 0, len(s.Placement[p]))}
	for _, id := range s.Placement[p] {
		if m, ok := s.Node(id.Node()); ok {
			pl.Replicas = append(pl.Replicas, m.Name)
		}
	}
	if m, ok := s.Node(n.routes.leader(p)); ok {
		pl.Leader = m.Name
	}
	return pl
}

// Ready returns nil if this node has caught up and serves, else what it waits for.
func (n *Node) Ready(ctx context.Context) error {
	if err := context.Cause(n.ctx); err != nil {
		return err
	}
	s := n.routes.state.Load()
	if !n.isMember() || s == nil {
		return fmt.Errorf("%w: waiting to be admitted (--join %v)", ErrNotMember, n.cfg.Join)
	}
	var full bool
	if err := n.loop.ask(ctx, func(w *worker.Worker) { full = w.Filled(s) }); err != nil {
		return err
	}
	if !full {
		return fmt.Errorf("%w: replicas are still being filled", ErrUnavailable)
	}
	if missing := n.leaderless(s); missing > 0 {
		return fmt.Errorf("%w: no leader known for %d of %d partitions", ErrUnavailable, missing, s.Partitions)
	}
	return nil
}

// Stats is a node's inner state for operators.
type Stats struct {
	Groups     []worker.GroupStatus // the metadata group is storage.MetaPartition
	Alive      int                  // members that gossip believes alive, this node among them
	Dead       int
	Epoch      uint32
	Expired    uint64  // keys whose time was over, in partitions that this node led
	Fsync      Latency // of the raft log
	Apply      Latency // of batches of committed entries, engine commit included
	EngineDisk int64   // bytes
	LogDisk    int64   // bytes
	DiskFree   int64   // bytes
	DiskSpace  worker.Space
	Scrub      ScrubStats
}

// Stats looks at everything once.
func (n *Node) Stats(ctx context.Context) Stats {
	st := Stats{
		Fsync: n.timings.fsync.snapshot(), Apply: n.timings.apply.snapshot(),
		EngineDisk: n.engine.DiskBytes(), DiskFree: n.disk.free.Load(), DiskSpace: n.disk.space(),
		Scrub: n.scrubber.stats(),
	}
	if s := n.routes.state.Load(); s != nil {
		st.Epoch = s.Epoch
	}
	for _, m := range n.gossip.Members() {
		if m.Alive {
			st.Alive++
		} else {
			st.Dead++
		}
	}
	if n.isMember() {
		// An error means that the node is stopping: the numbers stay zero.
		_ = n.loop.ask(ctx, func(w *worker.Worker) {
			st.Groups, st.Expired = w.Status(), w.Expired()
			st.LogDisk = n.log.Stats().DiskBytes
		})
	}
	return st
}
