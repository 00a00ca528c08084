package storage

import "encoding/binary"

// MaxPurge is how many keys one purge removes, whatever its Limit.
const MaxPurge = 1024

// purge removes what has expired, in order of the deadlines, as much as fits its budget. Nobody can tell whether it was there
// or not: neither versions nor what watchers are told depend on it.
func (p *Partition) purge(b Batch, c *Command) (Result, error) {
	res := Result{Status: StatusPurged}
	if p.meta.Expired == 0 {
		p.oldest = noDeadline
		return res, nil
	}
	g := newBudget(b, int(min(c.Limit, MaxPurge)), sweepBytes)
	oldest := noDeadline
	err := p.scanExpired(b, func(at Millis, key, cell []byte) (bool, error) {
		if g.spent() {
			oldest = at
			return false, nil
		}
		g.left--
		length, err := p.lengthOf(b, key, cell)
		if err != nil {
			return false, err
		}
		res.Count++
		return true, p.purgeCells(b, key, &record{deadline: at, length: length, split: isSplit(length)})
	})
	p.oldest = oldest
	return res, err
}

// scanExpired visits the index of keys that have expired and are not purged, from p.oldest on: everything before is gone, and
// the deletion marks that this leaves in an LSM tree are not walked again and again.
func (p *Partition) scanExpired(r Reader, visit func(at Millis, key, cell []byte) (bool, error)) error {
	if p.oldest == noDeadline {
		return nil
	}
	end := expiryKey(p.id, p.meta.Horizon.At+2, nil) // nothing from there on has expired
	return r.Scan(expiryKey(p.id, p.oldest, nil), end, false, func(k, cell []byte) (bool, error) {
		at, key, err := splitExpiryKey(k)
		if err != nil || !p.meta.Horizon.passed(at, key) {
			return false, err
		}
		if _, held := p.held[string(key)]; held {
			return true, nil
		}
		return visit(at, key, cell)
	})
}

// purgeKey removes what has expired under an absent key, before something new is stored there.
func (p *Partition) purgeKey(b Batch, key []byte) error {
	if p.meta.Expired == 0 {
		return nil
	}
	rec, err := p.lookup(b, key)
	if err != nil || !rec.exists() {
		return err
	}
	return p.purgeCells(b, key, &rec)
}

// purgeCells removes an expired key.
func (p *Partition) purgeCells(b Batch, key []byte, rec *record) error {
	p.meta.Expired--
	p.meta.ExpiredBytes -= uint64(len(key)) + rec.length
	return p.removeCells(b, key, rec)
}

// removeCells deletes what is stored under a key and no longer counts it.
func (p *Partition) removeCells(b Batch, key []byte, rec *record) error {
	if err := p.indexDeadline(b, key, rec, &record{}); err != nil {
		return err
	}
	if err := p.trimOverflow(b, key, 0, rec.chunks()); err != nil {
		return err
	}
	p.meta.Keys--
	p.meta.Bytes -= uint64(len(key)) + rec.length
	if p.meta.Keys == 0 {
		p.meta.Longest = 0
	}
	p.buf.key = appendDataKey(p.buf.key[:0], p.id, key)
	return b.Delete(p.buf.key)
}

// lengthOf returns the length of a key's value, as the cell of its expiry index says. Those of old had nothing in them.
func (p *Partition) lengthOf(r Reader, key, cell []byte) (uint64, error) {
	if len(cell) == 0 {
		rec, err := p.lookup(r, key)
		if err == nil && !rec.exists() {
			err = missingCell(ErrNotFound, p.id, key)
		}
		return rec.length, err
	}
	length, n := binary.Uvarint(cell)
	if n != len(cell) {
		return 0, corruptf("partition %d key %q: expiry index of %d bytes", p.id, key, len(cell))
	}
	return length, nil
}

// findOldest makes p.oldest exact.
func (p *Partition) findOldest(r Reader) error {
	p.oldest = noDeadline
	if p.meta.Expired == 0 {
		return nil
	}
	p.oldest = 0
	oldest := noDeadline
	err := p.scanExpired(r, func(at Millis, _, _ []byte) (bool, error) {
		oldest = at
		return false, nil
	})
	p.oldest = oldest
	return err
}
