package worker

import (
	"fmt"
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/storage"
)

// ready is one group's effects on their way through a pass.
type ready struct {
	g  *group
	rd replica.Ready
}

// gather collects the effects of every group that has some. A group with a snapshot to install leaves the pass and
// rests until the install is done.
func (w *Worker) gather() {
	w.readies = w.readies[:0]
	for _, g := range w.dirty {
		g.dirty = false
		if g.install != nil || !g.rep.HasReady() {
			continue
		}
		rd := g.rep.Ready()
		w.finishAll(g, rd.Dropped, replica.ErrDropped) // at once: an install or a failing disk could hold them up
		w.finishAll(g, rd.Lost, replica.ErrOutcomeUnknown)
		if len(rd.Dropped) > 0 {
			g.stopChores() // our own proposals may be among them
		}
		w.tellLead(g)
		w.stand(g)
		if rd.Snapshot != nil {
			w.beginInstall(g, rd)
			continue
		}
		g.dropSpool() // a spool that raft did not take up is of no use
		w.readies = append(w.readies, ready{g, rd})
	}
	w.dirty = w.dirty[:0]
	w.publish()
}

// process carries the gathered effects out, in the order that replica.Ready asks for.
func (w *Worker) process() error {
	w.sendEarly()
	if err := w.persist(); err != nil {
		return err
	}
	for i := range w.readies {
		r := &w.readies[i]
		w.sendAll(r, r.rd.Late)
	}
	w.out.Flush()
	if err := w.apply(); err != nil {
		return err
	}
	for i := range w.readies {
		w.advance(&w.readies[i])
	}
	w.publish()
	clear(w.readies)
	return nil
}

// sendEarly sends what may overtake the fsync, so that the others' disks work while ours does.
func (w *Worker) sendEarly() {
	sent := false
	for i := range w.readies {
		r := &w.readies[i]
		sent = sent || len(r.rd.Early) > 0
		w.sendAll(r, r.rd.Early)
	}
	if sent {
		w.out.Flush()
	}
}

func (w *Worker) sendAll(r *ready, msgs []*raftpb.Message) {
	g := r.g
	for _, m := range msgs {
		switch {
		case m.GetType() == raftpb.MsgSnap:
			w.sendSnapshot(g, m)
		case w.isNews(g, m) && !r.changesMembers():
			w.holdNews(g, m)
		default:
			if m.GetType() == raftpb.MsgApp {
				g.lingering.drop(m.GetTo())
			}
			w.post(g, m)
		}
	}
}

// changesMembers reports whether a configuration is committed with this pass. The others must hear of it at once: while the
// leader alone knows that a new voter counts, the loss of the leader can leave too few who would ask that voter.
func (r *ready) changesMembers() bool {
	return slices.ContainsFunc(r.rd.Committed, func(e *raftpb.Entry) bool { return e.GetType() != raftpb.EntryNormal })
}

func (w *Worker) post(g *group, m *raftpb.Message) {
	w.out.Send(replica.ID(m.GetTo()).Node(), g.id, m)
}

// persist writes all groups' entries and votes as one record. A commit index alone is not written: it is a hint, and
// the next entry brings it along.
func (w *Worker) persist() error {
	w.batch.Clear()
	w.entries = w.entries[:0]
	sync := false
	for i := range w.readies {
		r := &w.readies[i]
		if !r.rd.MustSync {
			continue
		}
		sync = true
		if n := len(r.rd.Entries); n > 0 {
			from := len(w.entries)
			w.entries = replica.ToLog(w.entries, r.rd.Entries)
			w.batch.Append(r.g.id, w.entries[from:])
			w.readClocks(r.g, r.rd.Entries)
			for _, e := range r.rd.Entries {
				r.g.logBytes += uint64(len(e.GetData())) + entryOverhead
			}
		}
		if r.rd.HasState {
			w.batch.SetState(r.g.id, r.rd.State)
		}
	}
	if !sync {
		return nil
	}
	err := w.log.Write(&w.batch, true)
	clear(w.entries) // else the values of a large turn stay in memory until the next
	if err != nil {
		return fmt.Errorf("write raft log: %w", err)
	}
	for i := range w.readies {
		w.readies[i].g.rep.Stable(&w.readies[i].rd)
	}
	return nil
}

