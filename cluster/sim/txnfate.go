package sim

import (
	"errors"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// telling is what somebody was told of a transaction.
type telling uint8

const (
	tellNothing telling = iota
	tellCommitted
	tellAborted
)

func (t telling) String() string { return [...]string{"unknown", "committed", "aborted"}[t] }

// fate is one transaction as the world knows it. A client's request may be run as several, one after the other.
type fate struct {
	id    storage.TxnID
	name  string
	plan  *txn.Plan
	told  telling
	freed string // who first saw to its end in every group: "coordinator", or the node that recovered it
}

// tell notes what somebody was told; two tellings that contradict each other are a violation (I3, I4).
func (f *fate) tell(w *world, t telling) {
	if t == tellNothing || f.told == t {
		return
	}
	if f.told != tellNothing {
		w.violate("transaction %v: told %v, then %v", f.id, f.told, t)
	}
	f.told = t
}

// fates are all transactions there ever were.
type fates struct {
	w    *world
	all  []*fate
	byID map[storage.TxnID]*fate
}

func newFates(w *world) fates { return fates{w: w, byID: make(map[storage.TxnID]*fate)} }

func (x *fates) begin(id storage.TxnID, plan *txn.Plan, name string) *fate {
	if x.byID[id] != nil {
		x.w.violate("transaction %v began twice", id)
	}
	f := &fate{id: id, name: name, plan: plan}
	x.all = append(x.all, f)
	x.byID[id] = f
	x.w.stats.Transactions++
	x.w.note("transaction", uint64(id.Node)<<32|uint64(id.Incarnation), id.Seq)
	return f
}

// answered notes what the coordinator tells its client.
func (x *fates) answered(f *fate, a *txn.Answer, attempt storage.Attempt) {
	if attempt > 1 {
		x.w.stats.Ordered++
	}
	switch {
	case a.Outcome != nil && a.Outcome.Replayed: // the answer of another
		x.w.stats.Replays++
		f.tell(x.w, tellAborted)
	case a.Outcome != nil:
		f.tell(x.w, toldBy(a.Outcome.Decision))
	case errors.Is(a.Err, txn.ErrUnknownOutcome):
		return
	default:
		f.tell(x.w, tellAborted)
	}
}

// free notes who saw to the end of a transaction.
func (f *fate) free(who string) {
	if f.freed == "" {
		f.freed = who
	}
}

// toldBy is what clients make of a decision.
func toldBy(d storage.Decision) telling {
	switch d {
	case storage.DecideThen, storage.DecideElse:
		return tellCommitted
	case storage.DecideNothing, storage.DecideAbort:
		return tellAborted
	}
	return tellNothing
}

// concluded notes what a recovery has found out.
func (x *fates) concluded(n *node, id storage.TxnID, c txn.Conclusion, d storage.Decision) {
	f := x.byID[id]
	if f == nil {
		x.w.violate("node %s recovers %v, which never began", n.name, id)
		return
	}
	switch c {
	case txn.ConcludeCommitted:
		f.tell(x.w, toldBy(d))
	case txn.ConcludeAborted:
		f.tell(x.w, tellAborted)
	}
}

// sent and heard count what a run went through.
func (x *fates) sent(c *txn.Send) {
	if (c.Kind == storage.KindInquire || c.Kind == storage.KindPropose) && c.Txn.Ballot.Round > 0 {
		x.w.stats.Ballots++
	}
}

func (x *fates) heard(r *storage.TxnReply) {
	if r.Kind == storage.ReplyNo && r.Reason == storage.Conflict {
		x.w.stats.Conflicts++
	}
}
