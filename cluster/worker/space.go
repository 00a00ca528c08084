package worker

import (
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// Space says how much of its disk a node may still use. Whoever owns the worker measures it.
type Space uint8

// The steps from an empty disk to a full one. Each takes what the one before takes, but for what it says.
const (
	Roomy Space = iota
	Low         // leads nothing that others could lead, and takes no snapshots
	Tight       // takes no entries that need space: it falls behind
	Full        // takes nothing but what keeps leaders elected; writes nothing of its own accord
)

func (s Space) String() string {
	switch s {
	case Roomy:
		return "roomy"
	case Low:
		return "low"
	case Tight:
		return "tight"
	case Full:
		return "full"
	}
	return "unknown"
}

// SetSpace tells how full this node's disk is, and which nodes, this one included, have theirs nearly full. Groups that
// such a node leads are led by others as soon as there are any.
func (w *Worker) SetSpace(space Space, crowded []ring.NodeID) {
	changed := !slices.Equal(w.crowded, crowded)
	w.space, w.crowded = space, crowded
	if !changed {
		return
	}
	for _, g := range w.order {
		if g.rep.Leading() {
			g.rep.Hurry()
		}
	}
}

// StoredBytes is how much the replicas of this node hold, keys and values, in bytes.
func (w *Worker) StoredBytes() uint64 {
	var total uint64
	for _, g := range w.order {
		total += g.part.Meta().Bytes
	}
	return total
}

// refuses tells whether a message brings entries that this node has no room for. It is then as good as lost; the leader
// repeats it, once a heartbeat, until there is room. The metadata group is small and needed to mend anything.
func (w *Worker) refuses(p ring.PartitionID, m *raftpb.Message) bool {
	if w.space < Tight || p == storage.MetaPartition || m.GetType() != raftpb.MsgApp {
		return false
	}
	return slices.ContainsFunc(m.GetEntries(), func(e *raftpb.Entry) bool {
		plain := e.GetType() == raftpb.EntryNormal && len(e.GetData()) > 0
		return plain && (w.space == Full || storage.NeedsSpace(e.GetData()))
	})
}
