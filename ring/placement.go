package ring

// Placement says where the replicas of every partition belong. Replicas has one entry per partition, or none at all
// before the first placement. An entry lists distinct nodes; the first one is the preferred leader.
// Whoever got a Placement from this package owns it.
type Placement struct {
	Replicas [][]NodeID
}

// Leader returns the preferred leader of p, or 0 if the placement has no replica of it.
func (pl Placement) Leader(p PartitionID) NodeID {
	return first(pl.replicas(p))
}

// replicas returns the replicas of p, nil beyond the end. The placement owns the slice.
func (pl Placement) replicas(p PartitionID) []NodeID {
	if int(p) >= len(pl.Replicas) {
		return nil
	}
	return pl.Replicas[p]
}

func first(nodes []NodeID) NodeID {
	if len(nodes) == 0 {
		return 0
	}
	return nodes[0]
}
