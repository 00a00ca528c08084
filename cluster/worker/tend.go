package worker

import (
	"fmt"
	"math"

	"go.etcd.io/raft/v3"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// How much of a group's log is kept behind the applied index: enough entries that a member back from a restart is
// fed from the log, not so many bytes that large values fill the disk.
const (
	keepEntries  = 4000
	keepBytes    = 8 << 20
	keepBytesLow = 1 << 20  // where the disk is nearly full: then for nobody's sake
	keepBytesMax = 64 << 20 // beyond this a member that lags gets a snapshot
	compactEvery = 16       // ticks
	reclaimEvery = 16       // ticks
	reclaimBytes = 1 << 20  // looked through in one turn
	sweepBatch   = 256      // records
)

// tend does for one group what comes with time.
func (w *Worker) tend(g *group) {
	if g.rep.Leading() {
		g.rep.Walk(w.target(g.id))
		if w.space < Full {
			w.expire(g)
			w.purger.note(g, w.now)
			w.sweep(g)
			w.lapse(g)
			w.missWaiters(g)
		}
		w.expireWaits(g)
		w.watch(g)
	} else {
		g.stopChores()
	}
	if w.space < Full && (w.ticks+int(g.id))%compactEvery == 0 {
		w.compact(g)
	}
}

// sweep proposes the removal of what the participant keeps of finished transactions for a while only.
func (w *Worker) sweep(g *group) {
	next, some := g.part.Sweepable()
	now := g.clock.now(w.now)
	if !some || g.sweeping || next > now || !g.rep.Serving() {
		return
	}
	data := storage.AppendCommand(nil, &storage.Command{Kind: storage.KindSweep, Clock: now, Limit: sweepBatch})
	g.sweeping = g.rep.Propose(data, nil) == nil
}

// compact forgets the part of a group's log that nobody is likely to need. What the state machine may lose in a crash is
// needed, by a follower as much as by a leader.
func (w *Worker) compact(g *group) {
	keep, most := uint64(keepBytes), uint64(keepBytesMax)
	if w.space > Roomy {
		keep, most = keepBytesLow, keepBytesLow
	}
	first, applied := w.log.FirstIndex(g.id), g.rep.AppliedIndex()
	if applied < first || applied-first < 2*w.cfg.KeepEntries && g.logBytes < keep {
		return
	}
	to := applied - min(applied-first+1, w.cfg.KeepEntries)
	if g.logBytes >= keep {
		to = applied
	}
	if g.rep.Leading() && g.logBytes < most {
		to = min(to, w.needed(g))
	}
	to = min(to, g.durable)
	if to < first {
		return
	}
	w.batch.Clear()
	w.batch.Compact(g.id, to)
	if err := w.log.Write(&w.batch, false); err != nil {
		w.logger.Error("compact log", "partition", g.id, "err", err) // the next turn's write fails as well and ends us
		return
	}
	g.logBytes = g.logBytes / (applied - first + 1) * (applied - to) // what is left, about
}

// needed is the index up to which no member needs the log any more: what active ones have, and the snapshots that are
// on their way, for who installs one is silent meanwhile and goes on from there.
func (w *Worker) needed(g *group) uint64 {
	least := uint64(math.MaxUint64)
	g.rep.Members(func(id replica.ID, m replica.Member) {
		if m.Active {
			least = min(least, m.Match)
		}
		hold, held := g.holds[id]
		switch {
		case held && (m.Steady || w.ticks > hold.until):
			delete(g.holds, id)
		case held:
			least = min(least, hold.index)
		}
	})
	return least
}

// hold keeps the log behind a snapshot that was sent, for a while.
type hold struct {
	index uint64
	until int // ticks
}

// holdTicks is how long a member may take to install a snapshot before the log goes on without it.
const holdTicks = 3000

// reclaim gives back log segments that nobody needs, now and then and a little at a time.
func (w *Worker) reclaim() error {
	if !w.reclaiming {
		return nil
	}
	more, err := w.log.Reclaim(reclaimBytes)
	w.reclaiming = more
	if err != nil {
		return fmt.Errorf("reclaim log: %w", err)
	}
	return nil
}

// raftLogger passes raft's words on. What raft finds worth saying of one group is noise with hundreds of them, so it is
// all debug but the warnings and errors; a panic of raft's is a broken invariant and stays one.
type raftLogger struct {
	log interface {
		Debug(msg string, args ...any)
		Warn(msg string, args ...any)
		Error(msg string, args ...any)
	}
	group ring.PartitionID
}

var _ raft.Logger = raftLogger{}

func (l raftLogger) Debug(...any)          {}
func (l raftLogger) Debugf(string, ...any) {}
func (l raftLogger) Info(...any)           {}
func (l raftLogger) Infof(string, ...any)  {}
func (l raftLogger) Warning(v ...any)      { l.log.Debug(fmt.Sprint(v...), "partition", l.group) }
func (l raftLogger) Warningf(f string, v ...any) {
	l.log.Debug(fmt.Sprintf(f, v...), "partition", l.group)
}
func (l raftLogger) Error(v ...any) { l.log.Error(fmt.Sprint(v...), "partition", l.group) }
func (l raftLogger) Errorf(f string, v ...any) {
	l.log.Error(fmt.Sprintf(f, v...), "partition", l.group)
}
func (l raftLogger) Fatal(v ...any)            { l.Panic(v...) }
func (l raftLogger) Fatalf(f string, v ...any) { l.Panicf(f, v...) }
func (l raftLogger) Panic(v ...any) {
	panic(fmt.Sprintf("raft group %d: %s", l.group, fmt.Sprint(v...)))
}
func (l raftLogger) Panicf(f string, v ...any) {
	panic(fmt.Sprintf("raft group %d: %s", l.group, fmt.Sprintf(f, v...)))
}
