package worker

import "github.com/ringkv/ringkv/storage"

// What entries change goes to Config.Changes, group by group, with each engine batch.

// record begins to record what a group's entries change, from where its state is.
func (w *Worker) record(g *group) {
	if w.cfg.Changes == nil || g.id == storage.MetaPartition {
		return
	}
	g.part.RecordChanges()
	w.cfg.Changes.Settle(g.id, g.part.Meta().Applied)
}

// unrecorded tells that a group's state is being replaced.
func (w *Worker) unrecorded(g *group) {
	if w.cfg.Changes != nil && g.id != storage.MetaPartition {
		w.cfg.Changes.Settle(g.id, 0)
	}
}

// writeChanges hands over what the batch at hand changes.
func (a *applier) writeChanges() {
	if a.w.cfg.Changes == nil {
		return
	}
	a.w.changes = a.w.changes[:0]
	for _, g := range a.touched {
		if g.id == storage.MetaPartition {
			continue
		}
		if c := g.part.TakeChanges(); c.From < c.Through {
			a.w.changes = append(a.w.changes, c)
		}
	}
	a.w.cfg.Changes.Write(a.w.changes)
}

// publishChanges tells that the batch is committed.
func (a *applier) publishChanges() {
	if a.w.cfg.Changes != nil && len(a.w.changes) > 0 {
		a.w.cfg.Changes.Publish()
	}
}
