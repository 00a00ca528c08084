package cluster

import (
	"context"
	"fmt"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// What the sweeper of dead incarnations needs of the cluster (R11), and who this node is.

// ID is this node's number, 0 until it is a member.
func (n *Node) ID() ring.NodeID { return n.self() }

// ClusterID is the cluster's, "" until the node is a member.
func (n *Node) ClusterID() string { return n.identity.Load().ClusterID }

// Ring maps keys to partitions; nil until the node is a member.
func (n *Node) Ring() *ring.Ring { return n.routes.ring.Load() }

// LeadsMeta reports whether this node believes that it leads the metadata group: a hint for those jobs of which one
// node in the cluster is enough.
func (n *Node) LeadsMeta() bool {
	return n.isMember() && n.routes.leader(storage.MetaPartition) == n.self()
}

// Incarnations are those of one node, past and present.
type Incarnations struct {
	Node  ring.NodeID
	Live  uint64 // the first that may still begin transactions: the present one, or the next of a node that left
	Swept uint64 // the first that groups may still know transactions of; sweep those from here to below Live
}

// Incarnations lists those of all nodes that ever were members, as this node has heard, by number.
// Error: ErrNotMember.
func (n *Node) Incarnations() ([]Incarnations, error) {
	s := n.routes.state.Load()
	if s == nil {
		return nil, ErrNotMember
	}
	out := make([]Incarnations, 0, len(s.Nodes))
	for _, m := range s.Nodes {
		in := Incarnations{Node: m.ID, Live: m.Incarnation, Swept: max(1, m.Swept)}
		if m.State == meta.Left {
			in.Live++
		}
		out = append(out, in)
	}
	return out, nil
}

// SetSwept has the metadata group record that all incarnations of a node below first are forgotten in every group. It
// may be repeated. Errors: meta.ErrAlive, ErrUnavailable; ErrUnknownOutcome.
func (n *Node) SetSwept(ctx context.Context, id ring.NodeID, first uint64) error {
	_, err := n.changeState(ctx, func(s *meta.State) (*meta.State, error) { return s.SetSwept(id, first) })
	if err != nil {
		return fmt.Errorf("record swept incarnations of node %d: %w", id, err)
	}
	return nil
}
