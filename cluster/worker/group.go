package worker

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker/waitline"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/raftlog"
)

// group is one replica with its state machine.
type group struct {
	id    ring.PartitionID
	rep   *replica.Replica
	part  *storage.Partition
	clock clock
	dirty bool

	durable uint64 // applied index as of the engine's last sync: the log is needed from there on
	syncing uint64 // the same of the sync that was begun last

	lead, term uint64 // last told to OnLead
	orphaned   orphaned
	stood      Standing // last published
	expiring   bool     // an expire is under way
	expireAll  bool     // the last expire has left keys that are due
	purging    bool     // a purge is under way
	sweeping   bool     // a sweep is under way
	lapsing    bool     // a lapse is under way
	logBytes   uint64   // that the log holds of it, about
	holds      map[replica.ID]hold

	// While this replica leads.
	line   *waitline.Line
	doubts map[storage.TxnID]doubt
	wishes wishes

	lingering lingerers

	spool   Spool    // received, not yet taken up by raft
	install *install // in progress; the group rests meanwhile
}

// stopChores forgets what the leader has proposed for itself.
func (g *group) stopChores() {
	g.expiring, g.purging, g.sweeping, g.lapsing = false, false, false, false
}

// openGroup starts a replica from disk.
func (w *Worker) openGroup(id ring.PartitionID) error {
	state, _ := w.log.State(id)
	if state.Removed {
		return w.resumeDrop(id)
	}
	if err := w.resumeInstall(id); err != nil {
		return err
	}
	part, err := w.openPartition(id)
	if err != nil {
		return err
	}
	if m := part.Meta(); w.logOutdated(id, m) { // a snapshot was installed, but the log had not been told
		if err := w.followSnapshot(id, m); err != nil {
			return err
		}
	}
	_, err = w.start(id, replica.ID(state.Replica), part)
	return err
}

// logOutdated reports whether the log does not hold what the state machine applied last: it ends before, or goes on
// with entries that the snapshot has overruled.
func (w *Worker) logOutdated(id ring.PartitionID, m storage.Meta) bool {
	if m.Applied > w.log.LastIndex(id) {
		return true
	}
	term, err := w.log.Term(id, m.Applied)
	return err == nil && term != m.AppliedTerm // an error is for the replica to report
}

// followSnapshot lets the log go on behind a snapshot that the state machine holds.
func (w *Worker) followSnapshot(id ring.PartitionID, m storage.Meta) error {
	state, _ := w.log.State(id)
	if m.AppliedTerm > state.Term {
		state.Term, state.Vote = m.AppliedTerm, 0
	}
	state.Commit = max(state.Commit, m.Applied)
	w.batch.Clear()
	w.batch.Reset(id, m.Applied, m.AppliedTerm)
	w.batch.SetState(id, state)
	if err := w.log.Write(&w.batch, true); err != nil {
		return fmt.Errorf("reset log of group %d: %w", id, err)
	}
	return nil
}

func (w *Worker) openPartition(id ring.PartitionID) (*storage.Partition, error) {
	v := w.engine.View()
	defer v.Close()
	return storage.OpenPartition(v, id)
}

func (w *Worker) start(id ring.PartitionID, rid replica.ID, part *storage.Partition) (*group, error) {
	m := part.Meta()
	rep, err := replica.New(replica.Config{
		Group: id, ID: rid, Log: w.log,
		Applied: m.Applied, AppliedTerm: m.AppliedTerm, Conf: m.Conf,
		ElectionTicks: w.cfg.ElectionTicks, HeartbeatTicks: w.cfg.HeartbeatTicks,
		Logger: raftLogger{w.logger, id},
	})
	if err != nil {
		return nil, err
	}
	g := &group{id: id, rep: rep, part: part, clock: clock{Clock: Clock{m.Clock, w.now}}, holds: make(map[replica.ID]hold),
		line: waitline.New(waitline.Limits{}), doubts: make(map[storage.TxnID]doubt), wishes: newWishes()}
	g.durable = m.Applied // from disk, or 0 in a replica just created
	w.groups[id] = g
	w.record(g)
	at, _ := slices.BinarySearchFunc(w.order, id, func(g *group, id ring.PartitionID) int { return int(g.id) - int(id) })
	w.order = slices.Insert(w.order, at, g)
	if v := rep.Conf().GetVoters(); len(v) == 1 && v[0] == uint64(rid) {
		rep.Campaign() // nobody else to wait for
	}
	w.stand(g)
	w.publish()
	w.touch(g)
	return g, nil
}

