package storage_test

import (
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/storage"
)

// readPart is ReadKeys for what a part needs, as a coordinator does it.
func (r *replica) readPart(p *storage.Prepare) storage.ReadSet {
	r.t.Helper()
	v := r.e.View()
	defer v.Close()
	keys, locks := p.Keys()
	s, err := storage.ReadKeys(v, r.id, keys, locks)
	r.must(err)
	b := storage.AppendReadSet(nil, &s)
	again, err := storage.DecodeReadSet(b)
	r.must(err)
	return again
}

// TestEvaluateReads: a read-only part gives over what was read the vote that the group would have given.
func TestEvaluateReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newReplica(t, theirs)
		for _, key := range theirKeys() {
			if rapid.Bool().Draw(t, "there") {
				r.apply(&storage.Command{Kind: storage.KindPut, Key: key, Value: []byte(rapid.SampledFrom([]string{"1", "x", ""}).Draw(t, "value"))})
			}
		}
		p := &storage.Prepare{Protocol: storage.Auto, Participants: []storage.PartitionID{theirs, 9}, Partitions: 2}
		for i := range rapid.IntRange(0, 3).Draw(t, "conditions") {
			p.If = append(p.If, drawTest(t, uint32(i)))
		}
		draw := func(name string) (ops []storage.TxnOp) {
			for i := range rapid.IntRange(0, 3).Draw(t, name) {
				ops = append(ops, storage.TxnOp{Index: uint32(i), Kind: storage.OpGet, Key: rapid.SampledFrom(theirKeys()).Draw(t, "key")})
			}
			return ops
		}
		p.Then = draw("then")
		if p.HasElse = rapid.Bool().Draw(t, "else?"); p.HasElse {
			p.Else = draw("else")
		}
		set := r.readPart(p)
		got, err := storage.EvaluateReads(p, &set)
		r.must(err)
		res := r.apply(&storage.Command{Kind: storage.KindPrepare, Txn: &storage.TxnCommand{
			ID: storage.TxnID{Node: 1, Incarnation: 1, Seq: 1}, Attempt: 1, Home: theirs, Prepare: p,
		}})
		want := res.Txn.Vote
		if g, w := renderReply(&storage.TxnReply{Vote: &got}), renderReply(&storage.TxnReply{Vote: want}); g != w {
			t.Fatalf("got  %s\nwant %s", g, w)
		}
		if meta := r.p.Meta(); set.Revision != meta.Revision || set.LastRemoval != meta.LastRemoval {
			t.Fatalf("read at revision %d, removal %d, want %d, %d", set.Revision, set.LastRemoval, meta.Revision, meta.LastRemoval)
		}
	})
}

func TestEvaluateReadsRefuses(t *testing.T) {
	get := storage.TxnOp{Kind: storage.OpGet, Key: []byte("a")}
	one := storage.ReadSet{Items: []storage.ReadItem{{}}}
	for name, c := range map[string]struct {
		part storage.Prepare
		set  storage.ReadSet
		want error
	}{
		"a write":         {storage.Prepare{Then: []storage.TxnOp{{Kind: storage.OpPut, Key: []byte("a")}}}, one, storage.ErrNotRead},
		"a write in else": {storage.Prepare{HasElse: true, Else: []storage.TxnOp{{Kind: storage.OpAdd, Key: []byte("a")}}}, one, storage.ErrNotRead},
		"a token":         {storage.Prepare{Then: []storage.TxnOp{get}, Token: &storage.Token{}}, one, storage.ErrNotRead},
		"too few items":   {storage.Prepare{Then: []storage.TxnOp{get}}, storage.ReadSet{}, storage.ErrNotRead},
		"too few locks": {
			storage.Prepare{If: []storage.TxnCondition{{Test: storage.TestToken, Key: []byte("m"), Want: 1}}}, storage.ReadSet{}, storage.ErrNotRead,
		},
		"too much to answer": {
			storage.Prepare{Then: []storage.TxnOp{get, get}},
			storage.ReadSet{Items: []storage.ReadItem{{Version: 1, Value: make([]byte, 5<<20)}}}, storage.ErrTooLarge,
		},
	} {
		if _, err := storage.EvaluateReads(&c.part, &c.set); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// TestReadKeysSeesRemovals: what was absent, was created and deleted again does not look unchanged (R10).
func TestReadKeysSeesRemovals(t *testing.T) {
	r := newReplica(t, theirs)
	part := &storage.Prepare{Then: []storage.TxnOp{{Kind: storage.OpGet, Key: []byte("a")}}}
	before := r.readPart(part)
	r.apply(&storage.Command{Kind: storage.KindSingle, Txn: &storage.TxnCommand{
		ID: storage.TxnID{Node: 1, Incarnation: 1, Seq: 1}, Attempt: 1, Home: theirs, Prepare: &storage.Prepare{
			Protocol: storage.OnePhase, Participants: []storage.PartitionID{theirs}, Partitions: 2,
			Then: []storage.TxnOp{{Kind: storage.OpPut, Key: []byte("a"), Value: []byte("v")}},
		},
	}})
	if during := r.readPart(part); during.Items[0].Version == 0 || during.LastRemoval != before.LastRemoval {
		t.Fatalf("got %+v", during)
	}
	r.apply(&storage.Command{Kind: storage.KindSingle, Txn: &storage.TxnCommand{
		ID: storage.TxnID{Node: 1, Incarnation: 1, Seq: 2}, Attempt: 1, Home: theirs, Prepare: &storage.Prepare{
			Protocol: storage.OnePhase, Participants: []storage.PartitionID{theirs}, Partitions: 2,
			Then: []storage.TxnOp{{Kind: storage.OpDelete, Key: []byte("a")}},
		},
	}})
	after := r.readPart(part)
	if !reflect.DeepEqual(after.Items, before.Items) || after.LastRemoval == before.LastRemoval {
		t.Fatalf("before %+v, after %+v", before, after)
	}
}
