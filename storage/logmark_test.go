package storage_test

import (
	"errors"
	"testing"

	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/memdb"
)

// The mark is the node's: it is no part of the metadata partition, whose drop leaves it.
func TestLogMark(t *testing.T) {
	e := memdb.New()
	mark := func() uint64 {
		v := e.View()
		defer v.Close()
		record, err := storage.LogMark(v)
		if err != nil {
			t.Fatal(err)
		}
		return record
	}
	if got := mark(); got != 0 {
		t.Errorf("%d where there is none", got)
	}
	b := e.Batch()
	if err := errors.Join(storage.SetLogMark(b, 7), b.Commit()); err != nil {
		t.Fatal(err)
	}
	held := func() int {
		v := e.View()
		defer v.Close()
		ids, err := storage.Partitions(v)
		if err != nil {
			t.Fatal(err)
		}
		return len(ids)
	}
	if held() != 0 {
		t.Error("the mark counts as a partition")
	}
	newReplicaOn(t, storage.MetaPartition, e).apply(&storage.Command{Kind: storage.KindPut, Key: []byte("k")})
	if held() != 1 {
		t.Error("the partition behind the mark is not seen")
	}
	finish(t, storage.NewDropper(e, storage.MetaPartition))
	if got := mark(); got != 7 || held() != 0 {
		t.Errorf("mark %d after the drop, %d partitions", got, held())
	}
}
