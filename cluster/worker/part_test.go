package worker_test

import (
	"fmt"
	"testing"

	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// ready is a node that leads both partitions of its cluster.
func ready(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	m.form()
	m.open()
	m.settle()
	return m
}

// keyIn is a key of a partition of two, made from name.
func keyIn(p ring.PartitionID, name string) string {
	rg, err := ring.New(2)
	if err != nil {
		panic(err)
	}
	for i := 0; ; i++ {
		if k := fmt.Sprintf("%s.%d", name, i); rg.Partition([]byte(k)) == p {
			return k
		}
	}
}

// tokenIn is an idempotency token whose record is in a partition of two.
func tokenIn(p ring.PartitionID) *storage.Token {
	rg, err := ring.New(2)
	if err != nil {
		panic(err)
	}
	tok := &storage.Token{Body: [32]byte{1}}
	for rg.Partition(tok.Key[:]) != p {
		tok.Key[0]++
	}
	return tok
}

// part is what a transaction does in one group.
type part struct {
	p       ring.PartitionID
	seq     uint64
	attempt storage.Attempt // 0: 1
	age     storage.Millis
	kind    storage.Kind // 0: KindPrepare
	puts    []string     // names of keys: X
	gets    []string     // S
	groups  []ring.PartitionID
	value   string
	token   bool // with an idempotency token, the same for all
}

func (c part) id() storage.TxnID { return storage.TxnID{Node: 1, Incarnation: 1, Seq: c.seq} }

func (c part) op() *worker.Op {
	pr := &storage.Prepare{Protocol: storage.Auto, Participants: c.groups, Partitions: 2, Age: c.age, Ordered: c.attempt > 1}
	if c.kind == 0 {
		c.kind = storage.KindPrepare
	}
	if c.kind == storage.KindSingle {
		pr.Protocol = storage.OnePhase
	}
	if len(c.groups) == 0 {
		pr.Participants = []ring.PartitionID{c.p}
	}
	for i, k := range c.puts {
		pr.Then = append(pr.Then, storage.TxnOp{Index: uint32(i), Kind: storage.OpPut, Key: []byte(keyIn(c.p, k)), Value: []byte(c.value)})
	}
	for i, k := range c.gets {
		pr.Then = append(pr.Then, storage.TxnOp{Index: uint32(len(c.puts) + i), Kind: storage.OpGet, Key: []byte(keyIn(c.p, k))})
	}
	if c.token {
		pr.Token = tokenIn(c.p)
	}
	return c.command(c.kind, func(t *storage.TxnCommand) { t.Prepare = pr })
}

// command is another command about the same attempt.
func (c part) command(kind storage.Kind, change func(*storage.TxnCommand)) *worker.Op {
	t := &storage.TxnCommand{ID: c.id(), Attempt: max(1, c.attempt), Home: c.p}
	if len(c.groups) > 0 {
		t.Home = c.groups[0]
	}
	if change != nil {
		change(t)
	}
	cmd := storage.Command{Kind: kind, Txn: t}
	return &worker.Op{Group: c.p, Kind: worker.Write, Data: storage.AppendCommand(nil, &cmd)}
}

func (c part) commit() *worker.Op {
	return c.command(storage.KindCommit, func(t *storage.TxnCommand) { t.Decision = storage.DecideThen })
}

func (c part) abort() *worker.Op { return c.command(storage.KindAbort, nil) }

// do asks and demands an answer at once.
func (m *machine) do(op *worker.Op) storage.Result {
	m.t.Helper()
	a := m.ask(op)
	m.settle()
	a.want(m.t, nil)
	return op.Result
}

// vote is what a prepare was answered.
func (m *machine) vote(c part) storage.ReplyKind {
	m.t.Helper()
	return reply(m.t, m.do(c.op())).Kind
}

func reply(t testing.TB, res storage.Result) *storage.TxnReply {
	t.Helper()
	if res.Status != storage.StatusTxn || res.Txn == nil {
		t.Fatalf("no reply about a transaction: %+v", res)
	}
	return res.Txn
}

// later asks and demands that there is no answer yet.
func (m *machine) later(op *worker.Op) *answer {
	m.t.Helper()
	a := m.ask(op)
	m.settle()
	a.waits(m.t)
	return a
}

func (a *answer) waits(t testing.TB) {
	t.Helper()
	if a.times != 0 {
		t.Fatalf("answered with %+v, %v; it should wait", a.op.Result.Txn, a.err)
	}
}

func (a *answer) wantReply(t testing.TB, kind storage.ReplyKind, reason storage.Reason) {
	t.Helper()
	a.want(t, nil)
	if r := reply(t, a.op.Result); r.Kind != kind || r.Reason != reason {
		t.Fatalf("reply %d for reason %d; want %d for %d", r.Kind, r.Reason, kind, reason)
	}
}

func read(p ring.PartitionID, keys ...string) *worker.Op {
	op := &worker.Op{Group: p, Kind: worker.Read}
	for _, k := range keys {
		op.Keys = append(op.Keys, []byte(keyIn(p, k)))
	}
	return op
}
