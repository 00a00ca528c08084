package storage_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/memdb"
)

// longKey is a key of the greatest length.
func longKey(i int) []byte {
	return append(bytes.Repeat([]byte("k"), storage.MaxKeyBytes-4), fmt.Sprintf("%04d", i)...)
}

// TestExpireFitsABatch: however much is due at once, an expire does a bounded part of it, and the next one goes on.
func TestExpireFitsABatch(t *testing.T) {
	r := newReplica(t, 1)
	const keys = 40
	for i := range keys {
		r.apply(&storage.Command{Kind: storage.KindPut, Key: longKey(i), Value: make([]byte, 1<<20), TTL: 10})
	}
	expire := storage.Command{Kind: storage.KindExpire, Clock: 10, Limit: storage.MaxExpire}
	if cost := r.p.ApplyCost(storage.AppendCommand(nil, &expire)); cost+storage.FlushCost > 2<<20 {
		t.Fatalf("an expire may cost %d", cost)
	}
	left := uint32(keys)
	for left > 0 {
		if at, ok := r.p.NextDeadline(); !ok || at != 10 {
			t.Fatalf("%d keys are left, the next deadline is %d %v", left, at, ok)
		}
		res := r.apply(&expire)
		if res.Count == 0 || res.Count >= keys {
			t.Fatalf("%d keys at once of %d", res.Count, left)
		}
		left -= res.Count
	}
	if at, ok := r.p.NextDeadline(); ok {
		t.Fatalf("nothing is left, the next deadline is %d", at)
	}
	r.verify()
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
