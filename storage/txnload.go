package storage

import (
	"encoding/binary"
	"slices"

	"github.com/ringkv/ringkv/ring"
)

// loadTxns reads what the group knows of transactions and derives the lock table from the YES records (I12).
func (p *Partition) loadTxns(r Reader) error {
	if err := p.txns.loadMarks(r, p.id); err != nil {
		return err
	}
	if err := p.loadRuns(r); err != nil {
		return err
	}
	slices.SortFunc(p.txns.yes, compareOrder)
	for _, rec := range p.txns.yes {
		if err := p.loadYes(r, rec); err != nil {
			return err
		}
	}
	return nil
}

// loadRuns walks from one incarnation to the next and leaves out the stubs that lie between.
func (p *Partition) loadRuns(r Reader) error {
	from, end := columnRange(p.id, colTxn)
	for {
		var first TxnID
		err := r.Scan(from, end, true, func(k, _ []byte) (more bool, err error) {
			first, err = splitTxnKey(k)
			return false, err
		})
		if err != nil || first.IsZero() {
			return err
		}
		if err := p.loadRun(r, first); err != nil {
			return err
		}
		from = runEnd(p.id, first.Node, first.Incarnation)
	}
}

// runEnd is the engine key behind the last record of an incarnation.
func runEnd(id PartitionID, node ring.NodeID, number uint32) []byte {
	k := appendPrefix(make([]byte, 0, prefixBytes+4+4), id, colTxn)
	return binary.BigEndian.AppendUint64(k, (uint64(node)<<32|uint64(number))+1)
}

func (p *Partition) loadRun(r Reader, first TxnID) error {
	n := p.txns.addNode(first.Node)
	i := n.addRun(first.Incarnation)
	if first.Seq < i.cleaned {
		if err := p.loadStub(r, i, first); err != nil {
			return err
		}
	}
	from := txnKey(p.id, TxnID{Node: i.node, Incarnation: i.number, Seq: i.cleaned})
	return r.Scan(from, runEnd(p.id, i.node, i.number), false, func(k, cell []byte) (bool, error) {
		id, err := splitTxnKey(k)
		if err != nil {
			return false, err
		}
		rec, _, err := decodeTxnRecord(id, cell)
		if err != nil {
			return false, err
		}
		i.records = append(i.records, seqRecord{id.Seq, &rec})
		if rec.state == TxnYes {
			p.txns.addYes(&rec)
		}
		return true, nil
	})
}

// loadStub finds out when the first stub of i is to be removed.
func (p *Partition) loadStub(r Reader, i *incarnation, first TxnID) error {
	cell, err := r.Get(txnKey(p.id, first))
	if err != nil {
		return err
	}
	rec, _, err := decodeTxnRecord(first, cell)
	if err != nil {
		return err
	}
	i.addStub(&rec)
	return nil
}

// loadYes derives what a YES record implies from its body.
func (p *Partition) loadYes(r Reader, rec *txnRecord) error {
	part, err := p.partOf(r, rec)
	if err != nil {
		return err
	}
	locks := appendLocks(nil, part)
	rec.open = openOf(rec.id, rec.attempt, rec.home, part)
	if other := p.locks.conflict(locks, rec.id); other != nil {
		return corruptf("transactions %v and %v hold the same lock", rec.id, other.ID)
	}
	rec.holds = p.locks.take(rec.open, locks, rec.holds)
	return nil
}

// partOf returns what a YES record prepared, read anew.
func (p *Partition) partOf(r Reader, rec *txnRecord) (*Prepare, error) {
	body, err := readBody(r, p.id, rec)
	if err != nil {
		return nil, err
	}
	return decodePart(rec.id, slices.Clone(body))
}

// evaluationOf returns what a YES record has promised: as it was evaluated at the vote, or, which gives the same under its
// locks, once more.
func (p *Partition) evaluationOf(r Reader, rec *txnRecord) (*evaluation, error) {
	if rec.kept != nil {
		return &rec.kept.evaluation, nil
	}
	part, err := p.partOf(r, rec)
	if err != nil {
		return nil, err
	}
	ev := &evaluation{read: p.reading(r), part: part, version: rec.version}
	return ev, ev.both()
}
