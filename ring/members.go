package ring

import (
	"cmp"
	"fmt"
	"slices"
)

// MaxMembers is the largest number of members that Place accepts.
const MaxMembers = 1024

// Member is a node as far as placement is concerned.
type Member struct {
	ID     NodeID
	Zone   string // replicas avoid to share one; members without a zone share the zone ""
	Weight uint32 // relative share of replicas and leaders; 0 while it drains: it holds nothing
}

// fleet is the members that can hold something, in ascending order of id, and how they divide into zones. Nodes and
// zones are meant by their index from here on.
type fleet struct {
	nodes   []Member
	index   map[NodeID]int // looked up only, never iterated
	zone    []int          // of each node
	members [][]uint16     // nodes of each zone
}

// newFleet checks the members and keeps those with weight.
// Errors: ErrTooManyMembers, ErrNodeID, ErrDuplicateNode, ErrNoCapacity.
func newFleet(members []Member) (*fleet, error) {
	sorted := slices.Clone(members)
	slices.SortFunc(sorted, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	if err := checkMembers(sorted); err != nil {
		return nil, err
	}
	f := &fleet{index: make(map[NodeID]int, len(sorted))}
	zones := make(map[string]int)
	for _, m := range sorted {
		if m.Weight > 0 {
			f.admit(m, zones)
		}
	}
	if len(f.nodes) == 0 {
		return nil, ErrNoCapacity
	}
	return f, nil
}

func checkMembers(sorted []Member) error {
	if len(sorted) > MaxMembers {
		return fmt.Errorf("%w: got %d", ErrTooManyMembers, len(sorted))
	}
	for i, m := range sorted {
		if m.ID == 0 {
			return ErrNodeID
		}
		if i > 0 && sorted[i-1].ID == m.ID {
			return fmt.Errorf("%w: %d", ErrDuplicateNode, m.ID)
		}
	}
	return nil
}

// admit appends a node; zones numbers the zones in the order of their first node.
func (f *fleet) admit(m Member, zones map[string]int) {
	z, known := zones[m.Zone]
	if !known {
		z = len(f.members)
		zones[m.Zone] = z
		f.members = append(f.members, nil)
	}
	i := len(f.nodes)
	f.nodes = append(f.nodes, m)
	f.index[m.ID] = i
	f.zone = append(f.zone, z)
	f.members[z] = append(f.members[z], uint16(i))
}

// zoneLimit returns the smallest number k such that a partition's replicas can be spread with at most k in a zone:
// 1 while there are as many zones as replicas. replicas is at most the number of nodes, so there is one.
func (f *fleet) zoneLimit(replicas int) int {
	for k := 1; ; k++ {
		room := 0
		for _, nodes := range f.members {
			room += min(k, len(nodes))
		}
		if room >= replicas {
			return k
		}
	}
}
