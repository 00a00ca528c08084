package worker

import (
	"fmt"
	"io"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// sendSnapshot sends the state as it is now. raft may have asked for it a few entries earlier; a newer one serves as
// well, and only the present one can be read.
func (w *Worker) sendSnapshot(g *group, m *raftpb.Message) {
	to := replica.ID(m.GetTo())
	if g.id != storage.MetaPartition && slices.Contains(w.crowded, to.Node()) {
		g.rep.SnapshotSent(to, false) // it would refuse the data
		w.touch(g)
		return
	}
	meta := g.part.Meta()
	m.Snapshot = &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		Index: new(meta.Applied), Term: new(meta.AppliedTerm), ConfState: g.rep.Conf(),
	}}
	g.holds[to] = hold{index: meta.Applied, until: w.ticks + holdTicks}
	w.out.SendSnapshot(Snapshot{Group: g.id, Message: m, View: w.engine.View()})
}

// SnapshotSent tells how the transfer of a snapshot ended.
func (w *Worker) SnapshotSent(p ring.PartitionID, to replica.ID, ok bool) {
	if g := w.groups[p]; g != nil && g.install == nil {
		g.rep.SnapshotSent(to, ok)
		w.touch(g)
	}
}

// Unreachable tells that messages to a replica are being lost.
func (w *Worker) Unreachable(p ring.PartitionID, to replica.ID) {
	if g := w.groups[p]; g != nil && g.install == nil {
		g.rep.Unreachable(to)
		w.touch(g)
	}
}

// DeliverSnapshot hands over a snapshot message whose data was received. The worker owns the spool from here on.
func (w *Worker) DeliverSnapshot(p ring.PartitionID, m *raftpb.Message, s Spool) {
	g := w.groups[p]
	if g == nil {
		g = w.create(p, m)
	}
	if g == nil || g.install != nil || g.spool != nil {
		s.Remove()
		return
	}
	g.spool = s
	w.step(g, m)
}

func (g *group) dropSpool() {
	if g.spool != nil {
		g.spool.Remove()
		g.spool = nil
	}
}

// install is a snapshot being put in place of a replica's state, a bounded step a turn.
type install struct {
	rd    replica.Ready
	spool Spool
	src   io.Closer
	steps *storage.Installer

	refill bool // of a damaged state: raft knows nothing of it
}

// beginInstall takes a snapshot up that raft has accepted. It came with DeliverSnapshot: raft accepts no other.
func (w *Worker) beginInstall(g *group, rd replica.Ready) {
	g.install = &install{rd: rd, spool: g.spool}
	g.spool = nil
	w.unrecorded(g)
	w.logger.Debug("installing snapshot", "partition", g.id, "index", rd.Snapshot.GetMetadata().GetIndex())
}

// stepInstalls takes one step of one install, so that the other groups' requests hardly wait for it.
func (w *Worker) stepInstalls() error {
	i := slices.IndexFunc(w.order, func(g *group) bool { return g.install != nil })
	if i < 0 {
		return nil
	}
	g := w.order[i]
	in := g.install
	if in.steps == nil {
		if err := in.open(w.engine, g.id); err != nil {
			return err
		}
	}
	done, err := in.steps.Step()
	w.unsynced = true
	if err != nil || !done {
		return err
	}
	if g.install.refill {
		return w.endRefill(g)
	}
	return w.endInstall(g)
}

func (in *install) open(e storage.Engine, p ring.PartitionID) error {
	src, err := in.spool.Open()
	if err != nil {
		return fmt.Errorf("install snapshot of partition %d: %w", p, err)
	}
	in.src = src
	in.steps, err = storage.NewInstaller(e, p, src, in.spool.Name())
	return err
}

// endInstall tells the log and raft that the state machine holds the snapshot. It must hold it durably: if we crash in
// between, Open finds it ahead of the log and resets the log.
func (w *Worker) endInstall(g *group) error {
	in := g.install
	md := in.rd.Snapshot.GetMetadata()
	if err := in.src.Close(); err != nil {
		w.logger.Warn("close spool", "partition", g.id, "err", err)
	}
	part, err := w.openPartition(g.id)
	if err != nil {
		return err
	}
	if err := w.syncEngine(); err != nil {
		return err
	}
	if err := w.resetLog(g, &in.rd); err != nil {
		return err
	}
	in.spool.Remove()
	g.part, g.install, g.logBytes, g.durable = part, nil, 0, part.Meta().Applied
	w.record(g)
	g.clock = clock{Clock: Clock{part.Meta().Clock, w.now}}
	w.readClocks(g, in.rd.Entries)
	w.finishAll(g, g.rep.Installed(in.rd.Snapshot), replica.ErrOutcomeUnknown)
	w.logger.Debug("snapshot installed", "partition", g.id, "index", md.GetIndex())
	return w.resume(g, in.rd)
}

