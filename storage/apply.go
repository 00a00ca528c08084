package storage

import "errors"

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
	old, err := p.present(b, c.Key)
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
		split:       isSplit(uint64(len(c.Value))),
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
	old, err := p.present(b, c.Key)
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

// lookup returns what is stored under key, expired or not, the zero record where nothing is. It aliases what r handed out.
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
