package worker

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/storage"
)

// Who waits for a lease is in the state machine (storage); in the leader's memory are only the requests that are to be
// told. When a leadership ends they are sent away to ask again, under the same waiter's id, and find their place as it was.

// Who waits and has nobody here to be told, or was granted a lease and was not told, is cancelled after a while: its node
// has died, or was told to stop asking. It is long enough for a new leader to be found and asked.
const (
	missedAfter = 5 * time.Second
	missEvery   = 8 // ticks
)

// wishes are the requests of a group that wait for leases.
type wishes struct {
	parked map[storage.WaiterID]*Op
	missed map[storage.WaiterID]missed
}

// missed is a waiter, or a new holder, whom nobody has asked for.
type missed struct {
	name  string
	since time.Duration
}

func newWishes() wishes {
	return wishes{parked: make(map[storage.WaiterID]*Op), missed: make(map[storage.WaiterID]missed)}
}

// Wish is an acquire whose answer may have to wait for the lease.
type Wish struct {
	Waiter storage.WaiterID
	// Left is set, before Leave, by who no longer waits for the answer.
	Left atomic.Bool
}

// park keeps an acquire until its wait ends. A request that asked before under the same id has been left by its asker.
func (w *Worker) park(g *group, op *Op) {
	id := op.Wish.Waiter
	switch {
	case op.Wish.Left.Load():
		w.finish(g, op, replica.ErrDropped)
	case !g.rep.Leading():
		w.finish(g, op, &replica.NotLeaderError{Partition: g.id, Leader: g.rep.Leader()})
	default:
		if old := g.wishes.parked[id]; old != nil {
			w.finish(g, old, replica.ErrDropped)
		}
		g.wishes.parked[id] = op
	}
}

// Leave tells that nobody waits for the answer to a wish any more. The waiter keeps its place for a while: it may come
// again by another connection.
func (w *Worker) Leave(p storage.PartitionID, wish *Wish) {
	g := w.groups[p]
	if g == nil {
		return
	}
	if op := g.wishes.parked[wish.Waiter]; op != nil && op.Wish == wish {
		delete(g.wishes.parked, wish.Waiter)
		w.finish(g, op, replica.ErrDropped)
	}
}

// tellWaiter passes on what became of a waiter. One that has a lease now and nobody to hear of it is watched.
func (w *Worker) tellWaiter(g *group, e *storage.LeaseEvent) {
	delete(g.wishes.missed, e.Waiter)
	op := g.wishes.parked[e.Waiter]
	switch {
	case op != nil:
		delete(g.wishes.parked, e.Waiter)
		op.Result = storage.Result{Status: storage.StatusLease, Lease: e.Reply()}
		w.finish(g, op, nil)
	case e.Kind == storage.LeaseGranted && g.rep.Leading():
		g.wishes.missed[e.Waiter] = missed{e.Name, w.now}
	}
}

// sendWaitersAway is called when a leadership is over.
func (w *Worker) sendWaitersAway(g *group, err error) {
	clear(g.wishes.missed)
	if len(g.wishes.parked) == 0 {
		return
	}
	parked := g.wishes.parked
	g.wishes.parked = make(map[storage.WaiterID]*Op)
	for _, id := range sortedWaiters(parked) {
		w.finish(g, parked[id], err)
	}
}

func sortedWaiters[V any](m map[storage.WaiterID]V) []storage.WaiterID {
	ids := make([]storage.WaiterID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, storage.WaiterID.Compare)
	return ids
}

// lapse proposes the end of leases and waits whose time is over.
func (w *Worker) lapse(g *group) {
	next, some := g.part.NextLapse()
	now := g.clock.now(w.now)
	if !some || g.lapsing || now < expireSlack || next > now-expireSlack || !g.rep.Serving() {
		return
	}
	data := storage.AppendCommand(nil, &storage.Command{Kind: storage.KindLapse, Clock: now - expireSlack, Limit: storage.MaxLapse})
	g.lapsing = g.rep.Propose(data, nil) == nil
}

// notMissed gives a waiter, or a new holder, who was missed and asks again its time anew.
func (w *Worker) notMissed(g *group, id storage.WaiterID) {
	if m, ok := g.wishes.missed[id]; ok {
		g.wishes.missed[id] = missed{m.name, w.now}
	}
}

// missWaiters proposes to cancel the waiters that nobody has asked for in a while. The log puts that in order with an
// acquire that comes after all: it finds its waiter cancelled. One that was granted under this leader and not told has
// been told by nobody, as everybody is told here.
func (w *Worker) missWaiters(g *group) {
	if (w.ticks+int(g.id))%missEvery != 0 {
		return
	}
	m := g.wishes.missed
	for _, x := range g.part.Waiters() {
		if g.wishes.parked[x.Waiter] != nil {
			delete(m, x.Waiter)
		} else if _, known := m[x.Waiter]; !known {
			m[x.Waiter] = missed{x.Name, w.now}
		}
	}
	if len(m) == 0 || !g.rep.Serving() {
		return
	}
	for _, id := range sortedWaiters(m) {
		if w.now-m[id].since < missedAfter {
			continue
		}
		w.cancel(g, id, m[id].name)
		delete(m, id)
	}
}

func (w *Worker) cancel(g *group, id storage.WaiterID, name string) {
	data := storage.AppendCommand(nil, &storage.Command{
		Kind: storage.KindCancel, Clock: g.clock.now(w.now), Lease: &storage.LeaseCommand{Name: []byte(name), Waiter: id},
	})
	if g.rep.Propose(data, nil) == nil {
		w.touch(g)
	}
}

// readLease reads what a read wants to know of a lease, at the moment to which it is entitled.
func (w *Worker) readLease(g *group, op *Op) error {
	v := w.engine.View()
	defer v.Close()
	var err error
	op.Lease, err = g.part.ReadLease(v, op.LeaseName, op.Clock)
	return err
}

// isPlain tells which commands neither belong to a transaction nor to the leader, and may wait for transactions.
func isPlain(k storage.Kind) bool {
	return k == storage.KindPut || k == storage.KindDelete ||
		k == storage.KindAcquire || k == storage.KindCancel || k == storage.KindRelease
}

// noteGrant watches a lease that was granted to somebody who has left before it could be told, and no longer one that
// was granted to somebody who was asking again, and is told now. What was granted before is as it was: a request that was
// left and comes late must not make a holder, who was told by another, one whom nobody told.
func (w *Worker) noteGrant(g *group, op *Op, res *storage.Result) {
	if op.Wish == nil || res.Lease == nil || res.Lease.Kind != storage.LeaseGranted {
		return
	}
	if !op.Wish.Left.Load() {
		delete(g.wishes.missed, op.Wish.Waiter)
		return
	}
	if res.Lease.Before {
		return
	}
	c, err := storage.DecodeCommand(op.Data)
	if err == nil && c.Lease != nil && g.rep.Leading() {
		g.wishes.missed[op.Wish.Waiter] = missed{string(c.Lease.Name), w.now}
	}
}

// waits tells whether an applied acquire has to wait for its lease.
func waits(op *Op, res *storage.Result) bool {
	return op.Wish != nil && res.Lease != nil && res.Lease.Kind == storage.LeaseQueued
}
