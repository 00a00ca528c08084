package sim

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ringkv/ringkv/cluster/meta"
	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn/serial"
)

// freeTime is how long after the last fault an attempt may stay in doubt: elections, then the leaders' patience, then a
// recovery.
const freeTime = 8 * time.Second

// watchLocks looks, from the end of the faults on, for how long attempts stay in doubt.
func (w *world) watchLocks() {
	if w.cfg.TxnClients <= 0 {
		return
	}
	type attempt struct {
		p ring.PartitionID
		t storage.TxnID
		a storage.Attempt
	}
	since := make(map[attempt]time.Duration)
	var look func()
	look = func() {
		still := make(map[attempt]time.Duration)
		for p := range ring.PartitionID(w.cfg.Partitions) {
			part, err := w.partition(p)
			if err != nil || part == nil {
				continue // its leader is not there yet
			}
			for _, o := range part.Open() {
				k := attempt{p, o.ID, o.Attempt}
				first, known := since[k]
				if !known {
					first = w.now
				}
				still[k] = first
				w.stats.SlowestFree = max(w.stats.SlowestFree, w.now-first)
				if w.now-first > freeTime {
					w.violate("partition %d: attempt %d of %v is in doubt %v after the faults", p, o.Attempt, o.ID, w.now-first)
				}
			}
		}
		since = still
		if !w.judged {
			w.after(settleStep, look)
		}
	}
	look()
}

// partition is what the leader of a group has applied; nil without a leader, or while it still catches up with what was
// committed before its time.
func (w *world) partition(p ring.PartitionID) (*storage.Partition, error) {
	n, term := w.leaderOf(p)
	if n == nil {
		return nil, nil
	}
	v := n.engine.View()
	defer v.Close()
	part, err := storage.OpenPartition(v, p)
	if err != nil || part.Meta().AppliedTerm != term {
		return nil, err
	}
	return part, nil
}

// leaderOf is the node that leads a group in the newest term, nil if none does.
func (w *world) leaderOf(p ring.PartitionID) (leader *node, term uint64) {
	for _, n := range w.up() {
		if st, ok := n.status(p); ok && st.Role == "leader" && st.Term > term {
			leader, term = n, st.Term
		}
	}
	return leader, term
}

