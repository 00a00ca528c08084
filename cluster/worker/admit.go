package worker

import (
	"slices"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker/waitline"
	"github.com/ringkv/ringkv/storage"
)

// How a leader admits requests to its group's log: the wait line decides who may go, here it is carried out. Safety
// does not depend on it, as the state machine judges everything once more when it is applied (R5).

// write takes a command of a group that this node leads.
func (w *Worker) write(g *group, op *Op) {
	h, err := storage.CommandKeys(op.Data, nil)
	plain := isPlain(h.Kind)
	if op.Wish != nil {
		w.notMissed(g, op.Wish.Waiter)
	}
	if err == nil && h.Kind == storage.KindCommit {
		w.commit(g, op, h.ID)
		return
	}
	w.proposeLingering(g)
	switch {
	case plain && g.clearOf(op.Data):
		w.propose(g, op)
	case err != nil || h.Deny != storage.NoReason:
		w.propose(g, op) // the state machine refuses it
	case plain:
		w.admitPlain(g, op, &h)
	case h.Kind == storage.KindPrepare || h.Kind == storage.KindSingle:
		w.admitTxn(g, op, &h)
	default:
		w.propose(g, op)
		w.endWait(g, &h)
	}
}

// clearOf reports whether nothing is in a plain write's way. It is asked of every put and costs next to nothing where
// there are no locks.
func (g *group) clearOf(data []byte) bool {
	locks := g.part.Locks()
	if g.line.Idle() && locks.Len() == 0 {
		return true
	}
	free := true
	_, err := storage.CommandKeys(data, func(space storage.LockSpace, key []byte, exclusive bool) {
		_, held := locks.Holder(space, key, exclusive, storage.TxnID{})
		free = free && !held && !g.line.Wanted(space, key)
	})
	return free && err == nil
}

func (w *Worker) propose(g *group, op *Op) {
	op.begun = w.now
	storage.StampClock(op.Data, g.clock.now(w.now))
	if err := g.rep.Propose(op.Data, op); err != nil {
		w.finish(g, op, err)
		return
	}
	w.touch(g)
}

// finish answers an op; what it was granted is over.
func (w *Worker) finish(g *group, op *Op, err error) {
	if op.turn != nil {
		g.line.Release(op.turn)
	}
	if !op.ends.IsZero() {
		g.line.Left(op.ends)
	}
	op.finish(err)
}

func (w *Worker) admitPlain(g *group, op *Op, h *storage.CommandHeader) {
	op.turn = w.turnOf(op, h)
	op.turn.Kind = waitline.Plain
	w.submit(g, op, h)
}

// admitTxn takes a prepare, or a transaction of this group alone. A coordinator may have sent it before, or be at a later
// attempt than the one that waits.
func (w *Worker) admitTxn(g *group, op *Op, h *storage.CommandHeader) {
	if twin := g.line.Of(h.ID); twin != nil && twin.Attempt == h.Attempt {
		twin.Deadline = max(twin.Deadline, w.deadline(op))
		if first, ok := twin.Owner.(*Op); !ok || !first.attach(op) {
			op.finish(replica.ErrDropped)
		}
		return
	}
	w.withdraw(g, h.ID, h.Attempt-1)
	r := w.turnOf(op, h)
	r.Kind = waitline.Prepare
	if h.Kind == storage.KindSingle {
		r.Kind = waitline.Plain
	}
	op.turn = r
	w.submit(g, op, h)
}

// turnOf is an op as the wait line sees it.
func (w *Worker) turnOf(op *Op, h *storage.CommandHeader) *waitline.Request {
	r := &waitline.Request{
		Txn: h.ID, Attempt: h.Attempt, Age: h.Age, Ordered: h.Ordered,
		Deadline: w.deadline(op), Bytes: len(op.Data), Owner: op,
	}
	// An error shows again when it is applied: the state machine refuses what it cannot read.
	_, _ = storage.CommandKeys(op.Data, func(space storage.LockSpace, key []byte, exclusive bool) {
		r.Locks = append(r.Locks, waitline.Lock{Space: space, Key: key, Exclusive: exclusive, Judged: space == storage.TokenSpace})
	})
	r.Locks = waitline.Merge(r.Locks)
	return r
}

