package storage_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/memdb"
)

// pair is one engine cell.
type pair struct{ key, value []byte }

// column lists the cells of one column of partition 1.
func (r *replica) column(c byte) (cells []pair) {
	v := r.e.View()
	defer v.Close()
	start := append(binary.BigEndian.AppendUint16(nil, uint16(r.id)), c)
	end := append(binary.BigEndian.AppendUint16(nil, uint16(r.id)), c+1)
	r.must(v.Scan(start, end, false, func(k, val []byte) (bool, error) {
		cells = append(cells, pair{bytes.Clone(k), bytes.Clone(val)})
		return true, nil
	}))
	return cells
}

// write changes cells behind the partition's back; a nil value deletes.
func (r *replica) write(cells ...pair) {
	b := r.e.Batch()
	defer b.Discard()
	for _, c := range cells {
		if c.value == nil {
			r.must(b.Delete(c.key))
		} else {
			r.must(b.Set(c.key, c.value))
		}
	}
	r.must(b.Commit())
}

// writtenReplica has something in every column: a YES with a long part, a COMMITTED with long results, a YES on another
// key, a stub, a mark and an answered token with a long answer.
func writtenReplica(t *testing.T) *replica {
	r := newReplica(t, theirs)
	long := make([]byte, 2*storage.MaxCellBytes)
	send := func(k storage.Kind, seq uint64, c storage.TxnCommand) {
		c.ID, c.Attempt, c.Home = storage.TxnID{Node: 1, Incarnation: 1, Seq: seq}, 1, theirs
		if p := c.Prepare; p != nil {
			p.Protocol, p.Participants, p.Partitions = storage.Auto, []storage.PartitionID{theirs, 9}, 2
		}
		if res := r.apply(&storage.Command{Kind: k, Txn: &c}); res.Txn == nil || res.Txn.Kind == storage.ReplyNo {
			t.Fatalf("got %+v", res.Txn)
		}
	}
	r.apply(&storage.Command{Kind: storage.KindPut, Key: []byte("a"), Value: long})
	send(storage.KindPrepare, 1, storage.TxnCommand{Prepare: &storage.Prepare{}})
	send(storage.KindCommit, 1, storage.TxnCommand{Decision: storage.DecideThen})
	send(storage.KindPrepare, 2, storage.TxnCommand{Mark: 2, Prepare: &storage.Prepare{
		Then: []storage.TxnOp{{Kind: storage.OpGet, Key: []byte("a")}}, Token: &storage.Token{Key: [16]byte{'a'}},
	}})
	send(storage.KindCommit, 2, storage.TxnCommand{Decision: storage.DecideThen, Answer: long})
	send(storage.KindPrepare, 3, storage.TxnCommand{Prepare: &storage.Prepare{Then: []storage.TxnOp{{Kind: storage.OpPut, Key: []byte("c"), Value: long}}}})
	send(storage.KindPrepare, 4, storage.TxnCommand{Prepare: &storage.Prepare{Then: []storage.TxnOp{{Kind: storage.OpPut, Key: []byte("f"), Value: []byte("v")}}}})
	return r
}

// TestVerifyFindsInTxns damages one thing at a time.
func TestVerifyFindsInTxns(t *testing.T) {
	const txn, body, marks, token, answer, due = 0x30, 0x31, 0x34, 0x38, 0x39, 0x3a
	for name, damage := range map[string]func(r *replica) pair{
		"a body without its first part": func(r *replica) pair { return pair{r.column(body)[0].key, nil} },
		"a body without its last part": func(r *replica) pair {
			cells := r.column(body)
			return pair{cells[len(cells)-1].key, nil}
		},
		"a part that is too short": func(r *replica) pair {
			c := r.column(body)[0]
			return pair{c.key, c.value[:len(c.value)-1]}
		},
		"a part too many": func(r *replica) pair {
			return pair{append(r.column(txn)[3].key[:2:2], append([]byte{body}, append(r.column(txn)[3].key[3:], 0, 0, 0, 0)...)...), []byte("x")}
		},
		"a long record that is gone":   func(r *replica) pair { return pair{r.column(txn)[1].key, nil} },
		"a record that is empty":       func(r *replica) pair { return pair{r.column(txn)[0].key, []byte{}} },
		"a record of another format":   func(r *replica) pair { return flip(r.column(txn)[3], 0) },
		"a record with bytes too many": func(r *replica) pair { return longer(r.column(txn)[3]) },
		"a part that does not decode":  func(r *replica) pair { return flip(r.column(txn)[3], -6) },
		"a record at an odd key":       func(r *replica) pair { return pair{append(r.column(txn)[0].key, 0), []byte("x")} },
		"two holders of one lock": func(r *replica) pair {
			c := r.column(txn)[3]
			twin := bytes.Clone(c.key)
			twin[len(twin)-1] = 5
			return pair{twin, c.value}
		},
		"a mark that is empty":     func(r *replica) pair { return pair{r.column(marks)[0].key, []byte{}} },
		"a mark at an odd key":     func(r *replica) pair { return pair{append(r.column(marks)[0].key, 0), []byte{1, 1}} },
		"cleaned above a YES":      func(r *replica) pair { return pair{r.column(marks)[0].key, []byte{9, 9}} },
		"a token that is gone":     func(r *replica) pair { return pair{r.column(token)[0].key, nil} },
		"a token without its time": func(r *replica) pair { return pair{r.column(due)[0].key, nil} },
		"a time without its token": func(r *replica) pair { k := r.column(due)[0].key; k[len(k)-1]++; return pair{k, []byte{}} },
		"a token that is damaged":  func(r *replica) pair { return longer(r.column(token)[0]) },
		"an answer without a part": func(r *replica) pair { return pair{r.column(answer)[1].key, nil} },
		"an answer with a part too many": func(r *replica) pair {
			k := r.column(answer)[0].key
			k[len(k)-1] = 9
			return pair{k, []byte("x")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := writtenReplica(t)
			r.verify()
			r.write(damage(r))
			v := r.e.View()
			defer v.Close()
			if err := storage.Verify(v, r.id); !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("Verify: %v, want ErrCorrupt", err)
			}
		})
	}
}

