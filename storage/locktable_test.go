package storage_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

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

// TestLockTableIsAMap: with any number of names, locked and released in any order, the table is what a map says.
func TestLockTableIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newReplica(t, 0)
		x, s := map[string]uint64{}, map[string]map[uint64]bool{} // names to who holds them
		parts := map[uint64]*storage.Prepare{}
		for seq := range uint64(rapid.IntRange(1, 40).Draw(t, "transactions")) {
			if rapid.IntRange(0, 2).Draw(t, "end one") == 0 {
				endOne(t, r, x, s, parts)
			}
			p := drawLocks(t, seq+1)
			if reply := r.apply(prepared(seq+1, p)).Txn; reply.Kind != storage.ReplyYes {
				if reply.Reason != storage.Conflict {
					t.Fatalf("got %+v", reply)
				}
				continue
			}
			parts[seq+1] = p
			for _, op := range p.Then {
				switch {
				case op.Kind == storage.OpPut:
					x[string(op.Key)] = seq + 1
				case s[string(op.Key)] == nil:
					s[string(op.Key)] = map[uint64]bool{}
					fallthrough
				default:
					s[string(op.Key)][seq+1] = true
				}
			}
		}
		compareLocks(t, r.p.Locks(), x, s)
	})
}

// drawLocks returns a part with gets and puts of keys that few others have, so that most can be prepared.
func drawLocks(t *rapid.T, seq uint64) *storage.Prepare {
	p := &storage.Prepare{Protocol: storage.Auto, Participants: []storage.PartitionID{0, 9}, Partitions: 1}
	for n := range rapid.IntRange(1, 30).Draw(t, "keys") {
		key := fmt.Sprintf("own-%d-%d", seq, n)
		if rapid.Bool().Draw(t, "shared") {
			key = fmt.Sprintf("shared-%d", n)
		}
		op := storage.TxnOp{Kind: storage.OpGet, Key: []byte(key)}
		if key[0] == 'o' || rapid.IntRange(0, 30).Draw(t, "write") == 0 {
			op.Kind, op.Value = storage.OpPut, []byte("v")
		}
		p.Then = append(p.Then, op)
	}
	return p
}

func prepared(seq uint64, p *storage.Prepare) *storage.Command {
	id := storage.TxnID{Node: 1, Incarnation: 1, Seq: seq}
	return &storage.Command{Kind: storage.KindPrepare, Txn: &storage.TxnCommand{ID: id, Attempt: 1, Prepare: p}}
}

// endOne aborts or commits one of the transactions that hold something.
func endOne(t *rapid.T, r *replica, x map[string]uint64, s map[string]map[uint64]bool, parts map[uint64]*storage.Prepare) {
	open := slices.Sorted(maps.Keys(parts))
	if len(open) == 0 {
		return
	}
	seq := rapid.SampledFrom(open).Draw(t, "which")
	c := prepared(seq, nil)
	c.Kind = rapid.SampledFrom([]storage.Kind{storage.KindAbort, storage.KindCommit}).Draw(t, "how")
	if c.Kind == storage.KindCommit {
		c.Txn.Decision = storage.DecideThen
	}
	r.apply(c)
	for _, op := range parts[seq].Then {
		if x[string(op.Key)] == seq {
			delete(x, string(op.Key))
		}
		delete(s[string(op.Key)], seq)
	}
	delete(parts, seq)
}

func compareLocks(t *rapid.T, l *storage.LockTable, x map[string]uint64, s map[string]map[uint64]bool) {
	names := len(x)
	for name, seq := range x {
		if o, locked := l.XLocked([]byte(name)); !locked || o.ID.Seq != seq {
			t.Fatalf("%s: got %v, %v", name, o, locked)
		}
	}
	for name, want := range s {
		got := map[uint64]bool{}
		l.Holders(storage.ItemSpace, []byte(name), true, func(o *storage.OpenTxn) bool { got[o.ID.Seq] = true; return true })
		if x[name] == 0 && !maps.Equal(got, want) {
			t.Fatalf("%s: got %v, want %v", name, got, want)
		}
		if len(want) > 0 {
			names++
		}
	}
	if l.Len() != names {
		t.Fatalf("%d names, want %d", l.Len(), names)
	}
	var keys []string
	for _, k := range l.XLockedIn(nil, nil) {
		keys = append(keys, string(k))
	}
	if want := slices.Sorted(maps.Keys(x)); !slices.Equal(keys, want) {
		t.Fatalf("got %v, want %v", keys, want)
	}
}
