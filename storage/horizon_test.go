package storage_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ringkv/ringkv/storage"
)

// heldReplica has a key that has expired, one that is held by a transaction, and one that is due later.
func heldReplica(t *testing.T) *replica {
	r := newReplica(t, theirs)
	for _, key := range []string{"a", "c"} {
		r.apply(&storage.Command{Kind: storage.KindPut, Key: []byte(key), Value: []byte("v"), TTL: 10})
	}
	r.apply(&storage.Command{Kind: storage.KindPut, Key: []byte("f"), Value: []byte("value"), TTL: 30})
	r.apply(&storage.Command{Kind: storage.KindPrepare, Txn: &storage.TxnCommand{
		ID: storage.TxnID{Node: 1, Incarnation: 1, Seq: 1}, Attempt: 1, Home: theirs, Prepare: &storage.Prepare{
			Protocol: storage.Auto, Participants: []storage.PartitionID{theirs, 9}, Partitions: 2,
			If: []storage.TxnCondition{{Test: storage.TestExists, Key: []byte("c")}},
		},
	}})
	r.apply(&storage.Command{Kind: storage.KindExpire, Clock: 20, Limit: 10})
	return r
}

// TestVerifyFindsInExpiry damages one thing at a time.
func TestVerifyFindsInExpiry(t *testing.T) {
	const data, expiry, held, meta = 0x10, 0x20, 0x21, 0x00
	for name, damage := range map[string]func(r *replica) pair{
		"a mark that is gone":           func(r *replica) pair { return pair{r.column(held)[0].key, nil} },
		"a mark of what is not locked":  func(r *replica) pair { k := r.column(held)[0].key; k[len(k)-1] = 'a'; return pair{k, []byte{}} },
		"a mark of what is not due":     func(r *replica) pair { k := r.column(held)[0].key; k[len(k)-1] = 'f'; return pair{k, []byte{}} },
		"a mark of nothing":             func(r *replica) pair { k := r.column(held)[0].key; k[len(k)-1] = 'x'; return pair{k, []byte{}} },
		"an index that is gone":         func(r *replica) pair { return pair{r.column(expiry)[2].key, nil} },
		"an index of another length":    func(r *replica) pair { return pair{r.column(expiry)[2].key, []byte{4}} },
		"an index with bytes too many":  func(r *replica) pair { return longer(r.column(expiry)[2]) },
		"an expired key that is gone":   func(r *replica) pair { return pair{r.column(data)[0].key, nil} },
		"a horizon of another time":     func(r *replica) pair { return swap(r.column(meta)[0], 20, 9) },
		"a horizon ahead of the clock":  func(r *replica) pair { return swap(r.column(meta)[0], 20, 25) },
		"an expired key without an end": func(r *replica) pair { c := r.column(data)[0]; return pair{c.key, append([]byte{0, 1}, "v"...)} },
	} {
		t.Run(name, func(t *testing.T) {
			r := heldReplica(t)
			r.verify()
			r.write(damage(r))
			v := r.e.View()
			defer v.Close()
			if err := storage.Verify(v, r.id); !errors.Is(err, storage.ErrCorrupt) {
				t.Fatalf("verify: %v, want ErrCorrupt", err)
			}
		})
	}
}

// swap changes the last byte of a cell that is so.
func swap(c pair, from, to byte) pair {
	i := bytes.LastIndexByte(c.value, from)
	c.value[i] = to
	return c
}

// asOfOld writes a partition as it was before there was a horizon: nothing in the cells of the expiry index, and a meta record
// of format 2.
func (r *replica) asOfOld() {
	m := r.p.Meta()
	old := []byte{2}
	for _, v := range [...]uint64{
		m.Applied, m.AppliedTerm, uint64(m.Revision), uint64(m.LastRemoval), uint64(m.Clock), m.Keys, m.Bytes, m.Longest, 0,
	} {
		old = binary.AppendUvarint(old, v)
	}
	cells := []pair{{r.column(0)[0].key, old}}
	for _, c := range r.column(0x20) {
		cells = append(cells, pair{c.key, []byte{}})
	}
	r.write(cells...)
	r.open()
}