// flip changes one byte of a cell, counted from the end if negative.
func flip(c pair, at int) pair {
	if at < 0 {
		at += len(c.value)
	}
	c.value[at] ^= 0x55
	return c
}

func longer(c pair) pair { return pair{c.key, append(c.value, 0)} }

// TestManyMarksInABatch: marks are written once a batch, but never more of them than Flush may add; the others at once.
func TestManyMarksInABatch(t *testing.T) {
	const nodes = 40
	r := newReplicaOn(t, theirs, memdb.New())
	b := r.e.Batch()
	for round := range uint64(3) {
		for node := range ring.NodeID(nodes) {
			data := storage.AppendCommand(nil, &storage.Command{
				Kind: storage.KindMark, Txn: &storage.TxnCommand{ID: storage.TxnID{Node: node + 1, Incarnation: 1}, Mark: 5 + round},
			})
			before, bound := b.Size(), r.p.ApplyCost(data)
			_, err := r.p.Apply(b, r.p.Meta().Applied+1, 1, data)
			r.must(err)
			if b.Size()-before > bound {
				t.Fatalf("added %d, ApplyCost says at most %d", b.Size()-before, bound)
			}
		}
	}
	before := b.Size()
	r.must(r.p.Flush(b))
	if b.Size()-before > storage.FlushCost {
		t.Fatalf("the flush added %d", b.Size()-before)
	}
	r.must(b.Commit())
	r.open()
	if got, want := r.cells(), fmt.Sprintf("marks=%d\n", nodes); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	for node := range ring.NodeID(nodes) {
		for seq, want := range map[uint64]storage.ReplyKind{6: storage.ReplyGone, 7: storage.ReplyAbsent} {
			res := r.apply(&storage.Command{Kind: storage.KindDecide, Txn: &storage.TxnCommand{
				ID: storage.TxnID{Node: node + 1, Incarnation: 1, Seq: seq}, Attempt: 1, Decision: storage.DecideThen,
			}})
			if res.Txn.Kind != want {
				t.Fatalf("node %d seq %d: %v, want %v", node+1, seq, res.Txn.Kind, want)
			}
		}
	}
}

// TestManyOperations: a branch over many keys, each touched by several operations.
func TestManyOperations(t *testing.T) {
	const keys = 200
	r := newReplicaOn(t, 0, memdb.New())
	p := &storage.Prepare{Protocol: storage.OnePhase, Participants: []storage.PartitionID{0}, Partitions: 1}
	add := func(k storage.OpKind, i int) {
		key := fmt.Appendf(nil, "key%d", i)
		p.Then = append(p.Then, storage.TxnOp{Index: uint32(len(p.Then)), Kind: k, Key: key, Value: []byte("7"), By: int64(i)})
	}
	for _, k := range []storage.OpKind{storage.OpPut, storage.OpAdd, storage.OpDelete, storage.OpAdd, storage.OpGet} {
		for i := range keys {
			add(k, i)
		}
	}
	res := r.apply(&storage.Command{Kind: storage.KindSingle, Txn: &storage.TxnCommand{ID: storage.TxnID{Node: 1, Incarnation: 1, Seq: 1}, Attempt: 1, Prepare: p}})
	if res.Txn.Decision != storage.DecideThen {
		t.Fatalf("got %v", res.Txn.Decision)
	}
	for i, got := range slices.Backward(res.Txn.Vote.Then.Results) {
		if i < 4*keys {
			break
		}
		if want := fmt.Sprint(i - 4*keys); string(got.Value) != want || got.Version != 1 {
			t.Fatalf("%s is %s@%d, want %s@1", got.Key, got.Value, got.Version, want)
		}
		if it, err := r.get(string(got.Key)); err != nil || string(it.Value) != string(got.Value) {
			t.Fatalf("%s is %s, %v", got.Key, it.Value, err)
		}
	}
	r.verify()
}
