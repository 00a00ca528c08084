package storage

import "slices"

// A lapse ends what has lasted its time: leases, waits, and the memory of ended waiters. It is an entry of its own beside
// the expire of keys, so that each is bounded by itself, and looks through an index of its own.

// NextLapse is a time before which no lapse finds anything; false where nothing has a time. When the partition's clock
// has reached it, the leader proposes a lapse, which makes it exact again.
func (p *Partition) NextLapse() (Millis, bool) { return p.leases.next, p.leases.next != noDeadline }

// Leases counts the leases that somebody has and those who wait for one, as of the last entry applied.
func (p *Partition) Leases() (held, waiting int) { return p.leases.held, len(p.leases.waiters) }

// lapse ends, in order of their times, the first things whose time the clock has reached. Until it is applied a lease is
// held and a waiter waits: only entries change who has what.
func (p *Partition) lapse(b Batch, c *Command) (Result, error) {
	due, err := p.dueLeases(b, int(min(c.Limit, MaxLapse)))
	if err != nil {
		return Result{}, err
	}
	reply := &LeaseReply{Kind: LeaseLapsed}
	for _, d := range due {
		if err := p.lapseOne(b, d, reply); err != nil {
			return Result{}, err
		}
	}
	if err := p.findNextLapse(b); err != nil {
		return Result{}, err
	}
	return Result{Status: StatusLease, Count: uint32(len(due)), Lease: reply}, nil
}

func (p *Partition) lapseOne(b Batch, d leaseDue, reply *LeaseReply) error {
	if d.kind == dueLease {
		return p.lapseLease(b, d, reply)
	}
	id, err := splitWaiterID(d.of)
	if err != nil {
		return err
	}
	if d.kind == dueWaiter {
		return p.lapseWaiter(b, id, reply)
	}
	delete(p.leases.done, id)
	if err := b.Delete(waiterDueKey(p.id, d.at, dueDone, id)); err != nil {
		return err
	}
	return b.Delete(waiterKey(p.id, colWaiterDone, id))
}

func (p *Partition) lapseLease(b Batch, d leaseDue, reply *LeaseReply) error {
	rec, err := readLease(b, p.id, d.of)
	if err != nil {
		return err
	}
	if !rec.held() || rec.deadline != d.at {
		return corruptf("partition %d lease %q: its index says %d, its record %d", p.id, d.of, d.at, rec.deadline)
	}
	s := leaseStep{p: p, b: b, l: &LeaseCommand{Name: d.of}, rec: rec}
	return s.end(reply)
}

// lapseWaiter ends a wait; one that was granted in the same entry no longer waits.
func (p *Partition) lapseWaiter(b Batch, id WaiterID, reply *LeaseReply) error {
	w := p.leases.waiters[id]
	if w == nil {
		return nil
	}
	rec, err := readLease(b, p.id, []byte(w.name))
	if err != nil {
		return err
	}
	reply.Events = append(reply.Events, LeaseEvent{
		Waiter: id, Name: w.name, Kind: LeaseHeld, TTL: rec.left(p.meta.Clock), Owner: string(rec.owner),
	})
	if err := p.removeWaiter(b, w); err != nil || !w.again {
		return err
	}
	return p.bury(b, id)
}

// dueLeases lists the first limit times at or before the clock, those of leases apart that a transaction names.
func (p *Partition) dueLeases(r Reader, limit int) ([]leaseDue, error) {
	if limit == 0 || p.leases.next > p.meta.Clock {
		return nil, nil
	}
	var due []leaseDue
	start, end := leaseDueKey(p.id, p.leases.next, 0, nil), leaseDueKey(p.id, p.meta.Clock+1, 0, nil)
	err := r.Scan(start, end, true, func(k, _ []byte) (bool, error) {
		d, err := splitLeaseDueKey(k)
		if err != nil {
			return false, err
		}
		if !p.namedDue(&d) {
			d.of = slices.Clone(d.of)
			due = append(due, d)
		}
		return len(due) < limit, nil
	})
	return due, err
}

func (p *Partition) namedDue(d *leaseDue) bool {
	if d.kind != dueLease {
		return false
	}
	_, named := p.locks.Holder(NameSpace, d.of, true, TxnID{})
	return named
}

// findNextLapse makes next exact. The times of named leases come back with the next release of a transaction's locks.
func (p *Partition) findNextLapse(r Reader) error {
	x := &p.leases
	if x.next == noDeadline {
		return nil
	}
	from := leaseDueKey(p.id, x.next, 0, nil)
	x.next = noDeadline
	_, end := columnRange(p.id, colLeaseDue)
	return r.Scan(from, end, true, func(k, _ []byte) (bool, error) {
		d, err := splitLeaseDueKey(k)
		if err != nil {
			return false, err
		}
		if p.namedDue(&d) {
			x.skipped = min(x.skipped, d.at)
			return true, nil
		}
		x.next = d.at
		return false, nil
	})
}

// unskip lets the next lapse look at leases that were named.
func (x *leaseIndex) unskip() { x.next, x.skipped = min(x.next, x.skipped), noDeadline }
