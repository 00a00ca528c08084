package storage_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
	"github.com/ringkv/ringkv/storage/badgerdb"
	"github.com/ringkv/ringkv/storage/memdb"
)

// theirs is the partition that the random tests are about, of 2; their keys and tokens belong to it.
const theirs = storage.PartitionID(1)

func theirKeys() [][]byte { return [][]byte{[]byte("a"), []byte("c"), []byte("f"), []byte("i")} }

// drawer draws commands of a few transactions, each with the same part whenever it is prepared.
type drawer struct {
	parts map[storage.TxnID]*storage.Prepare
	clock storage.Millis
	last  storage.TxnCommand // its ID and Attempt are often taken again
}

func newDrawer() *drawer { return &drawer{parts: map[storage.TxnID]*storage.Prepare{}} }

func (w *drawer) id(t *rapid.T) storage.TxnID {
	return storage.TxnID{
		Node: ring.NodeID(rapid.IntRange(1, 2).Draw(t, "node")), Incarnation: uint32(rapid.IntRange(1, 2).Draw(t, "incarnation")),
		Seq: uint64(rapid.IntRange(1, 4).Draw(t, "seq")),
	}
}

func (w *drawer) part(t *rapid.T, id storage.TxnID) *storage.Prepare {
	if w.parts[id] != nil {
		return w.parts[id]
	}
	p := &storage.Prepare{Partitions: 2, Participants: [][]storage.PartitionID{{1}, {1, 5}, {0, 1}}[rapid.IntRange(0, 2).Draw(t, "in")]}
	p.Protocol = storage.Protocol(rapid.IntRange(2, 4).Draw(t, "protocol"))
	if len(p.Participants) == 1 {
		p.Protocol = storage.OnePhase
	}
	for i := range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "conditions") {
		p.If = append(p.If, drawTest(t, uint32(i)))
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "then") {
		p.Then = append(p.Then, drawOp(t, uint32(i)))
	}
	if p.HasElse = rapid.IntRange(0, 3).Draw(t, "else?") == 0; p.HasElse {
		for i := range rapid.IntRange(0, 2).Draw(t, "else") {
			p.Else = append(p.Else, drawOp(t, uint32(i)))
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "token?") == 0 {
		p.Token = &storage.Token{Body: [32]byte{byte(rapid.IntRange(1, 2).Draw(t, "body"))}}
		p.Token.Key[0] = rapid.SampledFrom([]byte("ac")).Draw(t, "token")
	}
	w.parts[id] = p
	return p
}

func drawTest(t *rapid.T, index uint32) storage.TxnCondition {
	c := storage.TxnCondition{Index: index, Test: storage.Test(rapid.IntRange(1, 5).Draw(t, "test")), Key: rapid.SampledFrom(theirKeys()).Draw(t, "key")}
	switch c.Test {
	case storage.TestVersion:
		c.Want = storage.Version(rapid.IntRange(0, 9).Draw(t, "version"))
	case storage.TestValue:
		c.Value = []byte("1")
	case storage.TestToken:
		c.Key, c.Want = []byte("mutex"), 1
	}
	return c
}

func drawOp(t *rapid.T, index uint32) storage.TxnOp {
	op := storage.TxnOp{Index: index, Kind: storage.OpKind(rapid.IntRange(1, 4).Draw(t, "op")), Key: rapid.SampledFrom(theirKeys()).Draw(t, "key")}
	switch op.Kind {
	case storage.OpPut:
		op.Value = []byte(rapid.SampledFrom([]string{"1", "x", "", strings.Repeat("l", 200), strings.Repeat("9", 5000)}).Draw(t, "value"))
		if rapid.IntRange(0, 30).Draw(t, "large") == 0 {
			op.Value = bytes.Repeat([]byte("h"), storage.MaxCellBytes+1)
		}
		switch rapid.IntRange(0, 3).Draw(t, "ttl?") {
		case 0:
			op.KeepTTL = true
		case 1:
			op.TTL = storage.Millis(rapid.IntRange(1, 8).Draw(t, "ttl"))
		}
	case storage.OpAdd:
		op.By = int64(rapid.IntRange(-2, 2).Draw(t, "by"))
		if rapid.Bool().Draw(t, "min?") {
			op.Min = new(int64(rapid.IntRange(-2, 1).Draw(t, "min")))
		}
		if rapid.Bool().Draw(t, "max?") {
			op.Max = new(int64(rapid.IntRange(0, 2).Draw(t, "max")))
		}
	}
	return op
}

