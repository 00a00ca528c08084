package worker

import (
	"fmt"
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
		finishAll(rd.Dropped, replica.ErrDropped) // at once: an install or a failing disk could hold them up
		finishAll(rd.Lost, replica.ErrOutcomeUnknown)
		if len(rd.Dropped) > 0 {
			g.expiring = false // our own proposal may be among them
		}
		w.tellLead(g)
		if rd.Snapshot != nil {
			w.beginInstall(g, rd)
			continue
		}
		g.dropSpool() // a spool that raft did not take up is of no use
		w.readies = append(w.readies, ready{g, rd})
	}
	w.dirty = w.dirty[:0]
}

// process carries the gathered effects out, in the order that replica.Ready asks for.
func (w *Worker) process() error {
	w.sendEarly()
	if err := w.persist(); err != nil {
		return err
	}
	for i := range w.readies {
		r := &w.readies[i]
		w.sendAll(r.g, r.rd.Late)
	}
	w.out.Flush()
	if err := w.apply(); err != nil {
		return err
	}
	for i := range w.readies {
		w.advance(&w.readies[i])
	}
	clear(w.readies)
	return nil
}

// sendEarly sends what may overtake the fsync, so that the others' disks work while ours does.
func (w *Worker) sendEarly() {
	sent := false
	for i := range w.readies {
		r := &w.readies[i]
		sent = sent || len(r.rd.Early) > 0
		w.sendAll(r.g, r.rd.Early)
	}
	if sent {
		w.out.Flush()
	}
}

func (w *Worker) sendAll(g *group, msgs []*raftpb.Message) {
	for _, m := range msgs {
		if m.GetType() == raftpb.MsgSnap {
			w.sendSnapshot(g, m)
			continue
		}
		w.out.Send(replica.ID(m.GetTo()).Node(), g.id, m)
	}
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
	if err := w.log.Write(&w.batch, true); err != nil {
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
	done    []result // to be told once the batch is durable
	state   bool     // the metadata partition changed
}

type result struct {
	op  *Op
	res storage.Result
	err error
}

// giveUp answers those whose batch failed: whether it is durable nobody knows.
func (a *applier) giveUp() {
	for _, r := range a.done {
		if r.err == nil {
			r.err = replica.ErrOutcomeUnknown
		}
		r.op.finish(r.err)
	}
	a.done = nil
}

func (a *applier) entry(g *group, e *raftpb.Entry) error {
	room := a.w.engine.MaxBatchBytes() - storage.FlushCost*(len(a.touched)+1)
	if a.batch != nil && a.batch.Size()+storage.ApplyCost(e.GetData()) > room {
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
	if tag, ours := g.rep.Applied(e.GetIndex(), e.GetTerm()); tag != nil {
		a.answer(tag, ours, res)
	}
	return nil
}

func (a *applier) one(g *group, e *raftpb.Entry) (storage.Result, error) {
	if e.GetType() != raftpb.EntryNormal {
		conf, err := g.rep.ApplyConf(e)
		if err != nil {
			return storage.Result{}, err
		}
		return storage.Result{}, g.part.SetConf(e.GetIndex(), e.GetTerm(), conf)
	}
	res, err := g.part.Apply(a.batch, e.GetIndex(), e.GetTerm(), e.GetData())
	g.expiring = g.expiring && res.Status != storage.StatusExpired
	a.state = a.state || g.id == storage.MetaPartition && len(e.GetData()) > 0
	return res, err
}

func (a *applier) answer(tag replica.Tag, ours bool, res storage.Result) {
	op, ok := tag.(*Op)
	if !ok {
		return // our own expire
	}
	r := result{op: op, res: res}
	if !ours {
		r.err = replica.ErrDropped
	}
	a.done = append(a.done, r)
}

// commit makes the batch durable and then tells those who wait for it.
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
	if err := a.batch.Commit(); err != nil {
		return fmt.Errorf("commit applied entries: %w", err)
	}
	if a.w.cfg.Now != nil && a.w.cfg.OnApply != nil {
		a.w.cfg.OnApply(a.w.cfg.Now() - a.begun)
	}
	for _, g := range a.touched {
		g.clock.observe(g.part.Meta().Clock, a.w.now)
	}
	for _, r := range a.done {
		r.op.Result = r.res
		r.op.finish(r.err)
	}
	a.batch, a.touched, a.done = nil, nil, nil
	if a.state {
		a.state = false
		return a.w.readState()
	}
	return nil
}

// advance ends a group's pass: what raft had waiting for it may be the next pass's work.
func (w *Worker) advance(r *ready) {
	g := r.g
	g.rep.Advance(&r.rd)
	w.tags = g.rep.Readable(w.tags[:0])
	for _, t := range w.tags {
		if op, ok := t.(*Op); ok {
			op.Clock = g.clock.now(w.now)
			op.finish(nil)
		}
	}
	if g.rep.HasReady() {
		w.touch(g)
	}
}

func (w *Worker) tellLead(g *group) {
	lead, term := g.rep.Leader(), g.rep.Term()
	if uint64(lead) == g.lead && term == g.term {
		return
	}
	g.lead, g.term, g.expiring = uint64(lead), term, false
	if w.cfg.OnLead != nil {
		w.cfg.OnLead(g.id, lead, term)
	}
}