func (w *Worker) resetLog(g *group, rd *replica.Ready) error {
	md := rd.Snapshot.GetMetadata()
	w.batch.Clear()
	w.batch.Reset(g.id, md.GetIndex(), md.GetTerm())
	if len(rd.Entries) > 0 {
		w.batch.Append(g.id, replica.ToLog(nil, rd.Entries))
	}
	state := rd.State
	if !rd.HasState {
		state, _ = w.log.State(g.id)
	}
	state.Commit = max(state.Commit, md.GetIndex())
	w.batch.SetState(g.id, state)
	if err := w.log.Write(&w.batch, true); err != nil {
		return fmt.Errorf("reset log of group %d: %w", g.id, err)
	}
	return nil
}

// resume carries out the rest of the Ready that brought the snapshot.
func (w *Worker) resume(g *group, rd replica.Ready) error {
	g.rep.Stable(&rd)
	w.readies = append(w.readies[:0], ready{g, rd})
	w.sendAll(&w.readies[0], rd.Early)
	w.sendAll(&w.readies[0], rd.Late)
	if err := w.apply(); err != nil {
		return err
	}
	w.advance(&w.readies[0])
	w.publish()
	clear(w.readies)
	if g.id == storage.MetaPartition {
		return w.readState()
	}
	return nil
}

// resumeInstall redoes an install that a crash interrupted, from the spool that it left. Whether the log has to follow is
// for the caller to see: not if it was a refill.
func (w *Worker) resumeInstall(p ring.PartitionID) error {
	v := w.engine.View()
	name, pending, err := storage.PendingInstall(v, p)
	v.Close()
	if err != nil || !pending {
		return err
	}
	spool, err := w.cfg.OpenSpool(name)
	if err != nil {
		return fmt.Errorf("partition %d was being filled when the node stopped, but its snapshot %s cannot be read (%w); empty this node's data directory to refill it from the others", p, name, err)
	}
	in := &install{spool: spool}
	if err := in.open(w.engine, p); err != nil {
		return err
	}
	for done := false; !done; {
		if done, err = in.steps.Step(); err != nil {
			return err
		}
	}
	if err := in.src.Close(); err != nil {
		w.logger.Warn("close spool", "partition", p, "err", err)
	}
	if err := w.engine.Sync(); err != nil {
		return fmt.Errorf("sync state machines: %w", err)
	}
	if m := in.steps.Meta(); w.logOutdated(p, m) {
		if err := w.followSnapshot(p, m); err != nil {
			return err
		}
	}
	spool.Remove()
	return nil
}

// drop is a removed replica's data being deleted.
type drop struct {
	partition ring.PartitionID
	steps     *storage.Dropper
}

func (w *Worker) dropping(p ring.PartitionID) bool {
	return slices.ContainsFunc(w.drops, func(d *drop) bool { return d.partition == p })
}

func (w *Worker) startDrop(p ring.PartitionID) error {
	w.drops = append(w.drops, &drop{partition: p, steps: storage.NewDropper(w.engine, p)})
	return nil
}

// resumeDrop deletes whatever a removed replica may have left behind when the node stopped.
func (w *Worker) resumeDrop(p ring.PartitionID) error {
	v := w.engine.View()
	defer v.Close()
	dropping, err := storage.PendingDrop(v, p)
	if err != nil {
		return err
	}
	_, installing, err := storage.PendingInstall(v, p)
	if err != nil {
		return err
	}
	m, err := storage.ReadMeta(v, p)
	if err != nil || !dropping && !installing && m.Applied == 0 {
		return err
	}
	return w.startDrop(p)
}

func (w *Worker) stepDrops() error {
	if len(w.drops) == 0 {
		return nil
	}
	done, err := w.drops[0].steps.Step()
	w.unsynced, w.dropped = true, true
	if done {
		w.drops = w.drops[1:]
	}
	return err
}