const entryOverhead = 32

// apply takes all committed entries into the state machines, in one engine batch or, if they do not fit, in several,
// each complete in itself.
func (w *Worker) apply() error {
	a := applier{w: w}
	for i := range w.readies {
		r := &w.readies[i]
		for _, e := range r.rd.Committed {
			if err := a.entry(r.g, e); err != nil {
				a.giveUp()
				return err
			}
		}
	}
	if err := a.commit(); err != nil {
		a.giveUp()
		return err
	}
	return nil
}

// applier fills engine batches.
type applier struct {
	w       *Worker
	batch   storage.Batch
	begun   time.Duration
	touched []*group
	done    []result // to be told once the batch is committed
	state   bool     // the metadata partition changed
	conf    bool     // a configuration changed
}

// result is what an op is told, or, without one, what became of somebody who waits for a lease.
type result struct {
	g     *group
	op    *Op
	event *storage.LeaseEvent
	res   storage.Result
	err   error
}

// giveUp answers those whose batch failed: whether it is durable nobody knows.
func (a *applier) giveUp() {
	for _, r := range a.done {
		if r.op == nil {
			continue // is told with all others that wait
		}
		if r.err == nil {
			r.err = replica.ErrOutcomeUnknown
		}
		a.w.finish(r.g, r.op, r.err)
	}
	a.done = nil
}

func (a *applier) entry(g *group, e *raftpb.Entry) error {
	room := a.w.engine.MaxBatchBytes() - storage.FlushCost*(len(a.touched)+1)
	if a.batch != nil && !g.part.Fits(e.GetData(), room-a.batch.Size()) {
		if err := a.commit(); err != nil {
			return err
		}
	}
	if a.batch == nil {
		a.batch = a.w.engine.Batch()
		if a.w.cfg.Now != nil {
			a.begun = a.w.cfg.Now()
		}
	}
	if n := len(a.touched); n == 0 || a.touched[n-1] != g {
		a.touched = append(a.touched, g)
	}
	res, err := a.one(g, e)
	if err != nil {
		a.batch.Discard()
		return err
	}
	tag, ours := g.rep.Applied(e.GetIndex(), e.GetTerm())
	op, asked := tag.(*Op) // else it is a chore of our own, or another leader's entry
	if res.Txn != nil {
		a.noteTxn(g, op, &res)
	}
	if asked {
		a.answer(g, op, ours, res)
	}
	if res.Lease != nil {
		for i := range res.Lease.Events {
			a.done = append(a.done, result{g: g, event: &res.Lease.Events[i]})
		}
	}
	return nil
}

// noteTxn takes note of what a transaction command did to the locks. What the line had granted is now the state
// machine's to know; a vote that it had not granted was cast under another leader.
func (a *applier) noteTxn(g *group, op *Op, res *storage.Result) {
	granted := op != nil && op.turn != nil && g.line.Release(op.turn)
	if res.Txn.Kind == storage.ReplyYes && !granted {
		g.line.Surprise()
	}
	if res.Txn.Alarm != "" {
		a.w.logger.Error("a rule of the commit protocol is broken", "rule", res.Txn.Alarm, "partition", g.id,
			"attempt", res.Txn.Attempt, "index", g.rep.AppliedIndex())
	}
}

