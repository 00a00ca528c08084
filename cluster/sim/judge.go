package sim

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// settleStep is how often the cluster is asked whether it has settled.
const settleStep = 250 * time.Millisecond

// calmTraffic is for how long clients go on after the last fault. Then they stop: only a cluster at rest can be compared.
const calmTraffic = 3 * time.Second

// calmDown ends all faults and waits until the cluster is what its description says.
func (w *world) calmDown() {
	w.note("calm", 0, 0)
	w.calm, w.calmAt = true, w.now
	w.net.calm()
	for _, n := range w.nodes {
		n.space = worker.Roomy
		n.fuse = fuse{left: -1, blown: n.fuse.blown}
		if n.paused {
			n.resume()
		}
		if n.id != 0 {
			n.start()
		}
	}
	w.tellSpace()
	w.watchLocks()
	w.watchLeases()
	w.run(w.now + calmTraffic)
	w.closed = true
	if err := w.settle(); err != nil {
		w.violate("not settled %v after the last fault: %w", w.cfg.Calm, err)
	}
}

// settle waits until nothing is left to be done. Faults end at once, but what they began may take a while.
func (w *world) settle() error {
	end := w.now + w.cfg.Calm
	for {
		w.run(w.now + settleStep)
		w.net.calm()
		err := w.unsettled()
		if err == nil || w.violation != nil || w.now >= end {
			return err
		}
		w.bringBack()
	}
}

// bringBack takes back what faults have said of nodes.
func (w *world) bringBack() {
	s := w.newest()
	if s == nil {
		return
	}
	for _, m := range s.Present() {
		if m.Down && w.alive(m.ID) {
			w.setDown(m.ID, false)
			return
		}
	}
}

