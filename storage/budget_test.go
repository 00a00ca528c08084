package storage_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/memdb"
)

// longKey is a key of the greatest length.
func longKey(i int) []byte {
	return append(bytes.Repeat([]byte("k"), storage.MaxKeyBytes-4), fmt.Sprintf("%04d", i)...)
}

// TestPurgeFitsABatch: however much has expired at once, a purge removes a bounded part of it, and the next one goes on.
func TestPurgeFitsABatch(t *testing.T) {
	r := newReplica(t, 1)
	const keys = 40
	for i := range keys {
		r.apply(&storage.Command{Kind: storage.KindPut, Key: longKey(i), Value: make([]byte, 1<<20), TTL: 10})
	}
	expire := storage.Command{Kind: storage.KindExpire, Clock: 10, Limit: storage.MaxExpire}
	if cost := r.p.ApplyCost(storage.AppendCommand(nil, &expire)); cost > 0 {
		t.Fatalf("an expire may cost %d, and nobody has anything locked", cost)
	}
	if res := r.apply(&expire); res.Count != keys {
		t.Fatalf("%d of %d keys expired", res.Count, keys)
	}
	purge := storage.Command{Kind: storage.KindPurge, Clock: 10, Limit: storage.MaxPurge}
	if cost := r.p.ApplyCost(storage.AppendCommand(nil, &purge)); cost+storage.FlushCost > 2<<20 {
		t.Fatalf("a purge may cost %d", cost)
	}
	for left := uint32(keys); left > 0; {
		if n, oldest := r.p.Purgeable(); n != uint64(left) || oldest != 10 {
			t.Fatalf("%d keys are left, purgeable are %d from %d", left, n, oldest)
		}
		res := r.apply(&purge)
		if res.Count == 0 || res.Count >= keys {
			t.Fatalf("%d keys at once of %d", res.Count, left)
		}
		left -= res.Count
		r.verify()
	}
	if m := r.p.Meta(); m.Keys != 0 || m.Bytes != 0 {
		t.Fatalf("%d keys of %d bytes are left", m.Keys, m.Bytes)
	}
}

// TestExpireIsBounded: an expire lets go so many keys, and so many bytes of keys, and the next one goes on.
func TestExpireIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		key  func(int) []byte
		most uint32
	}{
		"short keys": {func(i int) []byte { return fmt.Append(nil, i) }, storage.MaxExpire},
		"long keys":  {longKey, 128},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t, 1)
			const keys = storage.MaxExpire + 200
			for i := range keys {
				r.apply(&storage.Command{Kind: storage.KindPut, Key: c.key(i), TTL: 10})
			}
			for left := uint32(keys); left > 0; {
				want := min(left, c.most)
				res := r.apply(&storage.Command{Kind: storage.KindExpire, Clock: 10, Limit: 1 << 30})
				if res.Count != want {
					t.Fatalf("%d keys at once of %d, want %d", res.Count, left, want)
				}
				left -= want
				if at, ok := r.p.NextDeadline(); ok != (left > 0) || ok && at != 10 {
					t.Fatalf("%d keys are left, the next deadline is %d %v", left, at, ok)
				}
			}
			r.verify()
		})
	}
}

// TestScanPassesOverABoundedNumber: a page over many keys that have expired and are not purged ends short or empty, and tells
// where to go on.
func TestScanPassesOverABoundedNumber(t *testing.T) {
	r := newReplica(t, 1)
	const keys = 2500
	for i := range keys {
		r.apply(&storage.Command{Kind: storage.KindPut, Key: fmt.Appendf(nil, "k%04d", i), TTL: 10})
	}
	r.apply(&storage.Command{Kind: storage.KindPut, Key: []byte("a"), Value: []byte("first")})
	r.apply(&storage.Command{Kind: storage.KindPut, Key: []byte("z"), Value: []byte("last")})
	for r.apply(&storage.Command{Kind: storage.KindExpire, Clock: 10, Limit: storage.MaxExpire}).Count > 0 {
	}
	v := r.e.View()
	defer v.Close()
	var pages []int
	o := storage.ScanOptions{Limit: 10}
	for {
		items, next, err := storage.Scan(v, r.id, o)
		r.must(err)
		pages = append(pages, len(items))
		if next == nil {
			break
		}
		if bytes.Compare(next, o.Start) <= 0 {
			t.Fatalf("next %q, this page started at %q", next, o.Start)
		}
		o.Start = next
	}
	if want := []int{1, 0, 1}; !slices.Equal(pages, want) {
		t.Fatalf("pages of %v items, want %v", pages, want)
	}
}

