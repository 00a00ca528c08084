package worker

import (
	"slices"
	"time"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/ring"
)

// Filled reports whether this node holds every replica that s gives it, each a voter with its state in place.
func (w *Worker) Filled(s *meta.State) bool {
	for p, ids := range s.Placement {
		for _, id := range ids {
			if id.Node() != w.cfg.Node {
				continue
			}
			g := w.groups[ring.PartitionID(p)]
			if g == nil || g.install != nil || !slices.Contains(g.rep.Conf().GetVoters(), uint64(g.rep.ID())) {
				return false
			}
		}
	}
	return true
}

// HandOver gives every leadership away that somebody can take, because this node is about to stop. It returns how many
// groups this node still leads that have somebody to take them.
func (w *Worker) HandOver() int {
	n := 0
	for _, g := range w.order {
		if g.install == nil && g.rep.HandOver() {
			w.touch(g)
			n++
		}
	}
	return n
}

// Led calls fn for every group that this node leads, with the term.
func (w *Worker) Led(fn func(p ring.PartitionID, term uint64)) {
	for _, g := range w.order {
		if g.rep.Leading() {
			fn(g.id, g.rep.Term())
		}
	}
}

// GroupStatus is a replica as operators see it.
type GroupStatus struct {
	Partition ring.PartitionID
	Role      string // leader, follower, candidate, learner
	Term      uint64
	Commit    uint64 // index
	Applied   uint64 // index
	Lag       uint64 // entries: of the slowest member for a leader, else committed here but not applied
	Keys      uint64
	Bytes     uint64 // of keys and values
	Expired   uint64 // keys that have expired and whose space is yet to be given back; not among Keys
	Settled   bool   // a leader whose members are those of the target
	InDoubt   int    // transactions that have voted here and wait for their decision
	Waiting   int    // requests that wait for locks, at a leader
	Leases    int    // that somebody has
	Waiters   int    // for leases
	Alarms    uint64 // broken invariants of the commit protocol met since the start: must be 0
	// Overdue is, at a leader, how long ago the first key that is still there should have gone; 0 if none should. One that has
	// gone for readers counts as gone.
	Overdue time.Duration
}

// Status lists all replicas, the metadata group's last.
func (w *Worker) Status() []GroupStatus {
	out := make([]GroupStatus, 0, len(w.order))
	for _, g := range w.order {
		m := g.part.Meta()
		st := g.rep.Status()
		held, waiting := g.part.Leases()
		keys, bytes := m.Live()
		out = append(out, GroupStatus{
			Partition: g.id, Role: st.Role, Term: st.Term, Commit: st.Commit, Applied: m.Applied, Lag: st.Lag,
			Keys: keys, Bytes: bytes, Expired: m.Expired, Settled: g.rep.Settled(w.target(g.id)),
			InDoubt: len(g.part.Open()), Waiting: g.line.Waiting(), Alarms: g.part.Alarms(),
			Leases: held, Waiters: waiting, Overdue: w.overdue(g),
		})
	}
	return out
}

// Installing is how many replicas are being filled from a snapshot.
func (w *Worker) Installing() int {
	n := 0
	for _, g := range w.order {
		if g.install != nil {
			n++
		}
	}
	return n
}
