package storage

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
)

// leaseIndex is what a partition keeps in memory of its leases: who waits, and what is remembered of ended waiters. All
// of it is in the engine as well; the leases themselves are only there.
type leaseIndex struct {
	waiters map[WaiterID]*waiter
	queues  map[string][]*waiter // by name, in order of arrival; of held leases only
	held    int                  // leases that somebody has
	done    map[WaiterID]Millis  // waiters that have come to their end, and until when that is remembered
	next    Millis               // no time in the index lies before, named leases apart; exact after opening and after every lapse
	skipped Millis               // the first time of a lease that a lapse left, because a transaction names it
}

// add puts w behind those who wait for the same.
func (x *leaseIndex) add(w *waiter) {
	if x.waiters == nil {
		x.waiters, x.queues = make(map[WaiterID]*waiter), make(map[string][]*waiter)
	}
	x.waiters[w.id] = w
	x.queues[w.name] = append(x.queues[w.name], w)
	x.next = min(x.next, w.until)
}

func (x *leaseIndex) remove(w *waiter) {
	delete(x.waiters, w.id)
	q := x.queues[w.name]
	if len(q) == 1 {
		delete(x.queues, w.name)
		return
	}
	at := slices.Index(q, w)
	x.queues[w.name] = slices.Delete(q, at, at+1)
}

// first is who is to have the lease next, nil if nobody waits.
func (x *leaseIndex) first(name []byte) *waiter {
	if q := x.queues[string(name)]; len(q) > 0 {
		return q[0]
	}
	return nil
}

// loadLeases reads what is kept in memory.
func (p *Partition) loadLeases(r Reader) (err error) {
	x := &p.leases
	*x = leaseIndex{skipped: noDeadline, next: noDeadline}
	if err := p.loadWaiters(r); err != nil {
		return err
	}
	if err := p.countLeases(r); err != nil {
		return err
	}
	start, end := columnRange(p.id, colWaiterDone)
	err = r.Scan(start, end, false, func(k, cell []byte) (bool, error) {
		id, err := splitWaiterID(k[prefixBytes:])
		if err != nil {
			return false, err
		}
		due, err := decodeDone(cell)
		x.remember(id, due)
		return true, err
	})
	if err != nil {
		return err
	}
	x.next = 0
	return p.findNextLapse(r)
}

func (p *Partition) loadWaiters(r Reader) error {
	var all []*waiter
	start, end := columnRange(p.id, colWaiter)
	err := r.Scan(start, end, false, func(k, cell []byte) (bool, error) {
		id, err := splitWaiterID(k[prefixBytes:])
		if err != nil {
			return false, err
		}
		w, err := decodeWaiter(id, cell)
		all = append(all, w)
		return true, err
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b *waiter) int { return cmp.Compare(a.arrival, b.arrival) })
	for _, w := range all {
		p.leases.add(w)
	}
	return nil
}

func (p *Partition) countLeases(r Reader) error {
	start, end := columnRange(p.id, colLease)
	return r.Scan(start, end, true, func(_, _ []byte) (bool, error) {
		p.leases.held++
		return true, nil
	})
}

func (x *leaseIndex) remember(id WaiterID, due Millis) {
	if x.done == nil {
		x.done = make(map[WaiterID]Millis)
	}
	x.done[id] = due
	x.next = min(x.next, due)
}

// readLease returns the record of a lease, the zero lease where nobody has it.
func readLease(r Reader, id PartitionID, name []byte) (lease, error) {
	cell, err := r.Get(leaseKey(id, name))
	switch {
	case errors.Is(err, ErrNotFound):
		return lease{}, nil
	case err != nil:
		return lease{}, err
	}
	return decodeLease(cell)
}

// writeLease stores rec over old.
func (p *Partition) writeLease(b Batch, name []byte, old, rec *lease) error {
	if old.held() && old.deadline != rec.deadline {
		if err := b.Delete(leaseDueKey(p.id, old.deadline, dueLease, name)); err != nil {
			return err
		}
	}
	if old.deadline != rec.deadline {
		p.leases.next = min(p.leases.next, rec.deadline)
		if err := b.Set(leaseDueKey(p.id, rec.deadline, dueLease, name), nil); err != nil {
			return err
		}
	}
	if !old.held() {
		p.leases.held++
	}
	return b.Set(leaseKey(p.id, name), appendLease(make([]byte, 0, leaseCellMax), rec))
}

// removeLease deletes the record of a lease that nobody has any more. Like the removal of a key it raises LastRemoval: a
// lease that was free twice was free all the time between only if that is the same (R10).
func (p *Partition) removeLease(b Batch, name []byte, old *lease) error {
	p.meta.Revision++
	p.meta.LastRemoval = p.meta.Revision
	p.leases.held--
	if err := b.Delete(leaseDueKey(p.id, old.deadline, dueLease, name)); err != nil {
		return err
	}
	return b.Delete(leaseKey(p.id, name))
}

func (p *Partition) addWaiter(b Batch, w *waiter) error {
	p.leases.add(w)
	if err := b.Set(waiterDueKey(p.id, w.until, dueWaiter, w.id), nil); err != nil {
		return err
	}
	return p.setWaiter(b, w)
}

func (p *Partition) setWaiter(b Batch, w *waiter) error {
	cell := appendWaiter(make([]byte, 0, leaseCellMax+len(w.name)), w)
	return b.Set(waiterKey(p.id, colWaiter, w.id), cell)
}

func (p *Partition) removeWaiter(b Batch, w *waiter) error {
	p.leases.remove(w)
	if err := b.Delete(waiterDueKey(p.id, w.until, dueWaiter, w.id)); err != nil {
		return err
	}
	return b.Delete(waiterKey(p.id, colWaiter, w.id))
}

// bury remembers for a while that a waiter has come to its end.
func (p *Partition) bury(b Batch, id WaiterID) error {
	if _, known := p.leases.done[id]; known {
		return nil
	}
	due := p.meta.Clock + WaiterTTL
	p.leases.remember(id, due)
	if err := b.Set(waiterDueKey(p.id, due, dueDone, id), nil); err != nil {
		return err
	}
	return b.Set(waiterKey(p.id, colWaiterDone, id), binary.AppendUvarint(nil, uint64(due)))
}

// leaseCellMax is more than the longest record of a lease, and of a waiter without the name.
const leaseCellMax = MaxOwnerBytes + 96

// leaseCost bounds what a command about a lease with a name of n bytes adds to a batch: two records and their times, old
// and new, of the holder, of the waiter and of what is remembered.
func leaseCost(n int) int { return 10*writeCost(n+1) + 10*waiterIDBytes + 2*leaseCellMax + n }
