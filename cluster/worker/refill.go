package worker

import (
	"errors"
	"fmt"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// ErrNotNow is returned when a replica cannot be refilled as things stand: it leads, is being filled, or the snapshot is
// not one that its log goes on from. Trying again with another may help.
var ErrNotNow = errors.New("replica cannot be refilled now")

// StepDown gives the leadership of a group away if this node has it. It reports whether it has.
func (w *Worker) StepDown(p ring.PartitionID) bool {
	g := w.groups[p]
	if g == nil || g.install != nil || !g.rep.Leading() {
		return false
	}
	g.rep.HandOver()
	w.touch(g)
	return true
}

// Refill replaces the state of a replica, which is damaged, by a snapshot of its group's state, whose bookkeeping is m.
// raft hears nothing of it: votes and entries stand in the log, which is whole, and what follows the snapshot there is
// applied again. The replica rests until the install is done. The worker owns the spool from here on. Error: ErrNotNow.
func (w *Worker) Refill(p ring.PartitionID, s Spool, m storage.Meta) error {
	g := w.groups[p]
	switch {
	case g == nil || g.install != nil || g.rep.Leading():
		s.Remove()
		return fmt.Errorf("%w: partition %d", ErrNotNow, p)
	case m.Applied == 0 || m.Applied+1 < w.log.FirstIndex(p):
		s.Remove()
		return fmt.Errorf("%w: partition %d: snapshot at index %d, the log begins at %d", ErrNotNow, p, m.Applied, w.log.FirstIndex(p))
	}
	w.abandon(g)
	g.dropSpool()
	g.install = &install{spool: s, refill: true}
	w.unrecorded(g)
	w.logger.Info("refilling replica", "partition", p, "index", m.Applied)
	return nil
}

// Resting reports whether a replica is being filled.
func (w *Worker) Resting(p ring.PartitionID) bool {
	g := w.groups[p]
	return g != nil && g.install != nil
}

// endRefill starts the replica again, as after a restart: its log may be ahead of the state by any number of entries.
func (w *Worker) endRefill(g *group) error {
	in := g.install
	if err := in.src.Close(); err != nil {
		w.logger.Warn("close spool", "partition", g.id, "err", err)
	}
	if err := w.syncEngine(); err != nil {
		return err
	}
	in.spool.Remove()
	w.forget(g)
	if err := w.openGroup(g.id); err != nil {
		return err
	}
	w.logger.Info("replica is refilled", "partition", g.id, "index", in.steps.Meta().Applied)
	if g.id == storage.MetaPartition {
		return w.readState()
	}
	return nil
}
