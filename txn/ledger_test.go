package txn_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/txn"
)

// TestLedgerLaw: the mark is the smallest unfinished seq, whatever the order in which transactions finish (R9).
func TestLedgerLaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := txn.NewLedger(3, 7)
		running, next := map[uint64]bool{}, uint64(1)
		for range rapid.IntRange(0, 400).Draw(t, "steps") {
			seq := rapid.Uint64Range(0, next).Draw(t, "seq")
			if rapid.Bool().Draw(t, "begin") {
				got := l.Begin()
				if got != (storage.TxnID{Node: 3, Incarnation: 7, Seq: next}) {
					t.Fatalf("transaction %v, not seq %d", got, next)
				}
				running[next] = true
				next++
				continue
			}
			if got := l.Finish(storage.TxnID{Node: 3, Incarnation: 7, Seq: seq}); got != running[seq] {
				t.Fatalf("finish %d: %t", seq, got)
			}
			delete(running, seq)
			want := next
			for s := range running {
				want = min(want, s)
			}
			if l.Mark() != want || l.Unfinished() != uint64(len(running)) {
				t.Fatalf("mark %d, not %d; %d unfinished, not %d", l.Mark(), want, l.Unfinished(), len(running))
			}
		}
	})
}

func TestLedgerOfAnother(t *testing.T) {
	l := txn.NewLedger(3, 7)
	id := l.Begin()
	for _, other := range []storage.TxnID{{Node: 4, Incarnation: 7, Seq: 1}, {Node: 3, Incarnation: 6, Seq: 1}} {
		if l.Finish(other) || l.Mark() != 1 {
			t.Errorf("%v is finished here", other)
		}
	}
	if !l.Finish(id) || l.Finish(id) || l.Mark() != 2 || l.Incarnation() != 7 {
		t.Errorf("mark %d of incarnation %d", l.Mark(), l.Incarnation())
	}
}

// TestLedgerFills: one stuck transaction asks for a new incarnation, and the memory of the others stays small.
func TestLedgerFills(t *testing.T) {
	l := txn.NewLedger(1, 1)
	stuck := l.Begin()
	for range txn.MaxSpan - 1 {
		l.Finish(l.Begin())
	}
	if l.Full() || l.Mark() != 1 {
		t.Fatalf("full %t, mark %d", l.Full(), l.Mark())
	}
	l.Finish(l.Begin())
	if !l.Full() || l.Unfinished() != 1 {
		t.Fatalf("full %t, %d unfinished", l.Full(), l.Unfinished())
	}
	l.Finish(stuck)
	if l.Full() || l.Mark() != txn.MaxSpan+2 {
		t.Fatalf("full %t, mark %d", l.Full(), l.Mark())
	}
}
