package storage

// leaseStep is one command about a lease while it is applied.
type leaseStep struct {
	p   *Partition
	b   Batch
	l   *LeaseCommand
	rec lease // as it was
}

func (p *Partition) applyLease(b Batch, c *Command) (Result, error) {
	rec, err := readLease(b, p.id, c.Lease.Name)
	if err != nil {
		return Result{}, err
	}
	s := leaseStep{p: p, b: b, l: c.Lease, rec: rec}
	switch c.Kind {
	case KindAcquire:
		return s.acquire()
	case KindCancel:
		return s.cancel()
	case KindRenew:
		return s.renew()
	}
	return s.release()
}

func leaseResult(r *LeaseReply, err error) (Result, error) {
	if err != nil {
		return Result{}, err
	}
	return Result{Status: StatusLease, Lease: r}, nil
}

// named is the answer to a command that would change who has a lease while a transaction names it: nothing was done
// (R5). What the transaction saw at its vote is so at its decision.
func (p *Partition) named(name []byte) (Result, bool) {
	holder, named := p.locks.Holder(NameSpace, name, true, TxnID{})
	if !named {
		return Result{}, false
	}
	return Result{Status: StatusBlocked, Txn: &TxnReply{Kind: ReplyBlocked, Holder: holder}}, true
}

func (s *leaseStep) acquire() (Result, error) {
	p, l := s.p, s.l
	waits := p.leases.waiters[l.Waiter]
	_, over := p.leases.done[l.Waiter]
	switch {
	case over:
		return leaseResult(&LeaseReply{Kind: LeaseOver}, nil)
	case s.rec.held() && s.rec.holder == l.Waiter:
		return s.grantedBefore()
	case waits != nil && waits.name != string(l.Name):
		return Result{Status: StatusInvalid}, nil
	case waits != nil:
		return s.waitsAlready(waits)
	case !s.rec.held():
		if res, named := p.named(l.Name); named {
			return res, nil
		}
		return leaseResult(s.grant())
	case l.Wait == 0:
		return leaseResult(s.held(), nil)
	case len(p.leases.waiters) >= MaxWaiters, len(p.leases.queues[string(l.Name)]) >= MaxQueue:
		return leaseResult(&LeaseReply{Kind: LeaseFull}, nil)
	}
	w := &waiter{
		id: l.Waiter, name: string(l.Name), arrival: p.meta.Applied, owner: l.Owner, ttl: l.TTL, until: p.meta.Clock + l.Wait, again: l.Again,
	}
	return leaseResult(&LeaseReply{Kind: LeaseQueued}, p.addWaiter(s.b, w))
}

// grantedBefore answers a repeated acquire. That there was more than one is kept for the lease's end.
func (s *leaseStep) grantedBefore() (Result, error) {
	rec := s.rec
	if !rec.again {
		rec.again = true
		if err := s.p.writeLease(s.b, s.l.Name, &s.rec, &rec); err != nil {
			return Result{}, err
		}
	}
	return leaseResult(&LeaseReply{
		Kind: LeaseGranted, Token: rec.token, TTL: rec.left(s.p.meta.Clock), Owner: string(rec.owner), Before: true,
	}, nil)
}

func (s *leaseStep) waitsAlready(w *waiter) (Result, error) {
	if !w.again {
		w.again = true
		if err := s.p.setWaiter(s.b, w); err != nil {
			return Result{}, err
		}
	}
	return leaseResult(&LeaseReply{Kind: LeaseQueued}, nil)
}

func (s *leaseStep) grant() (*LeaseReply, error) {
	rec := s.p.newLease(s.l.Waiter, s.l.Owner, s.l.TTL, s.l.Again)
	return &LeaseReply{Kind: LeaseGranted, Token: rec.token, TTL: rec.ttl, Owner: s.l.Owner},
		s.p.writeLease(s.b, s.l.Name, &s.rec, &rec)
}

// newLease has a fresh revision as its token: larger than every token of that name before, for ever. Its deadline counts
// from the next millisecond of the partition's clock, which is read rounded down.
func (p *Partition) newLease(holder WaiterID, owner string, ttl Millis, again bool) lease {
	p.meta.Revision++
	return lease{token: p.meta.Revision, holder: holder, again: again, ttl: ttl, deadline: p.meta.Clock + ttl + 1, owner: []byte(owner)}
}

func (s *leaseStep) held() *LeaseReply {
	return &LeaseReply{Kind: LeaseHeld, TTL: s.rec.left(s.p.meta.Clock), Owner: string(s.rec.owner)}
}

// cancel ends a waiter, whatever it has come to: whoever sends it has told nobody that the lease was granted, and never
// will. It is remembered, as the acquire itself may yet arrive.
func (s *leaseStep) cancel() (Result, error) {
	p, id := s.p, s.l.Waiter
	reply := &LeaseReply{Kind: LeaseOver}
	w := p.leases.waiters[id]
	holds := s.rec.held() && s.rec.holder == id
	switch {
	case w != nil && w.name != string(s.l.Name):
		return Result{Status: StatusInvalid}, nil
	case w != nil:
		reply.Events = append(reply.Events, LeaseEvent{Waiter: id, Name: w.name, Kind: LeaseOver})
		if err := p.removeWaiter(s.b, w); err != nil {
			return Result{}, err
		}
	case holds:
		if res, named := p.named(s.l.Name); named {
			return res, nil
		}
		if err := s.end(reply); err != nil {
			return Result{}, err
		}
	}
	return leaseResult(reply, p.bury(s.b, id))
}

func (s *leaseStep) renew() (Result, error) {
	if !s.rec.held() || s.rec.token != s.l.Token {
		return leaseResult(&LeaseReply{Kind: LeaseLost}, nil)
	}
	rec := s.rec
	if s.l.TTL != 0 {
		rec.ttl = s.l.TTL
	}
	rec.deadline = s.p.meta.Clock + rec.ttl + 1
	return leaseResult(&LeaseReply{Kind: LeaseGranted, Token: rec.token, TTL: rec.ttl, Owner: string(rec.owner)},
		s.p.writeLease(s.b, s.l.Name, &s.rec, &rec))
}

func (s *leaseStep) release() (Result, error) {
	if !s.rec.held() || s.rec.token != s.l.Token {
		return leaseResult(&LeaseReply{Kind: LeaseLost}, nil)
	}
	if res, named := s.p.named(s.l.Name); named {
		return res, nil
	}
	reply := &LeaseReply{Kind: LeaseReleased}
	return leaseResult(reply, s.end(reply))
}

// end takes the lease from its holder and gives it to whoever came first of those who wait.
func (s *leaseStep) end(reply *LeaseReply) error {
	p := s.p
	if s.rec.again {
		if err := p.bury(s.b, s.rec.holder); err != nil {
			return err
		}
	}
	next := p.leases.first(s.l.Name)
	if next == nil {
		return p.removeLease(s.b, s.l.Name, &s.rec)
	}
	if err := p.removeWaiter(s.b, next); err != nil {
		return err
	}
	rec := p.newLease(next.id, next.owner, next.ttl, next.again)
	reply.Events = append(reply.Events, LeaseEvent{
		Waiter: next.id, Name: next.name, Kind: LeaseGranted, Token: rec.token, TTL: rec.ttl, Owner: next.owner,
	})
	return p.writeLease(s.b, s.l.Name, &s.rec, &rec)
}