// TestReadsWhatWasBeforeTheHorizon: a partition of the format before goes on as it is; all that it holds is there until it
// expires.
func TestReadsWhatWasBeforeTheHorizon(t *testing.T) {
	r := newReplica(t, 1)
	long := strings.Repeat("l", storage.MaxCellBytes+1)
	for key, value := range map[string]string{"a": "1", "b": "22", "c": long} {
		r.apply(&storage.Command{Kind: storage.KindPut, Key: []byte(key), Value: []byte(value), TTL: 10})
	}
	r.apply(&storage.Command{Kind: storage.KindPut, Key: []byte("d"), Value: []byte("4"), TTL: 90, Clock: 20})
	r.asOfOld()
	r.verify()
	if items, _ := r.scan(storage.ScanOptions{}); len(items) != 4 {
		t.Fatalf("%d items, want 4", len(items))
	}
	r.apply(&storage.Command{Kind: storage.KindPut, Key: []byte("a"), Value: []byte("longer"), KeepTTL: true})
	r.verify()
	if res := r.apply(&storage.Command{Kind: storage.KindExpire, Clock: 20, Limit: 9}); res.Count != 3 {
		t.Fatalf("%d expired, want 3", res.Count)
	}
	r.verify()
	if res := r.apply(&storage.Command{Kind: storage.KindPurge, Clock: 20, Limit: 9}); res.Count != 3 {
		t.Fatalf("%d purged, want 3", res.Count)
	}
	r.verify()
	if m := r.p.Meta(); m.Keys != 1 || m.Bytes != 2 {
		t.Fatalf("%d keys of %d bytes are left, want 1 of 2", m.Keys, m.Bytes)
	}
}

// taggedKey is a key of partition theirs, of the greatest length.
func taggedKey(i int) []byte {
	return append(append([]byte("{a}"), bytes.Repeat([]byte("k"), storage.MaxKeyBytes-7)...), fmt.Sprintf("%04d", i)...)
}

// TestHeldAndExpiredFitABatch: what ending the hold of keys takes, and what lies under absent keys, is in the costs of
// commands about transactions. replica.apply compares them.
func TestHeldAndExpiredFitABatch(t *testing.T) {
	const keys = 200
	r := newReplica(t, theirs)
	send := func(kind storage.Kind, seq uint64, c storage.TxnCommand) {
		t.Helper()
		c.ID, c.Attempt, c.Home = storage.TxnID{Node: 1, Incarnation: 1, Seq: seq}, 1, theirs
		if p := c.Prepare; p != nil {
			p.Protocol, p.Participants, p.Partitions = storage.Auto, []storage.PartitionID{theirs, 9}, 2
		}
		if res := r.apply(&storage.Command{Kind: kind, Txn: &c}); res.Txn == nil || res.Txn.Kind == storage.ReplyNo && kind == storage.KindPrepare {
			t.Fatalf("got %+v", res.Txn)
		}
	}
	read, write := &storage.Prepare{}, &storage.Prepare{}
	for i := range keys {
		r.apply(&storage.Command{Kind: storage.KindPut, Key: taggedKey(i), Value: make([]byte, 5*storage.MaxCellBytes), TTL: 10})
		read.If = append(read.If, storage.TxnCondition{Index: uint32(i), Test: storage.TestExists, Key: taggedKey(i)})
		write.Then = append(write.Then, storage.TxnOp{Index: uint32(i), Kind: storage.OpPut, Key: taggedKey(i), Value: []byte("v"), TTL: 10})
	}
	expire := storage.Command{Kind: storage.KindExpire, Clock: 10, Limit: storage.MaxExpire}
	send(storage.KindPrepare, 1, storage.TxnCommand{Prepare: read})
	for range 2 { // more than fit an expire
		r.apply(&expire)
	}
	send(storage.KindPrepare, 2, storage.TxnCommand{Prepare: read})
	send(storage.KindCommit, 1, storage.TxnCommand{Decision: storage.DecideThen})
	if m := r.p.Meta(); m.Expired != 0 {
		t.Fatalf("%d keys expired although they are locked", m.Expired)
	}
	send(storage.KindAbort, 2, storage.TxnCommand{Final: true})
	if m := r.p.Meta(); m.Expired != keys {
		t.Fatalf("%d keys expired, want %d", m.Expired, keys)
	}
	r.verify()
	send(storage.KindPrepare, 3, storage.TxnCommand{Prepare: write})
	send(storage.KindCommit, 3, storage.TxnCommand{Decision: storage.DecideThen})
	if m := r.p.Meta(); m.Expired != 0 || m.Keys != keys {
		t.Fatalf("%d keys, %d of them expired, want %d and none", m.Keys, m.Expired, keys)
	}
	r.verify()
	expire.Clock = 20
	send(storage.KindPrepare, 4, storage.TxnCommand{Prepare: read})
	for range 2 {
		r.apply(&expire)
	}
	send(storage.KindCommit, 4, storage.TxnCommand{Decision: storage.DecideThen})
	if m := r.p.Meta(); m.Expired != keys {
		t.Fatalf("%d keys expired, want %d", m.Expired, keys)
	}
	r.verify()
}
