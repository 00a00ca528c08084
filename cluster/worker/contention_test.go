package worker_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// crowd is many transactions over both groups of a machine, plain writes and reads among them. Each moves one from one
// counter of a group to the other, in one group or in both, so that the counters of a group always add up to 0.
type crowd struct {
	*machine
	t       *rapid.T
	rng     *rand.Rand
	pending []func() // what can happen next, in any order
	open    int      // not yet done
	reads   int
}

// mover is one transaction with its coordinator.
type mover struct {
	seq     uint64
	age     storage.Millis
	groups  []ring.PartitionID
	from    string
	to      string
	attempt storage.Attempt
	yes     map[ring.PartitionID]bool
	done    bool
}

func (c *crowd) later(fn func()) { c.pending = append(c.pending, fn) }

// run lets things happen until nothing is left, with a turn now and then.
func (c *crowd) run() {
	for len(c.pending) > 0 || c.open > 0 {
		if len(c.pending) > 0 {
			i := c.rng.IntN(len(c.pending))
			fn := c.pending[i]
			c.pending = append(c.pending[:i], c.pending[i+1:]...)
			fn()
		}
		if len(c.pending) == 0 || c.rng.IntN(3) == 0 {
			if err := c.turn(); err != nil {
				c.t.Fatal(err)
			}
		}
		if len(c.pending) == 0 && c.open > 0 && !c.worker.Busy() {
			c.t.Fatalf("%d never end", c.open)
		}
	}
}

func (c *crowd) begin(m *mover) {
	m.attempt++
	m.yes = make(map[ring.PartitionID]bool)
	if m.attempt > 3 {
		c.t.Fatalf("transaction %d was refused %d times", m.seq, m.attempt-1)
	}
	for _, p := range m.groups {
		c.prepare(m, p)
		if m.attempt > 1 {
			return
		}
	}
}

func (c *crowd) prepare(m *mover, p ring.PartitionID) {
	a := m.attempt
	c.later(func() {
		op := m.part(p, a).command(storage.KindPrepare, func(t *storage.TxnCommand) { t.Prepare = m.moves(p, a) })
		op.Done = func(op *worker.Op) {
			reply := op.Result.Txn
			c.later(func() { c.hear(m, p, a, reply, op.Err) })
		}
		c.worker.Submit(op)
	})
}

func (m *mover) part(p ring.PartitionID, a storage.Attempt) part {
	return part{p: p, seq: m.seq, attempt: a, groups: m.groups}
}

func (m *mover) moves(p ring.PartitionID, a storage.Attempt) *storage.Prepare {
	add := func(name string, by int64) storage.TxnOp {
		return storage.TxnOp{Kind: storage.OpAdd, Key: []byte(keyIn(p, name)), By: by}
	}
	return &storage.Prepare{
		Protocol: storage.Auto, Participants: m.groups, Partitions: 2, Age: m.age, Ordered: a > 1,
		Then: []storage.TxnOp{add(m.from, -1), add(m.to, 1)},
	}
}

func (c *crowd) hear(m *mover, p ring.PartitionID, a storage.Attempt, reply *storage.TxnReply, err error) {
	if err != nil {
		c.t.Fatal(err)
	}
	if m.attempt != a || m.done {
		return
	}
	if reply.Kind != storage.ReplyYes {
		for _, p := range m.groups {
			c.later(func() { c.worker.Submit(quiet(m.part(p, a).abort())) })
		}
		c.begin(m)
		return
	}
	m.yes[p] = true
	for _, p := range m.groups {
		if m.yes[p] {
			continue
		}
		if a > 1 {
			c.prepare(m, p)
		}
		return
	}
	m.done = true
	for _, p := range m.groups {
		c.open++
		c.later(func() {
			op := m.part(p, a).commit()
			op.Done = func(op *worker.Op) {
				c.open--
				if op.Err != nil || op.Result.Txn.Kind != storage.ReplyAck {
					c.t.Fatalf("commit of %d: %+v, %v", m.seq, op.Result.Txn, op.Err)
				}
			}
			c.worker.Submit(op)
		})
	}
	c.open--
}

// look reads both counters of a group as of one moment.
func (c *crowd) look(p ring.PartitionID) {
	op := read(p, "a", "b")
	op.Exact = true
	op.Done = func(op *worker.Op) {
		c.open--
		if op.Err != nil {
			c.t.Fatal(op.Err)
		}
		defer op.View.Close()
		if a, b := counter(c.t, op.View, p, "a"), counter(c.t, op.View, p, "b"); a+b != 0 {
			c.t.Fatalf("half a transaction: %d and %d", a, b)
		}
		c.reads++
	}
	c.board.grant(op)
	c.worker.Submit(op)
}

func counter(t *rapid.T, v storage.Reader, p ring.PartitionID, name string) int {
	set, err := storage.ReadKeys(v, p, [][]byte{[]byte(keyIn(p, name))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if set.Items[0].Version == 0 {
		return 0
	}
	n, err := strconv.Atoi(string(set.Items[0].Value))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestContention: nobody is stuck and nobody is refused for ever, through the log, the state machine and the line.
func TestContention(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := &crowd{machine: ready(t), t: rt, rng: rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))}
		for i := range rapid.IntRange(1, 8).Draw(rt, "transactions") {
			m := &mover{seq: uint64(i + 1), age: storage.Millis(c.rng.IntN(5)), groups: []ring.PartitionID{0, 1}, from: "a", to: "b"}
			if c.rng.IntN(2) == 0 {
				m.from, m.to = m.to, m.from
			}
			if g := c.rng.IntN(4); g < 2 {
				m.groups = []ring.PartitionID{ring.PartitionID(g)}
			}
			c.open++
			c.later(func() { c.begin(m) })
		}
		for i := range rapid.IntRange(0, 8).Draw(rt, "others") {
			c.open++
			p := ring.PartitionID(c.rng.IntN(2))
			if i%2 == 0 {
				c.later(func() { c.look(p) })
				continue
			}
			c.later(func() {
				op := put(p, keyIn(p, fmt.Sprintf("other%d", i)), "v")
				op.Done = func(op *worker.Op) { c.open-- }
				c.worker.Submit(op)
			})
		}
		c.run()
		for _, g := range c.worker.Status() {
			if g.InDoubt != 0 || g.Waiting != 0 || g.Alarms != 0 {
				rt.Fatalf("at rest: %+v", g)
			}
		}
	})
}
