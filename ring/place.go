package ring

import (
	"fmt"
	"slices"
)

// Place returns where the replicas of q partitions belong: min(n, nodes) each, on the members with weight, starting
// from prev, of which it changes as little as it can. prev is the placement in force, or empty; nodes in it that are
// no members any more count as gone. See DESIGN.md for what the result guarantees.
//
// It is a pure function: the same members in any order and the same prev give the same result on every machine.
// It keeps nothing of its arguments, and the result shares no memory with them.
//
// Errors: ErrPartitions, ErrReplication, ErrTooManyMembers, ErrNodeID, ErrDuplicateNode, ErrNoCapacity,
// ErrPlacementSize.
func Place(q, n int, members []Member, prev Placement) (Placement, error) {
	s, err := newTask(q, n, members, prev)
	if err != nil {
		return Placement{}, err
	}
	order := walks(s.fleet, q)
	replicas := s.replicas(order)
	leaders := s.leaders(order, replicas)
	return s.assemble(replicas, leaders), nil
}

// LowerBound returns how many replicas any plan must add to get from prev to a balanced placement that keeps apart
// what should be apart: no plan copies fewer partitions. The errors are those of Place.
func LowerBound(q, n int, members []Member, prev Placement) (int, error) {
	s, err := newTask(q, n, members, prev)
	if err != nil {
		return 0, err
	}
	a := s.inherited(make([][]uint16, q))
	return max(a.addedByFloors(), a.addedByCeilings(), a.addedByPartitions()), nil
}

// task is one question to Place, checked.
type task struct {
	fleet    *fleet
	q        int
	degree   int // replicas of every partition
	limit    int // most replicas of a partition in one zone
	previous Placement
}

func newTask(q, n int, members []Member, prev Placement) (*task, error) {
	if err := checkPartitions(q); err != nil {
		return nil, err
	}
	if n < 1 {
		return nil, fmt.Errorf("%w: got %d", ErrReplication, n)
	}
	if got := len(prev.Replicas); got != 0 && got != q {
		return nil, fmt.Errorf("%w: %d, not %d", ErrPlacementSize, got, q)
	}
	f, err := newFleet(members)
	if err != nil {
		return nil, err
	}
	degree := min(n, len(f.nodes))
	return &task{fleet: f, q: q, degree: degree, limit: f.zoneLimit(degree), previous: prev}, nil
}

// inherited returns the allocation of replicas as the previous placement leaves it, with the given preferences.
func (s *task) inherited(order [][]uint16) *allocation {
	a := newAllocation(rules{
		degree:    s.degree,
		prefers:   order,
		zone:      s.fleet.zone,
		zoneNodes: s.fleet.members,
		zoneLimit: s.limit,
		shares:    fairShares(s.fleet, s.q, s.degree, s.limit),
	})
	for p, nodes := range s.previous.Replicas {
		for _, id := range nodes {
			if v, ok := s.fleet.index[id]; ok {
				a.inherit(p, uint16(v))
			}
		}
	}
	return a
}

// replicas decides who holds each partition; the order within a partition says nothing yet.
func (s *task) replicas(order [][]uint16) *allocation {
	a := s.inherited(order)
	a.trim()
	a.balance()
	return a
}

// leaders decides who leads each partition, among its replicas.
func (s *task) leaders(order [][]uint16, replicas *allocation) *allocation {
	prefers := make([][]uint16, s.q)
	table := make([]uint16, 0, s.q*s.degree)
	for p, nodes := range order {
		begin := len(table)
		for _, v := range nodes {
			if replicas.held[v].has(p) {
				table = append(table, v)
			}
		}
		prefers[p] = table[begin:len(table):len(table)]
	}
	a := newAllocation(rules{
		degree:    1,
		prefers:   prefers,
		zone:      make([]int, len(s.fleet.nodes)),
		zoneNodes: [][]uint16{nil}, // one zone that is never full
		zoneLimit: 2,
		shares:    leaderShares(s.fleet, s.q),
	})
	for p := range prefers {
		leader := s.previous.Leader(PartitionID(p))
		if v, ok := s.fleet.index[leader]; ok && replicas.held[v].has(p) {
			a.inherit(p, uint16(v))
		}
	}
	a.balance()
	return a
}

// assemble lists each partition's leader first, then who was there before in the old order, then newcomers in the
// order of the walk.
func (s *task) assemble(replicas, leaders *allocation) Placement {
	rows := make([][]NodeID, s.q)
	table := make([]NodeID, 0, s.q*s.degree)
	for p := range rows {
		begin := len(table)
		add := func(v int) {
			id := s.fleet.nodes[v].ID
			if replicas.held[v].has(p) && !slices.Contains(table[begin:], id) {
				table = append(table, id)
			}
		}
		add(int(leaders.holders[p][0]))
		for _, id := range s.previous.replicas(PartitionID(p)) {
			if v, ok := s.fleet.index[id]; ok {
				add(v)
			}
		}
		for _, v := range leaders.prefers[p] {
			add(int(v))
		}
		rows[p] = table[begin:len(table):len(table)]
	}
	return Placement{Replicas: rows}
}
