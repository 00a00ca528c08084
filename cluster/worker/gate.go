package worker

import (
	"time"

	"github.com/ringkv/ringkv/cluster/worker/waitline"
	"github.com/ringkv/ringkv/storage"
)

// readable is called when the state machine has reached what a read has to see. A key that a transaction holds
// exclusively may have changed already, as far as its clients were told: its old value must not be shown (I7).
func (w *Worker) readable(g *group, op *Op) {
	if !g.hides(op) {
		w.grantRead(g, op)
		return
	}
	w.proposeLingering(g)
	r := &waitline.Request{Kind: waitline.Read, Deadline: w.deadline(op), Owner: op}
	for _, k := range op.Keys {
		r.Locks = append(r.Locks, waitline.Lock{Space: storage.ItemSpace, Key: k})
		r.Bytes += len(k)
	}
	for _, k := range op.Names {
		r.Locks = append(r.Locks, waitline.Lock{Space: storage.NameSpace, Key: k})
		r.Bytes += len(k)
	}
	r.Locks = waitline.Merge(r.Locks)
	if v := g.line.Submit(r, g.part.Locks()); v != waitline.Wait {
		w.carryOut(g, waitline.Decision{Request: r, Verdict: v})
	}
}

// hides reports whether a transaction holds exclusively what a read wants to see.
func (g *group) hides(op *Op) bool {
	locks := g.part.Locks()
	if locks.Len() == 0 {
		return false
	}
	for _, k := range op.Keys {
		if _, held := locks.XLocked(k); held {
			return true
		}
	}
	for _, k := range op.Names {
		if _, held := locks.Holder(storage.NameSpace, k, false, storage.TxnID{}); held {
			return true
		}
	}
	return false
}

// grantRead gives the right to read. Nothing is applied between the look at the locks and here, and what is applied is
// in the engine: View is the state that the locks are of.
func (w *Worker) grantRead(g *group, op *Op) {
	op.Clock = g.clock.now(w.now)
	if op.Span != nil {
		op.Locked = g.part.Locks().XLockedIn(op.Span.Start, op.Span.End)
	}
	if op.Exact {
		op.View = w.engine.View()
	}
	var err error
	if op.LeaseName != nil {
		err = w.readLease(g, op)
	}
	op.finish(err)
}

// deadline is when an op has waited long enough.
func (w *Worker) deadline(op *Op) time.Duration {
	most := w.now + MaxWait
	if op.Deadline == 0 || op.Deadline > most {
		return most
	}
	return op.Deadline
}
