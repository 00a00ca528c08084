package storage

import (
	"cmp"
	"slices"

	"github.com/ringkv/ringkv/ring"
)

// txnIndex holds what the group knows of transactions: the records that are not removed yet, marks, closed and forgotten
// incarnations. All of it is in the engine as well.
type txnIndex struct {
	nodes []*nodeTxns  // ascending
	yes   []*txnRecord // the YES records, in the order in which they became so
	dirty []*incarnation
	kept  int          // bytes of decoded parts in memory
	spare []*txnRecord // memory of records that are gone, to be used again
}

// maxSpare is how many records' memory is kept: more go at once only after a stall.
const maxSpare = 256

// nodeTxns is what the group knows of one coordinating node.
type nodeTxns struct {
	node      ring.NodeID
	closed    uint32 // no older incarnation can prepare any more
	forgotten uint32 // every older incarnation is GONE
	runs      []*incarnation
}

// incarnation is one run of a coordinating node.
type incarnation struct {
	node    ring.NodeID
	number  uint32
	mark    uint64      // L: transactions below are finished everywhere, hence GONE
	cleaned uint64      // records below are removed, or left as stubs; at most the limit
	records []seqRecord // ascending; all at or above cleaned
	memory  []seqRecord // of records, which move towards its end
	dirty   bool        // mark or cleaned differ from what the engine holds

	// The stubs of an incarnation are the records below cleaned whose home is here. While there are any, the first is at
	// or after firstStub and none is to be removed before stubsDue.
	hasStubs  bool
	firstStub uint64
	stubsDue  Millis
}

// seqRecord is a record under its seq, so that a search looks at no record but the one that it finds.
type seqRecord struct {
	seq uint64
	*txnRecord
}

func compareNode(n *nodeTxns, id ring.NodeID) int  { return cmp.Compare(n.node, id) }
func compareRun(i *incarnation, number uint32) int { return cmp.Compare(i.number, number) }
func compareSeq(r seqRecord, seq uint64) int       { return cmp.Compare(r.seq, seq) }
func compareOrder(a, b *txnRecord) int             { return cmp.Compare(a.order, b.order) }

// node returns what is known of a node, nil if nothing.
func (x *txnIndex) node(id ring.NodeID) *nodeTxns {
	if i, ok := slices.BinarySearchFunc(x.nodes, id, compareNode); ok {
		return x.nodes[i]
	}
	return nil
}

func (x *txnIndex) addNode(id ring.NodeID) *nodeTxns {
	i, ok := slices.BinarySearchFunc(x.nodes, id, compareNode)
	if !ok {
		x.nodes = slices.Insert(x.nodes, i, &nodeTxns{node: id})
	}
	return x.nodes[i]
}

// run returns one incarnation, nil if nothing is known of it. n may be nil.
func (n *nodeTxns) run(number uint32) *incarnation {
	if n == nil {
		return nil
	}
	if i, ok := slices.BinarySearchFunc(n.runs, number, compareRun); ok {
		return n.runs[i]
	}
	return nil
}

func (n *nodeTxns) addRun(number uint32) *incarnation {
	i, ok := slices.BinarySearchFunc(n.runs, number, compareRun)
	if !ok {
		n.runs = slices.Insert(n.runs, i, &incarnation{node: n.node, number: number})
	}
	return n.runs[i]
}

// limit is the seq below which every transaction of i is GONE, as n knows it.
func (n *nodeTxns) limit(i *incarnation) uint64 {
	if i.number < n.forgotten {
		return maxMark + 1
	}
	return i.mark
}

// record returns the record of seq, nil if there is none. i may be nil. Most that are asked for are new, or among the last.
func (i *incarnation) record(seq uint64) *txnRecord {
	if i == nil || len(i.records) == 0 || i.records[len(i.records)-1].seq < seq {
		return nil
	}
	from := i.records
	for step := 4; step < len(i.records); step *= 2 {
		if at := len(i.records) - step; i.records[at].seq <= seq {
			from = i.records[at:]
			break
		}
	}
	if at, ok := slices.BinarySearchFunc(from, seq, compareSeq); ok {
		return from[at].txnRecord
	}
	return nil
}

// add takes in a record that is not there. Most come in order, or nearly so.
func (i *incarnation) add(r *txnRecord) {
	i.makeRoom()
	at := len(i.records)
	for at > 0 && i.records[at-1].seq > r.id.Seq {
		at--
	}
	i.records = slices.Insert(i.records, at, seqRecord{r.id.Seq, r})
}

// makeRoom moves the records back to the beginning of their memory, where that is mostly free, or to one that fits them.
func (i *incarnation) makeRoom() {
	n := len(i.records)
	if n < cap(i.records) {
		return
	}
	if 2*n >= len(i.memory) || len(i.memory) > 64+16*n {
		i.memory = make([]seqRecord, max(8, 4*n))
	}
	copy(i.memory, i.records)
	clear(i.memory[n:])
	i.records = i.memory[:n]
}

// garbage is the first record that can be removed, nil if there is none. A YES below the mark, which breaks I9, stays and
// holds up those behind it.
func (i *incarnation) garbage(limit uint64) *txnRecord {
	if len(i.records) == 0 || i.records[0].seq >= limit || !i.records[0].final() {
		return nil
	}
	return i.records[0].txnRecord
}

// drop forgets the first record, which was removed or left as a stub.
func (i *incarnation) drop(limit uint64) {
	i.records[0] = seqRecord{}
	i.records = i.records[1:]
	i.clean(limit)
}

// clean moves cleaned up to where it can be: it never passes a record.
func (i *incarnation) clean(limit uint64) {
	i.cleaned = max(i.cleaned, limit)
	if len(i.records) > 0 {
		i.cleaned = min(i.cleaned, i.records[0].seq)
	}
}

// newRecord returns an empty record of t.
func (x *txnIndex) newRecord(t TxnID, home PartitionID) *txnRecord {
	n := len(x.spare)
	if n == 0 {
		return &txnRecord{id: t, home: home}
	}
	r := x.spare[n-1]
	x.spare = x.spare[:n-1]
	*r = txnRecord{id: t, home: home, holds: r.holds[:0]}
	return r
}

// forget takes the memory of a record that was dropped: nothing points to it any more.
func (x *txnIndex) forget(r *txnRecord) {
	if len(x.spare) < maxSpare && cap(r.holds) <= maxDraftItems {
		r.open = nil
		x.spare = append(x.spare, r)
	}
}

// addYes registers a record that became YES just now.
func (x *txnIndex) addYes(r *txnRecord) { x.yes = append(x.yes, r) }

func (x *txnIndex) removeYes(r *txnRecord) {
	at := slices.Index(x.yes, r)
	x.yes = slices.Delete(x.yes, at, at+1)
}