// command draws any command. Transactions are numbered so closely that most of them meet others, and themselves.
func (w *drawer) command(t *rapid.T) *storage.Command {
	w.clock += storage.Millis(rapid.SampledFrom([]int{0, 0, 0, 1, 3, 0, 0, int(storage.StubTTL), int(storage.TokenTTL)}).Draw(t, "pass"))
	kind := storage.Kind(rapid.SampledFrom([]int{1, 2, 3, 4, 4, 4, 4, 5, 5, 6, 7, 8, 9, 10, 10, 10, 11, 11, 12, 13, 14, 15, 3, 21}).Draw(t, "kind"))
	c := &storage.Command{Kind: kind, Clock: w.clock}
	switch kind {
	case storage.KindExpire, storage.KindPurge, storage.KindSweep:
		c.Limit = rapid.Uint32Range(0, 4).Draw(t, "limit")
		if kind == storage.KindSweep {
			c.Limit = storage.MaxSweep // the model does not count
		}
	case storage.KindPut, storage.KindDelete:
		c.Key = rapid.SampledFrom(theirKeys()).Draw(t, "key")
		if kind == storage.KindPut {
			c.Value = []byte(rapid.SampledFrom([]string{"0", "1", "x"}).Draw(t, "value"))
			c.ContentType = rapid.SampledFrom([]string{"", "text/plain"}).Draw(t, "type")
			c.TTL = storage.Millis(rapid.SampledFrom([]int{0, 0, 2}).Draw(t, "ttl"))
		}
	default:
		c.Txn = w.txn(t, kind)
		if p := c.Txn.Prepare; p != nil && (p.Protocol == storage.OnePhase) != (kind == storage.KindSingle) {
			c.Kind = storage.KindPrepare + storage.KindSingle - kind
		}
	}
	return c
}

func (w *drawer) txn(t *rapid.T, kind storage.Kind) *storage.TxnCommand {
	x := &storage.TxnCommand{ID: w.id(t)}
	switch kind {
	case storage.KindClose, storage.KindForget, storage.KindMark:
		x.ID.Seq = 0
		x.ID.Incarnation += uint32(rapid.IntRange(0, 1).Draw(t, "next"))
		if kind == storage.KindMark {
			x.Mark = uint64(rapid.IntRange(1, 5).Draw(t, "mark"))
		}
		return x
	}
	x.Attempt = storage.Attempt(rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(t, "attempt"))
	if w.last.Attempt != 0 && rapid.IntRange(0, 9).Draw(t, "again?") < 6 {
		x.ID, x.Attempt = w.last.ID, w.last.Attempt
	}
	w.last = storage.TxnCommand{ID: x.ID, Attempt: x.Attempt}
	part := w.part(t, x.ID)
	x.Home = part.Participants[0]
	if rapid.IntRange(0, 19).Draw(t, "mark?") == 0 {
		x.Mark = uint64(rapid.IntRange(1, 3).Draw(t, "mark"))
	}
	switch kind {
	case storage.KindPrepare, storage.KindSingle:
		copied := *part
		if rapid.IntRange(0, 15).Draw(t, "deny?") == 0 {
			copied.Deny = storage.DiskFull
		}
		x.Prepare = &copied
	case storage.KindDecide, storage.KindCommit:
		x.Decision = storage.Decision(rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(t, "decision"))
	case storage.KindPropose:
		x.Decision = storage.Decision(rapid.IntRange(1, 4).Draw(t, "value"))
	case storage.KindAbort:
		x.Final = rapid.Bool().Draw(t, "final")
	}
	if kind == storage.KindPropose || kind == storage.KindInquire {
		x.Ballot.Round = uint64(rapid.IntRange(0, 2).Draw(t, "round"))
	}
	if kind == storage.KindCommit && part.Token != nil && rapid.Bool().Draw(t, "answer?") {
		x.Answer = []byte("answer")
	}
	return x
}

// TestTxnModel compares a partition with the model, with restarts, moves by snapshot and lost batches in between.
func TestTxnModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, m, w := newReplica(t, theirs), newParticipant(theirs), newDrawer()
		for range rapid.IntRange(1, 150).Draw(t, "commands") {
			c := w.command(t)
			if rapid.IntRange(0, 9).Draw(t, "lost?") == 0 {
				r.lose(storage.AppendCommand(nil, c))
			}
			before := r.p.Alarms()
			got, want := r.apply(c), m.step(c)
			checkReply(t, m, c, got, want)
			if alarm := got.Txn != nil && got.Txn.Alarm != ""; alarm != (r.p.Alarms() > before) {
				t.Fatalf("%d alarms, before it were %d: %s", r.p.Alarms(), before, renderTxnResult(got))
			}
			r.verify()
			r.checkReopened()
			switch rapid.IntRange(0, 9).Draw(t, "between") {
			case 0:
				r.open()
			case 1:
				b := r.snapshot()
				r = newReplica(t, theirs)
				r.must(r.install(b))
			}
			m.compare(t, r)
		}
		rest(t, r, m)
	})
}

