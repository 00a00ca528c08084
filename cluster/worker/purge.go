package worker

import (
	"time"

	"github.com/ringkv/ringkv/storage"
)

// What has expired is gone for everybody, but its cells are still there. They go in small steps, at a pace: beside requests
// one in purgeTime of them in every second, so that what gathers never grows beyond what falls due in about that time, however
// much that is; as fast as turns follow each other where nobody asks for anything, or where the disk fills up.
const (
	purgeTime  = 180 // seconds
	purgeFloor = 64  // keys a second at least, so that the last few do not linger
	purgeStep  = 64  // keys in an entry beside requests
	purgeIdle  = 256
	purgeLeast = 8 // an entry costs as much as so many keys
	quietTicks = 10
)

// purger decides how much this node purges in the groups that it leads.
type purger struct {
	asked     int           // tick of the last request, or of the last put, or prepare, of another leader's
	backlog   uint64        // keys to purge, as of the last tick less what was proposed since
	oldest    time.Duration // how long ago the first of them was due
	allowance float64       // keys that may be purged now
	at        time.Duration // as of when
	next      int           // whose turn it is among the groups
}

// note takes in, at a tick, what a group that this node leads has to purge.
func (p *purger) note(g *group, now time.Duration) {
	keys, oldest := g.part.Purgeable()
	if keys == 0 {
		return
	}
	p.backlog += keys
	if clock := g.clock.now(now); clock > oldest {
		p.oldest = max(p.oldest, time.Duration(clock-oldest)*time.Millisecond)
	}
}

// rate is how many keys a second may go beside requests. Where something has stayed for longer than it should, more.
func (p *purger) rate() float64 {
	late := max(1, p.oldest.Seconds()/purgeTime)
	return max(purgeFloor, float64(p.backlog)/purgeTime*late)
}

// hurried reports whether purges may take all the time that there is.
func (w *Worker) hurried() bool { return w.ticks-w.purger.asked >= quietTicks || w.space > Roomy }

// purge proposes what may be purged in this turn.
func (w *Worker) purge() {
	p := &w.purger
	passed := w.now - p.at
	p.at = w.now
	if p.backlog == 0 {
		return
	}
	step := uint64(purgeStep)
	if w.hurried() {
		step, p.allowance = purgeIdle, purgeIdle
	} else {
		p.allowance = min(p.allowance+p.rate()*passed.Seconds(), 4*purgeStep)
	}
	for range w.order {
		g := w.order[p.next%len(w.order)]
		n, _ := g.part.Purgeable()
		if n = min(n, step); p.allowance < float64(max(n, purgeLeast)) {
			return
		}
		p.next++
		if w.mayPurge(g) && w.proposePurge(g, n) {
			p.allowance -= float64(max(n, purgeLeast))
			p.backlog -= min(n, p.backlog)
		}
	}
	p.backlog = 0 // all that can be done is under way; the next tick looks again
}

func (w *Worker) mayPurge(g *group) bool {
	n, _ := g.part.Purgeable()
	return n > 0 && !g.purging && g.install == nil && g.rep.Serving()
}

func (w *Worker) proposePurge(g *group, keys uint64) bool {
	data := storage.AppendCommand(nil, &storage.Command{Kind: storage.KindPurge, Clock: g.clock.now(w.now), Limit: uint32(keys)})
	if g.purging = g.rep.Propose(data, nil) == nil; g.purging {
		w.touch(g)
	}
	return g.purging
}

// notePurged takes in that a purge was applied.
func (w *Worker) notePurged(g *group) {
	if g.purging = false; g.rep.Leading() {
		n, _ := g.part.Purgeable()
		w.purger.backlog = max(w.purger.backlog, n)
	}
}
