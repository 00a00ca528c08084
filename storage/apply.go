package storage

import (
	"errors"
	"slices"
)

// blocked is the answer to a plain write of a key on which a transaction holds a lock, shared or not (R5): nothing was
// done, and nothing is remembered of it.
func (p *Partition) blocked(key []byte) (Result, bool) {
	holder, locked := p.locks.Holder(ItemSpace, key, true, TxnID{})
	if !locked {
		return Result{}, false
	}
	return Result{Status: StatusBlocked, Txn: &TxnReply{Kind: ReplyBlocked, Holder: holder}}, true
}

func (p *Partition) put(b Batch, c *Command) (Result, error) {
	if res, blocked := p.blocked(c.Key); blocked {
		return res, nil
	}
	old, err := p.lookup(b, c.Key)
	if err != nil {
		return Result{}, err
	}
	if !c.Cond.holds(old.version) {
		return Result{Status: StatusConditionFailed, Version: old.version}, nil
	}
	p.meta.Revision++
	rec := record{
		version:     p.meta.Revision,
		deadline:    p.deadlineOf(c, &old),
		contentType: []byte(c.ContentType),
		length:      uint64(len(c.Value)),
		inline:      c.Value,
		split:       len(c.Value)+recordHeadMax > MaxCellBytes,
	}
	if err := p.replace(b, c.Key, &old, &rec); err != nil {
		return Result{}, err
	}
	status := StatusReplaced
	if !old.exists() {
		status = StatusCreated
	}
	return Result{Status: status, Version: rec.version}, nil
}

// deadlineOf is counted from the partition's clock, which an applied entry may have moved past the proposer's reading:
// a key never expires early.
func (p *Partition) deadlineOf(c *Command, old *record) Millis {
	switch {
	case c.KeepTTL:
		return old.deadline
	case c.TTL != 0:
		return p.meta.Clock + c.TTL
	}
	return 0
}

func (p *Partition) delete(b Batch, c *Command) (Result, error) {
	if res, blocked := p.blocked(c.Key); blocked {
		return res, nil
	}
	old, err := p.lookup(b, c.Key)
	if err != nil {
		return Result{}, err
	}
	if !c.Cond.holds(old.version) {
		return Result{Status: StatusConditionFailed, Version: old.version}, nil
	}
	if !old.exists() {
		return Result{Status: StatusAbsent}, nil
	}
	if err := p.remove(b, c.Key, &old); err != nil {
		return Result{}, err
	}
	return Result{Status: StatusDeleted, Version: p.meta.Revision}, nil
}

// expire removes, in order of their deadlines, the first keys whose deadline the clock has reached, as many as fit its
// budget. Until it is
// applied an expired key is as present as any other: only entries change what is visible. A locked key waits for its lock,
// so that a key that was there at the vote is there at the decision.
func (p *Partition) expire(b Batch, c *Command) (Result, error) {
	due, next, err := p.due(b, int(min(c.Limit, MaxExpire)))
	if err != nil {
		return Result{}, err
	}
	removed := uint32(0)
	for g := newBudget(b, len(due), sweepBytes); !g.spent(); g.left-- {
		d := due[removed]
		removed++
		old, err := p.lookup(b, d.key)
		if err != nil {
			return Result{}, err
		}
		if old.deadline != d.at {
			return Result{}, corruptf("partition %d key %q: expiry index says %d, record %d", p.id, d.key, d.at, old.deadline)
		}
		if err := p.remove(b, d.key, &old); err != nil {
			return Result{}, err
		}
	}
	if p.next = next; int(removed) < len(due) {
		p.next = due[removed].at
	}
	res := Result{Status: StatusExpired, Count: removed}
	if removed > 0 {
		res.Version = p.meta.Revision
	}
	return res, nil
}

type dueKey struct {
	at  Millis
	key []byte
}

// due lists the first limit keys whose deadline the clock has reached, and the deadline of the key behind them. Locked
// keys are passed over; the next release of locks brings them back. It begins at p.next, as everything before
// has been removed: the deletion marks that those leave in an LSM tree are not walked again and again.
func (p *Partition) due(r Reader, limit int) (due []dueKey, next Millis, err error) {
	if p.next == noDeadline {
		return nil, noDeadline, nil
	}
	next = noDeadline
	_, end := columnRange(p.id, colExpiry)
	err = r.Scan(expiryKey(p.id, p.next, nil), end, true, func(k, _ []byte) (bool, error) {
		at, key, err := splitExpiryKey(k)
		if err != nil {
			return false, err
		}
		if _, locked := p.blocked(key); locked {
			p.skipped = min(p.skipped, at)
			return true, nil
		}
		if at > p.meta.Clock || len(due) >= limit {
			next = at
			return false, nil
		}
		due = append(due, dueKey{at, slices.Clone(key)})
		return true, nil
	})
	return due, next, err
}

// unskip lets the next expire look at keys that were locked, and the next lapse at leases that were named.
func (p *Partition) unskip() {
	p.next, p.skipped = min(p.next, p.skipped), noDeadline
	p.leases.unskip()
}

// firstDeadline returns the first deadline at or after from.
func firstDeadline(r Reader, id PartitionID, from Millis) (Millis, error) {
	first := noDeadline
	if from == noDeadline {
		return first, nil
	}
	_, end := columnRange(id, colExpiry)
	err := r.Scan(expiryKey(id, from, nil), end, true, func(k, _ []byte) (bool, error) {
		at, _, err := splitExpiryKey(k)
		first = at
		return false, err
	})
	return first, err
}

// lookup returns the record of key, the zero record where it is absent. It aliases what r handed out.
func lookup(r Reader, id PartitionID, key []byte) (record, error) {
	return recordUnder(r, appendDataKey(make([]byte, 0, prefixBytes+len(key)), id, key))
}

// lookup does the same without memory of its own.
func (p *Partition) lookup(r Reader, key []byte) (record, error) {
	p.buf.key = appendDataKey(p.buf.key[:0], p.id, key)
	return recordUnder(r, p.buf.key)
}

func recordUnder(r Reader, dataKey []byte) (record, error) {
	cell, err := r.Get(dataKey)
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			return record{}, nil
		}
		return record{}, err
	}
	return decodeRecord(cell)
}