// TestSweepFitsABatch: the same for idempotency records with long answers.
func TestSweepFitsABatch(t *testing.T) {
	r := newReplicaOn(t, 0, memdb.New())
	const tokens = 40
	for i := range uint64(tokens) {
		id := storage.TxnID{Node: 1, Incarnation: 1, Seq: i + 1}
		p := &storage.Prepare{Protocol: storage.OnePhase, Participants: []storage.PartitionID{0}, Partitions: 1, Token: &storage.Token{}}
		p.Token.Key[0] = byte(i)
		r.apply(&storage.Command{Kind: storage.KindSingle, Txn: &storage.TxnCommand{ID: id, Attempt: 1, Prepare: p}})
		r.apply(&storage.Command{Kind: storage.KindCommit, Txn: &storage.TxnCommand{
			ID: id, Attempt: 1, Decision: storage.DecideThen, Answer: make([]byte, storage.MaxAnswerBytes),
		}})
	}
	sweep := storage.Command{Kind: storage.KindSweep, Clock: storage.TokenTTL, Limit: storage.MaxSweep}
	if cost := r.p.ApplyCost(storage.AppendCommand(nil, &sweep)); cost+storage.FlushCost > 2<<20 {
		t.Fatalf("a sweep may cost %d", cost)
	}
	for left := uint32(tokens); left > 0; {
		if at, ok := r.p.Sweepable(); !ok || at > storage.TokenTTL {
			t.Fatalf("%d tokens are left, sweepable at %d %v", left, at, ok)
		}
		res := r.apply(&sweep)
		if res.Count == 0 || res.Count >= tokens {
			t.Fatalf("%d tokens at once of %d", res.Count, left)
		}
		left -= res.Count
	}
	r.verify()
}

// TestRemovalFitsBesideAnEntry: a mark that makes long records GONE lets an entry remove only as much as leaves room for
// what the entry itself writes.
func TestRemovalFitsBesideAnEntry(t *testing.T) {
	r := newReplica(t, theirs)
	r.apply(&storage.Command{Kind: storage.KindPut, Key: []byte("a"), Value: make([]byte, 7<<20)})
	prepare := func(seq, mark uint64) *storage.Command {
		return &storage.Command{Kind: storage.KindPrepare, Txn: &storage.TxnCommand{
			ID: storage.TxnID{Node: 1, Incarnation: 1, Seq: seq}, Attempt: 1, Mark: mark,
			Prepare: &storage.Prepare{
				Protocol: storage.Auto, Participants: []storage.PartitionID{0, theirs}, Partitions: 2,
				Then: []storage.TxnOp{{Kind: storage.OpGet, Key: []byte("a")}},
			},
		}}
	}
	const records = 8
	for seq := range uint64(records) {
		c := prepare(seq+1, 0)
		r.apply(c)
		r.apply(&storage.Command{Kind: storage.KindCommit, Txn: &storage.TxnCommand{ID: c.Txn.ID, Attempt: 1, Decision: storage.DecideThen}})
	}
	c := prepare(records+1, records+1)
	if cost := r.p.ApplyCost(storage.AppendCommand(nil, c)); cost > 200<<10 {
		t.Fatalf("a short prepare may cost %d", cost)
	}
	r.apply(c)
	sweep := storage.Command{Kind: storage.KindSweep, Limit: storage.MaxSweep}
	for at, ok := r.p.Sweepable(); ok && at == 0; at, ok = r.p.Sweepable() {
		r.apply(&sweep)
	}
	if got, want := r.cells(), "txn=1 marks=1\n"; got != want {
		t.Fatalf("left: %s, want %s", got, want)
	}
	r.verify()
}
