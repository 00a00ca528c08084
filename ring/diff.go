package ring

import "slices"

// Move is what changes for one partition between two placements.
type Move struct {
	Partition PartitionID
	Added     []NodeID // in the order of the new placement; each costs a copy of the partition's data
	Removed   []NodeID // in the order of the old placement
	OldLeader NodeID   // 0 if there was none
	NewLeader NodeID   // equal to OldLeader if leadership stays
}

// Diff lists the partitions whose replicas or preferred leader differ, in ascending order. The order of the other
// replicas means nothing. Either placement may be empty.
func Diff(from, to Placement) []Move {
	var moves []Move
	for p := range max(len(from.Replicas), len(to.Replicas)) {
		id := PartitionID(p)
		m := Move{
			Partition: id,
			Added:     missing(to.replicas(id), from.replicas(id)),
			Removed:   missing(from.replicas(id), to.replicas(id)),
			OldLeader: from.Leader(id),
			NewLeader: to.Leader(id),
		}
		if len(m.Added) > 0 || len(m.Removed) > 0 || m.OldLeader != m.NewLeader {
			moves = append(moves, m)
		}
	}
	return moves
}

// missing returns the nodes of a that are not in b.
func missing(a, b []NodeID) []NodeID {
	var out []NodeID
	for _, id := range a {
		if !slices.Contains(b, id) {
			out = append(out, id)
		}
	}
	return out
}