// create makes an empty replica when a leader addresses one that belongs here: the leader's configuration says so, and
// it will send a snapshot. A replica that was removed, and any older one, never comes back.
func (w *Worker) create(p ring.PartitionID, m *raftpb.Message) *group {
	rid := replica.ID(m.GetTo())
	fromLeader := m.GetType() == raftpb.MsgApp || m.GetType() == raftpb.MsgHeartbeat || m.GetType() == raftpb.MsgSnap
	if !fromLeader || rid.Node() != w.cfg.Node || w.dropping(p) {
		return nil
	}
	old, known := w.log.State(p)
	if known && old.Replica >= uint64(rid) {
		return nil
	}
	if w.dropped { // else a crash could show what is left of its predecessor
		if err := w.syncEngine(); err != nil {
			w.err = err
			return nil
		}
	}
	w.batch.Clear()
	w.batch.SetState(p, raftlog.State{Replica: uint64(rid)})
	if err := w.log.Write(&w.batch, true); err != nil {
		w.logger.Error("create replica", "partition", p, "err", err) // the next turn's write fails as well and ends us
		return nil
	}
	part, err := w.openPartition(p)
	if err == nil {
		var g *group
		if g, err = w.start(p, rid, part); err == nil {
			return g
		}
	}
	w.logger.Error("create replica", "partition", p, "err", err)
	return nil
}

// remove closes a replica and forgets it for ever.
func (w *Worker) remove(g *group) error {
	state, _ := w.log.State(g.id)
	state.Replica, state.Removed = uint64(g.rep.ID()), true
	w.batch.Clear()
	w.batch.SetState(g.id, state)
	w.batch.Remove(g.id)
	if err := w.log.Write(&w.batch, true); err != nil {
		return fmt.Errorf("remove group %d: %w", g.id, err)
	}
	w.abandon(g)
	if w.cfg.Changes != nil {
		w.cfg.Changes.Forget(g.id)
	}
	w.forget(g)
	w.logger.Debug("replica removed", "partition", g.id, "replica", g.rep.ID().String())
	return w.startDrop(g.id)
}

// forget takes a group out of the worker's hands.
func (w *Worker) forget(g *group) {
	g.dropSpool()
	if w.cfg.Board != nil {
		w.cfg.Board.Leave(g.id)
	}
	delete(w.groups, g.id)
	w.order = slices.DeleteFunc(w.order, func(o *group) bool { return o == g })
	w.dirty = slices.DeleteFunc(w.dirty, func(o *group) bool { return o == g })
	w.due = slices.DeleteFunc(w.due, func(o *group) bool { return o == g })
	w.lingering = slices.DeleteFunc(w.lingering, func(o *group) bool { return o == g })
}

// Remove destroys the replica with this ID if it is here. The caller has made sure that the group does not count it
// as a member and never will again.
func (w *Worker) Remove(p ring.PartitionID, id replica.ID) error {
	g := w.groups[p]
	if g == nil || g.rep.ID() != id || g.install != nil {
		return nil
	}
	return w.remove(g)
}

// Strays lists the replicas that the cluster's description has no place for and that lead nothing: candidates for
// Remove once their group confirms it.
func (w *Worker) Strays() []Stray {
	var out []Stray
	for _, g := range w.order {
		if w.state != nil && g.install == nil && !g.rep.Leading() && !w.target(g.id).Holds(g.rep.ID()) {
			out = append(out, Stray{Partition: g.id, Replica: g.rep.ID()})
		}
	}
	return out
}

// Stray is a replica without a place.
type Stray struct {
	Partition ring.PartitionID
	Replica   replica.ID
}

// Member reports whether the group, as this node leads it, counts a replica as a member or will. ok is false if this
// node does not lead the group: then the answer means nothing. To be sure of being the leader, Read first.
func (w *Worker) Member(p ring.PartitionID, id replica.ID) (member, ok bool) {
	g := w.groups[p]
	if g == nil || !g.rep.Serving() || w.state == nil {
		return false, false
	}
	cs := g.rep.Conf()
	for _, list := range [][]uint64{cs.GetVoters(), cs.GetLearners(), cs.GetVotersOutgoing(), cs.GetLearnersNext()} {
		if slices.Contains(list, uint64(id)) {
			return true, true
		}
	}
	return w.target(p).Holds(id), true
}

func isNotFound(err error) bool { return errors.Is(err, storage.ErrNotFound) }