// lose applies an entry in a batch that is never committed, as before a crash.
func (r *replica) lose(data []byte) {
	r.t.Helper()
	b := r.e.Batch()
	_, err := r.p.Apply(b, r.p.Meta().Applied+1, 1, data)
	r.must(err)
	b.Discard()
	r.open()
}

// checkReply compares what both answered, and that a holder that is named does hold something.
func checkReply(t *rapid.T, m *participant, c *storage.Command, got, want storage.Result) {
	t.Helper()
	if c.Kind == storage.KindSweep {
		got.Count = 0
	}
	if x := got.Txn; x != nil {
		copied := *x
		if copied.Holder != nil && m.txns[copied.Holder.ID] == nil {
			t.Fatalf("%+v: the holder is %v, of which there is no record", c, copied.Holder)
		}
		if copied.Holder == nil && (copied.Kind == storage.ReplyBlocked || want.Txn.Reason == storage.Conflict && m.fresh) {
			t.Fatalf("%+v: nobody is named who is in the way", c)
		}
		copied.Holder = nil
		copied.Open = sortOpen(copied.Open)
		got.Txn = &copied
	}
	if want.Txn != nil {
		want.Txn.Open = sortOpen(want.Txn.Open)
	}
	if g, w := renderTxnResult(got), renderTxnResult(want); g != w {
		t.Fatalf("kind %d %+v:\ngot  %swant %s", c.Kind, c.Txn, g, w)
	}
}

// sortOpen leaves the ids alone, in order.
func sortOpen(open []*storage.OpenTxn) []*storage.OpenTxn {
	var out []*storage.OpenTxn
	for _, o := range open {
		out = append(out, &storage.OpenTxn{ID: o.ID})
	}
	slices.SortFunc(out, func(a, b *storage.OpenTxn) int { return a.ID.Compare(b.ID) })
	return out
}

// rest ends all transactions, passes them with marks and lets time go by: nothing is left of them then (I13).
func rest(t *rapid.T, r *replica, m *participant) {
	for id, x := range m.txns {
		if x.state == storage.TxnYes {
			r.apply(&storage.Command{Kind: storage.KindAbort, Txn: &storage.TxnCommand{ID: id, Attempt: x.attempt, Home: x.home, Final: true}})
		}
	}
	for node := range 2 {
		for number := range 3 {
			id := storage.TxnID{Node: ring.NodeID(node + 1), Incarnation: uint32(number + 1)}
			r.apply(&storage.Command{Kind: storage.KindMark, Txn: &storage.TxnCommand{ID: id, Mark: 100}})
		}
	}
	clock := m.clock + storage.TokenTTL + storage.StubTTL
	for {
		at, ok := r.p.Sweepable()
		if !ok {
			break
		}
		if at > clock {
			t.Fatalf("something waits until %d, it is %d", at, clock)
		}
		if res := r.apply(&storage.Command{Kind: storage.KindSweep, Clock: clock, Limit: 3}); res.Count == 0 {
			t.Fatalf("sweepable at %d, but nothing was", at)
		}
		r.verify()
	}
	if got := r.cells(); strings.Contains(strings.ReplaceAll(got, "marks", ""), "=") && !strings.HasPrefix(got, "marks=") {
		t.Fatalf("left: %s", got)
	}
	if r.p.Locks().Len() != 0 || len(r.p.Open()) != 0 {
		t.Fatalf("still open: %v", r.p.Open())
	}
}

// TestTxnDeterminism applies the same entries to both engines, batched differently and with restarts on one of them, and
// compares what they hold byte by byte.
func TestTxnDeterminism(t *testing.T) {
	e, err := badgerdb.Open(badgerdb.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	rapid.Check(t, func(t *rapid.T) {
		one, many := newReplicaOn(t, theirs, memdb.New()), newReplicaOn(t, theirs, e)
		w := newDrawer()
		var entries [][]byte
		for range rapid.IntRange(1, 150).Draw(t, "commands") {
			c := w.command(t)
			if c.Kind == storage.KindSweep {
				c.Limit = rapid.Uint32Range(0, 3).Draw(t, "limit")
			}
			entries = append(entries, storage.AppendCommand(nil, c))
		}
		for _, data := range entries {
			one.applyEntry(data)
			if rapid.IntRange(0, 3).Draw(t, "restart") == 0 {
				one.open()
			}
		}
		many.applyAll(entries)
		if !bytes.Equal(one.snapshot(), many.snapshot()) {
			t.Fatalf("the replicas differ:\n%s%s", one.cells(), many.cells())
		}
		many.drop()
	})
}

// drop removes the partition from the engine.
func (r *replica) drop() {
	d := storage.NewDropper(r.e, r.id)
	for done := false; !done; {
		var err error
		done, err = d.Step()
		r.must(err)
	}
}
