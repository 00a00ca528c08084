package storage

import (
	"encoding/binary"
	"errors"

	"github.com/ringkv/ringkv/ring"
)

// Column colMarks has a cell [node] for what is closed and forgotten of a node, and a cell [node][incarnation] for each
// mark. Marks rise with nearly every transaction, so they are written once a batch, by Flush; more than maxDirty of them
// are written at once, so that Flush stays bounded.
const (
	maxDirty     = 16
	markKeyBytes = prefixBytes + 4 + 4
	markCost     = markKeyBytes + 2*binary.MaxVarintLen64 + WriteOverhead
)

func nodeMarkKey(id PartitionID, node ring.NodeID) []byte {
	return appendNodeMarkKey(make([]byte, 0, markKeyBytes-4), id, node)
}

func appendNodeMarkKey(dst []byte, id PartitionID, node ring.NodeID) []byte {
	return binary.BigEndian.AppendUint32(appendPrefix(dst, id, colMarks), uint32(node))
}

func markKey(id PartitionID, node ring.NodeID, number uint32) []byte {
	return appendMarkKey(make([]byte, 0, markKeyBytes), id, node, number)
}

func appendMarkKey(dst []byte, id PartitionID, node ring.NodeID, number uint32) []byte {
	return binary.BigEndian.AppendUint32(appendNodeMarkKey(dst, id, node), number)
}

// raiseMark takes in the mark that came with a command, and tells whether it passes a YES (I9).
func (p *Partition) raiseMark(b Batch, t TxnID, mark uint64) (passesYes bool, err error) {
	if mark == 0 {
		return false, nil
	}
	n := p.txns.addNode(t.Node)
	if t.Incarnation < n.forgotten {
		return false, nil
	}
	i := n.addRun(t.Incarnation)
	if mark <= i.mark {
		return false, nil
	}
	i.mark = mark
	for _, r := range i.records {
		if r.seq >= mark {
			break
		}
		passesYes = passesYes || r.state == TxnYes
	}
	i.clean(mark)
	return passesYes, p.markDirty(b, i)
}

// markDirty has the marks of i written, now or by the next Flush.
func (p *Partition) markDirty(b Batch, i *incarnation) error {
	switch {
	case i.dirty:
		return nil
	case len(p.txns.dirty) >= maxDirty:
		return p.writeMark(b, i)
	}
	i.dirty = true
	p.txns.dirty = append(p.txns.dirty, i)
	return nil
}

func (p *Partition) flushMarks(b Batch) error {
	for _, i := range p.txns.dirty {
		i.dirty = false
		if err := p.writeMark(b, i); err != nil {
			return err
		}
	}
	clear(p.txns.dirty)
	p.txns.dirty = p.txns.dirty[:0]
	return nil
}

func (p *Partition) writeMark(b Batch, i *incarnation) error {
	p.buf.key = appendMarkKey(p.buf.key[:0], p.id, i.node, i.number)
	p.buf.cell = appendUvarints(p.buf.cell[:0], i.mark, i.cleaned)
	return b.Set(p.buf.key, p.buf.cell)
}

// writeNode stores what is closed and forgotten.
func (p *Partition) writeNode(b Batch, n *nodeTxns) error {
	v := binary.AppendUvarint(make([]byte, 0, 2*binary.MaxVarintLen32), uint64(n.closed))
	return b.Set(nodeMarkKey(p.id, n.node), binary.AppendUvarint(v, uint64(n.forgotten)))
}

// loadMarks reads all marks into x.
func (x *txnIndex) loadMarks(r Reader, id PartitionID) error {
	start, end := columnRange(id, colMarks)
	return r.Scan(start, end, false, func(k, v []byte) (bool, error) { return true, x.loadMark(k, v) })
}

func (x *txnIndex) loadMark(k, v []byte) error {
	if len(k) != markKeyBytes && len(k) != markKeyBytes-4 {
		return corruptf("mark key of %d bytes", len(k))
	}
	n := x.addNode(ring.NodeID(binary.BigEndian.Uint32(k[prefixBytes:])))
	if len(k) < markKeyBytes {
		return n.decode(v)
	}
	return n.addRun(binary.BigEndian.Uint32(k[prefixBytes+4:])).decode(v)
}

func (n *nodeTxns) decode(v []byte) error {
	d := decoder{b: v}
	n.closed, n.forgotten = d.uint32(), d.uint32()
	if err := d.finish(); err != nil || n.forgotten > n.closed {
		return corruptf("marks of node %d: %v", n.node, err)
	}
	return nil
}

func (i *incarnation) decode(v []byte) error {
	d := decoder{b: v}
	i.mark, i.cleaned = d.uvarint(), d.uvarint()
	if err := d.finish(); err != nil || i.mark > maxMark {
		return corruptf("mark of node %d incarnation %d: %v", i.node, i.number, err)
	}
	return nil
}

// readLimit returns, from the engine, below which seq transactions of t's incarnation are GONE, and whether the
// incarnation is closed.
func readLimit(r Reader, id PartitionID, t TxnID) (limit uint64, closed bool, err error) {
	var n nodeTxns
	v, err := r.Get(nodeMarkKey(id, t.Node))
	switch {
	case err == nil:
		err = n.decode(v)
	case errors.Is(err, ErrNotFound):
		err = nil
	}
	if err != nil {
		return 0, false, err
	}
	i := incarnation{node: t.Node, number: t.Incarnation}
	v, err = r.Get(markKey(id, t.Node, t.Incarnation))
	switch {
	case err == nil:
		err = i.decode(v)
	case errors.Is(err, ErrNotFound):
		err = nil
	}
	return n.limit(&i), t.Incarnation < n.closed, err
}
