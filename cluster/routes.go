package cluster

import (
	"sync/atomic"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// routes says where each partition is led, as far as this node knows. Everything in it is a hint: who is asked and
// does not lead says so.
type routes struct {
	state   atomic.Pointer[meta.State]
	ring    atomic.Pointer[ring.Ring]
	leaders atomic.Pointer[[]atomic.Pointer[route]] // by partition, the metadata group last
}

// route is who leads a partition, and since which term.
type route struct {
	node ring.NodeID
	term uint64
}

// setState takes a new description of the cluster over.
func (r *routes) setState(s *meta.State) {
	if r.ring.Load() == nil {
		rg, err := ring.New(s.Partitions)
		if err != nil {
			panic("cluster state with an impossible number of partitions: " + err.Error()) // Form checked it
		}
		leaders := make([]atomic.Pointer[route], s.Partitions+1)
		r.leaders.Store(&leaders)
		r.ring.Store(rg)
	}
	r.state.Store(s)
}

func (r *routes) slot(p ring.PartitionID) *atomic.Pointer[route] {
	leaders := r.leaders.Load()
	switch {
	case leaders == nil:
		return nil
	case p == storage.MetaPartition:
		return &(*leaders)[len(*leaders)-1]
	case int(p) >= len(*leaders)-1:
		return nil
	}
	return &(*leaders)[p]
}

// leader is the node that leads p, 0 if that is not known.
func (r *routes) leader(p ring.PartitionID) ring.NodeID {
	s := r.slot(p)
	if s == nil {
		return 0
	}
	if at := s.Load(); at != nil {
		return at.node
	}
	return 0
}

// learn takes over who leads p in term, from a member of the group; node 0 says that it knows of no leader (any more).
// Should that be wrong, the leader's next announcement mends it.
func (r *routes) learn(p ring.PartitionID, node ring.NodeID, term uint64) {
	s := r.slot(p)
	if s == nil {
		return
	}
	for {
		old := s.Load()
		if old != nil && (term < old.term || term == old.term && node == old.node) {
			return
		}
		if s.CompareAndSwap(old, &route{node, term}) {
			return
		}
	}
}

// forget drops a route that led to a node that does not lead, or cannot be reached; better is what that node said
// instead, 0 if nothing.
func (r *routes) forget(p ring.PartitionID, wrong, better ring.NodeID) {
	s := r.slot(p)
	if s == nil {
		return
	}
	old := s.Load()
	if old == nil {
		s.CompareAndSwap(nil, &route{node: better})
		return
	}
	if old.node == wrong || old.node == 0 {
		s.CompareAndSwap(old, &route{better, old.term})
	}
}

// hint says who may lead p, where nothing is known.
func (r *routes) hint(p ring.PartitionID, node ring.NodeID) {
	s := r.slot(p)
	if s == nil {
		return
	}
	switch old := s.Load(); {
	case old == nil:
		s.CompareAndSwap(nil, &route{node: node})
	case old.node == 0:
		s.CompareAndSwap(old, &route{node, old.term})
	}
}

// candidates are the nodes that hold a replica of p, the preferred leader first.
func (r *routes) candidates(p ring.PartitionID) []ring.NodeID {
	s := r.state.Load()
	if s == nil {
		return nil
	}
	t := s.Target(p)
	if p == storage.MetaPartition {
		t = s.MetaTarget()
	}
	out := make([]ring.NodeID, 0, len(t.Voters))
	for _, id := range t.Voters {
		out = append(out, id.Node())
	}
	return out
}