// unsettled is nil when every node is a member in good standing and every group sits where it belongs.
func (w *world) unsettled() error {
	s := w.newest()
	if s == nil {
		return errors.New("no node knows the cluster")
	}
	for _, n := range w.nodes {
		if !n.gone && n.worker == nil {
			return fmt.Errorf("node %s is not up", n.name)
		}
	}
	for _, m := range s.Present() {
		if m.State != meta.Active || m.Down || !w.alive(m.ID) {
			return fmt.Errorf("member %s (%d) is %s, down %t, alive %t", m.Name, m.ID, m.State, m.Down, w.alive(m.ID))
		}
		if t := w.byID(m.ID).worker.State(); t == nil || t.Epoch != s.Epoch {
			return fmt.Errorf("member %s does not know epoch %d", m.Name, s.Epoch)
		}
	}
	for _, p := range w.groups() {
		if err := w.groupUnsettled(p, targetOf(s, p)); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	if err := errors.Join(w.txnsUnsettled(s), w.locksUnsettled()); err != nil {
		return err
	}
	return w.leftovers(s)
}

func (w *world) groups() []ring.PartitionID {
	out := []ring.PartitionID{storage.MetaPartition}
	for p := range w.cfg.Partitions {
		out = append(out, ring.PartitionID(p))
	}
	return out
}

func targetOf(s *meta.State, p ring.PartitionID) replica.Target {
	if p == storage.MetaPartition {
		return s.MetaTarget()
	}
	return s.Target(p)
}

// groupUnsettled is nil if the group has its members, all of them as far as its leader, and the leader it should have.
func (w *world) groupUnsettled(p ring.PartitionID, t replica.Target) error {
	var applied []uint64
	leaders := 0
	for _, id := range append(slices.Clone(t.Voters), t.Learners...) {
		st, ok := w.byID(id.Node()).status(p)
		if !ok {
			return fmt.Errorf("no replica on node %d", id.Node())
		}
		if st.Expired > 0 || st.Overdue > 0 {
			return fmt.Errorf("%d expired keys are not purged, others are overdue by %v", st.Expired, st.Overdue)
		}
		applied = append(applied, st.Applied)
		if st.Role != "leader" {
			continue
		}
		leaders++
		if !st.Settled || st.Lag != 0 {
			return fmt.Errorf("leader on node %d is not settled, lag %d", id.Node(), st.Lag)
		}
		if !t.AnyLeader && id != t.Voters[0] {
			return fmt.Errorf("led by %v, not by %v", id, t.Voters[0])
		}
	}
	if leaders != 1 {
		return fmt.Errorf("%d leaders", leaders)
	}
	if slices.Min(applied) != slices.Max(applied) {
		return fmt.Errorf("applied indexes %v", applied)
	}
	return nil
}

func (n *node) status(p ring.PartitionID) (worker.GroupStatus, bool) {
	all := n.worker.Status()
	i := slices.IndexFunc(all, func(st worker.GroupStatus) bool { return st.Partition == p })
	if i < 0 || n.worker.Installing() > 0 {
		return worker.GroupStatus{}, false
	}
	return all[i], true
}

// leftovers finds replicas, and data of replicas, that should be gone.
func (w *world) leftovers(s *meta.State) error {
	for _, n := range w.up() {
		v := n.engine.View()
		stored, err := storage.Partitions(v)
		v.Close()
		if err != nil {
			return err
		}
		for _, p := range stored {
			t := targetOf(s, p)
			here := func(id replica.ID) bool { return id.Node() == n.id }
			if !slices.ContainsFunc(t.Voters, here) && !slices.ContainsFunc(t.Learners, here) {
				return fmt.Errorf("node %s still holds partition %d", n.name, p)
			}
		}
		if n.worker.Busy() {
			return fmt.Errorf("node %s is busy", n.name)
		}
	}
	return nil
}

// sound tells whether every group surely has three voters on disks that are there, so that one more may be lost.
func (w *world) sound() bool {
	s := w.newest()
	if s == nil {
		return false
	}
	for _, p := range w.groups() {
		t := targetOf(s, p)
		if len(t.Voters) < 3 || !w.ledAt(p, t) {
			return false
		}
	}
	return true
}

// ledAt tells whether the group's newest leader has exactly the members of t, of which no one's disk is lost.
func (w *world) ledAt(p ring.PartitionID, t replica.Target) bool {
	var newest worker.GroupStatus
	for _, n := range w.up() {
		for _, st := range n.worker.Status() {
			if st.Partition == p && st.Role == "leader" && st.Term > newest.Term {
				newest = st
			}
		}
	}
	lost := func(id replica.ID) bool { n := w.byID(id.Node()); return n == nil || n.gone }
	return newest.Settled && !slices.ContainsFunc(t.Voters, lost)
}

// judge asks for every key once more and then compares everything with everything.
func (w *world) judge() {
	w.run(w.now + 2*requestTime)
	w.lastReads()
	w.run(w.now + 2*requestTime)
	if w.violation != nil {
		return
	}
	if w.history.open != 0 {
		w.violate("%d requests never ended", w.history.open)
		return
	}
	if err := w.settle(); err != nil {
		w.violate("not settled in the end: %w", err)
		return
	}
	w.stats.Epoch = int(w.newest().Epoch)
	if err := w.compare(); err != nil {
		w.violate("%w", err)
		return
	}
	if err := w.judgeTxns(); err != nil {
		w.violate("%w", err)
		return
	}
	for _, n := range w.up() {
		w.stats.Expired += int(n.worker.Expired())
		n.stop()
	}
	if err := w.history.check(); err != nil {
		w.violate("%w", err)
	}
}

// lastReads reads every key through every node.
func (w *world) lastReads() {
	for i, n := range w.up() {
		c := &client{w: w, id: operators + 1 + i, seen: make(map[string]storage.Version)}
		for _, k := range slices.Clone(w.history.keys) {
			key := k.key
			c.do(n, k.group, key, input{kind: get}, func(rep reply) {
				if rep.outcome != answered {
					w.violate("key %q cannot be read through node %s although all is well", key, n.name)
				}
			})
		}
	}
}

// compare finds replicas of a group that differ by a byte, or contradict themselves.
func (w *world) compare() error {
	s := w.newest()
	for _, p := range w.groups() {
		t := targetOf(s, p)
		var first []byte
		for _, id := range append(slices.Clone(t.Voters), t.Learners...) {
			data, err := w.byID(id.Node()).dump(p)
			if err != nil {
				return err
			}
			if first == nil {
				first = data
			}
			if !bytes.Equal(first, data) {
				return fmt.Errorf("partition %d: replicas %v and %v differ", p, t.Voters[0], id)
			}
		}
	}
	return nil
}

func (n *node) dump(p ring.PartitionID) ([]byte, error) {
	v := n.engine.View()
	defer v.Close()
	if err := storage.Verify(v, p); err != nil {
		return nil, fmt.Errorf("node %s: %w", n.name, err)
	}
	var data buffer
	if err := storage.WriteSnapshot(v, p, &data); err != nil {
		return nil, fmt.Errorf("node %s: %w", n.name, err)
	}
	return data, nil
}
