package storage_test

import (
	"testing"

	"github.com/ringkv/ringkv/storage"
)

// TestDraftsForget: what an entry said is nothing to the next ones, in whose place it is decoded.
func TestDraftsForget(t *testing.T) {
	low, large := int64(5), storage.Version(1<<53)
	for name, first := range map[string]storage.Prepare{
		"a condition": {If: []storage.TxnCondition{{Test: storage.TestVersion, Key: []byte("a"), Want: large}}}, // not valid
		"a value":     {If: []storage.TxnCondition{{Test: storage.TestValue, Key: []byte("a"), Value: make([]byte, 100)}}},
		"a bound":     {Then: []storage.TxnOp{{Kind: storage.OpAdd, Key: []byte("a"), Min: &low}}},
		"a TTL":       {Then: []storage.TxnOp{{Kind: storage.OpPut, Key: []byte("b"), Value: []byte{}, TTL: 7}}},
		"branches": {
			If:   []storage.TxnCondition{{Test: storage.TestExists, Key: []byte("a")}},
			Then: []storage.TxnOp{{Kind: storage.OpDelete, Key: []byte("a")}}, HasElse: true,
			Else: []storage.TxnOp{{Kind: storage.OpDelete, Key: []byte("b")}},
		},
		"an order": {Ordered: true, Token: &storage.Token{}, Age: 3},
	} {
		t.Run(name, func(t *testing.T) {
			r, fresh := newReplica(t, 0), newReplica(t, 0)
			first.Protocol, first.Participants, first.Partitions = storage.Auto, []storage.PartitionID{0, 9}, 1
			abort := prepared(1, nil)
			abort.Kind, abort.Txn.Final = storage.KindAbort, true
			for _, c := range []*storage.Command{prepared(1, &first), abort} {
				r.apply(c)
				fresh.apply(c)
			}
			fresh.open() // with nothing in memory
			second := storage.Prepare{
				Protocol: storage.Auto, Participants: []storage.PartitionID{0}, Partitions: 1,
				If:   []storage.TxnCondition{{Test: storage.TestAbsent, Key: []byte("a")}},
				Then: []storage.TxnOp{{Kind: storage.OpAdd, Key: []byte("a"), By: 1}},
			}
			for _, c := range []*storage.Command{prepared(2, &second), committed(2)} {
				got, want := r.apply(c), fresh.apply(c)
				if storage.StatusTxn != got.Status || string(storage.AppendResult(nil, got)) != string(storage.AppendResult(nil, want)) {
					t.Fatalf("got %+v, want %+v", got.Txn, want.Txn)
				}
			}
			if it, err := r.get("a"); err != nil || string(it.Value) != "1" || it.Deadline != 0 {
				t.Fatalf("got %+v, %v", it, err)
			}
		})
	}
}

func committed(seq uint64) *storage.Command {
	c := prepared(seq, nil)
	c.Kind, c.Txn.Decision = storage.KindCommit, storage.DecideThen
	return c
}

// TestApplyAllocates: a replica that has to answer nobody applies what comes all the time in memory that it has.
func TestApplyAllocates(t *testing.T) {
	p, err := storage.OpenPartition(nowhere{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	low, index, b := int64(0), uint64(0), nowhere{}
	apply := func(data []byte) {
		index++
		if res, err := p.Apply(b, index, 1, data); err != nil || res.Status == storage.StatusInvalid {
			t.Fatalf("got %+v, %v", res, err)
		}
		if err := p.Flush(b); err != nil {
			t.Fatal(err)
		}
	}
	add := []storage.TxnOp{{Kind: storage.OpAdd, Key: []byte("a"), By: 1, Min: &low}}
	for _, c := range []struct {
		name  string
		kinds []storage.Kind
		part  storage.Prepare
		most  float64
	}{
		{"put", []storage.Kind{storage.KindPut}, storage.Prepare{}, 0},
		{"single", []storage.Kind{storage.KindSingle}, storage.Prepare{Protocol: storage.OnePhase, Participants: []storage.PartitionID{0}}, 0},
		{"prepare and commit", []storage.Kind{storage.KindPrepare, storage.KindCommit}, storage.Prepare{Protocol: storage.Auto, Participants: []storage.PartitionID{0, 9}}, 1},
	} {
		c.part.Partitions, c.part.Then = 1, add
		const runs = 300
		var entries [][]byte
		for range runs + 1 {
			entries = append(entries, entriesOf(index+uint64(len(entries))+1, c.kinds, &c.part)...)
		}
		got := testing.AllocsPerRun(runs, func() {
			for range c.kinds {
				apply(entries[0])
				entries = entries[1:]
			}
		})
		if got > c.most {
			t.Errorf("%s: %v allocations, want at most %v", c.name, got, c.most)
		}
	}
}

// entriesOf encodes the commands of one transaction, or a put.
func entriesOf(seq uint64, kinds []storage.Kind, p *storage.Prepare) [][]byte {
	var entries [][]byte
	for _, k := range kinds {
		c := committed(seq)
		c.Kind, c.Txn.Prepare, c.Txn.Mark, c.Key, c.Value = k, p, max(seq, 8)-7, []byte("a"), []byte("1")
		entries = append(entries, storage.AppendCommand(nil, c))
	}
	return entries
}

// nowhere is a batch of an engine in which nothing stays.
type nowhere struct{}

func (nowhere) Get([]byte) ([]byte, error) { return nil, storage.ErrNotFound }

func (nowhere) Scan(_, _ []byte, _ bool, _ func(key, value []byte) (bool, error)) error { return nil }

func (nowhere) Set(_, _ []byte) error    { return nil }
func (nowhere) Create(_, _ []byte) error { return nil }
func (nowhere) Delete([]byte) error      { return nil }
func (nowhere) Size() int                { return 0 }
func (nowhere) Commit() error            { return nil }
func (nowhere) Discard()                 {}
