package storage

import "slices"

// Lease is a lease that somebody has.
type Lease struct {
	Name    []byte
	Owner   string
	Token   Version
	TTL     Millis // left, at least 1
	Waiters int
}

// ReadLease returns a lease as the partition's engine holds it, where the partition's clock is at clock. ErrNotFound
// where nobody has it. r must be of the entry applied last.
func (p *Partition) ReadLease(r Reader, name []byte, clock Millis) (Lease, error) {
	rec, err := readLease(r, p.id, name)
	if err != nil {
		return Lease{}, err
	}
	if !rec.held() {
		return Lease{}, ErrNotFound
	}
	return Lease{
		Name: name, Owner: string(rec.owner), Token: rec.token, TTL: rec.left(clock), Waiters: len(p.leases.queues[string(name)]),
	}, nil
}

// Waiters lists who waits for leases, by their ids.
func (p *Partition) Waiters() []Waiting {
	if len(p.leases.waiters) == 0 {
		return nil
	}
	all := make([]Waiting, 0, len(p.leases.waiters))
	for _, w := range p.leases.waiters {
		all = append(all, Waiting{Waiter: w.id, Name: w.name})
	}
	slices.SortFunc(all, func(a, b Waiting) int { return a.Waiter.Compare(b.Waiter) })
	return all
}

// heldToken returns the fencing token under which the lease called name is held, 0 where nobody has it.
func heldToken(r Reader, id PartitionID, name []byte) (Version, error) {
	rec, err := readLease(r, id, name)
	return rec.token, err
}
