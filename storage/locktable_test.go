package storage_test

import (
	"fmt"
	"testing"

	"github.com/ringkv/ringkv/storage"
)

// lockedReplica has S on a (1.1.1, 1.1.2), X on c, f and big (1.1.1), and S on the lock m (1.1.1).
func lockedReplica(t *testing.T) *replica {
	r := newReplica(t, theirs)
	op := func(k storage.OpKind, key string) storage.TxnOp {
		return storage.TxnOp{Kind: k, Key: []byte(key), Value: []byte{}}
	}
	for seq, p := range []storage.Prepare{
		{
			If: []storage.TxnCondition{
				{Test: storage.TestAbsent, Key: []byte("a")}, {Test: storage.TestAbsent, Key: []byte("c")}, {Test: storage.TestToken, Key: []byte("m"), Want: 1},
			},
			Then: []storage.TxnOp{op(storage.OpPut, "c"), op(storage.OpGet, "c"), op(storage.OpDelete, "f")}, HasElse: true, Else: []storage.TxnOp{op(storage.OpAdd, "big")},
		},
		{Then: []storage.TxnOp{op(storage.OpGet, "a")}},
	} {
		p.Protocol, p.Participants, p.Partitions, p.Age, p.Ordered = storage.Auto, []storage.PartitionID{theirs, 9}, 2, 7, true
		id := storage.TxnID{Node: 1, Incarnation: 1, Seq: uint64(seq + 1)}
		res := r.apply(&storage.Command{Kind: storage.KindPrepare, Txn: &storage.TxnCommand{ID: id, Attempt: 1, Home: theirs, Prepare: &p}})
		if res.Txn.Kind != storage.ReplyYes {
			t.Fatalf("got %+v", res.Txn)
		}
	}
	return r
}

func TestLockTable(t *testing.T) {
	l := lockedReplica(t).p.Locks()
	one, two := storage.TxnID{Node: 1, Incarnation: 1, Seq: 1}, storage.TxnID{Node: 1, Incarnation: 1, Seq: 2}
	for _, c := range []struct {
		space     storage.LockSpace
		name      string
		exclusive bool
		own       storage.TxnID
		want      bool
	}{
		{storage.ItemSpace, "a", false, storage.TxnID{}, false},
		{storage.ItemSpace, "a", true, storage.TxnID{}, true},
		{storage.ItemSpace, "a", true, one, true}, // the other one
		{storage.ItemSpace, "a", true, two, true},
		{storage.ItemSpace, "c", false, storage.TxnID{}, true},
		{storage.ItemSpace, "c", true, one, false},
		{storage.ItemSpace, "c", true, two, true},
		{storage.ItemSpace, "big", false, storage.TxnID{}, true},
		{storage.ItemSpace, "m", true, storage.TxnID{}, false},
		{storage.NameSpace, "m", false, storage.TxnID{}, false},
		{storage.NameSpace, "m", true, storage.TxnID{}, true},
		{storage.TokenSpace, "m", true, storage.TxnID{}, false},
		{storage.ItemSpace, "k", true, storage.TxnID{}, false},
	} {
		holder, got := l.Holder(c.space, []byte(c.name), c.exclusive, c.own)
		if got != c.want || got && (holder.ID == c.own || holder.Age != 7 || !holder.Ordered) {
			t.Errorf("%+v: got %v %+v", c, got, holder)
		}
	}
	if o, ok := l.XLocked([]byte("c")); !ok || o.ID != one {
		t.Errorf("XLocked: %v %v", o, ok)
	}
	if _, ok := l.XLocked([]byte("a")); ok {
		t.Error("a shared lock counts as exclusive")
	}
	if l.Len() != 5 {
		t.Errorf("%d names, want 5", l.Len())
	}
}

func TestLockTableXLockedIn(t *testing.T) {
	l := lockedReplica(t).p.Locks()
	for _, c := range []struct{ start, end, want string }{
		{"", "", `["big" "c" "f"]`},
		{"c", "", `["c" "f"]`},
		{"big", "f", `["big" "c"]`},
		{"biga", "c", `[]`},
		{"g", "", `[]`},
	} {
		var end []byte
		if c.end != "" {
			end = []byte(c.end)
		}
		if got := fmt.Sprintf("%q", l.XLockedIn([]byte(c.start), end)); got != c.want {
			t.Errorf("[%q, %q): %s, want %s", c.start, c.end, got, c.want)
		}
	}
	if got := new(storage.LockTable).XLockedIn(nil, nil); got != nil {
		t.Errorf("of an empty table: %q", got)
	}
}

// TestLockTableHoldersStop: the visit ends where the visitor says so.
func TestLockTableHoldersStop(t *testing.T) {
	l := lockedReplica(t).p.Locks()
	for want := 1; want <= 2; want++ {
		n := 0
		l.Holders(storage.ItemSpace, []byte("a"), true, func(*storage.OpenTxn) bool {
			n++
			return n < want
		})
		if n != want {
			t.Errorf("%d visits, want %d", n, want)
		}
	}
	l.Holders(storage.ItemSpace, []byte("a"), false, func(o *storage.OpenTxn) bool {
		t.Errorf("%v is in the way of a shared lock", o.ID)
		return true
	})
	l.Holders(storage.ItemSpace, []byte("c"), false, func(o *storage.OpenTxn) bool { return false })
}
