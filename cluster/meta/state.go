// Package meta is what a cluster must agree on: who its members are and where every replica belongs. It is pure: a
// State, and functions from one State to the next. The metadata group keeps the State as the one value of a partition
// of its own and changes it by compare-and-set, so whoever leads that group may compute the next State with the
// functions here and nobody can overwrite a change that it has not seen.
//
// It must not do I/O, read a clock, or know about gossip; what gossip suggests arrives as an argument.
package meta

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
)

// NodeState is where a member is in its life.
type NodeState string

// The states of a member. left is final; a node that comes back joins as a new one.
const (
	Joining  NodeState = "joining"  // admitted, its replicas are being filled
	Active   NodeState = "active"   // holds what it was given
	Draining NodeState = "draining" // gives its replicas away
	Left     NodeState = "left"     // holds nothing and never will again
)

// Node is a member.
type Node struct {
	ID     ring.NodeID `json:"id"`
	UUID   string      `json:"uuid"`
	Name   string      `json:"name"`
	HTTP   string      `json:"http"`   // host:port of the API as others reach it
	Peer   string      `json:"peer"`   // host:port of the peer plane
	Gossip string      `json:"gossip"` // host:port of the gossip plane
	Zone   string      `json:"zone,omitempty"`
	Weight uint32      `json:"weight"`
	State  NodeState   `json:"state"`
	Down   bool        `json:"down,omitempty"` // gone for so long that its replicas are placed elsewhere
	Meta   replica.ID  `json:"meta"`           // its replica of the metadata group
	// Incarnation is how often the node has started as a member: each start of it raises the number before it relies
	// on it, so no two processes ever have the same.
	Incarnation uint64 `json:"incarnation,omitempty"`
	Run         string `json:"run,omitempty"` // of the process that has it
	// Swept is the first incarnation that groups may still know transactions of: all below are closed, settled and
	// forgotten in every group (R11 of the commit protocol).
	Swept uint64 `json:"swept,omitempty"`
}

// State is the cluster's description. It is a value: functions that change it return a new one.
type State struct {
	ClusterID  string         `json:"cluster_id"`
	Partitions int            `json:"partitions"` // Q, fixed for ever
	Replicas   int            `json:"replicas"`   // N, per partition while there are nodes enough
	Epoch      uint32         `json:"epoch"`      // grows with every change
	LastNode   ring.NodeID    `json:"last_node"`  // highest number ever given
	Nodes      []Node         `json:"nodes"`      // by ID, those that left included
	Placement  [][]replica.ID `json:"placement"`  // by partition; the first is the preferred leader
	MetaVoters []replica.ID   `json:"meta_voters"`
}

// Key is the key of the metadata partition that holds the State.
const Key = "cluster"

// Encode is the State's stored form.
func (s *State) Encode() ([]byte, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode cluster state: %w", err)
	}
	return b, nil
}

// Decode reads what Encode wrote.
func Decode(b []byte) (*State, error) {
	s := &State{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("decode cluster state: %w", err)
	}
	if s.Partitions < 1 || len(s.Placement) != s.Partitions {
		return nil, fmt.Errorf("decode cluster state: %d partitions but %d placements", s.Partitions, len(s.Placement))
	}
	return s, nil
}

// Node returns the member with this number.
func (s *State) Node(id ring.NodeID) (Node, bool) {
	i, ok := slices.BinarySearchFunc(s.Nodes, id, func(n Node, id ring.NodeID) int { return int(n.ID) - int(id) })
	if !ok {
		return Node{}, false
	}
	return s.Nodes[i], true
}

// Member returns the member with this identity.
func (s *State) Member(uuid string) (Node, bool) {
	i := slices.IndexFunc(s.Nodes, func(n Node) bool { return n.UUID == uuid })
	if i < 0 {
		return Node{}, false
	}
	return s.Nodes[i], true
}

// Present are the members that have not left.
func (s *State) Present() []Node {
	return slices.DeleteFunc(slices.Clone(s.Nodes), func(n Node) bool { return n.State == Left })
}

// Target is where the members of a partition's group belong.
func (s *State) Target(p ring.PartitionID) replica.Target {
	if int(p) >= len(s.Placement) {
		return replica.Target{}
	}
	return replica.Target{Voters: s.Placement[p]}
}

// MetaTarget is where the members of the metadata group belong: every node holds a replica of it, so that every node
// knows the State without asking; the few voters decide.
func (s *State) MetaTarget() replica.Target {
	t := replica.Target{Voters: s.MetaVoters, AnyLeader: true}
	for _, n := range s.Nodes {
		if n.State != Left && !slices.Contains(s.MetaVoters, n.Meta) {
			t.Learners = append(t.Learners, n.Meta)
		}
	}
	return t
}

func (s *State) clone() *State {
	c := *s
	c.Nodes = slices.Clone(s.Nodes)
	c.Placement = slices.Clone(s.Placement)
	c.MetaVoters = slices.Clone(s.MetaVoters)
	return &c
}
