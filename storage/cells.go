package storage

import "encoding/binary"

// replace writes rec over old under key: the record, the value's overflow cells and the expiry index.
func (p *Partition) replace(b Batch, key []byte, old, rec *record) error {
	if !old.exists() {
		if err := p.purgeKey(b, key); err != nil {
			return err
		}
	}
	if err := p.indexDeadline(b, key, old, rec); err != nil {
		return err
	}
	if err := p.writeOverflow(b, key, rec); err != nil {
		return err
	}
	if err := p.trimOverflow(b, key, rec.chunks(), old.chunks()); err != nil {
		return err
	}
	if old.exists() {
		p.meta.Bytes -= uint64(len(key)) + old.length
		p.meta.Keys--
	}
	p.meta.Bytes += uint64(len(key)) + rec.length
	p.meta.Keys++
	p.meta.Longest = max(p.meta.Longest, rec.length)
	p.recorder.put(p.meta.Applied, key, rec)

	p.buf.key = appendDataKey(p.buf.key[:0], p.id, key)
	p.buf.cell = appendRecord(p.buf.cell[:0], rec)
	return b.Set(p.buf.key, p.buf.cell)
}

// remove deletes an existing key as one change of its own.
func (p *Partition) remove(b Batch, key []byte, old *record) error {
	p.meta.Revision++
	p.meta.LastRemoval = p.meta.Revision
	p.recorder.remove(p.meta.Applied, key, p.meta.Revision)
	return p.removeCells(b, key, old)
}

// indexDeadline keeps the expiry index in step with a key's record: its deadline, and the length of its value, so that a
// purge need not read the record.
func (p *Partition) indexDeadline(b Batch, key []byte, old, rec *record) error {
	if old.deadline == rec.deadline && (rec.deadline == 0 || old.length == rec.length) {
		return nil
	}
	if old.deadline != 0 && old.deadline != rec.deadline {
		if err := b.Delete(expiryKey(p.id, old.deadline, key)); err != nil {
			return err
		}
	}
	if rec.deadline == 0 {
		return nil
	}
	if !p.meta.Horizon.passed(rec.deadline, key) { // a key that was held keeps its deadline where it is only added to
		p.next = min(p.next, rec.deadline)
	}
	p.buf.cell = binary.AppendUvarint(p.buf.cell[:0], rec.length)
	return b.Set(expiryKey(p.id, rec.deadline, key), p.buf.cell)
}

func (p *Partition) writeOverflow(b Batch, key []byte, rec *record) error {
	for chunk := range rec.chunks() {
		from := int(chunk) * MaxCellBytes
		to := min(from+MaxCellBytes, len(rec.inline))
		if err := b.Set(overflowKey(p.id, key, chunk), rec.inline[from:to]); err != nil {
			return err
		}
	}
	return nil
}

// trimOverflow deletes the overflow cells from chunk number from up to, not including, to.
func (p *Partition) trimOverflow(b Batch, key []byte, from, to uint32) error {
	for chunk := from; chunk < to; chunk++ {
		if err := b.Delete(overflowKey(p.id, key, chunk)); err != nil {
			return err
		}
	}
	return nil
}

// maxChunks is the number of overflow cells of the longest value.
const maxChunks = (MaxValueBytes + MaxCellBytes - 1) / MaxCellBytes

// writeCost bounds one Set or Delete under a key of n bytes, the value apart.
func writeCost(n int) int { return prefixBytes + 8 + n + WriteOverhead }

// ampleRoom is what no command adds to a batch, of the kinds that are applied all the time: neither what they write, nor
// the removal of finished records beside it, nor the marks.
const ampleRoom = MaxApplyBytes + 2*removeBytes

// Fits tells whether a batch with room for so many more bytes, Flush apart, can take an entry next. Mostly it is so
// empty that this needs no look at the entry.
func (p *Partition) Fits(data []byte, room int) bool {
	if len(data) > 1 && room >= ampleRoom {
		switch Kind(data[1]) {
		case KindPut, KindDelete, KindPrepare, KindSingle, KindCommit, KindAbort, KindMark:
			return true
		}
	}
	return p.ApplyCost(data) <= room
}

// ApplyCost is an upper bound of what applying an entry next adds to Batch.Size, Flush apart: of a commit it depends on
// the record that it meets. A proposer refuses an entry
// whose cost and FlushCost pass Engine.MaxBatchBytes; a worker commits before an entry that does not fit beside what
// its batch holds and the flushes still due.
func (p *Partition) ApplyCost(data []byte) int {
	if len(data) > 1 && isTxnKind(Kind(data[1])) {
		return p.txnCost(data)
	}
	c, err := DecodeCommand(data)
	if err != nil || !c.valid() {
		return 0
	}
	switch c.Kind {
	case KindPut:
		// The record, the expiry index (old out, new in), every overflow cell of the new value and of the old one; and,
		// where that has expired, its record.
		writes := 4 + len(c.Value)/MaxCellBytes + 1 + p.chunksOf()
		return recordHeadMax + len(c.Value) + writes*writeCost(len(c.Key))
	case KindDelete:
		return (2 + maxChunks) * writeCost(len(c.Key))
	case KindExpire:
		return min(int(min(c.Limit, MaxExpire)), p.locks.Len()) * writeCost(MaxKeyBytes) // marks of those that are held
	case KindPurge:
		most := (2 + maxChunks) * writeCost(MaxKeyBytes) // of one key
		return min(int(min(c.Limit, MaxPurge))*most, sweepBytes+most)
	case KindSweep:
		return p.sweepCost(int(min(c.Limit, MaxSweep)))
	case KindLapse:
		return int(min(c.Limit, MaxLapse)) * leaseCost(MaxKeyBytes)
	case KindAcquire, KindCancel, KindRenew, KindRelease:
		return leaseCost(len(c.Lease.Name))
	}
	return 0
}
