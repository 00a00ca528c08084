package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/ringkv/ringkv/cluster/replica"
	"github.com/ringkv/ringkv/cluster/worker"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// asking is what a request is for.
type asking uint8

const (
	askWrite  asking = iota + 1
	askRead          // the value of a key, linearizable
	askMember        // whether a replica belongs to its group
	askTxn           // a command of the commit protocol; unlike a write it may be repeated freely
	askKeys          // several keys of one group as of one moment
	askState         // what a group knows of a transaction
	askLease         // a command about a lock, which may be repeated as well
)

// outcome is what a client knows in the end.
type outcome uint8

const (
	answered outcome = iota + 1
	noEffect         // certainly nothing was done, and nothing will be
	unknown
)

// reply is how a request ended.
type reply struct {
	outcome outcome
	result  storage.Result // askWrite
	found   bool           // askRead
	item    storage.Item   // askRead, if found
	refused bool           // askLease: nothing was done, and it is not to be tried again
	member  bool           // askMember
	keys    storage.ReadSet
	state   storage.TxnStatus
}

// request is one request on its way from a gateway to the leader of a group, tried again for as long as that is safe,
// under the rules of package cluster's routing.
type request struct {
	w        *world
	gate     *node
	life     int // of gate
	ask      asking
	group    ring.PartitionID
	key      []byte        // askRead
	data     []byte        // askWrite, askTxn: an encoded command
	member   replica.ID    // askMember
	keys     [][]byte      // askKeys
	ungated  bool          // sabotage: locks are not looked at
	txn      storage.TxnID // askState
	lock     *lock         // askLease
	place    *place        // askLease: of an acquire
	encode   func() []byte // askLease: what data is at this attempt; nil if always the same
	waits    bool          // askLease: the answer may be long in coming
	deadline time.Duration // send sets it where it is 0
	wait     time.Duration // for the answer to an attempt; 0 means attemptTime
	done     func(reply)
	late     func(reply) // askTxn: is told what others than the answer taken say; optional

	attempt int
	serial  int // of the attempt under way; answers to others come too late
	over    bool
	sent    bool // askTxn, askLease: an attempt may have had an effect

	// Of the attempt under way, if its answer may be waited for.
	op     *worker.Wish
	at     *node
	atLife int
}

const (
	attemptTime = 150 * time.Millisecond
	requestTime = 1500 * time.Millisecond
)

// send begins a request at gate.
func (w *world) send(gate *node, r *request) {
	r.w, r.gate, r.life = w, gate, gate.life
	if r.deadline == 0 {
		r.deadline = w.now + requestTime
	}
	if r.wait == 0 {
		r.wait = attemptTime
	}
	r.try()
}

func (r *request) finish(rep reply) {
	if !r.over {
		r.over = true
		r.done(rep)
	}
}

func (r *request) gateDied() bool { return r.gate.worker == nil || r.gate.life != r.life }

func (r *request) try() {
	switch {
	case r.over:
		return
	case r.repeatable() && r.sent && (r.w.now > r.deadline || r.gateDied()):
		r.finish(reply{outcome: unknown})
		return
	case r.w.now > r.deadline, r.gateDied() && r.ask != askWrite:
		r.finish(reply{outcome: noEffect})
		return
	case r.gateDied():
		r.finish(reply{outcome: unknown})
		return
	}
	to := r.w.byID(r.pick())
	r.attempt++
	r.serial++
	if to == nil || to.worker == nil {
		r.again(0)
		return
	}
	serial := r.serial
	r.w.after(r.wait, func() { r.lost(serial) })
	r.travel(to, serial)
}

// repeatable tells whether the request may be tried again whatever became of an attempt.
func (r *request) repeatable() bool { return r.ask == askTxn || r.ask == askLease }

// travel brings the attempt under way to a node.
func (r *request) travel(to *node, serial int) {
	if r.ask == askLease {
		r.bring(to, serial)
		return
	}
	if d, ok := r.w.net.pass(r.gate, to); ok {
		switch r.ask {
		case askWrite, askTxn:
			r.w.after(d, func() { to.arrive(func(wk *worker.Worker) { to.submit(wk, r, serial, to.op(r)) }) })
		default:
			r.w.after(d, func() { to.aside(0, func() { to.beginRead(r, serial) }) })
		}
	}
	if r.ask == askTxn {
		r.haunt(to, serial)
	}
}

// pick is the node to ask: who is believed to lead, or one replica's after the other.
func (r *request) pick() ring.NodeID {
	if id := r.gate.leaders[r.group]; id != 0 {
		return id
	}
	s := r.gate.worker.State()
	if s == nil {
		return 0
	}
	t := s.Target(r.group)
	if r.group == storage.MetaPartition {
		t = s.MetaTarget()
	}
	if len(t.Voters) == 0 {
		return 0
	}
	return t.Voters[r.attempt%len(t.Voters)].Node()
}

// again tries once more a little later; leader is a hint, 0 if there is none.
func (r *request) again(leader ring.NodeID) {
	if !r.gateDied() {
		r.gate.leaders[r.group] = leader
	}
	r.w.after(r.w.between(2*time.Millisecond, 100*time.Millisecond), r.try)
}