// txnsUnsettled is nil when all is at rest (I13): nobody coordinates or recovers, groups hold no YES, no lock and nothing
// that a sweep would remove, marks have arrived, and dead incarnations are forgotten.
func (w *world) txnsUnsettled(s *meta.State) error {
	if w.cfg.TxnClients <= 0 {
		return nil
	}
	for _, n := range w.up() {
		if !n.side.atRest() {
			return fmt.Errorf("node %s is not done with transactions: %d coordinated, %d recovered", n.name, len(n.side.coords), len(n.side.recoveries))
		}
	}
	for i := range s.Nodes {
		if m := &s.Nodes[i]; max(1, m.Swept) < liveFrom(m) {
			return fmt.Errorf("incarnations of node %d below %d are swept only to %d", m.ID, liveFrom(m), m.Swept)
		}
	}
	for p := range ring.PartitionID(w.cfg.Partitions) {
		if err := w.partitionAtRest(p); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	return nil
}

func (w *world) partitionAtRest(p ring.PartitionID) error {
	part, err := w.partition(p)
	switch {
	case err != nil:
		return err
	case part == nil:
		return fmt.Errorf("no leader")
	case len(part.Open()) > 0:
		return fmt.Errorf("%d transactions in doubt, the first is %v", len(part.Open()), part.Open()[0].ID)
	case part.Locks().Len() > 0:
		return fmt.Errorf("%d names are locked", part.Locks().Len())
	}
	if due, some := part.Sweepable(); some && due <= part.Meta().Clock {
		return fmt.Errorf("something is left to be swept")
	}
	return nil
}

// judgeTxns judges what became of all transactions. All is at rest.
func (w *world) judgeTxns() error {
	w.judged = true
	if w.cfg.TxnClients <= 0 {
		return nil
	}
	views := w.views()
	defer func() {
		for _, v := range views {
			v.Close()
		}
	}()
	v := verdict{w: w, views: views, done: make(map[*deed]bool), sums: make(map[string]int64)}
	for _, f := range w.txns.all {
		if err := v.fate(f); err != nil {
			return err
		}
	}
	if err := v.sumsRight(); err != nil {
		return err
	}
	if err := v.judgeLocks(); err != nil {
		return err
	}
	return v.history()
}

// views are what every group's preferred leader holds; all replicas are known to be equal.
func (w *world) views() []storage.View {
	s := w.newest()
	out := make([]storage.View, w.cfg.Partitions)
	for p := range out {
		first := func(id replica.ID) *node { return w.byID(id.Node()) }
		out[p] = first(s.Target(ring.PartitionID(p)).Voters[0]).engine.View()
	}
	return out
}

// verdict compares what clients were told with what is stored.
type verdict struct {
	w     *world
	views []storage.View
	done  map[*deed]bool   // deeds that took effect
	sums  map[string]int64 // what accounts and counters must hold
}

// fate finds out from home what became of a transaction, and that every group has forgotten it.
func (v *verdict) fate(f *fate) error {
	var decision storage.Decision
	for _, p := range f.plan.Participants() {
		st, err := storage.ReadTxn(v.views[p], p, f.id)
		if err != nil {
			return err
		}
		if p == f.plan.Home() {
			decision = st.Decision
		}
		if st.State != storage.TxnGone {
			return fmt.Errorf("transaction %v: partition %d still has it as %d", f.id, p, st.State)
		}
	}
	is := toldBy(decision)
	if is == tellNothing {
		is = tellAborted // its prepare never came home
	}
	if f.told != tellNothing && f.told != is {
		return fmt.Errorf("transaction %v: told %v, but it is %v", f.id, f.told, is)
	}
	if decision == storage.DecideThen {
		return v.effect(f)
	}
	return nil
}

// effect notes that a deed was done, which happens once.
func (v *verdict) effect(f *fate) error {
	d := v.w.load.deedOf(f)
	if d == nil {
		return fmt.Errorf("transaction %v is of no deed", f.id)
	}
	if v.done[d] {
		return fmt.Errorf("transaction %v: a second run of its request took effect as well", f.id)
	}
	v.done[d] = true
	for _, op := range f.plan.Request.Then {
		if op.Kind == storage.OpAdd {
			v.sums[string(op.Key)] += op.By
		}
	}
	return nil
}

// sumsRight compares accounts and counters with the effects.
func (v *verdict) sumsRight() error {
	for _, d := range v.w.load.deeds {
		for key := range d.deltas {
			got, err := v.number(key)
			if err != nil {
				return err
			}
			if got != v.sums[key] {
				return fmt.Errorf("%s is %d, its transactions make %d", key, got, v.sums[key])
			}
			if strings.HasPrefix(key, "once/") && got > 1 {
				return fmt.Errorf("the token of %s took effect %d times", key, got)
			}
		}
	}
	return nil
}

func (v *verdict) number(key string) (int64, error) {
	value, err := v.value(key)
	return v.w.load.number(key, value), err
}

func (v *verdict) value(key string) ([]byte, error) {
	p := v.w.ring.Partition([]byte(key))
	item, err := storage.Get(v.views[p], p, []byte(key))
	if isNotFound(err) {
		return nil, nil
	}
	return item.Value, err
}

// history judges the lists: strict serializability together with the final state (I6), and that what was done, and
// nothing else, is there.
func (v *verdict) history() error {
	l := &v.w.load
	final := make(map[serial.Key][]serial.Value)
	there := make(map[serial.Value]bool)
	for i := range listKeys {
		key := listKey(i)
		p := v.w.ring.Partition([]byte(key))
		item, err := storage.Get(v.views[p], p, []byte(key))
		if err != nil && !isNotFound(err) {
			return err
		}
		final[serial.Key(key)] = l.seenList(key, item.Value, item.Version)
		for _, x := range final[serial.Key(key)] {
			there[x] = true
		}
	}
	for _, d := range l.deeds {
		for _, x := range d.appended {
			if there[x] != v.done[d] {
				return fmt.Errorf("value %d: its transaction took effect: %t, it is there: %t", x, v.done[d], there[x])
			}
		}
	}
	txns, err := l.recorder.History()
	if err != nil {
		return err
	}
	l.fillGaps(txns)
	rep, err := serial.CheckFinal(txns, final)
	if err == nil && len(rep.Findings) > 0 {
		err = fmt.Errorf("%d transactions are not strictly serializable:\n%v", len(txns), rep)
	}
	return err
}

// fillGaps puts the lists into reads that were made by version.
func (l *load) fillGaps(txns []serial.Txn) {
	for _, g := range l.gaps {
		t := &txns[g.handle]
		t.Outcome = serial.Aborted
		if len(g.keys) == 0 {
			continue
		}
		ops := make([]serial.Op, 0, len(g.keys))
		for i, key := range g.keys {
			list, known := l.lists[key][g.versions[i]]
			if known || g.versions[i] == 0 {
				ops = append(ops, serial.Read(serial.Key(key), list...))
			}
		}
		t.Ops, t.Outcome = ops, serial.Committed
	}
}

// deedOf is the request that a transaction was run for.
func (l *load) deedOf(f *fate) *deed { return l.byRequest[f.plan.Request] }

func isNotFound(err error) bool { return errors.Is(err, storage.ErrNotFound) }
