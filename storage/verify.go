package storage

import "fmt"

// tally counts what a Meta says there is.
type tally struct{ keys, bytes, longest uint64 }

// add counts a cell with a whole engine key.
func (t *tally) add(key, value []byte) error {
	if len(key) < prefixBytes || column(key[prefixBytes-1]) != colData {
		return nil
	}
	rec, err := decodeRecord(value)
	if err != nil {
		return err
	}
	t.keys++
	t.bytes += uint64(len(key)-prefixBytes) + rec.length
	t.longest = max(t.longest, rec.length)
	return nil
}

func (t *tally) matches(m *Meta) error {
	if t.keys != m.Keys || t.bytes != m.Bytes {
		return corruptf("%d keys of %d bytes, the bookkeeping says %d of %d", t.keys, t.bytes, m.Keys, m.Bytes)
	}
	if t.longest > m.Longest {
		return corruptf("a value of %d bytes, the bookkeeping says at most %d", t.longest, m.Longest)
	}
	return nil
}

// Verify reads a whole partition and returns ErrCorrupt where it contradicts itself: keys or bytes that the bookkeeping
// does not count, a value with missing parts, an expiry index that is not that of the records, cells that belong to no
// key, expired keys that it does not count, held ones that nobody has locked; and likewise for transactions: records and
// tokens that do not decode or lack parts, locks that two of them hold (I12); and for leases.
// It finds what an engine lost without noticing.
func Verify(r Reader, id PartitionID) error {
	meta, err := ReadMeta(r, id)
	if err != nil {
		return fmt.Errorf("verify partition %d: %w", id, err)
	}
	v := verifier{r: r, id: id, p: &Partition{id: id, meta: meta}}
	if err := v.run(&meta); err != nil {
		return fmt.Errorf("verify partition %d: %w", id, err)
	}
	return nil
}

type verifier struct {
	r                 Reader
	id                PartitionID
	tally             tally
	deadlines, chunks uint64
	p                 *Partition // opened anew
	expired           tally      // of them, those that have expired
	held              int
}

func (v *verifier) run(meta *Meta) error {
	if err := v.p.load(v.r); err != nil {
		return err
	}
	start, end := columnRange(v.id, colData)
	if err := v.r.Scan(start, end, false, v.record); err != nil {
		return err
	}
	if err := v.tally.matches(meta); err != nil {
		return err
	}
	if err := v.horizon(meta); err != nil {
		return err
	}
	if err := v.count(colExpiry, v.deadlines); err != nil {
		return err
	}
	if err := v.count(colOverflow, v.chunks); err != nil {
		return err
	}
	if err := v.leases(meta); err != nil {
		return err
	}
	return v.txns(meta)
}

func (v *verifier) record(k, cell []byte) (bool, error) {
	rec, err := decodeRecord(cell)
	if err != nil {
		return false, err
	}
	key := k[prefixBytes:]
	if err := v.tally.add(k, cell); err != nil {
		return false, err
	}
	v.chunks += uint64(rec.chunks())
	if rec.split {
		if _, err := rec.value(v.r, v.id, key); err != nil {
			return false, err
		}
	}
	if rec.deadline == 0 {
		return true, nil
	}
	return true, v.deadline(key, &rec)
}

// deadline compares a record that has one with the expiry index, and counts it if it has expired.
func (v *verifier) deadline(key []byte, rec *record) error {
	v.deadlines++
	cell, err := v.r.Get(expiryKey(v.id, rec.deadline, key))
	if err != nil {
		return missingCell(err, v.id, key)
	}
	if length, err := v.p.lengthOf(v.r, key, cell); err != nil || length != rec.length {
		return corruptf("partition %d key %q: a value of %d bytes, the expiry index says %d, %v", v.id, key, rec.length, length, err)
	}
	switch {
	case v.p.expired(key, rec):
		v.expired.keys++
		v.expired.bytes += uint64(len(key)) + rec.length
	case v.p.meta.Horizon.passed(rec.deadline, key):
		v.held++
	}
	return nil
}

// horizon compares what has expired with the bookkeeping, and what is held with the locks.
func (v *verifier) horizon(meta *Meta) error {
	if v.expired.keys != meta.Expired || v.expired.bytes != meta.ExpiredBytes {
		return corruptf("%d expired keys of %d bytes, the bookkeeping says %d of %d", v.expired.keys, v.expired.bytes, meta.Expired, meta.ExpiredBytes)
	}
	if meta.Horizon.At > meta.Clock {
		return corruptf("the horizon is at %d, the clock at %d", meta.Horizon.At, meta.Clock)
	}
	if v.held != len(v.p.held) {
		return corruptf("%d keys are held, of which %d are there", len(v.p.held), v.held)
	}
	for key := range v.p.held {
		if _, locked := v.p.locks.Holder(ItemSpace, []byte(key), true, TxnID{}); !locked {
			return corruptf("key %q is held, and nobody has it locked", key)
		}
	}
	return nil
}

// count compares a column's number of cells with what the records account for.
func (v *verifier) count(c column, want uint64) error {
	var n uint64
	start, end := columnRange(v.id, c)
	err := v.r.Scan(start, end, true, func(_, _ []byte) (bool, error) {
		n++
		return true, nil
	})
	if err == nil && n != want {
		err = corruptf("%d cells in column %#x, the records account for %d", n, uint8(c), want)
	}
	return err
}
