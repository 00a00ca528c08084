package txn

import (
	"math/bits"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// MaxSpan is how many transactions above its mark an incarnation may have begun before its node takes a new one: groups
// keep the records of all of them, so one that is stuck must not pin them for ever.
const MaxSpan = 100_000

// Ledger numbers the transactions of one incarnation and knows which of them are finished (R9).
type Ledger struct {
	node        ring.NodeID
	incarnation uint32
	next        uint64   // the next seq to give
	mark        uint64   // the smallest unfinished seq, or next
	done        []uint64 // bit i of word w: seq base+64w+i is finished
	base        uint64   // a multiple of 64, at most mark
	unfinished  uint64
}

// NewLedger begins an incarnation. Its first seq is 1.
func NewLedger(node ring.NodeID, incarnation uint32) *Ledger {
	return &Ledger{node: node, incarnation: incarnation, next: 1, mark: 1}
}

// Begin gives the next transaction its name. It is unfinished until Finish.
func (l *Ledger) Begin() storage.TxnID {
	t := storage.TxnID{Node: l.node, Incarnation: l.incarnation, Seq: l.next}
	l.next++
	l.unfinished++
	return t
}

// Finish notes that t is finished: every participant has acknowledged a final state and the token's answer is stored.
// It returns false, and does nothing, for one that is not of this incarnation, was never begun or is finished already.
func (l *Ledger) Finish(t storage.TxnID) bool {
	if t.Node != l.node || t.Incarnation != l.incarnation || t.Seq < l.mark || t.Seq >= l.next || l.finished(t.Seq) {
		return false
	}
	l.set(t.Seq)
	l.unfinished--
	l.advance()
	return true
}

// Mark is the smallest unfinished seq: everything below it is finished in every group (R9). With nothing unfinished it
// is the next seq.
func (l *Ledger) Mark() uint64 { return l.mark }

// Incarnation is the one that this ledger is of.
func (l *Ledger) Incarnation() uint32 { return l.incarnation }

// Unfinished counts the transactions that are not finished.
func (l *Ledger) Unfinished() uint64 { return l.unfinished }

// Full reports whether new transactions should be of a new incarnation, while this one drains.
func (l *Ledger) Full() bool { return l.next-l.mark > MaxSpan }

func (l *Ledger) finished(seq uint64) bool {
	w := (seq - l.base) / 64
	return w < uint64(len(l.done)) && l.done[w]&(1<<(seq%64)) != 0
}

func (l *Ledger) set(seq uint64) {
	w := (seq - l.base) / 64
	for uint64(len(l.done)) <= w {
		l.done = append(l.done, 0)
	}
	l.done[w] |= 1 << (seq % 64)
}

// advance moves the mark over what is finished and forgets whole words below it.
func (l *Ledger) advance() {
	for {
		w := (l.mark - l.base) / 64
		if w >= uint64(len(l.done)) {
			break
		}
		l.mark += uint64(bits.TrailingZeros64(^(l.done[w] >> (l.mark % 64))))
		if l.mark < l.base+64*(w+1) {
			break
		}
	}
	if whole := (l.mark - l.base) / 64; whole > 0 {
		l.done = l.done[min(whole, uint64(len(l.done))):]
		l.base += 64 * whole
	}
}
