package sim

import (
	"time"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// recovering is a transaction that this process finishes for its coordinator.
type recovering struct {
	begun   bool
	waiting []func() // called when there is a conclusion, or the recovery has ended
}

func (r *recovering) wake() {
	waiting := r.waiting
	r.waiting = nil
	for _, do := range waiting {
		do()
	}
}

// onStuck is worker.Config.OnStuck: called amid a turn, so what follows comes later.
func (n *node) onStuck(_ ring.PartitionID, o storage.OpenTxn) {
	if s := n.side; s != nil {
		s.after(0, func() { s.suspect(o) })
	}
}

// suspect is told that an attempt was in doubt for too long. Its coordinator is asked whether it lives; if it does not
// say so, the attempt is recovered.
func (s *txnSide) suspect(o storage.OpenTxn) {
	if s.ledger == nil || s.recoveries[o.ID] != nil || len(o.Participants) == 0 {
		return
	}
	s.recoveries[o.ID] = &recovering{} // holds the place while the coordinator is asked
	s.inHand(o.ID, func(running bool) {
		if running {
			s.n.w.stats.Courtesies++
			s.drop(o.ID)
			return
		}
		s.recover(o)
	})
}

// rude is how often nobody is asked: no decision may depend on it.
const rude = 0.5

// inHand asks a transaction's coordinator whether it still runs. This is courtesy: no answer means no.
func (s *txnSide) inHand(t storage.TxnID, then func(bool)) {
	if !s.n.w.calm && s.n.w.chance(rude) {
		then(false)
		return
	}
	if t.Node == s.n.id {
		then(s.isRunning(t))
		return
	}
	over := false
	end := func(running bool) {
		if !over {
			over = true
			then(running)
		}
	}
	s.after(askTime, func() { end(false) })
	s.n.w.askCoordinator(s, t, func() { end(true) }, func() { end(false) })
}

// askCoordinator carries the question to the coordinator's node and the answer back.
func (w *world) askCoordinator(s *txnSide, t storage.TxnID, yes, no func()) {
	to := w.byID(t.Node)
	if to == nil || to.side == nil {
		return
	}
	d, there := w.net.pass(s.n, to)
	if !there {
		return
	}
	w.after(d, func() {
		to.side.run(func() {
			answer := no
			if to.side.isRunning(t) {
				answer = yes
			}
			if d, back := w.net.pass(to, s.n); back {
				s.after(d, answer)
			}
		})
	})
}

// recover takes the place over that suspect has reserved.
func (s *txnSide) recover(o storage.OpenTxn) {
	w := s.n.w
	if change := w.cfg.Sabotage.Suspect; change != nil {
		change(&o)
	}
	core := txn.NewRecovery(txn.RecoveryConfig{
		Open: o, Name: s.name(o.ID, o.Home), Node: storage.Ballot{Node: s.n.id, Nonce: s.newNonce()}, Seed: w.rng.Uint64(),
	})
	w.stats.Recoveries++
	w.note("recover", uint64(o.ID.Node)<<32|uint64(o.ID.Incarnation), o.ID.Seq)
	r := s.recoveries[o.ID]
	r.begun = true
	s.newTask(core, func(e *txn.Effects) {
		if e.Conclusion != txn.Inconclusive {
			w.txns.concluded(s.n, o.ID, e.Conclusion, core.Decision())
			r.wake()
		}
		if e.Finished {
			w.txns.byID[o.ID].free("node " + s.n.name)
			s.drop(o.ID)
		}
	}).step(txn.Start{})
}

// drop gives a recovery's place free.
func (s *txnSide) drop(t storage.TxnID) {
	r := s.recoveries[t]
	delete(s.recoveries, t)
	if r != nil {
		r.wake()
	}
}

// awaitRecovery recovers o, or joins whoever in this process does, and calls then at the conclusion.
func (s *txnSide) awaitRecovery(o storage.OpenTxn, then func()) {
	s.suspect(o)
	r := s.recoveries[o.ID]
	if r == nil {
		s.after(10*time.Millisecond, then)
		return
	}
	r.waiting = append(r.waiting, func() { s.after(0, then) })
}

// lookForDead begins to sweep, where this node leads the metadata group, what dead incarnations have left (R11).
func (s *txnSide) lookForDead() {
	state := s.n.worker.State()
	st, known := s.n.status(storage.MetaPartition) // leaders has hints only, which a lost answer has set back
	if state == nil || s.ledger == nil || !known || st.Role != "leader" {
		return
	}
	for _, m := range state.Nodes {
		if live := liveFrom(&m); max(1, m.Swept) < live {
			s.sweep(m.ID, uint32(live))
		}
	}
}

// liveFrom is the first incarnation of a node that may still begin transactions.
func liveFrom(m *meta.Node) uint64 {
	if m.State == meta.Left {
		return m.Incarnation + 1
	}
	return m.Incarnation
}

func (s *txnSide) sweep(id ring.NodeID, first uint32) {
	if s.sweeps[id] >= first {
		return
	}
	s.sweeps[id] = first
	groups := make([]storage.PartitionID, s.n.w.cfg.Partitions)
	for i := range groups {
		groups[i] = storage.PartitionID(i)
	}
	s.n.w.note("sweep", uint64(id), uint64(first))
	var t *task
	t = s.newTask(txn.NewSweep(id, first, groups), func(e *txn.Effects) {
		for _, o := range e.Recover {
			s.after(0, func() {
				s.awaitRecovery(o, func() { t.step(txn.Recovered{ID: o.ID, Attempt: o.Attempt}) })
			})
		}
		if e.Finished {
			s.swept(id, first)
		}
	})
	t.step(txn.Start{})
}

// swept notes the end; if that is not known to have come about, the sweep is done once more.
func (s *txnSide) swept(id ring.NodeID, first uint32) {
	note := func(old *meta.State) (*meta.State, error) { return old.SetSwept(id, uint64(first)) }
	s.after(0, func() {
		s.n.w.change(s.n, note, func(err error) {
			s.run(func() {
				if err != nil {
					delete(s.sweeps, id)
					return
				}
				s.n.w.stats.Sweeps++
			})
		})
	})
}
