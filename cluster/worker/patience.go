package worker

import (
	"maps"
	"time"

	"github.com/ringkv/ringkv/storage"
)

// Who finds abandoned transactions: the leader of a group in which one is in doubt. It tells Config.OnStuck, which asks
// the coordinator and recovers; nothing here decides anything.
const (
	minPatience  = 200 * time.Millisecond // of somebody who waits, at least
	patienceOver = 20                     // times the usual commit time
	maxDoubt     = 2 * time.Second        // even if nobody waits
	stuckEvery   = 500 * time.Millisecond // for one transaction
	usualShare   = 64                     // one sample's weight in the usual commit time
)

// doubt is how long this leader has seen an attempt in doubt.
type doubt struct {
	attempt storage.Attempt
	since   time.Duration
	told    time.Duration // 0: never
	tick    int           // of the last look
}

// watch looks for transactions that have been in doubt for too long.
func (w *Worker) watch(g *group) {
	open := g.part.Open()
	if len(open) == 0 {
		clear(g.doubts)
		return
	}
	for _, o := range open {
		d, known := g.doubts[o.ID]
		if !known || d.attempt != o.Attempt {
			d = doubt{attempt: o.Attempt, since: w.now}
		}
		d.tick = w.ticks
		g.doubts[o.ID] = d
		w.suspect(g, o, maxDoubt)
	}
	maps.DeleteFunc(g.doubts, func(_ storage.TxnID, d doubt) bool { return d.tick != w.ticks })
	g.line.WaitedFor(g.part.Locks(), func(o *storage.OpenTxn) { w.suspect(g, o, w.patience()) })
}

// suspect tells of o if it has been in doubt for longer than bearable.
func (w *Worker) suspect(g *group, o *storage.OpenTxn, bearable time.Duration) {
	d, known := g.doubts[o.ID]
	if !known || w.now-d.since < bearable || d.told != 0 && w.now-d.told < stuckEvery || w.cfg.OnStuck == nil {
		return
	}
	d.told = w.now
	g.doubts[o.ID] = d
	w.cfg.OnStuck(g.id, *o)
}

func (w *Worker) patience() time.Duration {
	return min(max(minPatience, patienceOver*w.usual), maxDoubt)
}

// took takes how long a command was on its way through the log into the usual commit time.
func (w *Worker) took(op *Op) {
	w.usual += (w.now - op.begun - w.usual) / usualShare
}
