package txn_test

import (
	"fmt"
	"slices"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// mishap is anything but the normal course.
func (w *world) mishap() {
	x := w.weights
	switch w.pick(x.crash, x.wake, x.recover, x.die, x.status, x.sweep, x.lose, x.restart, x.act) {
	case 0:
		w.crash(w.nodes[w.rng.IntN(len(w.nodes))])
	case 1:
		w.clients.wakeSleeper()
	case 2:
		w.recoverSome()
	case 3:
		w.die()
	case 4:
		w.clients.status()
	case 5:
		n := w.nodes[w.rng.IntN(len(w.nodes))]
		w.sweep(n, n.ledger.Incarnation())
	case 6:
		w.lose()
	case 7:
		w.restart()
	default:
		w.clients.act()
	}
}

// die ends a recovery or a sweep half way.
func (w *world) die() {
	for _, i := range w.rng.Perm(len(w.procs)) {
		if p := w.procs[i]; p.node == nil && !p.over {
			w.logf("%s dies", p.name)
			p.over = true
			p.end()
			return
		}
	}
}

func (p *proc) end() {
	if p.ended != nil {
		p.ended()
	}
}

func (w *world) lose() {
	if len(w.commands) > 0 {
		i := w.rng.IntN(len(w.commands))
		w.commands = slices.Delete(w.commands, i, i+1)
	}
}

// restart opens a real participant anew.
func (w *world) restart() {
	if w.shadow == nil {
		return
	}
	if err := w.shadow.restart(w.groups[w.rng.IntN(len(w.groups))].id); err != nil {
		w.judge.convict(err.Error())
	}
}

// crash ends an incarnation: its coordinators are dead, or sleep and will go on as zombies.
func (w *world) crash(n *node) {
	w.logf("node %d crashes", n.id)
	for _, p := range w.procs {
		if p.node == n && !p.over && !p.asleep {
			p.asleep = true
			p.over = w.chance(60)
		}
	}
	w.incarnate(n)
	w.clients.lost(n)
}

// recoverSome starts a recovery of one transaction that is open somewhere, whether its coordinator lives or not.
func (w *world) recoverSome() {
	g := w.groups[w.rng.IntN(len(w.groups))]
	open := g.open(func(storage.TxnID) bool { return true })
	if len(open) > 0 {
		w.recover(*open[w.rng.IntN(len(open))], nil)
	}
}

func (w *world) recover(o storage.OpenTxn, then func()) *proc {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	n.nonce++
	if w.faults.has(inventAttempt) {
		o.Attempt++
	}
	if w.faults.has(twoPhaseOnVotes) && o.Protocol == storage.TwoPhase {
		o.Protocol = storage.Auto
	}
	r := txn.NewRecovery(txn.RecoveryConfig{
		Open: o,
		Name: o.ID.String(),
		Node: storage.Ballot{Node: n.id, Nonce: n.nonce},
		Seed: w.rng.Uint64(),
	})
	p := &proc{name: fmt.Sprintf("R%d.%d of %v", n.id, n.nonce, o.ID), core: r, ended: then}
	p.bend = w.bendRecovery
	p.effects = func(e *txn.Effects) {
		if e.Conclusion != txn.Inconclusive {
			w.judge.seen["recovery: "+e.Conclusion.String()]++
		}
		switch e.Conclusion {
		case txn.ConcludeCommitted:
			w.judge.told(p.name, o.ID, r.Decision())
		case txn.ConcludeAborted:
			w.judge.told(p.name, o.ID, storage.DecideAbort)
		}
	}
	w.spawn(p)
	return p
}

// sweep forgets the incarnations of a node below first.
func (w *world) sweep(n *node, first uint32) {
	ids := make([]storage.PartitionID, len(w.groups))
	for i, g := range w.groups {
		ids[i] = g.id
	}
	p := &proc{name: fmt.Sprintf("sweep of %d below %d", n.id, first), core: txn.NewSweep(n.id, first, ids)}
	p.effects = func(e *txn.Effects) {
		if e.Finished {
			w.judge.seen["sweep finished"]++
		}
		for _, o := range slices.Clone(e.Recover) {
			w.recover(o, func() { w.step(p, txn.Recovered{ID: o.ID, Attempt: o.Attempt}) })
		}
	}
	w.spawn(p)
}