// lost gives up waiting for the answer to an attempt.
func (r *request) lost(serial int) {
	switch {
	case r.over || r.serial != serial:
	case r.ask == askWrite:
		r.finish(reply{outcome: unknown})
	case r.repeatable():
		r.sent = true
		r.leave(r.gate)
		r.again(0)
	default:
		r.again(0)
	}
}

// submit hands an attempt to the worker.
func (n *node) submit(wk *worker.Worker, r *request, serial int, op *worker.Op) {
	if !n.roomFor(r, op) {
		n.respond(r, serial, replica.ErrDropped, reply{})
		return
	}
	count := 0
	op.Done = func(op *worker.Op) {
		if count++; count > 1 {
			n.w.violate("node %s answered a request of partition %d %d times", n.name, r.group, count)
			return
		}
		n.waiting--
		n.applied(r)
		n.probeRequest(r, StepReply, false)
		n.answer(op, r, serial)
		n.probeRequest(r, StepReply, true)
	}
	n.waiting++
	n.probeRequest(r, StepPropose, false)
	n.proposed(r)
	wk.Submit(op)
	n.probeRequest(r, StepPropose, true)
}

// op is what the worker is asked for.
func (n *node) op(r *request) *worker.Op {
	op := &worker.Op{Group: r.group, Kind: worker.Read, Deadline: n.w.now + (r.deadline-n.w.now)*7/8}
	switch r.ask {
	case askRead:
		op.Keys = [][]byte{r.key}
	case askKeys:
		op.Keys, op.Exact = r.keys, true
	case askState:
		op.Exact = true
	case askWrite, askTxn:
		op.Kind, op.Data = worker.Write, slices.Clone(r.data)
		if change := n.w.cfg.Sabotage.Command; change != nil {
			op.Data = change(n.w.rng, op.Data)
		}
	}
	if r.ungated {
		op.Keys = nil
	}
	return op
}

// answer is called by the worker in its turn; what it leads to happens later.
func (n *node) answer(op *worker.Op, r *request, serial int) {
	err := op.Err
	if err == nil && r.ask >= askTxn {
		n.respond(r, serial, nil, n.exact(r, op))
		return
	}
	if err == nil && r.ask != askWrite {
		// The worker goes on while the goroutine that asked awakes, at times long before.
		n.aside(n.lateness(), func() { n.read(r, serial) })
		return
	}
	n.respond(r, serial, err, reply{outcome: answered, result: op.Result})
}

// read looks into this node's replica after the group has allowed it, as package cluster does.
func (n *node) read(r *request, serial int) {
	rep := reply{outcome: answered}
	if r.ask == askMember {
		var leads bool
		rep.member, leads = n.worker.Member(r.group, r.member)
		if !leads {
			n.respond(r, serial, replica.ErrDropped, rep)
			return
		}
		n.respond(r, serial, nil, rep)
		return
	}
	v := n.engine.View()
	defer v.Close()
	if m, err := storage.ReadMeta(v, r.group); err == nil && m.Applied == 0 {
		n.respond(r, serial, &replica.NotLeaderError{Partition: r.group}, rep)
		return
	}
	look := storage.Reader(v)
	if n.w.cfg.Sabotage.Revive {
		look = endless{v}
	}
	item, err := storage.Get(look, r.group, r.key)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		n.w.violate("node %s: read %q: %w", n.name, r.key, err)
		return
	}
	rep.found, rep.item = err == nil, item
	n.respond(r, serial, nil, rep)
}

// endless is a view of a partition in which nothing has ever expired.
type endless struct{ storage.Reader }

// Get knows no bookkeeping, and with it no horizon.
func (e endless) Get(key []byte) ([]byte, error) {
	if len(key) == 4 && key[2] == 0 {
		return nil, storage.ErrNotFound
	}
	return e.Reader.Get(key)
}

// respond sends an answer back to the gateway.
func (n *node) respond(r *request, serial int, err error, rep reply) {
	if d, ok := n.w.net.pass(n, r.gate); ok {
		n.w.after(d, func() { r.hear(n.id, serial, err, rep) })
	}
}

// hear is the gateway getting an answer.
func (r *request) hear(from ring.NodeID, serial int, err error, rep reply) {
	if r.gateDied() {
		return
	}
	if r.over || r.serial != serial {
		if r.late != nil && err == nil {
			r.late(rep)
		}
		return
	}
	r.serial++ // no timeout any more
	var elsewhere *replica.NotLeaderError
	r.sent = r.sent || r.waits && err != nil // it may have waited before it was told
	switch {
	case err == nil:
		r.gate.leaders[r.group] = from
		r.finish(rep)
	case errors.As(err, &elsewhere):
		better := elsewhere.Leader.Node()
		if better == from {
			better = 0
		}
		r.again(better)
	case errors.Is(err, replica.ErrDropped):
		r.again(r.gate.leaders[r.group])
	case errors.Is(err, worker.ErrLocked):
		r.finish(reply{outcome: noEffect, refused: true})
	case errors.Is(err, replica.ErrOutcomeUnknown) && r.ask == askWrite:
		r.finish(reply{outcome: unknown})
	case errors.Is(err, replica.ErrOutcomeUnknown):
		r.sent = true
		r.again(0)
	default:
		r.w.violate("a request was answered with an error of no kind that is documented: %w", err)
	}
}