func (a *applier) one(g *group, e *raftpb.Entry) (storage.Result, error) {
	if e.GetType() != raftpb.EntryNormal {
		a.conf = true
		conf, err := g.rep.ApplyConf(e)
		if err != nil {
			return storage.Result{}, err
		}
		return storage.Result{}, g.part.SetConf(e.GetIndex(), e.GetTerm(), conf)
	}
	before := g.part.Expirations()
	res, err := g.part.Apply(a.batch, e.GetIndex(), e.GetTerm(), e.GetData())
	if g.rep.Leading() {
		a.w.expired += g.part.Expirations() - before
	}
	switch res.Status {
	case storage.StatusExpired:
		a.w.noteExpired(g)
	case storage.StatusPurged:
		a.w.notePurged(g)
	}
	g.sweeping = g.sweeping && res.Status != storage.StatusSwept
	g.lapsing = g.lapsing && !(res.Lease != nil && res.Lease.Kind == storage.LeaseLapsed)
	a.state = a.state || g.id == storage.MetaPartition && len(e.GetData()) > 0
	return res, err
}

func (a *applier) answer(g *group, op *Op, ours bool, res storage.Result) {
	r := result{g: g, op: op, res: res.Clone()} // it is told later, when the partition is further on
	if !ours {
		r.err = replica.ErrDropped
	}
	a.done = append(a.done, r)
}

// commit makes the batch visible and then tells those who wait for it: their entries are durable in the logs of a majority.
// A new configuration is made durable here before it is used. Who forgot it could be elected by the members of an old one.
func (a *applier) commit() error {
	if a.batch == nil {
		return nil
	}
	for _, g := range a.touched {
		if err := g.part.Flush(a.batch); err != nil {
			a.batch.Discard()
			return err
		}
	}
	a.writeChanges()
	if err := a.batch.Commit(); err != nil {
		return fmt.Errorf("commit applied entries: %w", err)
	}
	a.publishChanges()
	a.w.unsynced = true
	if a.conf {
		a.conf = false
		if err := a.w.syncEngine(); err != nil {
			return err
		}
	}
	if a.w.cfg.Now != nil && a.w.cfg.OnApply != nil {
		a.w.cfg.OnApply(a.w.cfg.Now() - a.begun)
	}
	for _, g := range a.touched {
		g.clock.observe(g.part.Meta().Clock, a.w.now)
		g.part.Visible()
	}
	for _, r := range a.done {
		a.tell(r)
	}
	a.batch, a.touched, a.done = nil, nil, nil
	if a.state {
		a.state = false
		return a.w.readState()
	}
	return nil
}

// tell passes a durable result on, unless it says that nothing was done and the op may wait for a better moment, or
// for its lease.
func (a *applier) tell(r result) {
	if r.op == nil {
		a.w.tellWaiter(r.g, r.event)
		return
	}
	a.w.took(r.op)
	if r.err == nil && r.res.Status == storage.StatusBlocked {
		a.w.requeue(r.g, r.op)
		return
	}
	if r.err == nil && waits(r.op, &r.res) {
		a.w.park(r.g, r.op)
		return
	}
	a.w.noteGrant(r.g, r.op, &r.res)
	r.op.Result = r.res
	a.w.finish(r.g, r.op, r.err)
}

// advance ends a group's pass: what raft had waiting for it may be the next pass's work.
func (w *Worker) advance(r *ready) {
	g := r.g
	g.rep.Advance(&r.rd)
	w.stand(g)
	w.serve(g)
	if g.rep.HasReady() {
		w.touch(g)
	}
}

func (w *Worker) tellLead(g *group) {
	lead, term := g.rep.Leader(), g.rep.Term()
	if uint64(lead) == g.lead && term == g.term {
		return
	}
	g.lead, g.term = uint64(lead), term
	g.stopChores()
	w.sendLingeringAway(g, &replica.NotLeaderError{Partition: g.id, Leader: lead})
	w.clearLine(g, &replica.NotLeaderError{Partition: g.id, Leader: lead})
	w.sendWaitersAway(g, &replica.NotLeaderError{Partition: g.id, Leader: lead})
	clear(g.doubts)
	if w.cfg.OnLead != nil {
		w.cfg.OnLead(g.id, lead, term)
	}
}
