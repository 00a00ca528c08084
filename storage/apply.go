package storage

import (
	"errors"
	"slices"
)

func (p *Partition) put(b Batch, c *Command) (Result, error) {
	old, err := lookup(b, p.id, c.Key)
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
	old, err := lookup(b, p.id, c.Key)
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

// expire removes, in order of their deadlines, the first keys whose deadline the clock has reached. Until it is
// applied an expired key is as present as any other: only entries change what is visible.
func (p *Partition) expire(b Batch, c *Command) (Result, error) {
	due, err := p.due(b, int(min(c.Limit, MaxExpire)))
	if err != nil {
		return Result{}, err
	}
	for _, d := range due {
		old, err := lookup(b, p.id, d.key)
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
	if p.next, err = firstDeadline(b, p.id, p.next); err != nil {
		return Result{}, err
	}
	res := Result{Status: StatusExpired, Count: uint32(len(due))}
	if len(due) > 0 {
		res.Version = p.meta.Revision
	}
	return res, nil
}

type dueKey struct {
	at  Millis
	key []byte
}

// due lists the first limit keys whose deadline is at or before the clock. It begins at p.next, as everything before
// has been removed: the deletion marks that those leave in an LSM tree are not walked again and again.
func (p *Partition) due(r Reader, limit int) ([]dueKey, error) {
	if limit == 0 || p.next > p.meta.Clock {
		return nil, nil
	}
	var due []dueKey
	start, end := expiryKey(p.id, p.next, nil), expiryKey(p.id, p.meta.Clock+1, nil)
	err := r.Scan(start, end, true, func(k, _ []byte) (bool, error) {
		at, key, err := splitExpiryKey(k)
		if err != nil {
			return false, err
		}
		due = append(due, dueKey{at, slices.Clone(key)})
		return len(due) < limit, nil
	})
	return due, err
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
	cell, err := r.Get(appendDataKey(make([]byte, 0, prefixBytes+len(key)), id, key))
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			return record{}, nil
		}
		return record{}, err
	}
	return decodeRecord(cell)
}