func (w *Worker) submit(g *group, op *Op, h *storage.CommandHeader) {
	r := op.turn
	switch v := g.line.Submit(r, g.part.Locks()); v {
	case waitline.Wait:
		if r.Holds != 0 && r.Holds < r.Attempt {
			w.letGo(g, r, h.Home)
		}
	case waitline.Pass:
		w.propose(g, op)
	default:
		w.carryOut(g, waitline.Decision{Request: r, Verdict: v})
	}
}

// letGo aborts the lower attempt of a transaction whose next one has to wait here: those ahead may be waiting for the
// locks of the lower one. It is dead, for its coordinator has begun the next (R1).
func (w *Worker) letGo(g *group, r *waitline.Request, home storage.PartitionID) {
	data := storage.AppendCommand(nil, &storage.Command{
		Kind: storage.KindAbort, Clock: g.clock.now(w.now), Txn: &storage.TxnCommand{ID: r.Txn, Attempt: r.Holds, Home: home},
	})
	if g.rep.Propose(data, nil) == nil {
		w.touch(g)
	}
}

// carryOut does what the line decided. Whatever is refused of a transaction goes into the log as such: a refusal that
// left no record is not a vote (R3).
func (w *Worker) carryOut(g *group, d waitline.Decision) {
	op, ok := d.Request.Owner.(*Op)
	switch {
	case !ok:
	case op.Kind == Read && d.Verdict == waitline.Grant:
		w.grantRead(g, op)
	case op.Kind == Write && d.Verdict == waitline.Grant:
		w.propose(g, op)
	case op.Kind == Write && !d.Request.Txn.IsZero():
		storage.DenyCommand(op.Data, storage.Conflict)
		w.propose(g, op)
	default:
		w.finish(g, op, ErrLocked)
	}
}

// endWait ends the wait of a prepare that has no future: its transaction was aborted or is being recovered. The answer
// comes from the record that the command just proposed leaves behind.
func (w *Worker) endWait(g *group, h *storage.CommandHeader) {
	switch h.Kind {
	case storage.KindAbort:
		w.withdraw(g, h.ID, h.Attempt)
	case storage.KindRefuse, storage.KindInquire, storage.KindPropose:
		w.withdraw(g, h.ID, storage.Sealed)
	}
}

func (w *Worker) withdraw(g *group, t storage.TxnID, a storage.Attempt) {
	if g.line.Waiting() == 0 {
		return
	}
	ds := g.line.Withdraw(t, a, w.decisions[:0])
	w.carryOutAll(g, ds)
	if len(ds) > 0 {
		w.serve(g)
	}
}

// serve lets those go who waited for what is over.
func (w *Worker) serve(g *group) {
	if g.line.Waiting() > 0 {
		w.carryOutAll(g, g.line.Serve(g.part.Locks(), w.decisions[:0]))
	}
}

func (w *Worker) carryOutAll(g *group, ds []waitline.Decision) {
	w.decisions = ds
	for _, d := range ds {
		w.carryOut(g, d)
	}
	clear(w.decisions)
}

// expireWaits ends the waits whose time is over.
func (w *Worker) expireWaits(g *group) {
	if g.line.Waiting() == 0 {
		return
	}
	if ds := g.line.Expire(w.now, w.decisions[:0]); len(ds) > 0 {
		w.carryOutAll(g, ds)
		w.serve(g)
	}
}

// requeue takes a plain write back that was applied without effect, as a transaction held the key: only now that this
// was seen may it be proposed again (R5). The log still has the data, which is stamped anew.
func (w *Worker) requeue(g *group, op *Op) {
	if !g.rep.Leading() {
		op.finish(&replica.NotLeaderError{Partition: g.id, Leader: g.rep.Leader()})
		return
	}
	op.Data = slices.Clone(op.Data)
	op.Result = storage.Result{}
	h, err := storage.CommandKeys(op.Data, nil)
	if err != nil {
		op.finish(replica.ErrDropped)
		return
	}
	w.admitPlain(g, op, &h)
}

// clearLine answers everybody who waits: the line belongs to a leadership that is over.
func (w *Worker) clearLine(g *group, err error) {
	for _, r := range g.line.Clear(nil) {
		if op, ok := r.Owner.(*Op); ok {
			op.finish(err)
		}
	}
}
